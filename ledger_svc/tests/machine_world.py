"""What the state machine drives: two ledgers on one PostgreSQL, each behind the real server with a clock that is told
the time, and the way from a call to what it was answered."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import grpc
from google.protobuf.message import Message
from rewards.identity.v1 import programs_pb2_grpc
from rewards.ledger.v1 import (
    adjustments_pb2_grpc,
    batches_pb2_grpc,
    directory_pb2_grpc,
    earning_pb2_grpc,
    funding_pb2_grpc,
    journal_pb2,
    journal_pb2_grpc,
    movements_pb2_grpc,
    outcomes_pb2_grpc,
    points_pb2_grpc,
)
from sqlalchemy import text

from devmesh.pki import Authority
from ledger_svc.__main__ import servicers
from ledger_svc.journal.engine import Journal
from ledger_svc.journal.sweeps import Sweeper
from ledger_svc.parts import Rpcs
from ledger_svc.tests.oracle import Fields, Oracle
from svckit.call import Kind, Principal
from svckit.clients import _refusal, open_channel
from svckit.db import Database
from svckit.errors import Reason
from svckit.testing import headers, partner, serving

Result = TypeVar("Result")
SCOPES = ("points:read", "points:write", "events:write", "funding:read", "funding:write")
OPERATOR = headers(Principal(Kind.OPERATOR, "op"))
NAMES = ("rest_hold_id", "transaction_id", "reversal_id", "hold_id", "adjustment_id")


class Seen(NamedTuple):
    """What a call was answered: the reason of a refusal, or the fields of the response."""

    reason: str
    fields: Fields
    replayed: bool = False

    @property
    def name(self) -> str:
        """What the ledger called the effect."""
        return next((str(self.fields[name]) for name in NAMES if name in self.fields), "")


class Call(NamedTuple):
    """An operation as it is sent, and what it does to the oracle under the name that the ledger gave it."""

    rpc: str
    request: Message
    effect: Callable[[Oracle, str], Fields]
    credential: str = "one"

    @property
    def body(self) -> bytes:
        return self.request.SerializeToString(deterministic=True)


@dataclass
class Clock:
    """The time as it is told."""

    at: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at


@dataclass
class Server:
    """One ledger process' worth: its RPCs by name, and its worker."""

    rpcs: dict[str, Any]
    sweeper: Sweeper


@dataclass
class World:
    """Two servers, the database under them, and the loop on which everything runs."""

    loop: asyncio.AbstractEventLoop
    url: str
    db: Database
    clock: Clock
    servers: list[Server] = field(default_factory=list)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        try:
            return self.loop.run_until_complete(work)
        except asyncio.CancelledError as cancelled:
            # Not an Exception, so Hypothesis would not know it for a failure.
            raise AssertionError("a call was cancelled") from cancelled

    async def ask(self, server: int, program_id: str, asked: Call, key: str = "") -> Seen:
        """Sends a call to one of the servers."""
        sender = replace(partner(program_id, *SCOPES), name=asked.credential)
        call = self.servers[server].rpcs[asked.rpc](asked.request, timeout=10, metadata=headers(sender, key or None))
        try:
            answer: Message | None = await call
            reason = ""
        except grpc.aio.AioRpcError as error:
            answer, reason = None, Reason.Name(_refusal(error).reason)
        replayed = dict(await call.initial_metadata()).get("idempotency-replayed") == "true"
        return Seen(reason, {} if answer is None else fields(answer), replayed)

    async def ask_batch(self, server: int, program_id: str, request: journal_pb2.PostBatchRequest) -> list[Seen | None]:
        """Sends a batch; None is an item that was skipped. What refuses it as a whole is raised."""
        answer = await self.servers[server].rpcs["PostBatch"](
            request, timeout=10, metadata=headers(partner(program_id, *SCOPES))
        )
        return [_result(one) for one in answer.results]

    async def lots(self, program_id: str) -> Sequence[Any]:
        """Every account of a program with each of its lots, in the order in which they were made."""
        async with self.db.read() as tx:
            return (await tx.execute(_LOTS, {"program_id": program_id})).all()


