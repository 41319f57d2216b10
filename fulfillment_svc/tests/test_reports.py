"""Reports: what they show is what the ledger's journal and the provider's have, and stays so."""

import csv
import io
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg
import pytest
from rewards.fulfillment.v1 import reports_pb2 as pb
from rewards.fulfillment.v1 import reports_pb2_grpc
from rewards.identity.v1.programs_pb2 import Fee
from rewards.ledger.v1.books_pb2_grpc import BooksServiceStub
from rewards.ledger.v1.movements_pb2 import CapturePointsHoldRequest, CreateHoldRequest
from rewards.ledger.v1.movements_pb2_grpc import MovementsServiceStub
from sqlalchemy import text

from fulfillment_svc.redemptions.wire import timestamp
from fulfillment_svc.reports.books import Books
from fulfillment_svc.reports.servicer import ReportsServicer
from fulfillment_svc.tests.harness import Harness, address
from fulfillment_svc.tests.ordering import ordering
from fulfillment_svc.tests.refusals import reason
from fulfillment_svc.tests.world import Tenant
from svckit.clients import open_channel
from svckit.clock import system_clock
from svckit.testing import headers, partner, serving

FEES = [Fee(currency="USD", basis_points=250, fixed_minor=33)]
# By kind: 7 is what members paid, 9 what the funding did, 10 the fees.
JOURNAL = """
SELECT e.kind, -sum(e.amount)::bigint FROM entries e WHERE e.program_id = %s AND e.kind IN (7, 9, 10) GROUP BY 1"""
OUTSTANDING = "SELECT sum(posted)::bigint FROM accounts WHERE program_id = %s AND owner_kind = 1"


class Reports(NamedTuple):
    """The reports of a tenant, as a clock sees them for which a minute is over already."""

    stub: Any
    tenant: Tenant

    async def get(self, name: str, **fields: Any) -> Any:
        request = getattr(pb, f"Get{name}ReportRequest")(**fields)
        return await getattr(self.stub, f"Get{name}Report")(request, metadata=self._caller())

    async def rows(self, name: str, **fields: Any) -> list[Any]:
        """Of all pages, two rows each."""
        rows, token = [], ""
        while True:
            page = await self.get(name, page_size=2, page_token=token, **fields)
            rows.extend(page.rows)
            if not (token := page.next_page_token):
                return rows

    async def parts(self, name: str, scope: str = "reports:read", **fields: Any) -> AsyncIterator[list[list[str]]]:
        caller = headers(partner(self.tenant.program_id, scope))
        async for part in self.stub.ExportReport(pb.ExportReportRequest(report=name, **fields), metadata=caller):
            assert part.content_type == "text/csv"
            yield list(csv.reader(io.StringIO(part.data.decode(), newline="")))

    async def csv(self, name: str, **fields: Any) -> list[list[str]]:
        return [line async for part in self.parts(name, **fields) for line in part]

    def _caller(self) -> Any:
        return headers(partner(self.tenant.program_id, "reports:read"))


Opened = Callable[[Tenant], AbstractAsyncContextManager[Reports]]


@pytest.fixture
def opened(harness: Harness) -> Opened:
    @asynccontextmanager
    async def reports(tenant: Tenant, ahead: timedelta = timedelta(minutes=2)) -> AsyncIterator[Reports]:
        room, world = await harness.assemble(), harness.world
        books = Books(BooksServiceStub(await world.channel("fulfillment_svc", world.ledger)))
        served = ReportsServicer(harness.db, books, room.saga, lambda: system_clock() + ahead)
        async with (
            serving(world.authority.issue("fulfillment_svc"), [served]) as at,
            open_channel(at, "fulfillment_svc", world.authority.issue("gateway")) as channel,
        ):
            yield Reports(reports_pb2_grpc.ReportsServiceStub(channel), tenant)

    return reports


async def in_ledger(harness: Harness, statement: Any, tenant: Tenant) -> list[Any]:
    async with await psycopg.AsyncConnection.connect(harness.world.ledger.database_url) as connection:
        return await (await connection.execute(statement, (tenant.program_id,))).fetchall()


