"""Cells that are no formulas, periods that are closed, breakage and thresholds: pure."""

import csv
import io
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewards.fulfillment.v1.reports_pb2 import PayeeRow, ReportTotal, SpendRow

from fulfillment_svc.reports import rules, sheet
from fulfillment_svc.reports.rules import FIRST, Mark, Period, breakage, closed, mark, threshold

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def read(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", '=HYPERLINK("x")'])
def test_no_cell_is_a_formula(text: str) -> None:
    assert read(sheet.lines([SpendRow(brand=text)]))[0][4] == f"'{text}"


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.sampled_from(['a,"b"\r\nc', '"', ",", "a\nb"]))
def test_any_text_comes_back_as_it_was_but_for_what_would_be_computed(text: str) -> None:
    [row] = read(sheet.lines([SpendRow(brand=text, value=0.1)]))
    assert (row[4], row[7], len(row)) == (sheet.neutral(text), "0.1", len(SpendRow.DESCRIPTOR.fields))
    assert row[4].removeprefix("'") == text.removeprefix("'")


def test_lines_end_as_the_rfc_says_and_numbers_stay_numbers() -> None:
    data = sheet.lines([SpendRow(value=-1e21, fees=0.58)])
    assert data.endswith(b",-1000000000000000000000,0.58\r\n")
    assert read(sheet.lines([PayeeRow(year=2026, mark=PayeeRow.NEAR)]))[0][-2] == "NEAR"
    total = ReportTotal(name="spent", asset="USD", report=2.5, ledger=3, difference=-0.5)
    assert sheet.totals([total], SpendRow.DESCRIPTOR) == b"TOTAL,spent,USD,2.5,3.0,-0.5,,,\r\n"


@pytest.mark.parametrize(
    ("start", "end", "wanted"),
    [
        (None, None, Period(FIRST, NOW - timedelta(minutes=1))),
        (None, NOW, Period(FIRST, NOW - timedelta(minutes=1))),
        (FIRST, NOW - timedelta(days=1), Period(FIRST, NOW - timedelta(days=1))),
        (NOW, None, Period(NOW, NOW)),
    ],
)
def test_a_period_is_closed(start: datetime | None, end: datetime | None, wanted: Period) -> None:
    assert closed(start, end, NOW) == wanted


@given(st.integers(0, 10**6), st.data(), st.integers(0, 10_000))
def test_a_liability_is_never_more_than_what_is_outstanding(
    issued: int, data: st.DataObject, basis_points: int
) -> None:
    redeemed = data.draw(st.integers(0, issued))
    expired = data.draw(st.integers(0, issued - redeemed))
    outstanding = issued - redeemed - expired
    found = breakage(issued, redeemed, expired, outstanding, basis_points)
    assert 0 <= found.recognised <= found.expected <= issued
    assert 0 <= found.liability <= outstanding
    assert basis_points or found.liability == outstanding
    # What has run out is no liability, and is not recognised a second time.
    assert found.liability + max(found.recognised, expired) + redeemed == max(
        issued, redeemed + max(found.recognised, expired)
    )


@pytest.mark.parametrize(
    ("currency", "year", "wanted"),
    [("USD", 2025, 60_000), ("USD", 2026, 200_000), ("USD", 1999, 60_000), ("EUR", 2026, 0)],
)
def test_a_threshold_is_that_of_its_year(currency: str, year: int, wanted: int) -> None:  # G76
    assert threshold(currency, year) == wanted


@pytest.mark.parametrize(
    ("value", "wanted"),
    [(159_999, Mark.BELOW), (160_000, Mark.NEAR), (199_999, Mark.NEAR), (200_000, Mark.REACHED)],
)
def test_a_payee_is_marked_before_the_threshold(value: int, wanted: Mark) -> None:
    assert mark(value, 200_000) is wanted
    assert mark(value, 0) is Mark.BELOW


def test_thresholds_stand_in_the_order_of_their_years() -> None:
    assert [one.first_year for one in rules.THRESHOLDS] == sorted(one.first_year for one in rules.THRESHOLDS)