async def answer(call: Any) -> Any:
    """What a call is answered."""
    return await call


def fields(answer: Message) -> Fields:
    """The fields of an answer that have one value; money in minor units."""
    found: Fields = {}
    for of in answer.DESCRIPTOR.fields:
        if of.has_presence and not answer.HasField(of.name):
            continue
        value = getattr(answer, of.name)
        if of.name == "adjustment":
            found |= {"adjustment_id": value.adjustment_id, "status": type(value).Status.Name(value.status)}
        if isinstance(value, float):
            value = int(Decimal(repr(value)).scaleb(2))
        if isinstance(value, int | str):
            found[of.name] = value
    return found


def _result(one: journal_pb2.PostBatchResult) -> Seen | None:
    outcome = one.WhichOneof("outcome")
    if outcome == "skipped":
        return None
    if outcome == "refusal":
        return Seen(one.refusal.reason, {}, one.replayed)
    return Seen("", fields(getattr(one, outcome or "")), one.replayed)


_LOTS = text("""
SELECT a.owner_kind, a.owner, a.asset, a.posted, a.held, l.lot_id, l.earned_at, l.expires_at, l.original, l.remaining,
    l.lapsed
FROM accounts a LEFT JOIN lots l ON l.program_id = a.program_id AND l.account_id = a.account_id
WHERE a.program_id = :program_id ORDER BY a.owner_kind, a.owner, a.asset, l.lot_id
""")


def _told_the_time(servicer: object, clock: Clock) -> object:
    return replace(servicer, clock=clock) if isinstance(servicer, Rpcs) else servicer


@asynccontextmanager
async def opened(url: str, authority: Authority) -> AsyncIterator[World]:
    """The world on a migrated database."""
    async with AsyncExitStack() as stack:
        world = World(asyncio.get_running_loop(), url, Database(url), Clock())
        stack.push_async_callback(world.db.close)
        for _ in range(2):
            db = Database(url)
            stack.push_async_callback(db.close)
            journal = Journal(db)
            told = [_told_the_time(one, world.clock) for one in servicers(db, journal, b"k")]
            address = await stack.enter_async_context(serving(authority.issue("ledger_svc"), told))
            rpcs = await _rpcs(stack, address, authority.issue)
            world.servers.append(Server(rpcs, Sweeper(db, journal, world.clock)))
        yield world


async def _rpcs(stack: AsyncExitStack, address: str, issue: Callable[[str], Path]) -> dict[str, Any]:
    """The RPCs of a server by their names, each over the channel of a peer who may call it."""

    async def channel(peer: str) -> grpc.aio.Channel:
        return await stack.enter_async_context(open_channel(address, "ledger_svc", issue(peer)))

    gateway, identity, fulfillment = [await channel(peer) for peer in ("gateway", "identity_svc", "fulfillment_svc")]
    saga = journal_pb2_grpc.JournalServiceStub(fulfillment)
    stubs = (
        points_pb2_grpc.PointsServiceStub(gateway),
        batches_pb2_grpc.TransactionBatchesServiceStub(gateway),
        adjustments_pb2_grpc.AdjustmentsServiceStub(gateway),
        outcomes_pb2_grpc.OutcomesServiceStub(gateway),
        movements_pb2_grpc.MovementsServiceStub(gateway),
        funding_pb2_grpc.FundingServiceStub(gateway),
        earning_pb2_grpc.EarningRulesServiceStub(gateway),
        directory_pb2_grpc.MemberDirectoryServiceStub(identity),
        programs_pb2_grpc.ProgramDirectoryServiceStub(identity),
    )
    found = {name: rpc for stub in (saga, *stubs) for name, rpc in vars(stub).items()}
    return {**found, "PostBatch": journal_pb2_grpc.JournalServiceStub(gateway).PostBatch}
