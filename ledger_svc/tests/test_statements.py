"""Statements through the real server, interceptors and PostgreSQL."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict, ParseDict
from rewards.identity.v1 import programs_pb2
from rewards.ledger.v1 import points_pb2 as pb
from rewards.ledger.v1 import points_pb2_grpc

from ledger_svc.__main__ import servicers
from ledger_svc.journal import store as journal_store
from ledger_svc.journal.book import Event, Posted, Posting
from ledger_svc.journal.engine import Item, Journal
from ledger_svc.journal.holdings import Capture, PlaceHold, Void
from ledger_svc.journal.postings import Credit, Earn, Redeem
from ledger_svc.journal.undoings import Reverse
from ledger_svc.journal.values import TICK, Category, Key, Kind, Owner
from ledger_svc.statements import rules
from ledger_svc.tables import programs
from svckit.call import Kind as Caller
from svckit.call import Principal
from svckit.clients import _refusal, open_channel
from svckit.clock import new_id
from svckit.db import Database
from svckit.errors import Reason
from svckit.testing import headers, partner, serving

PROGRAM, OTHER = "sandbox-test", "sandbox-other"
MEMBER = Key(PROGRAM, Owner.MEMBER, "m_1", "PTS")
DAY = timedelta(days=1)
T0 = datetime(2026, 1, 1, tzinfo=UTC)
READER = partner(PROGRAM, "points:read")
SUMS = ("GetBalance", "GetStatementSummary", "GetStatementByCategory", "GetTransactionHistory")
LISTS = ("GetLots", "GetExpirySchedule")


@dataclass
class Reads:
    """Posts through the engine at chosen times, and reads through the front door as JSON."""

    points: Any
    journal: Journal
    db: Database

    async def post(self, posting: Posting) -> Posted:
        seen: list[Posted] = []

        def reply(posted: Posted) -> Empty:
            seen.append(posted)
            return Empty()

        (result,) = await self.journal.post_many(PROGRAM, [Item(posting, None, reply)])
        if isinstance(result, BaseException):
            raise result
        return seen[0]

    async def credit(
        self, day: int, points: int, expires: int | None = None, category: Category = Category.BONUS
    ) -> Posted:
        expires_at = None if expires is None else T0 + expires * DAY
        return await self.post(Credit(MEMBER, T0 + day * DAY, points, category, expires_at=expires_at))

    async def ask(self, rpc: str, /, caller: Principal = READER, **body: Any) -> dict[str, Any]:
        """The answer's JSON, for a request that is JSON too: names as partners write them."""
        method = pb.DESCRIPTOR.services_by_name["PointsService"].methods_by_name[rpc]
        request = ParseDict({"memberId": "m_1"} | body, getattr(pb, method.input_type.name)())
        answer = await getattr(self.points, rpc)(request, timeout=10, metadata=headers(caller))
        found: dict[str, Any] = MessageToDict(answer, always_print_fields_with_no_presence=True)
        return found

    async def refused(self, rpc: str, /, caller: Principal = READER, **body: Any) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.ask(rpc, caller=caller, **body)
        return Reason.Name(_refusal(caught.value).reason)


@pytest.fixture
async def url(fresh_url: Any) -> str:
    made: str = await fresh_url("ledger_svc")
    return made


@pytest.fixture
async def reads(url: str, authority: Any) -> AsyncIterator[Reads]:
    db = Database(url)

    async def settle(tx: Any) -> None:
        for program_id in (PROGRAM, OTHER):
            program = programs_pb2.Program(
                program_id=program_id, time_zone="Europe/Berlin", currency="USD", asset="PTS"
            )
            await programs.store(tx, program)
        await journal_store.store_member(tx, PROGRAM, "m_1", active=True, version=1)

    await db.transact(settle)
    async with serving(authority.issue("ledger_svc"), servicers(db, Journal(db), b"k")) as address:
        async with open_channel(address, "ledger_svc", authority.issue("gateway")) as gateway:
            yield Reads(points_pb2_grpc.PointsServiceStub(gateway), Journal(db), db)
    await db.close()


def on(day: float) -> str:
    return (T0 + day * DAY).isoformat().replace("+00:00", "Z")


def between(start: float, end: float) -> dict[str, Any]:
    return {"from": on(start), "to": on(end)}


async def test_a_summary_has_each_kind_in_its_line_and_sums(reads: Reads) -> None:
    await reads.credit(1, 1_000, expires=30)
    taken = await reads.post(Redeem(MEMBER, T0 + 2 * DAY, 300))
    await reads.post(Reverse(taken.transaction_id, T0 + 3 * DAY, 100))
    hold = await reads.post(PlaceHold(MEMBER, T0 + 4 * DAY, 50))
    await reads.post(Capture(hold.transaction_id, T0 + 5 * DAY, 20))
    await reads.credit(40, 7, category=Category.PARTNER)
    whole = await reads.ask("GetStatementSummary")
    assert whole == {
        "opening": "0",
        "earned": "1007",
        "redeemed": "-320",
        "reversed": "100",
        "expired": "-780",
        "adjusted": "0",
        "transferredIn": "0",
        "transferredOut": "0",
        "closing": "7",
    }
    rows = (await reads.ask("GetStatementByCategory"))["rows"]
    assert [(row["category"], int(row["points"])) for row in rows] == [
        ("BONUS", 1_000),
        ("SPEND", 0),
        ("REDEEM", -220),
        ("PARTNER", 7),
        ("PURCHASED", 0),
        ("EXPIRED", -780),
        ("ADJUST", 0),
    ]


