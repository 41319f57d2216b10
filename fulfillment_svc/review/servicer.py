"""The operators' RPCs of the review desk."""

from collections.abc import Awaitable, Callable
from datetime import datetime
from functools import partial
from typing import Any, TypeVar, cast
from uuid import UUID

from google.protobuf.message import Message
from rewards.fulfillment.v1 import review_pb2 as pb
from rewards.fulfillment.v1.review_pb2_grpc import ReviewServiceServicer

from fulfillment_svc.orders import assembly as orders
from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions import assembly as redemptions
from fulfillment_svc.review import store, wire
from fulfillment_svc.review.desk import Desk
from fulfillment_svc.review.orders import OrderDesk
from fulfillment_svc.review.rules import Action
from svckit import call, idempotency, paging
from svckit.db import Database, Tx
from svckit.errors import invalid
from svckit.idempotency import Idempotency

Response = TypeVar("Response", bound=Message)


class ReviewServicer(ReviewServiceServicer):
    """Shows what needs a person and takes what that person does; it goes on in `redeemed` or `ordered`."""

    def __init__(self, db: Database, idempotent: Idempotency, redeemed: redemptions.Room, ordered: orders.Room) -> None:
        self._db = db
        self._idempotency = idempotent
        self._desk = Desk(db, redeemed.saga)
        self._order_desk = OrderDesk(ordered.saga, ordered.parts.invitations)
        self._wake, self._wake_orders = redeemed.wake, ordered.wake

    async def ListReviews(self, request: pb.ListReviewsRequest, context: Any) -> pb.ListReviewsResponse:
        """Lists what needs a person."""
        size, after = paging.size(request.page_size), _place(paging.place(request, 2))
        async with self._db.read() as tx:
            found = await store.page(tx, request.program_id, after, size + 1)
            stakes = await store.stakes(tx, request.program_id)
        shown, token = found[:size], ""
        if len(found) > size:
            last = shown[-1]
            token = paging.token(request, str(last.parked_at), str(last.id))
        return pb.ListReviewsResponse(
            reviews=map(wire.review, shown), next_page_token=token, exposures=map(wire.exposure, stakes)
        )

    async def GetReview(self, request: pb.GetReviewRequest, context: Any) -> pb.GetReviewResponse:
        """Shows one with its history."""
        async with self._db.read() as tx:
            found = await store.get(tx, request.program_id, *wire.named(request))
            history = await store.history(tx, found)
        return pb.GetReviewResponse(review=wire.review(found), history=map(wire.entry, history))

    async def QueryReview(self, request: pb.QueryReviewRequest, context: Any) -> pb.QueryReviewResponse:
        """Has the present step taken again at once."""
        return await self._act(request, Action.QUERY, pb.QueryReviewResponse)

    async def IssueReview(self, request: pb.IssueReviewRequest, context: Any) -> pb.IssueReviewResponse:
        """Takes a person's word, and codes, that the provider has issued."""
        return await self._act(request, Action.ISSUE, pb.IssueReviewResponse)

    async def RefundReview(self, request: pb.RefundReviewRequest, context: Any) -> pb.RefundReviewResponse:
        """Takes a person's word that the provider has not issued and will not, or that nobody will claim."""
        return await self._act(request, Action.REFUND, pb.RefundReviewResponse)

    async def ReleaseReview(self, request: pb.ReleaseReviewRequest, context: Any) -> pb.ReleaseReviewResponse:
        """Takes a person's word that what is held may go on, or that the rest of the desk's trouble is dealt with."""
        return await self._act(request, Action.RELEASE, pb.ReleaseReviewResponse)

    async def RefuseReview(self, request: pb.RefuseReviewRequest, context: Any) -> pb.RefuseReviewResponse:
        """Takes a person's word that what is held may not go on."""
        return await self._act(request, Action.REFUSE, pb.RefuseReviewResponse)

    async def ReaddressReview(self, request: pb.ReaddressReviewRequest, context: Any) -> pb.ReaddressReviewResponse:
        """Has a mail that is refused sent elsewhere."""
        return await self._act(request, Action.READDRESS, pb.ReaddressReviewResponse)

    async def _act(self, request: Any, action: Action, response: type[Response]) -> Response:
        kind, _ = wire.named(request)
        deed = wire.deed(request, action, call.current().principal.name)
        if kind is Order:
            answer = await self._keep(request, response, partial(self._order_desk.act, deed=deed))
            self._wake_orders()
            return answer
        claim = self._idempotency.claim(request)
        async with self._db.read() as tx:
            kept = await self._idempotency.find(tx, claim)
        if kept is not None:
            return idempotency.replay(kept, claim, response)
        ours, reply = await self._desk.begin(deed)
        answer = await self._keep(request, response, partial(self._desk.store, deed=deed, ours=ours, reply=reply))
        self._wake()
        return answer

    async def _keep(self, request: Any, response: type[Response], act: Callable[[Tx], Awaitable[None]]) -> Response:
        """Acts once for the request's key, and shows what came of it."""

        async def work(tx: Tx) -> Response:
            await act(tx)
            answer: Any = response()
            answer.review.CopyFrom(wire.review(await store.get(tx, request.program_id, *wire.named(request))))
            return cast("Response", answer)

        return await self._idempotency.once(request, response, work)


def _place(named: list[str] | None) -> tuple[datetime, UUID] | None:
    if named is None:
        return None
    try:
        return datetime.fromisoformat(named[0]), UUID(named[1])
    except ValueError:
        raise invalid(pageToken="is not a token of this list") from None
