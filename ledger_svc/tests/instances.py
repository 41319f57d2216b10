"""Processes of the ledger that share one database, and callers of them, for the tests of races and faults."""

import asyncio
import contextlib
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, LiteralString, TypeVar

import grpc
import psycopg
from google.protobuf.message import Message
from rewards.identity.v1 import programs_pb2
from rewards.identity.v1.programs_pb2_grpc import ProgramDirectoryServiceStub
from rewards.ledger.v1 import (
    adjustments_pb2,
    adjustments_pb2_grpc,
    batches_pb2,
    batches_pb2_grpc,
    directory_pb2,
    earning_pb2,
    earning_pb2_grpc,
    funding_pb2,
    funding_pb2_grpc,
    journal_pb2,
    journal_pb2_grpc,
    movements_pb2,
    movements_pb2_grpc,
    points_pb2,
    points_pb2_grpc,
)
from rewards.ledger.v1.directory_pb2_grpc import MemberDirectoryServiceStub

from ledger_svc.__main__ import servicers
from ledger_svc.journal.coalescer import DEFAULTS, Limits
from ledger_svc.journal.engine import Journal
from svckit.call import Kind, Principal
from svckit.clients import _refusal
from svckit.clock import new_id
from svckit.db import Database
from svckit.errors import Reason
from svckit.testing import headers, partner, serving

PROGRAM = "sandbox-test"
SCOPES = ("points:read", "points:write", "events:write", "funding:write")
SETTINGS = programs_pb2.Program(
    program_id=PROGRAM,
    name="Test",
    mode=programs_pb2.Program.SANDBOX,
    time_zone="Europe/Berlin",
    currency="USD",
    asset="PTS",
    points_per_unit=80,
    policy=programs_pb2.Policy(transfer_max_points=2**53, adjust_alone_max_points=100),
    version=1,
)
BASE_RULE = earning_pb2.EarningRule(rule_id="base", version=1, points_numerator=1, points_denominator=1)

Found = TypeVar("Found")


class Caller:
    """A partner's calls to one process. Nothing is tried again unless the test does."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._rpcs: dict[str, tuple[Any, type[Message]]] = {}
        for package, service, stub in (
            (adjustments_pb2, "AdjustmentsService", adjustments_pb2_grpc.AdjustmentsServiceStub(channel)),
            (funding_pb2, "FundingService", funding_pb2_grpc.FundingServiceStub(channel)),
            (points_pb2, "PointsService", points_pb2_grpc.PointsServiceStub(channel)),
            (movements_pb2, "MovementsService", movements_pb2_grpc.MovementsServiceStub(channel)),
            (batches_pb2, "TransactionBatchesService", batches_pb2_grpc.TransactionBatchesServiceStub(channel)),
            (journal_pb2, "JournalService", journal_pb2_grpc.JournalServiceStub(channel)),
        ):
            for method in package.DESCRIPTOR.services_by_name[service].methods:
                self._rpcs[method.name] = (getattr(stub, method.name), getattr(package, method.input_type.name))

    async def call(self, rpc: str, key: str = "", *, by: str = "cred_a", within_s: float = 10, **fields: Any) -> Any:
        """The answer to the credential `by`, under `key` or one of its own. Raises AioRpcError."""
        method, request = self._rpcs[rpc]
        metadata = headers(partner(PROGRAM, *SCOPES, name=by), key or str(new_id()))
        return await method(request(**fields), timeout=within_s, metadata=metadata)

    async def outcome(self, rpc: str, key: str = "", **fields: Any) -> Any:
        """The answer, or the name of the reason why not."""
        try:
            return await self.call(rpc, key, **fields)
        except grpc.aio.AioRpcError as error:
            return Reason.Name(_refusal(error).reason)

    async def definite(self, rpc: str, key: str, **fields: Any) -> Any:
        """The outcome, however often it takes under the key to get one that is not "unknown"."""

        async def known() -> Any:
            outcome = await self.outcome(rpc, key, **fields)
            return None if outcome in ("UNAVAILABLE", "TIMEOUT", "CONFLICT") else (outcome,)

        return (await until(known, within_s=60))[0]

    async def balance(self, member_id: str) -> Any:
        """The member's balance."""
        return await self.call("GetBalance", member_id=member_id)


@dataclass
class Instance(Caller):
    """A process: its connections, journal, server and interceptors, and who calls it."""

    db: Database
    journal: Journal
    address: str
    channel: grpc.aio.Channel

    def __post_init__(self) -> None:
        super().__init__(self.channel)


