"""What may be redeemed and reversed. Pure."""

from rewards.errors.v1.errors_pb2 import Shortfall

from ledger_svc.journal.values import Entry, Kind, Use, split
from svckit import money
from svckit.errors import Reason, Refused, invalid
from svckit.programs import Program


def check_worth(program: Program, points: int, amount: float | None, currency: str) -> None:
    """Raises AMOUNT_MISMATCH unless `amount` is what `points` are worth at the program's rate, rounded
    down to the minor unit; INVALID_REQUEST for another currency (G24, G26)."""
    if amount is None:
        return
    if currency not in {"", program.currency}:
        raise invalid(currency="is not the program's currency")
    amount_minor = money.minor(amount, program.currency, "amount")
    worth_minor = points * 10 ** money.exponent(program.currency) // program.points_per_unit
    if amount_minor != worth_minor:
        worth = money.major(worth_minor, program.currency)
        text = f"{points} points are worth {worth} {program.currency} in this program."
        raise Refused(Reason.AMOUNT_MISMATCH, text)


def reversal_amount(entry: Entry, reversed_so_far: int, asked: int | None, kind: Kind = Kind.REDEEM) -> int:
    """How much a reversal gives back or takes back: what is asked for, or all that is left (G9, G10).

    Raises WRONG_TRANSACTION_KIND, DUPLICATE_REVERSAL if nothing is left, REVERSAL_EXCEEDS.
    """
    if entry.kind is not kind:
        what = "a redemption of points" if kind is Kind.REDEEM else "an earning"
        raise Refused(Reason.WRONG_TRANSACTION_KIND, f"Only {what} can be reversed here.")
    left = abs(entry.amount) - reversed_so_far
    if left == 0:
        raise Refused(Reason.DUPLICATE_REVERSAL, "This transaction has been reversed already.")
    if asked is not None and asked > left:
        detail = Shortfall(available=left, requested=asked)
        raise Refused(Reason.REVERSAL_EXCEEDS, f"Only {left} points are left to reverse.", detail=detail)
    return asked or left


def after_reversal(left: list[Use], amount: int) -> list[Use]:
    """What can still be reversed: the first drawn, because the last drawn came back first."""
    return split(left, sum(use.amount for use in left) - amount)[0]
