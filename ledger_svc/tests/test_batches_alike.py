"""A batch does what the same calls would do one after the other: two programs are told the same, one in batches."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, LiteralString, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rewards.identity.v1 import programs_pb2
from rewards.ledger.v1 import batches_pb2 as pb
from rewards.ledger.v1 import directory_pb2, earning_pb2, points_pb2

from ledger_svc.tests.instances import BASE_RULE, SETTINGS, ask
from ledger_svc.tests.machine_world import OPERATOR, SCOPES, Call, Seen, World, fields, opened
from ledger_svc.verify.report import faults, findings
from svckit.clock import new_id
from svckit.testing import headers, partner

# What there is of a program, without the names that the ledger gave.
STATES: Final[tuple[LiteralString, ...]] = (
    """SELECT a.owner, e.version, e.kind, e.category, e.amount, e.balance_after
    FROM entries e JOIN accounts a USING (program_id, account_id) WHERE program_id = %s ORDER BY 1, 2""",
    """SELECT CASE event_id WHEN transaction_id::text THEN '' ELSE event_id END, member_id, amount_minor, points
    FROM events WHERE program_id = %s ORDER BY 1, 2, 3, 4""",
    """SELECT key, fingerprint, state FROM idempotency_keys
    WHERE program_id = %s AND operation = 'InsertTransactionData' ORDER BY 1""",
    "SELECT type, member_id, count(*) FROM outbox WHERE program_id = %s GROUP BY 1, 2 ORDER BY 1, 2",
)


class Sent(NamedTuple):
    """An event, by the place of its key among a few."""

    key: int
    member_id: str
    event_id: str
    amount: float | None
    asset: str

    def request(self) -> points_pb2.InsertTransactionDataRequest:
        return points_pb2.InsertTransactionDataRequest(**self._fields_of())

    def item(self) -> pb.BatchTransaction:
        return pb.BatchTransaction(idempotency_key=f"key-{self.key}", **self._fields_of())

    def _fields_of(self) -> Any:
        named = {name: value for name, value in self._asdict().items() if name != "key"}
        return {"type": "purchase", **named}


events = st.builds(
    Sent,
    key=st.integers(0, 9),
    member_id=st.sampled_from(["ann", "ann", "bob", "off", "nobody"]),
    event_id=st.sampled_from(["", "", "", "e-1", "e-2"]),
    # 0.001 has more decimals than there are, and after the last one there is no room for much.
    amount=st.sampled_from([None, 0, 1.5, 20, 0.001, 9e12, 9e15]),
    asset=st.sampled_from(["", "", "", "", "NONE"]),
)
batches = st.lists(
    st.tuples(st.sampled_from(["CONTINUE", "STOP_ON_ERROR", "ATOMIC"]), st.lists(events, min_size=1, max_size=8)),
    min_size=1,
    max_size=4,
)


@pytest.fixture
async def world(fresh_url: Any, authority: Any) -> AsyncIterator[World]:
    async with opened(await fresh_url("ledger_svc"), authority) as made:
        yield made
        assert faults(await findings(made.url)) == []


class Program:
    """A program with one rule, two members and one who is not active."""

    def __init__(self, world: World) -> None:
        self.world, self.program_id = world, f"p-{new_id()}"
        self.history: list[Sent] = []

    async def prepare(self) -> "Program":
        rpcs = self.world.servers[0].rpcs
        settings = programs_pb2.Program()
        settings.CopyFrom(SETTINGS)
        settings.program_id = self.program_id
        await rpcs["StoreProgram"](programs_pb2.StoreProgramRequest(program=settings))
        rule = earning_pb2.PutRuleRequest(program_id=self.program_id, rule=BASE_RULE)
        await rpcs["PutRule"](rule, metadata=OPERATOR)
        for member_id in ("ann", "bob", "off"):
            member = directory_pb2.StoreMemberRequest(
                program_id=self.program_id, member_id=member_id, active=member_id != "off", version=1
            )
            await rpcs["StoreMember"](member)
        return self

    async def batch(self, mode: str, sent: Sequence[Sent]) -> tuple[str, list[Seen | None]]:
        """Sends a batch; its status, and what became of each event, None if it was skipped."""
        rpcs, caller = self.world.servers[0].rpcs, partner(self.program_id, *SCOPES)
        request = pb.InsertTransactionBatchRequest(mode=mode, transactions=[one.item() for one in sent])  # type: ignore[arg-type]
        made = await rpcs["InsertTransactionBatch"](request, metadata=headers(caller, str(new_id())))
        asked = pb.GetBatchStatusRequest(batch_id=made.batch_id)
        told = await rpcs["GetBatchStatus"](asked, metadata=headers(caller))
        assert [result.idempotency_key for result in told.results] == [f"key-{one.key}" for one in sent]
        return pb.GetBatchStatusResponse.Status.Name(told.status), [_seen(result) for result in told.results]

    async def singles(self, sent: Sequence[Sent], go_on: Callable[[Seen], bool] = lambda _: True) -> list[Seen | None]:
        """Sends calls one after the other while `go_on` says so of the one before."""
        seen: list[Seen | None] = []
        for one in sent:
            if seen and (seen[-1] is None or not go_on(seen[-1])):
                seen.append(None)
                continue
            self.history.append(one)
            call = Call("InsertTransactionData", one.request(), lambda _, __: {})
            seen.append(_nameless(await self.world.ask(1, self.program_id, call, f"key-{one.key}")))
        return seen

    async def like(self) -> "Program":
        """Another program that has been told the same."""
        other = await Program(self.world).prepare()
        await other.singles(self.history)
        return other

    async def state(self) -> list[Any]:
        return [await ask(self.world.url, question, self.program_id) for question in STATES]


def _seen(result: pb.BatchResult) -> Seen | None:
    if result.status == pb.BatchResult.SKIPPED:
        return None
    if result.status == pb.BatchResult.FAILED:
        return Seen(result.refusal.reason, {}, result.replayed)
    return _nameless(Seen("", fields(result.transaction), result.replayed))


def _nameless(seen: Seen) -> Seen:
    return seen._replace(fields={name: value for name, value in seen.fields.items() if name != "transaction_id"})


async def one_after_the_other(program: Program, mode: str, sent: Sequence[Sent]) -> tuple[str, list[Seen | None]]:
    """What the batch should come to, by single calls."""
    if mode == "CONTINUE":
        return "COMPLETED", await program.singles(sent)
    if mode == "STOP_ON_ERROR":
        seen = await program.singles(sent, lambda before: not before.reason)
        return "STOPPED" if any(one is not None and one.reason for one in seen) else "COMPLETED", seen
    tried = await (await program.like()).singles(sent)
    if any(one is not None and one.reason for one in tried):
        return "FAILED", [one if one is not None and one.reason else None for one in tried]
    return "COMPLETED", await program.singles(sent)


@settings(
    max_examples=25,
    deadline=None,
    # What it finds is short enough to be read, and to shorten it takes longer than a test may.
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batches)
async def test_a_batch_is_its_calls_one_after_the_other(world: World, sent: Any) -> None:
    in_bulk, alone = await Program(world).prepare(), await Program(world).prepare()
    for mode, events_ in sent:
        assert await in_bulk.batch(mode, events_) == await one_after_the_other(alone, mode, events_)
    assert await in_bulk.state() == await alone.state()
