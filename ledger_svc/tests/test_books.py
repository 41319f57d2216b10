"""Sums over the whole journal: whatever happened, the vintages and what is owed add up to the balances."""

from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from rewards.ledger.v1 import books_pb2 as pb
from rewards.ledger.v1 import journal_pb2, movements_pb2, points_pb2

from ledger_svc.tests.audited import A_LIFETIME_S, history, hold
from ledger_svc.tests.conftest import PROGRAM, Ledger
from ledger_svc.tests.instances import ask

# Independent of the program's own sums: what each kind moved, and what members and the program have.
BY_KIND = """
SELECT a.owner_kind = 2, a.asset, e.kind, sum(e.amount)::bigint FROM entries e JOIN accounts a USING (account_id)
GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
BALANCE = "SELECT sum(posted)::bigint FROM accounts WHERE owner_kind = 1"
DEBT = "SELECT sum(least(posted - held, 0))::bigint FROM accounts WHERE owner_kind = 1"


def stamp(at: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(at)
    return made


def later(seconds: float) -> Timestamp:
    return stamp(datetime.now(UTC) + timedelta(seconds=seconds))


async def lots(ledger: Ledger, at: Timestamp) -> list[Any]:
    return list((await ledger.books.SumLots(pb.SumLotsRequest(program_id=PROGRAM, to_time=at))).vintages)


async def test_the_sums_are_those_of_the_journal(ledger: Ledger) -> None:
    await history(ledger)
    request = pb.SumPostingsRequest(program_id=PROGRAM, to_time=later(2 * A_LIFETIME_S))
    sums = (await ledger.books.SumPostings(request)).sums
    merged: dict[tuple[bool, str, int], int] = {}
    for one in sums:
        named = (one.funding, one.asset, one.kind)
        merged[named] = merged.get(named, 0) + one.amount
    assert [(*named, amount) for named, amount in sorted(merged.items())] == await ask(ledger.database_url, BY_KIND)


async def test_vintages_add_up_to_the_balances_whatever_happened(ledger: Ledger) -> None:
    await history(ledger)
    await ledger.member("m_9")
    earned = await ledger.credit("m_9", 40)
    await ledger.call("RedeemPoints", points_pb2.RedeemPointsRequest(member_id="m_9", points=30))
    await ledger.move(movements_pb2.ReverseTransactionRequest(transaction_id=earned.transaction_id))
    request = pb.SumLotsRequest(program_id=PROGRAM, to_time=later(2 * A_LIFETIME_S))
    found = await ledger.books.SumLots(request)
    assert [(one.asset, one.points) for one in found.owed] == [("PTS", 30)]
    outstanding = sum(one.outstanding for one in found.vintages)
    [(balance,)], [(debt,)] = await ask(ledger.database_url, BALANCE), await ask(ledger.database_url, DEBT)
    # What a member owes is in no lot.
    assert (outstanding + debt, debt) == (balance, -30)


async def test_a_vintage_keeps_its_month_and_a_past_instant_its_sums(ledger: Ledger) -> None:
    await ledger.member("m_2")
    await ledger.program(transfer_max_points=100)
    await ledger.credit("m_1", 100, expires_at=(datetime.now(UTC) + timedelta(days=50)).isoformat())
    member = journal_pb2.AccountRef(member_id="m_1")
    held = await hold(ledger, "PlaceHold", account=member, amount=30)
    voided = await hold(ledger, "PlaceHold", account=member, amount=5)
    await hold(ledger, "VoidHold", hold_id=voided.hold_id)
    before, first = later(3_600), datetime.now(UTC)
    [then] = await lots(ledger, before)
    assert (then.issued, then.redeemed, then.expired, then.outstanding) == (100, 0, 0, 100)
    await ledger.program(clock_offset_s=40 * 86_400, transfer_max_points=100)
    await ledger.credit("m_1", 7)
    await hold(ledger, "CaptureHold", hold_id=held.hold_id, amount=20)
    await ledger.move(movements_pb2.CreateTransferRequest(from_member_id="m_1", to_member_id="m_2", points=40))
    taken = await ledger.call("RedeemPoints", points_pb2.RedeemPointsRequest(member_id="m_1", points=10))
    await ledger.call("ReversalPoints", points_pb2.ReversalPointsRequest(transaction_id=taken.transaction_id, points=4))
    await ledger.program(clock_offset_s=60 * 86_400)
    await ledger.move(movements_pb2.CreateExpirationsRequest())
    older, newer = await lots(ledger, later(61 * 86_400))
    assert (older.issued, older.redeemed, older.expired, older.outstanding) == (100, 26, 74, 0)
    assert (newer.issued, newer.redeemed, newer.expired, newer.outstanding) == (7, 0, 0, 7)
    assert older.month == first.strftime("%Y-%m")
    assert await lots(ledger, before) == [then]


async def test_a_capture_says_when_it_was_recorded(ledger: Ledger) -> None:
    await ledger.credit("m_1", 10)
    held = await hold(ledger, "PlaceHold", account=journal_pb2.AccountRef(member_id="m_1"), amount=10)
    done = await hold(ledger, "CaptureHold", hold_id=held.hold_id)
    [(recorded_at,)] = await ask(ledger.database_url, "SELECT recorded_at FROM entries WHERE kind = 7")
    assert done.recorded_at.ToDatetime(UTC) == recorded_at


async def test_the_sums_are_those_of_all_accounts_however_many_at_once(ledger: Ledger) -> None:
    await history(ledger)
    until = later(2 * A_LIFETIME_S)
    for rpc, request, sums in (
        ("SumPostings", pb.SumPostingsRequest(program_id=PROGRAM, to_time=until), {"sums": ("amount",)}),
        ("SumLots", pb.SumLotsRequest(program_id=PROGRAM, to_time=until), {"vintages": ("issued", "outstanding")}),
    ):
        call = getattr(ledger.books, rpc)
        [(field, names)] = sums.items()
        whole, parts = await call(request), []
        request.page_size = 1
        while True:
            parts.append(await call(request))
            if not (token := parts[-1].next_page_token):
                break
            request.page_token = token
        assert (whole.next_page_token, len(parts)) == ("", 5)
        for name in names:
            added = sum(getattr(one, name) for part in parts for one in getattr(part, field))
            assert added == sum(getattr(one, name) for one in getattr(whole, field))
