"""The partners' RPCs of redemptions."""

from collections.abc import Callable
from typing import Any, NamedTuple

from rewards.fulfillment.v1 import redemptions_pb2 as pb
from rewards.fulfillment.v1.redemptions_pb2_grpc import RedemptionsServiceServicer

from fulfillment_svc.redemptions import rules, store, wire
from fulfillment_svc.redemptions.cancelling import Cancelling
from fulfillment_svc.redemptions.intake import Intake
from fulfillment_svc.redemptions.revealing import Revealing
from fulfillment_svc.redemptions.saga import Saga
from fulfillment_svc.requests import check
from svckit import call, idempotency, paging
from svckit.db import Database
from svckit.errors import Reason, Refused, invalid
from svckit.idempotency import Idempotency, Outcome


class Desks(NamedTuple):
    """Who does what a call asks for."""

    intake: Intake
    cancelling: Cancelling
    revealing: Revealing
    saga: Saga


class RedemptionsServicer(RedemptionsServiceServicer):
    """Starts redemptions and shows them. `wake` tells the workers that one waits for them."""

    def __init__(self, db: Database, idempotent: Idempotency, desks: Desks, wake: Callable[[], None]) -> None:
        self._db = db
        self._idempotency = idempotent
        self._intake, self._cancelling, self._revealing, self._saga = desks
        self._wake = wake

    async def CreateRedemption(self, request: pb.CreateRedemptionRequest, context: Any) -> pb.CreateRedemptionResponse:
        """Holds the value and answers; the workers carry on from there."""
        claim = self._idempotency.claim(request)
        taken = await self._intake.take_in(claim, request)
        if isinstance(taken, Outcome):
            return idempotency.replay(taken, claim, pb.CreateRedemptionResponse)
        redemption = await self._saga.carry(taken, rules.decided)
        check("redemption", redemption.refusal, decided=rules.decided(redemption))
        self._wake()
        return wire.created(redemption)

    async def GetRedemption(self, request: pb.GetRedemptionRequest, context: Any) -> pb.GetRedemptionResponse:
        """Reads a redemption; to a member's own token only that member's."""
        caller = call.current()
        found, redemption_id = None, wire.redemption_id(request.redemption_id)
        if redemption_id is not None:
            async with self._db.read() as tx:
                found = await store.find(tx, caller.program_id, redemption_id)
        if found is None or caller.principal.member_id not in ("", found.member_id):
            raise _not_found()
        return pb.GetRedemptionResponse(redemption=wire.redemption(found))

    async def CancelRedemption(self, request: pb.CancelRedemptionRequest, context: Any) -> pb.CancelRedemptionResponse:
        """Calls a redemption off and gives everything back; if that cannot be done now, the workers carry on."""
        claim, redemption_id = self._idempotency.claim(request), wire.redemption_id(request.redemption_id)
        if redemption_id is None:
            raise _not_found()
        taken = await self._cancelling.take_in(claim, redemption_id, call.current().principal.member_id)
        if isinstance(taken, Outcome):
            return idempotency.replay(taken, claim, pb.CancelRedemptionResponse)
        redemption = await self._saga.carry(taken, rules.ended)
        if not rules.ended(redemption):
            text = "The value is being given back; the same key tells when that is done."
            raise Refused(Reason.UNAVAILABLE, text, retry_after_s=1)
        return wire.cancelled(redemption)

    async def RevealRedemption(self, request: pb.RevealRedemptionRequest, context: Any) -> pb.RevealRedemptionResponse:
        """Shows the codes."""
        caller = call.current()
        caller.reply_headers["cache-control"] = "no-store"
        redemption_id = wire.redemption_id(request.redemption_id)
        if redemption_id is None:
            raise _not_found()
        codes = await self._revealing.reveal(caller.program_id, redemption_id, caller.principal.name)
        if codes is None:
            raise _not_found()
        items = [pb.RevealedItem(number=number, code=code) for number, code in codes.items()]
        return pb.RevealRedemptionResponse(items=items)

    async def ListRedemptions(self, request: pb.ListRedemptionsRequest, context: Any) -> pb.ListRedemptionsResponse:
        """Lists a member's redemptions, newest first."""
        size, place = paging.size(request.page_size), paging.place(request, 1)
        after = wire.redemption_id(place[0]) if place else None
        if place and after is None:
            raise invalid(pageToken="is not a token of this list")
        async with self._db.read() as tx:
            found = await store.page(tx, call.current().program_id, request.member_id, after, size + 1)
        shown, more = found[:size], len(found) > size
        return pb.ListRedemptionsResponse(
            redemptions=[wire.redemption(one) for one in shown],
            next_page_token=paging.token(request, str(shown[-1].redemption_id)) if more else "",
        )


def _not_found() -> Refused:
    return Refused(Reason.ORDER_NOT_FOUND, "There is no such redemption.")