def test_a_transfer_has_a_line_a_direction() -> None:
    moved = [rules.Movement(Kind.TRANSFER, Category.ADJUST, points) for points in (5, -7)]
    lines = rules.lines(moved)
    assert (lines[rules.Line.TRANSFERRED_IN], lines[rules.Line.TRANSFERRED_OUT]) == (5, -7)


def test_every_kind_has_a_line() -> None:
    assert {rules.line(rules.Movement(kind, Category.BONUS, 1)) for kind in Kind} <= set(rules.Line)


async def test_periods_are_half_open_and_follow_on(reads: Reads) -> None:
    await reads.credit(1, 10)
    await reads.credit(2, 20)
    first = await reads.ask("GetStatementSummary", to=on(2))
    second = await reads.ask("GetStatementSummary", **between(2, 3))
    assert (first["earned"], first["closing"]) == ("10", "10")
    assert (second["opening"], second["earned"], second["closing"]) == ("10", "20", "30")
    nothing = await reads.ask("GetStatementSummary", **between(2, 2))
    assert (nothing["opening"], nothing["closing"]) == ("10", "10")
    assert await reads.refused("GetStatementSummary", **between(2, 1)) == "INVALID_REQUEST"
    assert await reads.refused("GetStatementByCategory", **between(2, 1)) == "INVALID_REQUEST"


async def test_a_backdated_posting_is_in_the_period_it_was_recorded_in(reads: Reads) -> None:
    await reads.credit(1, 10)
    closed = await reads.ask("GetStatementSummary", to=on(5))
    late = Event("e-1", new_id(), "m_1", "purchase", None, "USD", T0 + 2 * DAY, T0 + 6 * DAY, 90)
    await reads.post(Earn(MEMBER, T0 + 6 * DAY, late))
    assert await reads.ask("GetStatementSummary", to=on(5)) == closed
    assert (await reads.ask("GetBalance", asOf=on(5)))["balance"] == closed["closing"] == "10"
    assert (await reads.ask("GetStatementSummary", **between(5, 7)))["earned"] == "90"
    newest = (await reads.ask("GetTransactionHistory"))["transactions"][0]
    assert (newest["recordedAt"], newest["occurredAt"]) == (on(6), on(2))


async def test_the_balance_as_of_an_instant_counts_entries_recorded_at_it(reads: Reads) -> None:
    await reads.credit(1, 10)
    at = T0 + DAY
    for instant, balance in ((at - TICK, "0"), (at, "10"), (at + TICK, "10")):
        found = await reads.ask("GetBalance", asOf=instant.isoformat())
        assert found["balance"] == balance
        assert datetime.fromisoformat(found["asOf"]) == instant


async def test_points_are_gone_from_their_expiry_on_however_late_it_is_posted(reads: Reads) -> None:  # G3
    await reads.credit(1, 10, expires=5)
    assert (await reads.ask("GetBalance", asOf=on(5)))["balance"] == "0"
    await reads.credit(9, 1)
    for day, balance in ((4.9, "10"), (5, "0"), (8, "0"), (9.1, "1")):
        assert (await reads.ask("GetBalance", asOf=on(day)))["balance"] == balance
    summary = await reads.ask("GetStatementSummary", to=on(8))
    assert (summary["expired"], summary["closing"]) == ("0", "10")


async def test_held_points_stay_until_the_hold_is_given_up(reads: Reads) -> None:  # G5
    await reads.credit(1, 10, expires=5)
    hold = await reads.post(PlaceHold(MEMBER, T0 + 2 * DAY, 4))
    assert (await reads.ask("GetExpirySchedule")) == {"rows": []}  # what is not held has run out long ago
    await reads.post(Void(hold.transaction_id, T0 + 7 * DAY))
    for day, state in ((3, (10, 6, 4)), (6, (4, 0, 4)), (7, (0, 0, 0)), (8, (0, 0, 0))):
        found = await reads.ask("GetBalance", asOf=on(day))
        assert tuple(int(found[name]) for name in ("balance", "available", "held")) == state


async def test_what_a_capture_leaves_of_points_that_ran_out_while_held(reads: Reads) -> None:
    """The rest is gone at once, and its expiry waits to be posted; before the capture it was held."""
    await reads.credit(1, 10, expires=5)
    hold = await reads.post(PlaceHold(MEMBER, T0 + 2 * DAY, 10))
    await reads.post(Capture(hold.transaction_id, T0 + 7 * DAY, 4))
    for posted_later in (False, True):
        for day, state in ((4, (10, 10)), (6, (10, 10)), (8, (0, 0))):
            found = await reads.ask("GetBalance", asOf=on(day))
            assert tuple(int(found[name]) for name in ("balance", "held")) == state
        if not posted_later:
            await reads.credit(9, 1)


