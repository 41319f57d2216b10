"""What the ledger's journal has of a period, to hold our own sums against."""

from collections import Counter
from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from google.protobuf.timestamp_pb2 import Timestamp
from rewards.fulfillment.v1.reports_pb2 import ReportTotal
from rewards.ledger.v1.books_pb2 import SumLotsRequest, SumLotsResponse, SumPostingsRequest
from rewards.ledger.v1.points_pb2 import Transaction

from fulfillment_svc.reports.rules import Period
from svckit import money
from svckit.clients import invoke

if TYPE_CHECKING:
    from rewards.ledger.v1.books_pb2_grpc import BooksServiceAsyncStub

# All of a large program's postings are read for a sum.
PATIENCE_S: Final = 60.0
Sums = Counter[tuple[str, str]]


class Books:
    """Asks the ledger."""

    def __init__(self, stub: "BooksServiceAsyncStub") -> None:
        self._stub = stub

    async def sums(self, program_id: str, period: Period) -> Sums:
        """By name and asset what was "spent", the "fees", what was "redeemed" as rewards, and by how much all points
        changed."""
        request = SumPostingsRequest(program_id=program_id, from_time=stamp(period.start), to_time=stamp(period.end))
        found = await invoke(self._stub.SumPostings, request, timeout_s=PATIENCE_S)
        sums: Sums = Counter()
        for one in found.sums:
            if one.funding and one.kind == Transaction.SETTLE:
                sums["spent", one.asset] -= one.amount
            elif one.funding and one.kind == Transaction.FEE:
                sums["fees", one.asset] -= one.amount
            elif not one.funding:
                sums["outstanding", one.asset] += one.amount
                if one.kind == Transaction.CAPTURE and not one.partner:
                    sums["redeemed", one.asset] -= one.amount
        return sums

    async def lots(self, program_id: str, at: datetime) -> SumLotsResponse:
        """What became of points until `at`, by the month in which they were earned."""
        request = SumLotsRequest(program_id=program_id, to_time=stamp(at))
        return await invoke(self._stub.SumLots, request, timeout_s=PATIENCE_S)

    async def totals(self, program_id: str, period: Period, names: Collection[str], ours: Sums) -> list[ReportTotal]:
        """Our sums beside the journal's of these names, for each asset that either has."""
        theirs = await self.sums(program_id, period)
        keys = sorted(key for key in {*ours, *theirs} if key[0] in names)
        return [_total(name, asset, ours[name, asset], theirs[name, asset]) for name, asset in keys]


def stamp(at: datetime) -> Timestamp:
    """`at` as protobuf has it."""
    made = Timestamp()
    made.FromDatetime(at)
    return made


def _total(name: str, asset: str, ours: int, theirs: int) -> ReportTotal:
    exponent = money.exponent(asset) if name in {"spent", "fees"} else 0
    report, ledger, difference = (float(Decimal(one).scaleb(-exponent)) for one in (ours, theirs, ours - theirs))
    return ReportTotal(name=name, asset=asset, report=report, ledger=ledger, difference=difference)
