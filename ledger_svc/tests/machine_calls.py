"""Each operation as a call: the request that the ledger gets, and what it means to the oracle."""

from datetime import datetime
from fractions import Fraction

from google.protobuf.timestamp_pb2 import Timestamp
from rewards.ledger.v1 import adjustments_pb2, funding_pb2, journal_pb2, movements_pb2, points_pb2

from ledger_svc.tests import oracle_operations as does
from ledger_svc.tests.machine_world import Call
from ledger_svc.tests.oracle import FUNDING, Owner

CATEGORIES = {"BONUS": 1, "SPEND": 2, "REDEEM": 3, "PARTNER": 4, "PURCHASED": 5, "EXPIRED": 6, "ADJUST": 7}

CAPTURERS = ("partner", "saga", "order")


def stamp(at: datetime) -> Timestamp:
    made = Timestamp()
    made.FromDatetime(at)
    return made


def credit(owner: Owner, points: int, category: str, until: datetime | None, written: str) -> Call:
    """`written` is how the request says `until`: as an instant or as a date."""
    request = points_pb2.CreateCreditRequest(
        member_id=owner[0],
        asset=owner[1],
        points=points,
        category=points_pb2.Category.Value(category),
        expires_at=written,
    )
    return Call("CreateCredit", request, lambda o, name: does.credit(o, name, owner, points, category, until))


def event(owner: Owner, cents: int | None, what: tuple[str, str, str], occurred_at: datetime | None) -> Call:
    """`what` is the type, the event id and the currency."""
    event_type, event_id, currency = what
    request = points_pb2.InsertTransactionDataRequest(
        member_id=owner[0], asset=owner[1], type=event_type, event_id=event_id, currency=currency
    )
    if cents is not None:
        request.amount = cents / 100
    if occurred_at is not None:
        request.occurred_at.FromDatetime(occurred_at)
    amount = None if cents is None or currency == "EUR" else Fraction(cents, 100)
    did = does.Event(event_type, event_id, amount, occurred_at)
    return Call("InsertTransactionData", request, lambda o, name: does.event(o, name, owner, did))


def redeem(owner: Owner, points: int, worth_minor: int | None) -> Call:
    request = points_pb2.RedeemPointsRequest(member_id=owner[0], asset=owner[1], points=points)
    if worth_minor is not None:
        request.amount = worth_minor / 100
    return Call("RedeemPoints", request, lambda o, name: does.redeem(o, name, owner, points, worth_minor))


def reverse(transaction: str, points: int | None) -> Call:
    request = points_pb2.ReversalPointsRequest(transaction_id=transaction, points=points)
    return Call("ReversalPoints", request, lambda o, name: does.reverse(o, name, transaction, points))


def claw_back(transaction: str, amount: int | None) -> Call:
    request = movements_pb2.ReverseTransactionRequest(transaction_id=transaction, amount=amount)
    return Call("ReverseTransaction", request, lambda o, name: does.claw_back(o, name, transaction, amount))


def transfer(source: str, target: str, asset: str, points: int) -> Call:
    request = movements_pb2.CreateTransferRequest(
        from_member_id=source, to_member_id=target, asset=asset, points=points
    )
    return Call(
        "CreateTransfer", request, lambda o, name: does.transfer(o, name, (source, asset), (target, asset), points)
    )


def deposit(cents: int, currency: str) -> Call:
    request = funding_pb2.CreateDepositRequest(amount=cents / 100, currency=currency)
    owner = (FUNDING, currency or "USD")
    return Call("CreateDeposit", request, lambda o, name: does.credit(o, name, owner, cents, "PURCHASED"))


def hold(program_id: str, owner: Owner, amount: int, until: datetime | None, *, saga: bool) -> Call:
    """A partner's hold, or one that an order places for a saga; funding is for sagas only."""
    if not saga and owner[0] != FUNDING:
        text = "" if until is None else until.isoformat()
        mine = movements_pb2.CreateHoldRequest(member_id=owner[0], asset=owner[1], points=amount, expires_at=text)
        return Call("CreateHold", mine, lambda o, name: does.hold(o, name, owner, amount, until, partner=True))
    points = journal_pb2.AccountRef(member_id=owner[0], asset=owner[1])
    account = journal_pb2.AccountRef(funding_currency=owner[1]) if owner[0] == FUNDING else points
    request = journal_pb2.PlaceHoldRequest(program_id=program_id, account=account, amount=amount)
    if until is not None:
        request.expires_at.FromDatetime(until)
    return Call("PlaceHold", request, lambda o, name: does.hold(o, name, owner, amount, until, partner=False))


def capture(program_id: str, held: str, amount: int | None, by: str) -> Call:
    """By one of CAPTURERS; an order holds on to what it does not capture."""
    if by == "partner":
        mine = movements_pb2.CapturePointsHoldRequest(hold_id=held, points=amount)
        return Call("CapturePointsHold", mine, lambda o, _: does.capture(o, "", held, amount, partner=True))
    on = by == "order"
    request = journal_pb2.CaptureHoldRequest(program_id=program_id, hold_id=held, amount=amount, keep_rest=on)
    return Call("CaptureHold", request, lambda o, rest: does.capture(o, rest, held, amount, partner=False, keeps=on))


def void(program_id: str, held: str, *, saga: bool) -> Call:
    if saga:
        request = journal_pb2.VoidHoldRequest(program_id=program_id, hold_id=held)
        return Call("VoidHold", request, lambda o, _: does.void(o, held, partner=False))
    mine = movements_pb2.VoidPointsHoldRequest(hold_id=held)
    return Call("VoidPointsHold", mine, lambda o, _: does.void(o, held, partner=True))


def adjust(owner: Owner, points: int, since: datetime | None, until: tuple[datetime | None, str]) -> Call:
    """`until` is when added points run out, and how the request says so."""
    request = adjustments_pb2.CreateAdjustmentRequest(
        member_id=owner[0], asset=owner[1], points=points, reason_code="GOODWILL", expires_at=until[1]
    )
    if since is not None:
        request.effective_at.FromDatetime(since)
    return Call("CreateAdjustment", request, lambda o, name: does.adjust(o, name, owner, points, since, until[0]))


def decide(adjustment: str, credential: str, *, approve: bool) -> Call:
    if approve:
        request = adjustments_pb2.ApproveAdjustmentRequest(adjustment_id=adjustment)
        return Call("ApproveAdjustment", request, lambda o, _: does.approve(o, adjustment, credential), credential)
    ending = adjustments_pb2.RejectAdjustmentRequest(adjustment_id=adjustment)
    return Call("RejectAdjustment", ending, lambda o, _: does.reject(o, adjustment), credential)
