"""The ledger behind its real server, for the tests of its RPCs."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from rewards.identity.v1 import programs_pb2, programs_pb2_grpc
from rewards.ledger.v1 import (
    adjustments_pb2_grpc,
    batches_pb2_grpc,
    books_pb2_grpc,
    cashback_pb2_grpc,
    directory_pb2,
    directory_pb2_grpc,
    earning_pb2,
    earning_pb2_grpc,
    funding_pb2_grpc,
    journal_pb2_grpc,
    movements_pb2_grpc,
    outcomes_pb2_grpc,
    points_pb2,
    points_pb2_grpc,
)

from ledger_svc.__main__ import servicers
from ledger_svc.journal.engine import Journal
from ledger_svc.journal.sweeps import Sweeper
from ledger_svc.tests.instances import Twins, instance, prepare
from svckit.call import Kind, Principal
from svckit.clients import _refusal, open_channel
from svckit.clock import new_id, system_clock
from svckit.db import Database
from svckit.errors import Reason
from svckit.testing import headers, partner, serving

PROGRAM = "sandbox-test"
SCOPES = ("points:read", "points:write", "events:write", "funding:write")


@dataclass
class Ledger:
    points: Any
    movements: Any
    batches: Any
    bulk: Any
    adjustments: Any
    outcomes: Any
    funding: Any
    journal: Any
    books: Any
    cashback: Any
    directory: Any
    programs: Any
    sweeper: Sweeper
    url: str
    database_url: str
    version: int = 0

    async def move(self, request: Message, by: str = "cred_a", key: str | None = None) -> Any:
        """Calls MovementsService or AdjustmentsService by the request's own name."""
        rpc = type(request).__name__.removesuffix("Request")
        stub = self.adjustments if hasattr(self.adjustments, rpc) else self.movements
        caller = partner(PROGRAM, *SCOPES, name=by)
        return await getattr(stub, rpc)(request, timeout=10, metadata=headers(caller, key or str(new_id())))

    async def cannot_move(self, request: Message, by: str = "cred_a", key: str | None = None) -> str:
        """The reason that a `move` is refused for."""
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.move(request, by, key)
        return Reason.Name(_refusal(caught.value).reason)

    async def call(self, rpc: str, request: Message, key: str | None = None, program: str = PROGRAM) -> Any:
        method = getattr(self.points, rpc)
        return await method(request, timeout=10, metadata=headers(partner(program, *SCOPES), key or str(new_id())))

    async def refused(self, rpc: str, request: Message, key: str | None = None, program: str = PROGRAM) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.call(rpc, request, key, program)
        return Reason.Name(_refusal(caught.value).reason)

    async def member(self, member_id: str, *, active: bool = True, version: int = 1) -> None:
        await self.directory.StoreMember(
            directory_pb2.StoreMemberRequest(program_id=PROGRAM, member_id=member_id, active=active, version=version)
        )

    async def credit(self, member_id: str, points: int, **more: Any) -> Any:
        return await self.call(
            "CreateCredit", points_pb2.CreateCreditRequest(member_id=member_id, points=points, **more)
        )

    async def balance(self, member_id: str) -> Any:
        return await self.call("GetBalance", points_pb2.GetBalanceRequest(member_id=member_id))

    async def program(self, clock_offset_s: int = 0, **policy: Any) -> None:
        """Changes the program's policy and clock, as identity_svc would tell."""
        self.version += 1
        settings = programs_pb2.Program(
            program_id=PROGRAM,
            name="Test",
            mode=programs_pb2.Program.SANDBOX,
            time_zone="Europe/Berlin",
            currency="USD",
            asset="PTS",
            points_per_unit=80,
            clock_offset_s=clock_offset_s,
            policy=programs_pb2.Policy(**policy),
            version=self.version,
        )
        await self.programs.StoreProgram(programs_pb2.StoreProgramRequest(program=settings))


@asynccontextmanager
async def running(url: str, authority: Any) -> AsyncIterator[Ledger]:
    """The ledger on the database at `url`, with a program that has a rule and the member m_1."""
    db = Database(url)
    journal = Journal(db)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(db.close)
        served_at = serving(authority.issue("ledger_svc"), servicers(db, journal, b"k"))
        address = await stack.enter_async_context(served_at)
        gateway, identity, fulfillment = [
            await stack.enter_async_context(open_channel(address, "ledger_svc", authority.issue(peer)))
            for peer in ("gateway", "identity_svc", "fulfillment_svc")
        ]
        made = Ledger(
            points=points_pb2_grpc.PointsServiceStub(gateway),
            movements=movements_pb2_grpc.MovementsServiceStub(gateway),
            batches=journal_pb2_grpc.JournalServiceStub(gateway),
            bulk=batches_pb2_grpc.TransactionBatchesServiceStub(gateway),
            adjustments=adjustments_pb2_grpc.AdjustmentsServiceStub(gateway),
            outcomes=outcomes_pb2_grpc.OutcomesServiceStub(gateway),
            funding=funding_pb2_grpc.FundingServiceStub(gateway),
            journal=journal_pb2_grpc.JournalServiceStub(fulfillment),
            books=books_pb2_grpc.BooksServiceStub(fulfillment),
            cashback=cashback_pb2_grpc.CashbackServiceStub(fulfillment),
            directory=directory_pb2_grpc.MemberDirectoryServiceStub(identity),
            programs=programs_pb2_grpc.ProgramDirectoryServiceStub(identity),
            sweeper=Sweeper(db, journal, system_clock),
            url=address,
            database_url=url,
        )
        await made.program()
        rules = earning_pb2_grpc.EarningRulesServiceStub(gateway)
        rule = earning_pb2.EarningRule(rule_id="base", version=1, points_numerator=1, points_denominator=1)
        operator = headers(Principal(Kind.OPERATOR, "op"))
        await rules.PutRule(earning_pb2.PutRuleRequest(program_id=PROGRAM, rule=rule), metadata=operator)
        await made.member("m_1")
        yield made


@pytest.fixture
async def ledger(fresh_url: Any, authority: Any) -> AsyncIterator[Ledger]:
    async with running(await fresh_url("ledger_svc"), authority) as made:
        yield made


@pytest.fixture
async def twins(fresh_url: Callable[[str], Awaitable[str]], authority: Any) -> AsyncIterator[Twins]:
    """Two processes on one database, with the members m_1 and m_2."""
    url = await fresh_url("ledger_svc")
    async with instance(url, authority) as one, instance(url, authority) as other:
        await prepare(one.address, authority, ("m_1", "m_2"))
        yield Twins(url, one, other)
