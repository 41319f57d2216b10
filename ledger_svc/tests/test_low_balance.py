"""Low funding (G67): told once as it falls, whatever the batches and whoever races, as a plain sum says it."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rewards.ledger.v1 import funding_pb2, journal_pb2, points_pb2
from sqlalchemy import text

from ledger_svc.journal import replies, store
from ledger_svc.journal.book import Posted, Posting
from ledger_svc.journal.engine import Item, Journal
from ledger_svc.journal.holdings import Capture, PlaceHold, Void
from ledger_svc.journal.postings import Credit, SetAlarm
from ledger_svc.journal.values import Category, Key, Kind, Owner
from ledger_svc.tests.conftest import PROGRAM, SCOPES, Ledger
from ledger_svc.tests.instances import Twins, ask, holding, waiting
from ledger_svc.verify.report import faults, findings
from svckit.clock import new_id, system_clock
from svckit.db import Database
from svckit.errors import Refused
from svckit.testing import headers, partner
from tests.breakages import TIMES

TOLD = "SELECT data, member_id FROM outbox WHERE program_id = %s AND type = 'funding.low' ORDER BY created_at, event_id"
USD = journal_pb2.AccountRef(funding_currency="USD")


async def told(url: str, program_id: str = PROGRAM) -> list[dict[str, Any]]:
    found = await ask(url, TOLD, program_id)
    assert {member_id for _, member_id in found} <= {""}
    return [json.loads(data) for data, _ in found]


async def put(ledger: Ledger, key: str | None = None, **fields: Any) -> Any:
    metadata = headers(partner(PROGRAM, *SCOPES), key)
    return (await ledger.funding.PutLowBalance(funding_pb2.PutLowBalanceRequest(**fields), metadata=metadata)).funding


async def deposit(ledger: Ledger, amount: float) -> None:
    metadata = headers(partner(PROGRAM, *SCOPES), str(new_id()))
    await ledger.funding.CreateDeposit(funding_pb2.CreateDepositRequest(amount=amount), metadata=metadata)


async def hold(ledger: Ledger, rpc: str, **fields: Any) -> Any:
    request = getattr(journal_pb2, f"{rpc}Request")(program_id=PROGRAM, **fields)
    return await getattr(ledger.journal, rpc)(request, metadata=(("idempotency-key", str(new_id())),))


async def test_what_falls_low_is_told_once_until_it_has_risen_over_the_margin(ledger: Ledger) -> None:
    await deposit(ledger, 100)
    stands = await put(ledger, threshold=50)
    assert (stands.available, stands.low_threshold, stands.low) == (100, 50, False)
    held = await hold(ledger, "PlaceHold", account=USD, amount=5_000)
    # Exactly the threshold is not below it.
    assert await told(ledger.database_url) == []
    await hold(ledger, "PlaceHold", account=USD, amount=1)
    low = {"currency": "USD", "available": 49.99, "threshold": 50.0}
    assert await told(ledger.database_url) == [low]
    await hold(ledger, "CaptureHold", hold_id=held.hold_id)
    await deposit(ledger, 5.01)
    # 55.00 is the threshold and a tenth of it, not more: still the same low.
    await hold(ledger, "PlaceHold", account=USD, amount=1_000)
    assert await told(ledger.database_url) == [low]
    await deposit(ledger, 10.01)
    await hold(ledger, "PlaceHold", account=USD, amount=1_000)
    assert [event["available"] for event in await told(ledger.database_url)] == [49.99, 45.01]
    read = headers(partner(PROGRAM, "funding:read"))
    [stands] = (await ledger.funding.GetFunding(funding_pb2.GetFundingRequest(), metadata=read)).balances
    assert (stands.available, stands.low_threshold, stands.low) == (45.01, 50, True)


async def test_a_threshold_over_what_is_there_tells_at_once_and_none_is_silent(ledger: Ledger) -> None:
    assert (await put(ledger, threshold=10)).low
    assert (await put(ledger, threshold=20)).low
    assert len(await told(ledger.database_url)) == 1
    assert not (await put(ledger, threshold=0)).low
    await deposit(ledger, 1)
    held = await hold(ledger, "PlaceHold", account=USD, amount=100)
    await hold(ledger, "VoidHold", hold_id=held.hold_id)
    assert len(await told(ledger.database_url)) == 1


async def test_what_is_given_back_by_a_void_or_a_part_capture_can_be_enough(ledger: Ledger) -> None:
    await deposit(ledger, 100)
    await put(ledger, threshold=50)
    for rpc, more in (("VoidHold", {}), ("CaptureHold", {"amount": 1})):
        held = await hold(ledger, "PlaceHold", account=USD, amount=6_000)
        await hold(ledger, rpc, hold_id=held.hold_id, **more)
    await hold(ledger, "PlaceHold", account=USD, amount=6_000)
    assert [event["available"] for event in await told(ledger.database_url)] == [40, 40, 39.99]


async def test_a_threshold_is_set_once_a_key(ledger: Ledger) -> None:
    first = await put(ledger, "a-key", threshold=10, currency="EUR")
    await put(ledger, threshold=20, currency="EUR")
    assert await put(ledger, "a-key", threshold=10, currency="EUR") == first
    read = headers(partner(PROGRAM, "funding:read"))
    [stands] = (await ledger.funding.GetFunding(funding_pb2.GetFundingRequest(), metadata=read)).balances
    assert (stands.currency, stands.low_threshold) == ("EUR", 20)


async def test_points_are_never_low(ledger: Ledger) -> None:
    await put(ledger, threshold=10)
    await ledger.credit("m_1", 100)
    await ledger.call("RedeemPoints", points_pb2.RedeemPointsRequest(member_id="m_1", points=99))
    assert len(await told(ledger.database_url)) == 1


def reply(posted: Posted) -> journal_pb2.PlaceHoldResponse:
    return journal_pb2.PlaceHoldResponse(hold_id=str(posted.transaction_id))


async def test_fifty_holds_that_race_over_the_threshold_are_told_of_once(twins: Twins) -> None:
    await twins.one.call("CreateDeposit", amount=50)
    await twins.one.call("PutLowBalance", threshold=40)
    posting = PlaceHold(Key(PROGRAM, Owner.FUNDING, "USD", "USD"), system_clock(), 100)
    response = journal_pb2.PlaceHoldResponse
    async with asyncio.TaskGroup() as group:
        # Until both processes wait for the account, so that whoever comes second has begun before the first is done.
        async with holding(twins.url, "SELECT 1 FROM accounts WHERE owner = 'USD' FOR UPDATE"):
            for one in twins.each(50):
                group.create_task(one.journal.post(PROGRAM, Item(posting, None, reply), response))
            await waiting(twins.url, 2)
    assert [event["available"] for event in await told(twins.url)] == [39.0]
    assert faults(await findings(twins.url)) == []


@dataclass
class Plain:
    """A balance as a sum, and what it tells of: what is available, and the threshold."""

    cash: int = 0
    held: dict[UUID, int] = field(default_factory=dict)
    threshold: int = 0
    low: bool = False
    told: list[tuple[float, float]] = field(default_factory=list)

    def look(self) -> None:
        available = self.cash - sum(self.held.values())
        if not self.low and available < self.threshold:
            self.low = True
            self.told.append((available / 100, self.threshold / 100))
        elif self.low and (not self.threshold or available > self.threshold + self.threshold // 10):
            self.low = False


class Happens(NamedTuple):
    """Something, of so much, to one of the holds that there are."""

    what: str
    amount: int
    place: int

    def posting(self, key: Key, holds: Sequence[tuple[UUID, int]]) -> Posting | None:
        hold_id, held = holds[self.place % len(holds)] if holds else (None, 0)
        match self.what, hold_id:
            case "deposit", _:
                return Credit(key, system_clock(), self.amount, Category.PURCHASED, Kind.FUND)
            case "alarm", _:
                return SetAlarm(key, system_clock(), self.amount - 1)
            case "hold", _:
                return PlaceHold(key, system_clock(), self.amount)
            case "void", UUID():
                return Void(hold_id, system_clock())
            case "take" | "keep", UUID():
                return Capture(hold_id, system_clock(), min(self.amount, held), keep_rest=self.what == "keep")
        return None

    def on(self, plain: Plain, posting: Posting, posted: journal_pb2.CaptureHoldResponse) -> None:
        """What it does to a sum."""
        match posting:
            case Credit():
                plain.cash += self.amount
            case SetAlarm():
                plain.threshold = self.amount - 1
            case PlaceHold():
                plain.held[UUID(posted.transaction_id)] = self.amount
            case Void():
                plain.held.pop(posting.hold_id)
            case Capture():
                left = plain.held.pop(posting.hold_id) - (posting.amount or 0)
                plain.cash -= posting.amount or 0
                if posted.rest_hold_id:
                    plain.held[UUID(posted.rest_hold_id)] = left
        plain.look()


happens = st.builds(
    Happens,
    what=st.sampled_from(["deposit", "hold", "hold", "take", "keep", "void", "void", "alarm"]),
    amount=st.integers(1, 60),
    place=st.integers(0, 9),
)


@pytest.fixture
async def db(fresh_url: Any) -> AsyncIterator[Database]:
    url = await fresh_url("ledger_svc")
    made = Database(url)
    yield made
    await made.close()
    assert faults(await findings(url)) == []


@settings(
    max_examples=60 * TIMES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(batches=st.lists(st.lists(happens, min_size=1, max_size=8), min_size=3, max_size=8))
async def test_any_batches_tell_what_a_plain_sum_tells(db: Database, batches: Any) -> None:
    plain, key, journal = Plain(), Key(str(new_id()), Owner.FUNDING, "USD", "USD"), Journal(db)
    for batch in ([Happens("deposit", 100, 0), Happens("alarm", 51, 0)], *batches):
        holds = list(plain.held.items())
        asked = [(one, posting) for one in batch if (posting := one.posting(key, holds)) is not None]
        items = [Item(posting, None, replies.captured) for _, posting in asked]
        for (one, posting), result in zip(asked, await journal.post_many(key.program_id, items), strict=True):
            if not isinstance(result, Refused):
                assert isinstance(result, journal_pb2.CaptureHoldResponse)
                one.on(plain, posting, result)
        async with db.read() as tx:
            stands = await store.funding(tx, key.program_id)
        assert [one.low for one in stands] == [plain.low] * len(stands)
    async with db.read() as tx:
        found = await tx.scalars(text(TOLD.replace("%s", ":program_id")), {"program_id": key.program_id})
    assert [(event["available"], event["threshold"]) for event in map(json.loads, found)] == plain.told
