"""Bulk calls: items to postings, and their outcomes back, each as its single call would have it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from rewards.ledger.v1 import journal_pb2 as pb
from rewards.ledger.v1 import points_pb2

from ledger_svc.earning.rules import Rule
from ledger_svc.journal import requests
from ledger_svc.journal.engine import Item, Result, Skipped
from ledger_svc.journal.requests import Asked
from ledger_svc.journal.values import Mode
from svckit.errors import Reason, Refused, from_status, internal
from svckit.idempotency import Idempotency, Outcome, State
from svckit.programs import Program

_RESPONSES: Final[dict[str, type[Message]]] = {
    "credit": points_pb2.CreateCreditResponse,
    "redeem": points_pb2.RedeemPointsResponse,
    "reversal": points_pb2.ReversalPointsResponse,
    "event": points_pb2.InsertTransactionDataResponse,
}


def mode(sent: pb.PostBatchRequest.Mode.ValueType) -> Mode:
    """What a refused item does to the others; CONTINUE if nothing is said."""
    return Mode(sent or pb.PostBatchRequest.CONTINUE)


def item(
    sent: pb.PostBatchItem, program: Program, now: datetime, in_force: Sequence[Rule], idempotency: Idempotency
) -> Item:
    """The item as its single call would post it. Raises INVALID_REQUEST for what no call could mean."""
    request: Message
    asked: Asked[Any]
    match sent.WhichOneof("posting"):
        case "credit":
            request, asked = sent.credit, requests.credit(sent.credit, program, now)
        case "redeem":
            request, asked = sent.redeem, requests.redeem(sent.redeem, program, now)
        case "reversal":
            request, asked = sent.reversal, requests.reversal(sent.reversal, now)
        case _:
            request, asked = sent.event, requests.event(sent.event, program, now, in_force)
    claim = idempotency.claim_as(program.program_id, asked.operation, sent.idempotency_key, request)
    return Item(asked.posting, claim, asked.reply)


def result(sent: pb.PostBatchItem, posted: Item, outcome: Result | BaseException) -> pb.PostBatchResult:
    """What became of an item."""
    name = sent.WhichOneof("posting") or ""
    if isinstance(outcome, Skipped):
        return pb.PostBatchResult(skipped=True)
    if isinstance(outcome, BaseException):
        return pb.PostBatchResult(refusal=_refusal(outcome))
    if not isinstance(outcome, Outcome):
        return _made(name, outcome)
    if posted.claim is None or outcome.fingerprint != posted.claim.fingerprint:
        text = "This idempotency key was used with another request."
        return pb.PostBatchResult(refusal=_refusal(Refused(Reason.IDEMPOTENCY_KEY_REUSED, text)))
    if outcome.state is State.REFUSED:
        return pb.PostBatchResult(replayed=True, refusal=_refusal(from_status(Status.FromString(outcome.body))))
    return _made(name, _RESPONSES[name].FromString(outcome.body), replayed=True)


def _made(name: str, answer: Message, *, replayed: bool = False) -> pb.PostBatchResult:
    made = pb.PostBatchResult(replayed=replayed)
    getattr(made, name).CopyFrom(answer)
    return made


def _refusal(error: BaseException) -> points_pb2.Refusal:
    refused = error if isinstance(error, Refused) else internal()
    return points_pb2.Refusal(error_code=refused.reason, reason=Reason.Name(refused.reason), message=refused.message)
