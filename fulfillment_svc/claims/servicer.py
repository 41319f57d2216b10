"""The RPCs of whoever holds a link."""

from typing import Any, Final

from rewards.fulfillment.v1 import claims_pb2 as pb
from rewards.fulfillment.v1.claims_pb2_grpc import ClaimsServiceServicer

from fulfillment_svc.claims import wire
from fulfillment_svc.claims.taking import Taking
from fulfillment_svc.orders import store
from fulfillment_svc.orders.menus import affordable
from fulfillment_svc.orders.parts import Parts
from fulfillment_svc.redemptions import rules
from fulfillment_svc.redemptions import wire as redemptions_wire
from fulfillment_svc.redemptions.assembly import Room
from fulfillment_svc.redemptions.wire import timestamp
from fulfillment_svc.requests import check
from svckit import call, idempotency, money, paging
from svckit.db import Database
from svckit.idempotency import Outcome

# Who is noted to have seen a code that was shown to whoever has claimed it.
_ACTOR: Final = "claim"


class ClaimsServicer(ClaimsServiceServicer):
    """Shows what may be chosen, and takes claims, which go on in the room of redemptions."""

    def __init__(self, db: Database, taking: Taking, parts: Parts, redemptions: Room) -> None:
        self._db = db
        self._taking = taking
        self._menus = parts.menus
        self._invitations = parts.invitations
        self._saga = redemptions.saga
        self._revealing = redemptions.revealing
        self._wake = redemptions.wake

    async def GetClaim(self, request: pb.GetClaimRequest, context: Any) -> pb.GetClaimResponse:
        """Shows what may be chosen; nothing is changed."""
        call.current().reply_headers["cache-control"] = "no-store"
        async with self._db.read() as tx:
            await store.snapshot(tx)
            order, program = await self._taking.open(tx, request.token)
            invitation = await self._invitations.of(tx, order)
            claims = await store.claims(tx, order.program_id, [order.order_id])
        (after,) = paging.place(request, 1) or ("",)
        country = request.country or invitation.country
        asked = wire.menu_request(order, country)
        asked.after, asked.page_size, asked.language = after, paging.size(request.page_size), request.language
        confined = wire.menu(order).countries
        served = not confined or country in ("", *confined)
        page = await self._menus.page(asked, affordable(order.remaining_minor)) if served else None
        return pb.GetClaimResponse(
            program_name=program.branding.display_name,
            recipient_name=invitation.recipient.name,
            value=money.major(order.value_minor, order.currency),
            remaining=money.major(order.remaining_minor, order.currency),
            currency=order.currency,
            expires_at=None if order.expires_at is None else timestamp(order.expires_at),
            country=country,
            countries=confined,
            menu=[wire.option(order, reward) for reward in page.rewards] if page else [],
            next_page_token=paging.token(request, page.next_after) if page and page.next_after else "",
            claims=wire.all_made(claims[order.order_id]),
        )

    async def CreateClaim(self, request: pb.CreateClaimRequest, context: Any) -> pb.CreateClaimResponse:
        """Takes the value and answers; the workers carry on from there."""
        claim, taken = await self._taking.take_in(call.current().idempotency_key or "", request)
        if isinstance(taken, Outcome):
            return idempotency.replay(taken, claim, pb.CreateClaimResponse)
        redemption = await self._saga.carry(taken, rules.decided)
        check("claim", redemption.refusal, decided=rules.decided(redemption))
        self._wake()
        return redemptions_wire.claimed(redemption)

    async def RevealClaim(self, request: pb.RevealClaimRequest, context: Any) -> pb.RevealClaimResponse:
        """Shows a claim, and its code once it is issued."""
        call.current().reply_headers["cache-control"] = "no-store"
        async with self._db.read() as tx:
            _, _, claim = await self._taking.made(tx, request.token, request.claim_id)
        codes = None
        if claim.units[0].issued:
            codes = await self._revealing.reveal(claim.program_id, claim.redemption_id, _ACTOR)
        return pb.RevealClaimResponse(claim=redemptions_wire.claim(claim), code=(codes or {}).get(1, ""))