@dataclass
class Twins:
    """Two processes on the database at `url`."""

    url: str
    one: Instance
    other: Instance

    def each(self, count: int) -> Iterator[Instance]:
        """The two in turn, `count` times in all."""
        return itertools.islice(itertools.cycle((self.one, self.other)), count)

    async def balances(self, *members: str) -> list[int]:
        """The members' balances."""
        return [(await self.one.balance(member_id)).balance for member_id in members]

    async def deadlocks(self) -> int:
        """How often PostgreSQL had to break one. A connection tells its figures when it ends, so all are closed."""
        for process in (self.one, self.other):
            await process.db.close()

        async def ended() -> bool:
            here = "SELECT 1 FROM pg_stat_activity WHERE usename = 'ledger_runtime' AND datname = current_database()"
            return not await ask(self.url, here)

        await until(ended)
        counted = await ask(self.url, "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        return int(counted[0][0])


@contextlib.asynccontextmanager
async def calling(address: str, tls_dir: Path) -> AsyncIterator[grpc.aio.Channel]:
    """A channel that, unlike the mesh's own, does not try again by itself: the test sees each answer that is lost."""
    credentials = grpc.ssl_channel_credentials(*((tls_dir / name).read_bytes() for name in _TLS))
    async with grpc.aio.secure_channel(address, credentials, _OPTIONS) as channel:
        yield channel


_TLS = ("ca.crt", "tls.key", "tls.crt")
_OPTIONS = (
    ("grpc.ssl_target_name_override", "ledger-svc"),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.use_local_subchannel_pool", 1),
)


@contextlib.asynccontextmanager
async def instance(url: str, authority: Any, limits: Limits = DEFAULTS) -> AsyncIterator[Instance]:
    """A process of the ledger on the database at `url`."""
    db = Database(url)
    journal = Journal(db, limits)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(db.close)
        address = await stack.enter_async_context(serving(authority.issue("ledger_svc"), servicers(db, journal, b"k")))
        channel = await stack.enter_async_context(calling(address, authority.issue("gateway")))
        yield Instance(db, journal, address, channel)


async def prepare(address: str, authority: Any, members: Iterable[str]) -> None:
    """Tells the process at `address` of the program, its rule and its members, as the mesh would."""
    async with calling(address, authority.issue("identity_svc")) as identity:
        await ProgramDirectoryServiceStub(identity).StoreProgram(programs_pb2.StoreProgramRequest(program=SETTINGS))
        directory = MemberDirectoryServiceStub(identity)
        for member_id in members:
            member = directory_pb2.StoreMemberRequest(program_id=PROGRAM, member_id=member_id, active=True, version=1)
            await directory.StoreMember(member)
    async with calling(address, authority.issue("gateway")) as gateway:
        rule = earning_pb2.PutRuleRequest(program_id=PROGRAM, rule=BASE_RULE)
        operator = headers(Principal(Kind.OPERATOR, "op"))
        await earning_pb2_grpc.EarningRulesServiceStub(gateway).PutRule(rule, metadata=operator)


# Nobody can write a key as long as somebody holds this.
KEYS_HELD: Final = "LOCK TABLE idempotency_keys IN SHARE MODE"


def superuser(url: str) -> str:
    """The same database as PostgreSQL's superuser."""
    return url.replace("ledger_runtime@", "postgres@")


async def ask(url: str, question: LiteralString, *parameters: object) -> list[tuple[Any, ...]]:
    """The database's own answer, whoever may see it."""
    async with await psycopg.AsyncConnection.connect(superuser(url), autocommit=True) as connection:
        return await (await connection.execute(question, parameters)).fetchall()


@contextlib.asynccontextmanager
async def holding(url: str, statement: LiteralString, *parameters: object) -> AsyncIterator[None]:
    """Holds the locks that `statement` takes, so that whoever needs them waits until the block ends."""
    async with await psycopg.AsyncConnection.connect(superuser(url)) as connection:
        await connection.execute(statement, parameters)
        yield
        await connection.rollback()


async def waiting(url: str, count: int) -> None:
    """Returns as soon as so many connections of the service wait for a lock."""

    async def enough() -> bool:
        found = await ask(url, _WAITING)
        return int(found[0][0]) >= count

    await until(enough)


_WAITING: LiteralString = """
SELECT count(DISTINCT l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
WHERE NOT l.granted AND a.datname = current_database()"""


async def stopped_walwriter(url: str) -> int:
    """Stops the process that writes PostgreSQL's log for those who do not wait for it; its id, for the caller to kill.

    It is stopped in its sleep, so it holds no lock that others need.
    """

    async def asleep() -> int:
        [(pid, _)] = await ask(url, _WALWRITER)
        os.kill(pid, signal.SIGSTOP)
        await until(partial(_stopped, pid))
        if await ask(url, _WALWRITER) == [(pid, "WalWriterMain")]:
            return int(pid)
        os.kill(pid, signal.SIGCONT)
        return 0

    return await until(asleep)


async def _stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as state:  # noqa: ASYNC230, PTH123 - no disk is asked
        return state.read().rpartition(")")[2].split()[0] == "T"


async def recovered(url: str, walwriter: int) -> None:
    """Returns when PostgreSQL, of which one process was killed, has come back; `walwriter` is the one from before."""

    async def another() -> bool:
        with contextlib.suppress(psycopg.OperationalError, ValueError):
            [(pid, _)] = await ask(url, _WALWRITER)
            return bool(pid != walwriter)
        return False

    await until(another)


_WALWRITER: LiteralString = "SELECT pid, wait_event FROM pg_stat_activity WHERE backend_type = 'walwriter'"


async def until(condition: Callable[[], Awaitable[Found]], within_s: float = 30.0) -> Found:
    """What `condition` gives as soon as it is true; fails if it never is."""
    deadline_s = time.monotonic() + within_s
    while not (found := await condition()):
        assert time.monotonic() < deadline_s, "it did not become true in time"
        await asyncio.sleep(0.01)
    return found
