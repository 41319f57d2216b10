"""Codes in full: for whom, how often, with which trace; and under a master key that is changed meanwhile."""

import asyncio
import uuid
from collections import Counter
from dataclasses import replace

import pytest
from rewards.fulfillment.v1 import redemptions_pb2 as pb
from sqlalchemy.exc import ProgrammingError

from fulfillment_svc import rotation
from fulfillment_svc.codes import Place, SealBrokenError, Vault
from fulfillment_svc.redemptions import secrets_store, store
from fulfillment_svc.redemptions.revealing import REVEALS_MAX, Revealing
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.refusals import reason, refusal
from fulfillment_svc.tests.test_redemption_store import new, run
from fulfillment_svc.tests.world import Tenant
from fulfillment_svc.webhooks import store as webhooks
from fulfillment_svc.webhooks.rules import Endpoint
from fulfillment_svc.webhooks.sealer import Sealer
from svckit.db import Database
from svckit.errors import Reason
from svckit.testing import headers, partner

OLD, NEW = b"o" * 32, b"n" * 32
BEFORE, BOTH, AFTER = [OLD, NEW], [NEW, OLD], [NEW]


async def reveal(harness: Harness, tenant: Tenant, redemption_id: str, scope: str = "redemptions:reveal") -> list[str]:
    request = pb.RevealRedemptionRequest(redemption_id=redemption_id)
    metadata = headers(partner(tenant.program_id, scope, name="key_7"))
    answer = await harness.stub.RevealRedemption(request, metadata=metadata)
    return [item.code for item in answer.items]


async def test_codes_are_shown_to_who_has_the_scope_and_each_time_is_kept(harness: Harness) -> None:
    tenant, rival = await harness.tenant(), await harness.tenant()
    await harness.provider.fault("part_reject")
    created = await harness.create(tenant, "k", quantity=2)
    assert await reveal(harness, tenant, created.redemption_id) == []
    await harness.finish(await harness.assemble())
    (order,) = await harness.provider.journal(created.redemption_id)
    codes = [item["code"] for item in order["items"] if "code" in item]
    assert await reveal(harness, tenant, created.redemption_id) == codes
    for scope in ("redemptions:read", "redemptions:write"):
        assert await reason(reveal(harness, tenant, created.redemption_id, scope)) == "PERMISSION_DENIED"
    assert await reason(reveal(harness, rival, created.redemption_id)) == "ORDER_NOT_FOUND"
    assert await reason(reveal(harness, tenant, "no-id")) == "ORDER_NOT_FOUND"
    seen = await harness.execute("SELECT program_id, actor FROM redemption_reveals")
    assert seen == [(tenant.program_id, "key_7")] * 2
    for statement in ("UPDATE redemption_reveals SET actor = 'x'", "DELETE FROM redemption_reveals"):
        with pytest.raises(ProgrammingError, match="permission denied"):
            await harness.execute(statement)


async def test_nobody_keeps_the_answer(harness: Harness) -> None:
    tenant = await harness.tenant()
    created = await harness.create(tenant, "k")
    call = harness.stub.RevealRedemption(
        pb.RevealRedemptionRequest(redemption_id=created.redemption_id),
        metadata=headers(partner(tenant.program_id, "redemptions:reveal"), "key"),
    )
    await call
    assert dict(await call.initial_metadata())["cache-control"] == "no-store"
    operations = await harness.execute("SELECT operation FROM idempotency_keys")
    assert operations == [("CreateRedemption",)]


async def test_even_at_once_codes_are_shown_only_so_often_an_hour(harness: Harness) -> None:
    tenant = await harness.tenant()
    one, other = [(await harness.create(tenant, key)).redemption_id for key in ("a", "b")]
    tries = (reveal(harness, tenant, one) for _ in range(REVEALS_MAX + 5))
    ended = Counter(type(result) for result in await asyncio.gather(*tries, return_exceptions=True))
    assert ended[list] == REVEALS_MAX
    refused = await refusal(reveal(harness, tenant, one))
    assert refused.reason == Reason.RATE_LIMITED
    assert await reveal(harness, tenant, other) == [], "the bound is a redemption's own"
    assert await harness.execute("SELECT count(*) FROM redemption_reveals") == [(REVEALS_MAX + 1,)]


async def seal(db: Database, place: Place, keys: list[bytes]) -> None:
    one = replace(new(), redemption_id=place.redemption_id)
    await db.transact(lambda tx: store.insert_redemption(tx, one, 0.0))
    sealed = {place: Vault(keys).seal(str(place.redemption_id).encode(), place)}
    await db.transact(lambda tx: secrets_store.insert_secrets(tx, sealed))


async def reads(db: Database, place: Place, keys: list[bytes]) -> bool:
    found = await Revealing(db, Vault(keys)).reveal("acme", place.redemption_id, "key_7")
    return found == {1: str(place.redemption_id)}


async def test_the_master_key_is_changed_while_codes_are_read_and_written(db: Database) -> None:
    places = [Place("acme", uuid.uuid4(), 1) for _ in range(250)]
    early, late = places[:200], places[200:]
    for place in early:
        await seal(db, place, BEFORE)
    endpoint = Endpoint("acme", uuid.uuid4(), "https://example.com", (), b"")
    secret = Sealer(BEFORE).seal("acme", endpoint.endpoint_id, "whsec_x")
    await db.transact(lambda tx: webhooks.create_endpoint(tx, replace(endpoint, sealed_secret=secret)))

    running = asyncio.create_task(rotation.rewrap(db, Vault(BOTH), Sealer(BOTH)))
    # A process that was not restarted yet still seals with the old key, and reads what is under the new one already.
    for place, other in zip(late, early, strict=False):
        await seal(db, place, BEFORE)
        assert await reads(db, place, BOTH)
        assert await reads(db, other, BEFORE)
    await running
    await rotation.rewrap(db, Vault(BOTH), Sealer(BOTH))
    assert await rotation.left(db, Vault(BOTH), Sealer(BOTH)) == 0
    assert all([await reads(db, place, AFTER) for place in places])
    with pytest.raises(SealBrokenError):
        await reads(db, places[0], [OLD])
    ((moved,),) = await run(db, "SELECT secret FROM webhook_endpoints")
    assert Sealer(AFTER).open("acme", endpoint.endpoint_id, moved) == "whsec_x"


async def test_what_is_under_a_key_that_is_gone_is_said(db: Database) -> None:
    await seal(db, Place("acme", uuid.uuid4(), 1), [b"x" * 32])
    assert await rotation.rewrap(db, Vault(BOTH), Sealer(BOTH)) == 0
    assert await rotation.left(db, Vault(BOTH), Sealer(BOTH)) == 1
