"""The statement of prepaid funding, and fees in it: what moved sums up, and is what the journal says."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rewards.ledger.v1 import funding_pb2, journal_pb2

from ledger_svc.tests.conftest import PROGRAM, SCOPES, Ledger
from ledger_svc.tests.instances import ask
from ledger_svc.verify.report import faults, findings
from svckit.clients import _refusal
from svckit.clock import new_id
from svckit.errors import Reason
from svckit.testing import headers, partner

USD = journal_pb2.AccountRef(funding_currency="USD")
Line = funding_pb2.FundingMovement
# By kind, what the journal says in minor units.
JOURNAL = (
    "SELECT kind, sum(amount)::bigint FROM entries e JOIN accounts a USING (account_id) WHERE a.asset = %s GROUP BY 1"
)


async def deposit(ledger: Ledger, amount: float, currency: str = "") -> None:
    request = funding_pb2.CreateDepositRequest(amount=amount, currency=currency)
    await ledger.funding.CreateDeposit(request, metadata=headers(partner(PROGRAM, *SCOPES), str(new_id())))


async def hold(ledger: Ledger, rpc: str, **fields: Any) -> Any:
    request = getattr(journal_pb2, f"{rpc}Request")(program_id=PROGRAM, **fields)
    return await getattr(ledger.journal, rpc)(request, metadata=(("idempotency-key", str(new_id())),))


async def refused(ledger: Ledger, rpc: str, **fields: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await hold(ledger, rpc, **fields)
    return Reason.Name(_refusal(caught.value).reason)


async def statement(ledger: Ledger, **fields: Any) -> Any:
    request = funding_pb2.GetFundingStatementRequest(**fields)
    return await ledger.funding.GetFundingStatement(request, metadata=headers(partner(PROGRAM, "funding:read")))


def stamp(at: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(at)
    return made


async def spend(ledger: Ledger, amount: int, fee: int, **more: Any) -> Any:
    held = await hold(ledger, "PlaceHold", account=USD, amount=more.pop("held", amount))
    return await hold(ledger, "CaptureHold", hold_id=held.hold_id, amount=amount, fee=fee, **more)


async def test_a_statement_sums_up_and_shows_fees_apart(ledger: Ledger) -> None:
    await deposit(ledger, 100)
    taken = await spend(ledger, 5_150, 150)
    assert taken.balance == 4_850
    await hold(ledger, "PlaceHold", account=USD, amount=1_000)
    found = await statement(ledger)
    assert (found.currency, found.opening, found.closing, found.reserved) == ("USD", 0, 48.5, 10)
    assert (found.deposits, found.spent, found.fees) == (100, -50, -1.5)
    assert [(row.line, row.amount, row.balance_after) for row in found.rows] == [
        (Line.FEE, -1.5, 48.5),
        (Line.SPENT, -50, 50),
        (Line.DEPOSIT, 100, 100),
    ]
    assert [row.charged_on for row in found.rows] == [taken.transaction_id, "", ""]
    assert dict(await ask(ledger.database_url, JOURNAL, "USD")) == {8: 10_000, 9: -5_000, 10: -150}
    assert faults(await findings(ledger.database_url)) == []


async def test_what_holds_may_take_is_told_by_currency(ledger: Ledger) -> None:
    await deposit(ledger, 100)
    await deposit(ledger, 7, "JPY")
    await hold(ledger, "PlaceHold", account=USD, amount=1_000)
    found = await hold(ledger, "GetAvailableFunding")
    assert dict(found.available) == {"JPY": 7, "USD": 9_000}
    nobodys = journal_pb2.GetAvailableFundingRequest(program_id="nobody")
    assert not (await ledger.journal.GetAvailableFunding(nobodys)).available


async def test_periods_that_follow_each_other_add_up_and_a_closed_one_stays(ledger: Ledger) -> None:
    middle = datetime.now(UTC) + timedelta(minutes=30)
    await deposit(ledger, 100)
    await spend(ledger, 1_100, 100)
    held = await hold(ledger, "PlaceHold", account=USD, amount=2_000)
    first = await statement(ledger, to_time=stamp(middle))
    await ledger.program(clock_offset_s=3_600)
    await hold(ledger, "CaptureHold", hold_id=held.hold_id, fee=500)
    await deposit(ledger, 1)
    assert await statement(ledger, to_time=stamp(middle)) == first
    second = await statement(ledger, from_time=stamp(middle))
    assert (first.closing, first.reserved) == (89, 20)
    assert (second.opening, second.deposits, second.spent, second.fees, second.closing) == (89, 1, -15, -5, 70)
    assert second.reserved == 0


async def test_its_rows_are_paged_under_the_same_sums(ledger: Ledger) -> None:
    for amount in (1, 2, 3, 4, 5):
        await deposit(ledger, amount, "EUR")
    whole = await statement(ledger, currency="EUR")
    rows, token = [], ""
    while True:
        page = await statement(ledger, currency="EUR", page_size=2, page_token=token)
        assert (page.deposits, page.closing) == (15, 15)
        rows.extend(page.rows)
        if not (token := page.next_page_token):
            break
    assert rows == list(whole.rows)
    assert (await statement(ledger, currency="CHF")).closing == 0


async def test_a_part_capture_takes_its_part_of_the_fee_and_leaves_the_rest(ledger: Ledger) -> None:
    await deposit(ledger, 100)
    taken = await spend(ledger, 1_030, 30, held=5_150, keep_rest=True)
    found = await statement(ledger)
    assert (found.spent, found.fees, found.reserved) == (-10, -0.3, 41.2)
    await hold(ledger, "VoidHold", hold_id=taken.rest_hold_id)
    assert (await statement(ledger)).reserved == 0
    await spend(ledger, 1_030, 30, held=5_150)
    found = await statement(ledger)
    assert (found.spent, found.fees, found.reserved, found.closing) == (-20, -0.6, 0, 79.4)
    assert faults(await findings(ledger.database_url)) == []


async def test_a_fee_is_less_than_the_amount_and_never_in_points(ledger: Ledger) -> None:
    await deposit(ledger, 100)
    await ledger.credit("m_1", 100)
    member = journal_pb2.AccountRef(member_id="m_1")
    for account in (USD, member):
        held = await hold(ledger, "PlaceHold", account=account, amount=100)
        fee = 100 if account is USD else 1
        assert await refused(ledger, "CaptureHold", hold_id=held.hold_id, fee=fee) == "INVALID_REQUEST"
        await hold(ledger, "CaptureHold", hold_id=held.hold_id)
