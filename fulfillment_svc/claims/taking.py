"""Taking a part of an order: it is judged by the catalog, and then leaves the order's row, under its lock, in the
transaction that stores the claim and its key. So of claims that race each other, an expiry or a cancel, one wins."""

from dataclasses import replace

from rewards.fulfillment.v1 import claims_pb2 as pb

from fulfillment_svc.claims import wire
from fulfillment_svc.orders import store
from fulfillment_svc.orders.parts import Parts
from fulfillment_svc.orders.values import Order, hashed
from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.redemptions.mail import Recipient
from fulfillment_svc.redemptions.saga import CLAIM, REQUEST_LEASE_S
from fulfillment_svc.redemptions.values import Choice, Redemption
from fulfillment_svc.requests import keep_refusal, traceparent
from fulfillment_svc.tables import programs
from svckit import idempotency, money
from svckit.clock import Clock
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused
from svckit.idempotency import Claim, Idempotency, Outcome
from svckit.programs import Program


class Taking:
    """Takes claims, each key of a link once."""

    def __init__(self, db: Database, idempotent: Idempotency, parts: Parts, clock: Clock) -> None:
        self._db = db
        self._idempotency = idempotent
        self._menus, self._starting, self._invitations = parts
        self._clock = clock

    async def find(self, tx: Tx, token: str) -> tuple[Order, Program]:
        """The order whose link has this token, whatever became of it. Raises CLAIM_GONE."""
        order = await store.by_token(tx, hashed(token))
        if order is None:
            raise gone()
        return order, await programs.get(tx, order.program_id)

    async def open(self, tx: Tx, token: str) -> tuple[Order, Program]:
        """The order whose link has this token, of which something can be claimed. Raises CLAIM_GONE."""
        order, program = await self.find(tx, token)
        if not order.claimable(program.now(self._clock)):
            raise gone()
        return order, program

    async def made(self, tx: Tx, token: str, claim_id: str) -> tuple[Order, Program, Redemption]:
        """A claim by the link that it was made with. Raises CLAIM_GONE."""
        order, program = await self.find(tx, token)
        claims = (await store.claims(tx, order.program_id, [order.order_id]))[order.order_id]
        claim = next((one for one in claims if str(one.redemption_id) == claim_id), None)
        if claim is None:
            raise gone()
        return order, program, claim

    async def take_in(self, key: str, request: pb.CreateClaimRequest) -> tuple[Claim, Redemption | Outcome]:
        """A new claim, claimed for this request; or what is kept under its key already. With it the key's full name:
        keys of one link are none of another's.

        Raises CLAIM_GONE, REWARD_NOT_FOUND, DENOMINATION_INVALID, COUNTRY_NOT_SERVED, and what the catalog refuses.
        """
        async with self._db.read() as tx:
            order, program = await self.find(tx, request.token)
            claim = self._idempotency.claim_as(order.program_id, CLAIM, f"{order.order_id}:{key}", request)
            kept = await self._idempotency.find(tx, claim)
            if kept is not None:
                return claim, kept
            if not order.claimable(program.now(self._clock)):
                raise gone()
            recipient = (await self._invitations.of(tx, order)).recipient
        try:
            choice = await self._choose(order, request)
            told = {"country": request.country, "key": claim.key, "traceparent": traceparent()}
            new = self._starting.claim(order, choice, program, **told)
        except Refused as refusal:
            return claim, await keep_refusal(self._db, self._idempotency, claim, refusal)
        failpoints.reach("claim.before")
        begun = await self._db.transact(lambda tx: self._begin(tx, claim, new, recipient))
        failpoints.reach("claim.after")
        return claim, begun

    async def _choose(self, order: Order, request: pb.CreateClaimRequest) -> Choice:
        """What is chosen, at the price of now; or as it was quoted, where the order names it (G73). What has changed
        since the order was made, and the country, are judged again (G54)."""
        menu = wire.menu(order)
        if menu.countries and request.country not in menu.countries:
            raise Refused(Reason.COUNTRY_NOT_SERVED, "This order is not for this country.")
        denomination_minor = money.minor(request.denomination, order.currency, "denomination")
        if denomination_minor > order.remaining_minor:
            raise too_much()
        if order.choice is not None and request.reward_id != order.choice.reward_id:
            raise not_on_the_menu()
        # Before the quote: what is on the menu and gone by then is refused as gone.
        listed = await self._menus.has(wire.menu_request(order, request.country, request.reward_id))
        chosen = await self._menus.quote(order.program_id, request.reward_id, request.denomination, request.country)
        if not listed:
            raise not_on_the_menu()
        if order.choice is not None and denomination_minor != order.choice.denomination_minor:
            raise Refused(Reason.DENOMINATION_INVALID, "This order is for another denomination.")
        return order.choice or chosen

    async def _begin(self, tx: Tx, claim: Claim, new: Redemption, recipient: Recipient) -> Redemption | Outcome:
        order = await store.lock(tx, new.program_id, new.order_id) if new.order_id else None
        running = Outcome(claim.fingerprint, idempotency.State.IN_PROGRESS, b"")
        if (kept := await self._idempotency.find(tx, claim)) is not None:
            return kept
        program = await programs.get(tx, new.program_id)
        if order is None or not order.claimable(program.now(self._clock)):
            raise gone()
        left_minor = order.remaining_minor - new.choice.value_minor
        if left_minor < 0:
            raise too_much()
        if not await self._idempotency.record(tx, claim, running):
            return await self._idempotency.find(tx, claim) or running
        await store.change(tx, order, replace(order, remaining_minor=left_minor), due=False)
        await self._starting.begin(tx, new, recipient, REQUEST_LEASE_S)
        return new


def gone() -> Refused:
    """What every link answers that nothing can be claimed with, whatever the reason."""
    return Refused(Reason.CLAIM_GONE, "Nothing can be claimed with this link.")


def too_much() -> Refused:
    """More is asked for than is left."""
    return Refused(Reason.DENOMINATION_INVALID, "This is more than what is left.")


def not_on_the_menu() -> Refused:
    """What is asked for may not be chosen."""
    return Refused(Reason.REWARD_NOT_FOUND, "This reward is not on the menu.")