async def a_history(harness: Harness) -> Tenant:
    """Two redemptions in whole, one in part, one called off."""
    tenant = await harness.tenant(fees=FEES)
    for number in (1, 2):
        await harness.create(tenant, f"whole-{number}", quantity=number, recipient=address())
    cancelled = await harness.create(tenant, "cancelled")
    await harness.cancel(tenant, cancelled.redemption_id)
    await harness.finish(await harness.assemble())
    await harness.provider.fault("part_reject")
    await harness.create(tenant, "part", quantity=3, denomination=12.5)
    await harness.finish(await harness.assemble())
    return tenant


def total(name: str, asset: str, amount: float) -> pb.ReportTotal:
    return pb.ReportTotal(name=name, asset=asset, report=amount, ledger=amount)


async def test_spend_and_redemptions_are_what_the_journal_has(harness: Harness, opened: Opened) -> None:
    tenant = await a_history(harness)
    journal = dict(await in_ledger(harness, JOURNAL, tenant))
    assert journal == {7: 3 * 800 + 1_000, 9: 3 * 1_000 + 1_250, 10: 3 * 58 + 64}
    async with opened(tenant) as reports:
        spent, redeemed = await reports.rows("Spend"), await reports.rows("Redemptions")
        assert [(row.value, row.fees) for row in spent] == [(10, 0.58), (20, 1.16), (12.5, 0.64)]
        assert [(row.points, row.items, row.asset) for row in redeemed] == [
            (800, 1, "PTS"),
            (1_600, 2, "PTS"),
            (1_000, 1, "PTS"),
        ]
        assert [row.redemption_id for row in redeemed] == [row.redemption_id for row in spent]
        assert list((await reports.get("Spend")).totals) == [
            total("fees", "USD", journal[10] / 100),
            total("spent", "USD", journal[9] / 100),
        ]
        assert list((await reports.get("Redemptions")).totals) == [total("redeemed", "PTS", journal[7])]
    statement = await tenant.statement()
    assert {row.transaction_id for row in spent} <= {row.transaction_id for row in statement.rows}


async def test_what_orders_spend_is_what_the_journal_has(harness: Harness, opened: Opened) -> None:
    mine = await ordering(harness, fees=FEES)
    order = await mine.create(value=37.5)
    for key in ("a", "b"):
        await mine.claim(order, key)
        await mine.finish()
    await mine.cancel(order)
    await mine.finish()
    async with opened(mine.tenant) as reports:
        spent = await reports.rows("Spend")
        assert [(row.value, row.fees) for row in spent] == [(12.5, 0.43), (12.5, 0.42)]
        assert list((await reports.get("Spend")).totals) == [total("fees", "USD", 0.85), total("spent", "USD", 25)]
        assert not await reports.rows("Redemptions")
    statement = await mine.tenant.statement()
    assert (statement.spent, statement.fees, statement.closing) == (-25, -0.85, 974.15)
    assert {row.transaction_id for row in spent} <= {row.transaction_id for row in statement.rows}


async def test_what_a_partner_holds_and_captures_himself_is_no_redemption(harness: Harness, opened: Opened) -> None:
    tenant = await harness.tenant()
    stub = MovementsServiceStub(await harness.world.channel("gateway", harness.world.ledger))
    caller = partner(tenant.program_id, "points:write")
    held = await stub.CreateHold(CreateHoldRequest(member_id="m_1", points=100), metadata=headers(caller, "hold"))
    await stub.CapturePointsHold(CapturePointsHoldRequest(hold_id=held.hold_id), metadata=headers(caller, "capture"))
    async with opened(tenant) as reports:
        assert list((await reports.get("Redemptions")).totals) == [total("redeemed", "PTS", 0)]
        assert (await reports.get("Liability")).rows[0].redeemed == 100


