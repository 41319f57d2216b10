"""Events as requests bring them."""

from datetime import datetime
from fractions import Fraction

from rewards.ledger.v1 import points_pb2 as pb

from ledger_svc.journal import wire
from ledger_svc.journal.book import Event
from svckit import money
from svckit.clock import new_id
from svckit.programs import Program


def amount(program: Program, request: pb.InsertTransactionDataRequest) -> Fraction | None:
    """The event's amount in major units; None without one, or in a currency that no rule has a rate for."""
    if not request.HasField("amount"):
        return None
    currency = request.currency or program.currency
    amount_minor = money.minor(request.amount, currency, "amount")
    if currency != program.currency:
        return None
    return Fraction(amount_minor, 10 ** money.exponent(currency))


def event(program: Program, request: pb.InsertTransactionDataRequest, now: datetime, points: int) -> Event:
    """The event as it is kept. Raises INVALID_REQUEST for an amount or a time that cannot be."""
    transaction_id = new_id()
    currency = request.currency or program.currency
    has_amount = request.HasField("amount")
    return Event(
        event_id=request.event_id or str(transaction_id),
        transaction_id=transaction_id,
        member_id=request.member_id,
        type=request.type,
        amount_minor=money.minor(request.amount, currency, "amount") if has_amount else None,
        currency=currency,
        occurred_at=wire.instant(request.occurred_at, "occurredAt") if request.HasField("occurred_at") else now,
        received_at=now,
        points=points,
    )
