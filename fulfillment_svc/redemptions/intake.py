"""The beginning of a redemption: it is priced, and then stored together with its key, before any value moves."""

from typing import TYPE_CHECKING

from rewards.fulfillment.v1 import redemptions_pb2 as pb

from fulfillment_svc.codes import RECIPIENT, Place, Vault
from fulfillment_svc.providers.routing import Router
from fulfillment_svc.redemptions import failpoints, rules, secrets_store, store, wire
from fulfillment_svc.redemptions.saga import REQUEST_LEASE_S
from fulfillment_svc.redemptions.values import Redemption, Unit
from fulfillment_svc.requests import keep_refusal, traceparent
from fulfillment_svc.tables import programs
from svckit import idempotency
from svckit.clients import invoke
from svckit.clock import Clock, new_id
from svckit.db import Database, Tx
from svckit.errors import Refused
from svckit.idempotency import Claim, Idempotency, Outcome

if TYPE_CHECKING:
    from rewards.catalog.v1.rewards_pb2_grpc import CatalogServiceAsyncStub


class Intake:
    """Takes requests for redemptions in, each key once. `router` knows who delivers what."""

    def __init__(
        self,
        db: Database,
        idempotent: Idempotency,
        catalog: "CatalogServiceAsyncStub",
        router: Router,
        vault: Vault,
        clock: Clock,
    ) -> None:
        self._db = db
        self._idempotency = idempotent
        self._catalog = catalog
        self._router = router
        self._vault = vault
        self._clock = clock

    async def take_in(self, claim: Claim, request: pb.CreateRedemptionRequest) -> Redemption | Outcome:
        """A new redemption, claimed for this request; or what is kept under its key already.

        Raises RECIPIENT_INVALID, REWARD_UNAVAILABLE, COUNTRY_NOT_SERVED, and what the catalog refuses; what binds is
        kept.
        """
        async with self._db.read() as tx:
            kept = await self._idempotency.find(tx, claim)
        if kept is not None:
            return kept
        try:
            new = await self._choose(claim, request)
        except Refused as refusal:
            return await keep_refusal(self._db, self._idempotency, claim, refusal)
        failpoints.reach("begin.before")
        begun = await self._begin(claim, new, request)
        failpoints.reach("begin.after")
        return begun

    async def _choose(self, claim: Claim, request: pb.CreateRedemptionRequest) -> Redemption:
        wire.recipient(request).address()
        async with self._db.read() as tx:
            program = await programs.get(tx, claim.program_id)
        quote = await invoke(self._catalog.QuoteReward, wire.quote_request(claim.program_id, request))
        choice, country = wire.choice(request, quote), request.recipient.country
        route = self._router.choose(choice.wanted(program, request.member_id, country))
        return Redemption(
            program_id=claim.program_id,
            redemption_id=new_id(),
            member_id=request.member_id,
            choice=choice,
            provider=route.name,
            route=route.why,
            idempotency_key=claim.key,
            created_at=program.now(self._clock),
            units=(Unit(),) * choice.quantity,
            country=country,
            traceparent=traceparent(),
            state=rules.first(choice),
        )

    async def _begin(self, claim: Claim, new: Redemption, request: pb.CreateRedemptionRequest) -> Redemption | Outcome:
        running = Outcome(claim.fingerprint, idempotency.State.IN_PROGRESS, b"")
        place = Place(new.program_id, new.redemption_id, RECIPIENT)
        recipient = self._vault.seal(wire.recipient(request).to_bytes(), place)

        async def work(tx: Tx) -> Redemption | Outcome:
            if not await self._idempotency.record(tx, claim, running):
                # A twin that was just refused may have freed the key again; then it was running until now.
                return await self._idempotency.find(tx, claim) or running
            await store.insert_redemption(tx, new, REQUEST_LEASE_S)
            await secrets_store.insert_secrets(tx, {place: recipient})
            return new

        return await self._db.transact(work)
