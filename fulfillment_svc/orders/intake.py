"""The beginning of an order: the catalog judges it, and it is stored together with its key, before any value moves."""

from typing import NamedTuple, Self

from rewards.catalog.v1.rewards_pb2 import ListMenuRequest
from rewards.fulfillment.v1 import orders_pb2 as pb

from fulfillment_svc.orders import store, wire
from fulfillment_svc.orders.parts import Parts
from fulfillment_svc.orders.values import Invitation, Order, hashed, new_token
from fulfillment_svc.orders.wire import Wanted
from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.redemptions.saga import REQUEST_LEASE_S
from fulfillment_svc.redemptions.values import Choice
from fulfillment_svc.requests import keep_refusal, traceparent
from fulfillment_svc.tables import programs
from svckit import idempotency, money
from svckit.clock import Clock, new_id
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused
from svckit.idempotency import Claim, Idempotency, Outcome
from svckit.programs import Program


class Checked(NamedTuple):
    """What a request comes to. `menu` is a `rewards.catalog.v1.Menu`; empty where there is a `choice`."""

    wanted: Wanted
    menu: bytes
    choice: Choice | None
    currency: str
    value_minor: int


class Intake:
    """Takes requests for orders in, each key once. It needs no call around it: whoever has a request and a claim for
    its key, as for the items of a bulk call, gets an order that `Saga.carry` decides."""

    def __init__(self, db: Database, idempotent: Idempotency, parts: Parts, clock: Clock) -> None:
        self._db = db
        self._idempotency = idempotent
        self._menus, self._starting, self._invitations = parts
        self._clock = clock

    def remembering(self) -> Self:
        """The same intake for one call about many orders: it asks the catalog the same only once."""
        parts = Parts(self._menus.remembering(), self._starting, self._invitations)
        return type(self)(self._db, self._idempotency, parts, self._clock)

    async def take_in(self, claim: Claim, request: pb.CreateOrderRequest) -> Order | Outcome:
        """A new order, claimed for this request; or what is kept under its key already.

        Raises INVALID_REQUEST, RECIPIENT_INVALID, REWARD_UNAVAILABLE, DENOMINATION_INVALID, COUNTRY_NOT_SERVED, and
        what the catalog refuses; what binds is kept.
        """
        async with self._db.read() as tx:
            kept = await self._idempotency.find(tx, claim)
            program = await programs.get(tx, claim.program_id)
        if kept is not None:
            return kept
        try:
            new, invitation = await self._choose(claim, request, program)
        except Refused as refusal:
            return await keep_refusal(self._db, self._idempotency, claim, refusal)
        failpoints.reach("place.before")
        begun = await self._begin(claim, new, invitation)
        failpoints.reach("place.after")
        return begun

    async def check(self, request: pb.CreateOrderRequest, program: Program) -> Checked:
        """What a request comes to, as long as there is the money for it; nothing is stored or held. Raises as
        `take_in`."""
        wanted = wire.wanted(request, program, program.now(self._clock))
        if wanted.menu is None or request.brand:
            choice = await self._named(program.program_id, wanted, request)
            self._starting.route(choice, program, wanted.country)
            return Checked(wanted, b"", choice, choice.currency, choice.value_minor)
        value_minor = money.minor(request.value, wanted.currency, "value")
        await self._menus.check(_listed(program.program_id, wanted), value_minor)
        return Checked(wanted, wanted.menu.SerializeToString(), None, wanted.currency, value_minor)

    async def _choose(self, claim: Claim, request: pb.CreateOrderRequest, program: Program) -> tuple[Order, Invitation]:
        wanted, menu, choice, currency, value_minor = await self.check(request, program)
        [fee_minor] = await self._menus.fees(claim.program_id, currency, [value_minor])
        invitation = Invitation(wanted.recipient, wanted.country, new_token())
        order = Order(
            program_id=claim.program_id,
            order_id=new_id(),
            value_minor=value_minor,
            currency=currency,
            delivery=wanted.delivery,
            menu=menu,
            choice=choice,
            token_hash=hashed(invitation.token),
            expires_at=wanted.expires_at,
            created_at=program.now(self._clock),
            idempotency_key=claim.key,
            traceparent=traceparent(),
            remaining_minor=value_minor,
            fee_minor=fee_minor,
        )
        return order, invitation

    async def _named(self, program_id: str, wanted: Wanted, request: pb.CreateOrderRequest) -> Choice:
        """The one reward that the order names, at the price that holds for it from now on (G73)."""
        reward_id = request.reward_id
        if wanted.menu is not None:
            denomination_minor = money.minor(request.denomination, wanted.currency, "denomination")
            reward_id = await self._menus.sold_in(_listed(program_id, wanted), denomination_minor)
        choice = await self._menus.quote(program_id, reward_id, request.denomination, wanted.country)
        if wanted.currency and wanted.currency != choice.currency:
            raise Refused(Reason.DENOMINATION_INVALID, f"This reward is sold in {choice.currency}.")
        return choice

    async def _begin(self, claim: Claim, new: Order, invitation: Invitation) -> Order | Outcome:
        running = Outcome(claim.fingerprint, idempotency.State.IN_PROGRESS, b"")
        sealed = self._invitations.seal(new, invitation)

        async def work(tx: Tx) -> Order | Outcome:
            if not await self._idempotency.record(tx, claim, running):
                # A twin that was just refused may have freed the key again; then it was running until now.
                return await self._idempotency.find(tx, claim) or running
            await store.insert_order(tx, new, sealed, REQUEST_LEASE_S)
            return new

        return await self._db.transact(work)


def _listed(program_id: str, wanted: Wanted) -> ListMenuRequest:
    return wire.listed(program_id, wanted.menu, wanted.country, wanted.currency)
