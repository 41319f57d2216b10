"""The hosted page: shows what `claims` says, and claims by its rules. A page that refuses is made by the gateway."""

import asyncio
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl
from uuid import UUID

from google.api.httpbody_pb2 import HttpBody
from rewards.fulfillment.v1 import claims_pb2, orders_pb2
from rewards.fulfillment.v1 import pages_pb2 as pb
from rewards.fulfillment.v1.pages_pb2_grpc import ClaimPagesServiceServicer

from fulfillment_svc.claims.servicer import ClaimsServicer
from fulfillment_svc.claims.taking import Taking
from fulfillment_svc.looks.pages import Page
from fulfillment_svc.looks.theme import Theme
from fulfillment_svc.pages import scenes, views
from fulfillment_svc.pages.countries import NAMES
from fulfillment_svc.pages.views import Amount
from fulfillment_svc.pages.words import PROBLEMS
from fulfillment_svc.redemptions import wire as redemptions_wire
from svckit import admission, call
from svckit.clock import Clock, new_id
from svckit.db import Database
from svckit.errors import Reason, Refused, invalid

_FIELDS_MAX: Final = 10
_AGAIN_S: Final = 0.1


class _Found(NamedTuple):
    """A claim by the link that it was made with."""

    theme: Theme
    claim: orders_pb2.OrderClaim
    worth: Amount
    rest: Amount | None


class ClaimPagesServicer(ClaimPagesServiceServicer):
    """Asks `taking` whose a link is, and `claims` for the rest."""

    def __init__(self, db: Database, taking: Taking, claims: ClaimsServicer, clock: Clock) -> None:
        self._db = db
        self._taking = taking
        self._claims = claims
        self._clock = clock

    async def ShowClaim(self, request: pb.ShowClaimRequest, context: Any) -> pb.ShowClaimResponse:
        """Shows the choice, or asks about the one that was made."""
        async with self._db.read() as tx:
            _, program = await self._taking.find(tx, request.token)
        theme, country = Theme.of(program.branding), request.country if request.country in NAMES else ""
        asked = claims_pb2.GetClaimRequest(token=request.token, country=country, page_token=request.page_token)
        answer = await self._claims.GetClaim(asked, context)
        seen, problem = views.claim(answer, program.zone), request.problem
        menu = views.options(answer.menu, seen.currency, request.reward_id, request.amount)
        if request.reward_id:
            chosen = next((option for option in menu if option.reward_id == request.reward_id), None)
            amount = chosen.amount() if chosen else None
            if chosen and amount and seen.country:
                shown = scenes.question(theme, request.token, seen, chosen, amount, str(new_id()))
                return pb.ShowClaimResponse(page=_shown(shown))
            problem = Reason.Name(Reason.DENOMINATION_INVALID if chosen else Reason.REWARD_NOT_FOUND)
        return pb.ShowClaimResponse(page=_shown(scenes.choice(theme, asked, answer, seen, menu, problem)))

    async def SubmitClaim(self, request: pb.SubmitClaimRequest, context: Any) -> pb.SubmitClaimResponse:
        """Claims, and leads on to what was claimed, or back to the choice."""
        wanted, key = _form(request)
        admission.validate(wanted)
        call.current().idempotency_key = key
        try:
            claim = await self._claim(wanted, context)
            leads_to = scenes.address(request.token, claim.claim_id)
        except Refused as refused:
            problem = Reason.Name(refused.reason)
            if problem not in PROBLEMS:
                raise
            leads_to = scenes.address(request.token, country=wanted.country, problem=problem)
        call.current().reply_headers["location"] = leads_to
        return pb.SubmitClaimResponse(page=HttpBody(content_type="text/html"))

    async def ShowClaimed(self, request: pb.ShowClaimedRequest, context: Any) -> pb.ShowClaimedResponse:
        """Shows what became of a claim."""
        found = await self._found(request.token, request.claim_id)
        shown = scenes.standing(found.theme, request.token, found.claim, found.worth, found.rest)
        return pb.ShowClaimedResponse(page=_shown(shown))

    async def RevealClaimed(self, request: pb.RevealClaimedRequest, context: Any) -> pb.RevealClaimedResponse:
        """Shows the same with the code in full."""
        found = await self._found(request.token, request.claim_id)
        asked = claims_pb2.RevealClaimRequest(token=request.token, claim_id=request.claim_id)
        code = (await self._claims.RevealClaim(asked, context)).code
        shown = scenes.standing(found.theme, request.token, found.claim, found.worth, found.rest, code)
        return pb.RevealClaimedResponse(page=_shown(shown))

    async def _claim(self, wanted: claims_pb2.CreateClaimRequest, context: Any) -> orders_pb2.OrderClaim:
        """Claims; a second click waits for what the first one makes, as long as the call may take."""
        while True:
            try:
                return (await self._claims.CreateClaim(wanted, context)).claim
            except Refused as refused:
                if refused.reason != Reason.IDEMPOTENCY_IN_FLIGHT:
                    raise
            await asyncio.sleep(_AGAIN_S)

    async def _found(self, token: str, claim_id: str) -> _Found:
        """A claim of the link. Raises CLAIM_GONE."""
        async with self._db.read() as tx:
            order, program, claim = await self._taking.made(tx, token, claim_id)
        left = Amount(order.remaining_minor, order.currency) if order.claimable(program.now(self._clock)) else None
        worth = Amount(claim.choice.denomination_minor, claim.choice.currency)
        return _Found(Theme.of(program.branding), redemptions_wire.claim(claim), worth, left)


def _form(request: pb.SubmitClaimRequest) -> tuple[claims_pb2.CreateClaimRequest, str]:
    """What is claimed, and the key that was made with the form. Raises INVALID_REQUEST."""
    try:
        form = dict(parse_qsl(request.form.data.decode(), max_num_fields=_FIELDS_MAX))
        reward_id, amount, country = form["rewardId"], float(form["amount"]), form["country"]
        key = str(UUID(form["key"]))
    except (KeyError, ValueError):
        raise invalid(form="must have rewardId, amount, country and key") from None
    wanted = claims_pb2.CreateClaimRequest(
        token=request.token, reward_id=reward_id, denomination=amount, country=country
    )
    return wanted, key


def _shown(page: Page) -> HttpBody:
    call.current().reply_headers["content-security-policy"] = page.policy
    return HttpBody(content_type="text/html; charset=utf-8", data=page.html.encode())