async def test_a_period_ends_a_minute_ago_and_then_stays(harness: Harness, opened: Any) -> None:
    tenant = await harness.tenant()
    await harness.create(tenant, "first")
    await harness.finish(await harness.assemble())
    async with opened(tenant, ahead=timedelta(0)) as reports:
        young = await reports.get("Spend")
        assert (list(young.rows), list(young.totals)) == ([], [])
        assert system_clock() - young.to_time.ToDatetime(UTC) >= timedelta(minutes=1)
    between = timestamp(system_clock())
    async with opened(tenant) as reports:
        then = await reports.get("Spend", to_time=between)
        assert len(then.rows) == 1
        await harness.create(tenant, "second")
        await harness.finish(await harness.assemble())
        assert await reports.get("Spend", to_time=between) == then
        after = await reports.get("Spend", from_time=between)
        assert ([row.value for row in after.rows], after.totals[-1].ledger) == ([10], 10)
        early = timestamp(system_clock() - timedelta(days=1))
        assert await reason(reports.get("Spend", from_time=between, to_time=early)) == "INVALID_REQUEST"


async def test_what_is_outstanding_is_what_members_have(harness: Harness, opened: Opened) -> None:
    tenant = await a_history(harness)
    [(balance,)] = await in_ledger(harness, OUTSTANDING, tenant)
    async with opened(tenant) as reports:
        found = await reports.get("Liability", breakage_basis_points=1_000, breakage_version="2026-Q4")
        assert (found.breakage.basis_points, found.breakage.version) == (1_000, "2026-Q4")
        [row] = found.rows
        assert (row.issued, row.redeemed, row.outstanding) == (10_000, 3_400, balance)
        # 1,000 of 10,000 will not be redeemed; of the other 9,000 there were 3,400, and so much of the 1,000.
        assert (row.breakage_expected, row.breakage_recognised, row.liability) == (1_000, 377, 6_223)
        assert row.value == 77.78
        assert list(found.totals) == [total("outstanding", "PTS", balance)]
        assert (await reports.get("Liability")).rows[0].liability == balance
        assert await reason(reports.get("Liability", breakage_basis_points=1)) == "INVALID_REQUEST"


async def test_payees_are_summed_up_by_year(harness: Harness, opened: Opened) -> None:
    tenant = await a_history(harness)
    async with opened(tenant) as reports:
        [row] = await reports.rows("Payees")
        assert (row.payee, row.year, row.payments, row.value) == ("m_1", datetime.now(UTC).year, 3, 42.5)
        assert (row.threshold, row.mark) == (2_000, pb.PayeeRow.BELOW)
        assert [one.report for one in (await reports.get("Payees")).totals] == [42.5]


async def test_what_a_provider_says_otherwise_is_shown(harness: Harness, opened: Opened) -> None:
    tenant = await a_history(harness)
    async with opened(tenant) as reports:
        rows = await reports.rows("Reconciliation")
        assert [(row.value, row.provider_value, row.outcome) for row in rows] == [
            (value, value, pb.ReconciliationRow.MATCHED) for value in (10, 20, 12.5)
        ]
        # A row of ours that says less than the provider does, and than the ledger has.
        planted = "UPDATE redemption_items SET issued = false WHERE number = 2 AND redemption_id = :r"
        await harness.execute(planted, r=rows[1].redemption_id)
        assert [row.outcome for row in await reports.rows("Reconciliation")][1] == pb.ReconciliationRow.DIFFERS
        spent = (await reports.get("Spend")).totals
        assert [(one.name, one.difference) for one in spent] == [("fees", -0.58), ("spent", -10)]


