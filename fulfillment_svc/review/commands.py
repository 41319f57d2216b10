"""An operator's commands: `python -m fulfillment_svc review <verb> --option value`.

Each is one RPC of the running mesh, called at its door (REWARDS_GRPC, with REWARDS_ADMIN_TOKEN as the operator's key),
so that a person at a terminal passes the same checks and leaves the same traces as any other operator.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Final

import grpc
from google.protobuf.json_format import MessageToJson
from google.protobuf.message import Message
from rewards.fulfillment.v1 import review_pb2 as pb
from rewards.fulfillment.v1.review_pb2_grpc import ReviewServiceStub

from svckit.clients import door
from svckit.clock import new_id
from svckit.config import required

_TIMEOUT_S: Final = 10.0


def _list(asked: argparse.Namespace) -> Message:
    return pb.ListReviewsRequest(program_id=asked.program_id or "", page_token=asked.page_token)


def _show(asked: argparse.Namespace) -> Message:
    return pb.GetReviewRequest(program_id=asked.program_id, **_subject(asked))


def _issue(asked: argparse.Namespace) -> Message:
    codes = (sent.partition("=") for sent in asked.code)
    items = [pb.IssuedItem(number=int(number), code=code) for number, _, code in codes]
    return pb.IssueReviewRequest(**_named(asked), items=items)


def _readdress(asked: argparse.Namespace) -> Message:
    return pb.ReaddressReviewRequest(**_named(asked), email=asked.email)


def _named(asked: argparse.Namespace) -> dict[str, str]:
    return {"program_id": asked.program_id, "evidence": asked.evidence, **_subject(asked)}


def _subject(asked: argparse.Namespace) -> dict[str, str]:
    return {name: sent for name in ("redemption_id", "order_id") if (sent := getattr(asked, name, None))}


# What each is about, unless it is about either.
_OF_REDEMPTIONS: Final = ("issue", "refuse")
_OF_ORDERS: Final = ("readdress",)

VERBS: Final[dict[str, tuple[str, Callable[[argparse.Namespace], Message], str]]] = {
    "list": ("ListReviews", _list, "what needs a person, longest waiting first"),
    "show": ("GetReview", _show, "one, with its history"),
    "query": ("QueryReview", lambda asked: pb.QueryReviewRequest(**_named(asked)), "ask or try again at once"),
    "issue": ("IssueReview", _issue, "say that it is issued, with the codes"),
    "refund": ("RefundReview", lambda asked: pb.RefundReviewRequest(**_named(asked)), "give everything back"),
    "release": (
        "ReleaseReview",
        lambda asked: pb.ReleaseReviewRequest(**_named(asked)),
        "let go on what compliance holds, or say that it is dealt with",
    ),
    "readdress": ("ReaddressReview", _readdress, "correct the address of a mail that is refused"),
    "refuse": ("RefuseReview", lambda asked: pb.RefuseReviewRequest(**_named(asked)), "refuse what compliance holds"),
}


def add_to(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the commands to a parser's."""
    verbs = commands.add_parser("review", help="the review desk").add_subparsers(required=True, dest="verb")
    for verb, (_, _, described) in VERBS.items():
        parser = verbs.add_parser(verb, help=described)
        parser.add_argument("--program-id", required=verb != "list")
        if verb == "list":
            parser.add_argument("--page-token", default="")
            continue
        subject = parser.add_mutually_exclusive_group(required=True)
        if verb not in _OF_ORDERS:
            subject.add_argument("--redemption-id")
        if verb not in _OF_REDEMPTIONS:
            subject.add_argument("--order-id")
        if verb == "show":
            continue
        parser.add_argument("--evidence", required=verb != "query", default="", help="what it is based on")
        parser.add_argument("--idempotency-key", default=str(new_id()), help="for a safe second try")
        if verb == "readdress":
            parser.add_argument("--email", required=True, help="where the mail goes from now on")
        if verb == "issue":
            parser.add_argument("--code", action="append", required=True, metavar="NUMBER=CODE", help="once an item")


async def run(asked: argparse.Namespace) -> int:
    """Calls what was asked for and prints the answer as JSON; the exit code."""
    rpc, request, _ = VERBS[asked.verb]
    metadata = [("authorization", f"Bearer {required('REWARDS_ADMIN_TOKEN')}")]
    if key := getattr(asked, "idempotency_key", None):
        metadata.append(("idempotency-key", key))
    try:
        async with door() as channel:
            call = getattr(ReviewServiceStub(channel), rpc)
            answer = await call(request(asked), timeout=_TIMEOUT_S, metadata=tuple(metadata))
    except ValueError:
        print("a code is given as NUMBER=CODE", file=sys.stderr)  # noqa: T201 - told to the person who typed it
        return 2
    except grpc.aio.AioRpcError as error:
        print(f"{error.code().name}: {error.details()}", file=sys.stderr)  # noqa: T201 - likewise
        return 1
    print(MessageToJson(answer, indent=2))  # noqa: T201 - the command's whole output
    return 0
