"""Payout methods through the real server: what there is for the recipient's country, and who delivers it there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rewards.catalog.v1.rewards_pb2 import Offer, Reward
from rewards.catalog.v1.rewards_pb2_grpc import CatalogServiceStub
from rewards.fulfillment.v1 import payouts_pb2 as pb
from rewards.fulfillment.v1 import payouts_pb2_grpc

from devmesh.pki import Authority
from fulfillment_svc.payouts.rules import Method, methods
from fulfillment_svc.payouts.servicer import PayoutsServicer
from fulfillment_svc.tests import mapped
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.refusals import reason, refusal
from fulfillment_svc.tests.world import Tenant
from svckit.clients import open_channel
from svckit.testing import headers, partner, serving

Row = tuple[str, str, int, float, float, bool]

CARDS = ("CLOSED_LOOP", "USD", 1, 10.0, 12.5, False)
CASH = ("CASHBACK", "USD", 1, 10.0, 12.5)


def open_to(tenant: Tenant, *scopes: str) -> Any:
    return headers(partner(tenant.program_id, *scopes))


@asynccontextmanager
async def open_stub(harness: Harness, authority: Authority) -> AsyncIterator[Any]:
    """Calls the service as the gateway does, with the providers that are configured."""
    catalog = CatalogServiceStub(await harness.world.channel("fulfillment_svc", harness.world.catalog))
    router = harness.router(await harness.world.channel("fulfillment_svc", harness.world.ledger))
    served = [PayoutsServicer(harness.db, catalog, router)]
    async with (
        serving(authority.issue("fulfillment_svc"), served) as at,
        open_channel(at, "fulfillment_svc", authority.issue("gateway")) as channel,
    ):
        yield payouts_pb2_grpc.PayoutsServiceStub(channel)


@pytest.fixture
async def stub(harness: Harness, authority: Authority) -> AsyncIterator[Any]:
    async with open_stub(harness, authority) as opened:
        yield opened


async def listed(stub: Any, tenant: Tenant, country: str = "DE") -> list[Row]:
    request = pb.ListPayoutMethodsRequest(country=country)
    found = await stub.ListPayoutMethods(request, metadata=open_to(tenant, "funding:read"))
    return [
        (Reward.Kind.Name(one.kind), one.currency, one.brands, one.min, one.max, one.members_only)
        for one in found.methods
    ]


async def test_methods_are_what_the_catalog_has_for_the_country(harness: Harness, stub: Any) -> None:
    tenant = await harness.tenant()
    assert await listed(stub, tenant) == [CARDS, (*CASH, False)]
    assert await listed(stub, tenant, "US") == [CARDS, (*CASH, False)]
    assert await listed(stub, tenant, "GB") == [], "the country is one, and nothing is sold there"


async def test_a_country_is_an_iso_code(harness: Harness, stub: Any) -> None:
    tenant = await harness.tenant()
    for country in ("UK", "EU", "XX", "de", "GBR", ""):
        refused = await refusal(listed(stub, tenant, country))
        assert "country" in str(refused.detail), country
        assert await reason(listed(stub, tenant, country)) == "INVALID_REQUEST"


async def test_it_takes_the_scope_of_the_funding(harness: Harness, stub: Any) -> None:
    tenant = await harness.tenant()
    request = pb.ListPayoutMethodsRequest(country="DE")
    asked = stub.ListPayoutMethods(request, metadata=open_to(tenant, "catalog:read", "funding:write"))
    assert await reason(asked) == "PERMISSION_DENIED"


LIVE = [
    ([], [(*CASH, True)]),
    ([{"countries": ["US"]}], [(*CASH, True)]),
    ([{"kinds": ["CLOSED_LOOP"], "countries": ["US"]}, {"name": "two", "brands": ["Kaffa"]}], [CARDS, (*CASH, True)]),
    ([{"currencies": ["EUR"]}, {"name": "two"}], [CARDS, (*CASH, False)]),
]


@pytest.mark.parametrize(("providers", "expected"), LIVE)
async def test_a_live_program_has_what_somebody_delivers_there(
    harness: Harness, authority: Authority, tmp_path: Path, providers: list[dict[str, Any]], expected: list[Any]
) -> None:
    tenant = await harness.tenant(sandbox=False, assets=["USD"])
    if providers:
        described = (mapped.provider("http://127.0.0.1:1", **provider) for provider in providers)
        harness.configured = mapped.configured(tmp_path, *described)
    async with open_stub(harness, authority) as stub:
        assert await listed(stub, tenant) == expected


def test_brands_of_one_method_are_counted_and_its_bounds_are_theirs() -> None:
    offers = [
        Offer(kind=Reward.CLOSED_LOOP, currency="USD", brand="A", min_minor=500, max_minor=1_000),
        Offer(kind=Reward.CLOSED_LOOP, currency="USD", brand="B", min_minor=100, max_minor=900),
        Offer(kind=Reward.CLOSED_LOOP, currency="USD", brand="members", min_minor=1, max_minor=2),
        Offer(kind=Reward.CLOSED_LOOP, currency="USD", brand="nobody", min_minor=1, max_minor=9_999),
        Offer(kind=Reward.CLOSED_LOOP, currency="EUR", brand="A", min_minor=500, max_minor=1_000),
    ]

    def serves(offer: Offer, member: bool) -> bool:  # noqa: FBT001 - as `methods` calls it
        return offer.brand != "nobody" and (member or offer.brand != "members")

    assert methods(offers, serves) == [
        Method(Reward.CLOSED_LOOP, "EUR", members_only=False, brands=1, min_minor=500, max_minor=1_000),
        Method(Reward.CLOSED_LOOP, "USD", members_only=False, brands=2, min_minor=100, max_minor=1_000),
        Method(Reward.CLOSED_LOOP, "USD", members_only=True, brands=1, min_minor=1, max_minor=2),
    ]
