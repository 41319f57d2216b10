"""The RPCs of the reports."""

from collections.abc import AsyncIterator, Mapping
from typing import Any, TypeVar

from google.api.httpbody_pb2 import HttpBody
from google.protobuf.message import Message
from rewards.fulfillment.v1 import reports_pb2 as pb
from rewards.fulfillment.v1.reports_pb2_grpc import ReportsServiceServicer

from fulfillment_svc.redemptions.saga import Saga
from fulfillment_svc.redemptions.wire import timestamp
from fulfillment_svc.reports import sheet, wire
from fulfillment_svc.reports.books import Books
from fulfillment_svc.reports.kinds import Liability, Paid, Payees, Reconciliation, Redeemed, Report, Scope
from fulfillment_svc.tables import programs
from svckit import call, paging
from svckit.clock import Clock
from svckit.db import Database

Response = TypeVar("Response", bound=Message)


class ReportsServicer(ReportsServiceServicer):
    """Reports as JSON, a page at a time, and as CSV, all of it."""

    def __init__(self, db: Database, books: Books, saga: Saga, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._reports: Mapping[str, Report] = {
            "spend": Paid(db, books),
            "redemptions": Redeemed(db, books),
            "liability": Liability(books),
            "payees": Payees(db, books),
            "reconciliation": Reconciliation(db, books, saga),
        }

    async def GetSpendReport(self, request: pb.GetSpendReportRequest, context: Any) -> pb.GetSpendReportResponse:
        """What the funding paid."""
        return await self._page("spend", request, pb.GetSpendReportResponse)

    async def GetRedemptionsReport(
        self, request: pb.GetRedemptionsReportRequest, context: Any
    ) -> pb.GetRedemptionsReportResponse:
        """What members paid."""
        return await self._page("redemptions", request, pb.GetRedemptionsReportResponse)

    async def GetLiabilityReport(
        self, request: pb.GetLiabilityReportRequest, context: Any
    ) -> pb.GetLiabilityReportResponse:
        """What is outstanding."""
        scope = await self._scope(request)
        report = self._reports["liability"]
        rows: Any = (await report.page(scope, None, paging.MAX_SIZE)).rows
        return pb.GetLiabilityReportResponse(
            from_time=timestamp(scope.period.start),
            to_time=timestamp(scope.period.end),
            rows=rows,
            totals=await report.totals(scope),
            breakage=pb.Breakage(basis_points=request.breakage_basis_points, version=request.breakage_version),
        )

    async def GetPayeesReport(self, request: pb.GetPayeesReportRequest, context: Any) -> pb.GetPayeesReportResponse:
        """What each payee got."""
        return await self._page("payees", request, pb.GetPayeesReportResponse)

    async def GetReconciliationReport(
        self, request: pb.GetReconciliationReportRequest, context: Any
    ) -> pb.GetReconciliationReportResponse:
        """What was paid for, against what the providers say."""
        return await self._page("reconciliation", request, pb.GetReconciliationReportResponse)

    async def ExportReport(self, request: pb.ExportReportRequest, context: Any) -> AsyncIterator[HttpBody]:
        """All rows, a page at a time, then the sums."""
        scope, report = await self._scope(request), self._reports[request.report]
        yield _sheet(sheet.header(report.row))
        place: list[str] | None = None
        while True:
            rows, last = await report.page(scope, place, paging.MAX_SIZE)
            if rows:
                yield _sheet(sheet.lines(rows))
            if last is None:
                break
            place = list(last)
        yield _sheet(sheet.totals(await report.totals(scope), report.row))

    async def _page(self, name: str, request: Any, response: type[Response]) -> Response:
        report = self._reports[name]
        place = paging.place(request, report.parts)
        scope = await self._scope(request)
        rows, last = await report.page(scope, place, paging.size(request.page_size))
        made: Any = response
        answer: Response = made(
            from_time=timestamp(scope.period.start),
            to_time=timestamp(scope.period.end),
            rows=rows,
            totals=await report.totals(scope),
            next_page_token="" if last is None else paging.token(request, *last),
        )
        return answer

    async def _scope(self, request: Any) -> Scope:
        program = await programs.read(self._db, call.current().program_id)
        period = wire.period(request, program.now(self._clock))
        return Scope(program, period, getattr(request, "breakage_basis_points", 0))


def _sheet(data: bytes) -> HttpBody:
    return HttpBody(content_type=sheet.CONTENT_TYPE, data=data)
