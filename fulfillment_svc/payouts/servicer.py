"""The partners' RPC of payout methods."""

from typing import TYPE_CHECKING, Any

from rewards.catalog.v1.rewards_pb2 import ListOffersRequest, Offer, Reward
from rewards.fulfillment.v1 import payouts_pb2 as pb
from rewards.fulfillment.v1.payouts_pb2_grpc import PayoutsServiceServicer

from fulfillment_svc.payouts.rules import Method, methods
from fulfillment_svc.providers.routing import Router
from fulfillment_svc.providers.serving import Wanted
from fulfillment_svc.tables import programs
from svckit import call, money
from svckit.clients import invoke
from svckit.db import Database

if TYPE_CHECKING:
    from rewards.catalog.v1.rewards_pb2_grpc import CatalogServiceAsyncStub


class PayoutsServicer(PayoutsServiceServicer):
    """Asks the catalog what there is, and the `router` what of it is delivered."""

    def __init__(self, db: Database, catalog: "CatalogServiceAsyncStub", router: Router) -> None:
        self._db = db
        self._catalog = catalog
        self._router = router

    async def ListPayoutMethods(
        self, request: pb.ListPayoutMethodsRequest, context: Any
    ) -> pb.ListPayoutMethodsResponse:
        """Lists how recipients in a country can be paid."""
        program_id, country = call.current().program_id, request.country
        program = await programs.read(self._db, program_id)
        asked = ListOffersRequest(program_id=program_id, country=country)
        found = await invoke(self._catalog.ListOffers, asked)

        def serves(offer: Offer, member: bool) -> bool:  # noqa: FBT001 - as `methods` calls it
            kind = Reward.Kind.Name(offer.kind)
            return self._router.serves(Wanted(program, member, country, offer.currency, offer.brand, kind))

        return pb.ListPayoutMethodsResponse(methods=map(_method, methods(found.offers, serves)))


def _method(method: Method) -> pb.PayoutMethod:
    return pb.PayoutMethod(
        kind=method.kind,
        currency=method.currency,
        brands=method.brands,
        min=money.major(method.min_minor, method.currency),
        max=money.major(method.max_minor, method.currency),
        members_only=method.members_only,
    )
