"""What partners' requests ask for: each becomes a posting and the way its outcome is told.

Single calls and the items of a batch go through here, so both do the same under the same key. What depends on the
time or on the program's settings is refused after the key was looked up, not here.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Generic, NamedTuple, TypeVar

from google.protobuf.message import Message
from rewards.ledger.v1 import points_pb2 as pb

from ledger_svc.earning import events
from ledger_svc.earning.rules import Award, Rule, awards
from ledger_svc.journal import replies, rules, wire
from ledger_svc.journal.book import Posted, Posting
from ledger_svc.journal.expiry import expires_at
from ledger_svc.journal.postings import Credit, Earn, Redeem, or_refusal
from ledger_svc.journal.undoings import Reverse
from ledger_svc.journal.values import Category
from svckit.programs import Program

Response = TypeVar("Response", bound=Message)


class Asked(NamedTuple, Generic[Response]):
    """A posting, under the name of the call it came by, and how its outcome is told."""

    operation: str
    posting: Posting
    response: type[Response]
    reply: Callable[[Posted], Response]


def credit(request: pb.CreateCreditRequest, program: Program, now: datetime) -> Asked[pb.CreateCreditResponse]:
    """Points outright; they run out as the request says, else by the program's policy."""

    def credited() -> Posting:
        key = wire.member_key(program, request.member_id, request.asset)
        until = wire.future_expiry(request.expires_at, program.zone, now, "expiresAt") or expires_at(program, now)
        category = Category(request.category or Category.BONUS)
        return Credit(key, now, request.points, category, expires_at=until, reason=request.reason)

    return Asked("CreateCredit", or_refusal(credited), pb.CreateCreditResponse, replies.credited)


def redeem(request: pb.RedeemPointsRequest, program: Program, now: datetime) -> Asked[pb.RedeemPointsResponse]:
    """A redemption."""

    def worth_it() -> Posting:
        key = wire.member_key(program, request.member_id, request.asset)
        amount = request.amount if request.HasField("amount") else None
        rules.check_worth(program, request.points, amount, request.currency)
        return Redeem(key, now, request.points, request.reason)

    return Asked("RedeemPoints", or_refusal(worth_it), pb.RedeemPointsResponse, replies.redeemed)


def reversal(request: pb.ReversalPointsRequest, now: datetime) -> Asked[pb.ReversalPointsResponse]:
    """The reversal of a redemption."""
    asked = request.points if request.HasField("points") else None
    posting = Reverse(wire.uuid(request.transaction_id, "transactionId"), now, asked)
    return Asked("ReversalPoints", posting, pb.ReversalPointsResponse, replies.reversed_points)


def event(
    request: pb.InsertTransactionDataRequest, program: Program, now: datetime, in_force: Sequence[Rule]
) -> Asked[pb.InsertTransactionDataResponse]:
    """An event, with what the rules in force give for it."""
    given: list[Award] = []

    def earned() -> Posting:
        key = wire.member_key(program, request.member_id, request.asset)
        amount = events.amount(program, request)
        given.extend(awards(in_force, request.type, amount))
        kept = events.event(program, request, now, sum(award.points for award in given))
        return Earn(key, now, kept, expires_at(program, now))

    posting = or_refusal(earned)
    response = pb.InsertTransactionDataResponse
    return Asked("InsertTransactionData", posting, response, lambda posted: replies.earned(posted, given))
