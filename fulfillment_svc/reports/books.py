"""What the ledger's journal has of a period, to hold our own sums against."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Iterator
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, NamedTuple

from rewards.fulfillment.v1.reports_pb2 import ReportTotal
from rewards.ledger.v1.books_pb2 import PostingSum, SumLotsRequest, SumPostingsRequest, Vintage
from rewards.ledger.v1.points_pb2 import Transaction

from fulfillment_svc.redemptions.wire import timestamp
from fulfillment_svc.reports.rules import Period
from svckit import money
from svckit.clients import invoke

if TYPE_CHECKING:
    from rewards.ledger.v1.books_pb2_grpc import BooksServiceAsyncStub

Sums = Counter[tuple[str, str]]


class Lots(NamedTuple):
    """Vintages in order of asset and month, and what members owe of each asset, which is in none of them."""

    vintages: list[Vintage]
    owed: list[tuple[str, int]]


class Books:
    """Asks the ledger."""

    def __init__(self, stub: "BooksServiceAsyncStub") -> None:
        self._stub = stub

    async def sums(self, program_id: str, period: Period) -> Sums:
        """By name and asset what was "spent", the "fees", what was "redeemed" as rewards, and by how much all points
        changed."""
        request = SumPostingsRequest(
            program_id=program_id, from_time=timestamp(period.start), to_time=timestamp(period.end)
        )
        sums: Sums = Counter()
        async for found in _pages(self._stub.SumPostings, request):
            for one in found.sums:
                for name, amount in _named(one):
                    sums[name, one.asset] += amount
        return sums

    async def lots(self, program_id: str, at: datetime) -> Lots:
        """What became of points until `at`, by the month in which they were earned, and what members owe."""
        request = SumLotsRequest(program_id=program_id, to_time=timestamp(at))
        vintages: dict[tuple[str, str], Vintage] = {}
        owed: Counter[str] = Counter()
        async for found in _pages(self._stub.SumLots, request):
            for one in found.vintages:
                known = vintages.setdefault((one.asset, one.month), Vintage(asset=one.asset, month=one.month))
                for name in ("issued", "redeemed", "expired", "outstanding"):
                    setattr(known, name, getattr(known, name) + getattr(one, name))
            owed.update({one.asset: one.points for one in found.owed})
        return Lots([vintages[key] for key in sorted(vintages)], sorted(owed.items()))

    async def totals(self, program_id: str, period: Period, names: Collection[str], ours: Sums) -> list[ReportTotal]:
        """Our sums beside the journal's of these names, for each asset that either has."""
        theirs = await self.sums(program_id, period)
        keys = sorted(key for key in {*ours, *theirs} if key[0] in names)
        return [_total(name, asset, ours[name, asset], theirs[name, asset]) for name, asset in keys]


async def _pages(rpc: Any, request: SumPostingsRequest | SumLotsRequest) -> AsyncIterator[Any]:
    """Each answer about some of the program's accounts, until all had their turn."""
    while True:
        found = await invoke(rpc, request)
        yield found
        if not found.next_page_token:
            return
        request.page_token = found.next_page_token


def _named(one: PostingSum) -> Iterator[tuple[str, int]]:
    """What a sum of postings counts for."""
    if one.funding and one.kind == Transaction.SETTLE:
        yield "spent", -one.amount
    elif one.funding and one.kind == Transaction.FEE:
        yield "fees", -one.amount
    elif not one.funding:
        yield "outstanding", one.amount
        if one.kind == Transaction.CAPTURE and not one.partner:
            yield "redeemed", -one.amount


def _total(name: str, asset: str, ours: int, theirs: int) -> ReportTotal:
    exponent = money.exponent(asset) if name in {"spent", "fees"} else 0
    report, ledger, difference = (float(Decimal(one).scaleb(-exponent)) for one in (ours, theirs, ours - theirs))
    return ReportTotal(name=name, asset=asset, report=report, ledger=ledger, difference=difference)
