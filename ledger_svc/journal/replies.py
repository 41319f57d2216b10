"""What a posting's outcome is answered with: one function a kind of call."""

from rewards.ledger.v1 import cashback_pb2, funding_pb2, journal_pb2, movements_pb2, points_pb2

from ledger_svc.earning.rules import Award
from ledger_svc.journal.book import Posted
from ledger_svc.journal.wire import timestamp
from svckit import money


def credited(posted: Posted) -> points_pb2.CreateCreditResponse:
    """A credit's answer."""
    return points_pb2.CreateCreditResponse(transaction_id=str(posted.transaction_id), balance=posted.balance)


def paid(posted: Posted) -> cashback_pb2.PayCashbackResponse:
    """A cashback's answer."""
    return cashback_pb2.PayCashbackResponse(transaction_id=str(posted.transaction_id))


def redeemed(posted: Posted) -> points_pb2.RedeemPointsResponse:
    """A redemption's answer."""
    return points_pb2.RedeemPointsResponse(
        transaction_id=str(posted.transaction_id), points_redeemed=posted.amount, balance=posted.balance
    )


def reversed_points(posted: Posted) -> points_pb2.ReversalPointsResponse:
    """A reversal's answer."""
    return points_pb2.ReversalPointsResponse(
        reversal_id=str(posted.transaction_id),
        restored=posted.amount - posted.expired,
        expired=posted.expired,
        balance=posted.balance,
    )


def held(posted: Posted) -> journal_pb2.PlaceHoldResponse:
    """A hold's answer."""
    return journal_pb2.PlaceHoldResponse(hold_id=str(posted.transaction_id))


def captured(posted: Posted) -> journal_pb2.CaptureHoldResponse:
    """A capture's answer."""
    rest = "" if posted.rest is None else str(posted.rest)
    return journal_pb2.CaptureHoldResponse(
        transaction_id=str(posted.transaction_id),
        balance=posted.balance,
        rest_hold_id=rest,
        recorded_at=None if posted.recorded_at is None else timestamp(posted.recorded_at),
    )


def voided(posted: Posted) -> journal_pb2.VoidHoldResponse:
    """A void's answer: `balance` is what is available."""
    return journal_pb2.VoidHoldResponse(available=posted.balance)


def deposited(posted: Posted, currency: str) -> funding_pb2.CreateDepositResponse:
    """A deposit's answer."""
    balance = money.major(posted.balance, currency)
    return funding_pb2.CreateDepositResponse(transaction_id=str(posted.transaction_id), balance=balance)


def earned(posted: Posted, given: list[Award]) -> points_pb2.InsertTransactionDataResponse:
    """An event's answer."""
    return points_pb2.InsertTransactionDataResponse(
        transaction_id=str(posted.transaction_id),
        points_awarded=posted.amount,
        balance=posted.balance,
        awards=[
            points_pb2.Award(
                rule_id=award.rule_id,
                rule_version=award.rule_version,
                points=award.points,
                explanation=award.explanation,
            )
            for award in given
        ],
    )


def reversed_transaction(posted: Posted) -> movements_pb2.ReverseTransactionResponse:
    """A clawback's answer. Where nothing was left to take, nothing was posted that could have a name."""
    return movements_pb2.ReverseTransactionResponse(
        reversal_id=str(posted.transaction_id) if posted.amount else "",
        points_reversed=posted.amount,
        balance=posted.balance,
    )


def transferred(posted: Posted) -> movements_pb2.CreateTransferResponse:
    """A transfer's answer."""
    return movements_pb2.CreateTransferResponse(transaction_id=str(posted.transaction_id), balance=posted.balance)


def held_points(posted: Posted) -> movements_pb2.CreateHoldResponse:
    """A partner's hold's answer."""
    return movements_pb2.CreateHoldResponse(hold_id=str(posted.transaction_id), balance=posted.balance)


def captured_points(posted: Posted) -> movements_pb2.CapturePointsHoldResponse:
    """A partner's capture's answer."""
    return movements_pb2.CapturePointsHoldResponse(transaction_id=str(posted.transaction_id), balance=posted.balance)


def voided_points(posted: Posted) -> movements_pb2.VoidPointsHoldResponse:
    """A partner's void's answer: `balance` is what is available."""
    return movements_pb2.VoidPointsHoldResponse(available=posted.balance, expired=posted.expired)