async def test_a_hold_given_up_at_one_instant_with_other_calls(reads: Reads) -> None:
    """What a void thaws stands right behind what had run out before, and all of it at one instant."""
    at = T0 + 7 * DAY
    await reads.credit(1, 10, expires=4)
    await reads.credit(1, 10, expires=6)
    hold = await reads.post(PlaceHold(MEMBER, T0 + 2 * DAY, 15))
    other = await reads.post(PlaceHold(MEMBER, T0 + 2 * DAY, 3))
    await reads.post(Void(hold.transaction_id, at))
    await reads.post(Credit(MEMBER, at, 1, Category.BONUS))
    await reads.post(Void(other.transaction_id, at))
    for day, state in ((3, (20, 18)), (5, (20, 18)), (6.5, (18, 18)), (8, (1, 0))):
        found = await reads.ask("GetBalance", asOf=on(day))
        assert tuple(int(found[name]) for name in ("balance", "held")) == state


async def test_the_schedule_is_in_order_and_leaves_out_what_never_expires(reads: Reads) -> None:
    far = 365 * 50
    await reads.credit(1, 10, expires=far + 2)
    await reads.credit(1, 20, expires=far + 1)
    await reads.credit(1, 5, expires=far + 2)
    await reads.credit(1, 40)
    await reads.post(PlaceHold(MEMBER, T0 + 2 * DAY, 8))
    rows = (await reads.ask("GetExpirySchedule"))["rows"]
    assert rows == [{"expiresAt": on(far + 1), "points": "12"}, {"expiresAt": on(far + 2), "points": "15"}]


async def test_an_instant_to_come_is_refused(reads: Reads) -> None:
    assert await reads.refused("GetBalance", asOf="2999-01-01T00:00:00Z") == "INVALID_REQUEST"
    assert await reads.refused("GetBalance", asOf="0001-01-01T00:00:00Z") == "INVALID_REQUEST"
    assert (await reads.ask("GetBalance", asOf="1970-01-01T00:00:00Z"))["balance"] == "0"


@pytest.mark.parametrize("rpc", SUMS + LISTS)
async def test_who_may_read(reads: Reads, rpc: str) -> None:
    await reads.ask(rpc)  # a member who never had a point reads nothing, and no error
    await reads.credit(1, 10)
    assert await reads.refused(rpc, memberId="nobody") == "MEMBER_NOT_FOUND"
    assert await reads.refused(rpc, caller=partner(OTHER, "points:read")) == "MEMBER_NOT_FOUND"
    assert await reads.refused(rpc, caller=partner(PROGRAM, "points:write")) == "PERMISSION_DENIED"
    assert await reads.refused(rpc, asset="MILES") == "INVALID_REQUEST"
    own = Principal(Caller.MEMBER, "t", PROGRAM, member_id="m_1")
    assert await reads.ask(rpc, caller=own, memberId="") or rpc in LISTS
    assert await reads.refused(rpc, caller=own, memberId="m_2") == "MEMBER_NOT_FOUND"


async def test_history_pages_through_a_period_and_kinds(reads: Reads) -> None:  # G63
    for day in range(1, 9):
        await reads.credit(day, day)
        await reads.post(Redeem(MEMBER, T0 + (day + 0.5) * DAY, 1))
    asked = between(2, 8) | {"kinds": ["EARN"], "pageSize": 4}
    seen: list[int] = []
    token = ""
    for _ in range(2):
        page = await reads.ask("GetTransactionHistory", **asked, pageToken=token)
        seen += [int(t["points"]) for t in page["transactions"]]
        token = page["nextPageToken"]
        await reads.credit(9, 1)  # what is newer does not shift the next page
    assert (seen, token) == ([7, 6, 5, 4, 3, 2], "")
    page = await reads.ask("GetTransactionHistory", **asked)
    assert await reads.refused("GetTransactionHistory", pageToken=page["nextPageToken"]) == "INVALID_REQUEST"


async def test_lots_come_in_burn_order_now_and_as_they_were(reads: Reads) -> None:  # G2
    async def lots(**asked: Any) -> list[int]:
        return [int(lot["remaining"]) for lot in (await reads.ask("GetLots", **asked))["lots"]]

    for expires, points in ((None, 10), (365 * 51, 7), (365 * 50, 5)):
        await reads.credit(1, points, expires=expires)
    await reads.post(Redeem(MEMBER, T0 + 3 * DAY, 6))
    assert await lots() == [6, 10]
    assert await lots(asOf=on(2)) == [5, 7, 10]
    token = (await reads.ask("GetLots", asOf=on(2), pageSize=2))["nextPageToken"]
    assert await lots(asOf=on(2), pageToken=token) == [10]
    assert await reads.refused("GetLots", pageToken=token) == "INVALID_REQUEST"
