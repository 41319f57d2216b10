"""What a posting's outcome is answered with: one function a kind of call."""

from rewards.ledger.v1 import funding_pb2, journal_pb2, points_pb2

from ledger_svc.journal.book import Posted
from svckit import money


def credited(posted: Posted) -> points_pb2.CreateCreditResponse:
    """A credit's answer."""
    return points_pb2.CreateCreditResponse(transaction_id=str(posted.transaction_id), balance=posted.balance)


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
    return journal_pb2.CaptureHoldResponse(transaction_id=str(posted.transaction_id), balance=posted.balance)


def voided(posted: Posted) -> journal_pb2.VoidHoldResponse:
    """A void's answer: `balance` is what is available."""
    return journal_pb2.VoidHoldResponse(available=posted.balance)


def deposited(posted: Posted, currency: str) -> funding_pb2.CreateDepositResponse:
    """A deposit's answer."""
    balance = money.major(posted.balance, currency)
    return funding_pb2.CreateDepositResponse(transaction_id=str(posted.transaction_id), balance=balance)