async def test_a_sheet_has_every_row_and_its_sums(harness: Harness, opened: Opened) -> None:
    tenant = await a_history(harness)
    async with opened(tenant) as reports:
        for name, rpc in (("spend", "Spend"), ("redemptions", "Redemptions"), ("payees", "Payees")):
            head, *rows = await reports.csv(name)
            shown = [row for row in rows if row[0] != "TOTAL"]
            assert head == [field.json_name for field in (await reports.rows(rpc))[0].DESCRIPTOR.fields]
            assert len(shown) == len(await reports.rows(rpc))
            assert {len(row) for row in rows} == {len(head)}
            assert {row[5] for row in rows[len(shown) :]} == {"0.0"}
        head, *rows = await reports.csv("liability", breakage_basis_points=1_000, breakage_version="x")
        assert dict(zip(head, rows[0], strict=True))["liability"] == "6223"
        head, *rows = await reports.csv("reconciliation")
        assert [row[-1] for row in rows] == ["MATCHED"] * 3 + [""]
        for names, field in ((("spend",), "value"), (("redemptions",), "points")):
            head, *rows = await reports.csv(*names)
            values = [float(dict(zip(head, row, strict=True))[field]) for row in rows if row[0] != "TOTAL"]
            assert sum(values) == max(float(row[3]) for row in rows if row[0] == "TOTAL")


COPIES = """
INSERT INTO redemptions (program_id, redemption_id, member_id, reward_id, reward_version, reward_name, brand, quantity,
    denomination_minor, currency, points, provider, idempotency_key, created_at, traceparent, state, version, reason,
    attempts, fencing_token, points_booked_at, funding_booked_at, points_hold_id, funding_hold_id)
SELECT :p, gen_random_uuid(), 'm_' || n % 700, 'kaffa-card', 1, 'Kaffa', '=Kaffa', 1, 100, 'USD', 80, 'sandbox', n,
    now(), '', 'FULFILLED', 9, '', 0, 1, now() - n % 50 * interval '1 second', now() - n % 50 * interval '1 second',
    gen_random_uuid(), gen_random_uuid()
FROM generate_series(1, 3000) n"""
ITEMS = """
INSERT INTO redemption_items SELECT program_id, redemption_id, 1, 'x', true FROM redemptions WHERE program_id = :p"""


async def test_many_rows_come_part_by_part_each_once_beside_a_writer(harness: Harness, opened: Opened) -> None:
    tenant = await harness.tenant()
    for statement in (COPIES, ITEMS):
        await harness.execute(statement, p=tenant.program_id)
    async with harness.db.read() as writer, opened(tenant) as reports:
        await writer.execute(
            text("UPDATE redemptions SET brand = 'changed' WHERE program_id = :p"), {"p": tenant.program_id}
        )
        parts = [part async for part in reports.parts("spend")]
        assert [len(part) for part in parts] == [1, *[500] * 6, 2]
        lines = [line for part in parts[1:-1] for line in part]
        assert (len({line[2] for line in lines}), {line[4] for line in lines}) == (3_000, {"'=Kaffa"})
        assert [line[0] for line in lines] == sorted(line[0] for line in lines)
        # Nothing of it was ever posted, and the report says so.
        assert parts[-1][1][:6] == ["TOTAL", "spent", "USD", "3000.0", "0.0", "3000.0"]
        payees = [line for line in await reports.csv("payees") if line[0] not in {"payee", "TOTAL"}]
        assert [line[0] for line in payees] == sorted({f"m_{n}" for n in range(700)})
        assert sum(int(line[3]) for line in payees) == 3_000


async def test_a_sheet_that_breaks_off_has_no_total(harness: Harness, opened: Opened) -> None:
    tenant = await a_history(harness)
    async with opened(tenant) as reports:
        await harness.world.ledger.stop()
        lines: list[list[str]] = []

        async def broken() -> None:
            async for part in reports.parts("spend"):
                lines.extend(part)

        assert await reason(broken()) == "UNAVAILABLE"
        await harness.world.start()
    assert (len(lines), [line[0] for line in lines if line[0] == "TOTAL"]) == (4, [])


async def test_a_stream_is_let_in_like_any_call(harness: Harness, opened: Opened) -> None:
    tenant = await harness.tenant()
    async with opened(tenant) as reports:
        assert await reason(anext(reports.parts("spend", "points:read"))) == "PERMISSION_DENIED"
        assert await reason(anext(reports.parts("gossip"))) == "INVALID_REQUEST"
