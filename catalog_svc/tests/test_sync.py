"""Synchronisations with a provider's feed over real HTTP: what they report is what they do, all of it or nothing."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from rewards.catalog.v1 import rewards_pb2, stock_pb2, sync_pb2
from rewards.catalog.v1.sync_pb2 import Sync
from sqlalchemy import update

from catalog_svc.sync import store
from catalog_svc.sync.feeds import JsonFeed
from catalog_svc.tables import syncs
from catalog_svc.tests.conftest import OPERATOR, PROGRAM, Catalog, refusal_of, reward, served_catalog
from devmesh.pki import Authority
from svckit.call import Kind, Principal
from svckit.db import Database, Tx
from svckit.errors import Reason
from svckit.testing import headers, partner

PARTNER = headers(partner(PROGRAM, "catalog:read"))


@dataclass
class Provider:
    """A provider's feed, and the catalog that reads it."""

    rewards: dict[str, dict[str, Any]] = field(default_factory=dict)
    raw: bytes | None = None
    status: int = 200
    meanwhile: Callable[[], Awaitable[object]] | None = None
    catalog: Catalog = field(init=False)

    async def answer(self, _: web.Request) -> web.Response:
        if self.meanwhile is not None:
            await self.meanwhile()
        body = json.dumps({"rewards": list(self.rewards.values())}).encode() if self.raw is None else self.raw
        return web.Response(status=self.status, body=body)

    def sells(self, *ids: str, **more: Any) -> None:
        for name in ids:
            self.rewards[name] = {**entry(name), **self.rewards.get(name, {}), **more}

    async def start(self, **asked: bool) -> str:
        request = sync_pb2.StartSyncRequest(program_id=PROGRAM, provider="north", **asked)
        return (await self.catalog.syncs.StartSync(request, metadata=OPERATOR)).sync.sync_id

    async def work(self) -> int:
        return await self.catalog.workers["sync"]._step()

    async def ended(self, sync_id: str) -> tuple[Sync, list[tuple[str, str, tuple[str, ...], str]]]:
        of = {"program_id": PROGRAM, "sync_id": sync_id}
        sync = (await self.catalog.syncs.GetSync(sync_pb2.GetSyncRequest(**of), metadata=OPERATOR)).sync
        found, page = [], sync_pb2.ListSyncChangesRequest(page_size=2, **of)
        while True:
            answer = await self.catalog.syncs.ListSyncChanges(page, metadata=OPERATOR)
            for one in answer.changes:
                action = sync_pb2.SyncChange.Action.Name(one.action)
                found.append((one.reward_id, action, tuple(one.fields), one.reason))
            page.page_token = answer.next_page_token
            if not page.page_token:
                return sync, found

    async def sync(self, **asked: bool) -> tuple[Sync, list[tuple[str, str, tuple[str, ...], str]]]:
        sync_id = await self.start(**asked)
        assert await self.work() == 1
        return await self.ended(sync_id)

    async def shown(self, reward_id: str = "") -> list[rewards_pb2.Reward]:
        listed = await self.catalog.rewards.ListRewards(rewards_pb2.ListRewardsRequest(), metadata=PARTNER)
        return [one for one in listed.rewards if reward_id in ("", one.reward_id)]


def entry(name: str) -> dict[str, Any]:
    """An entry of a feed; other fields are the provider's own."""
    return {
        "rewardId": name,
        "name": f"The {name} card",
        "brand": "North",
        "category": "retail",
        "kind": "CLOSED_LOOP",
        "countries": ["US"],
        "currency": "USD",
        "denominations": [10, 25],
        "sku": 7,
    }


@pytest.fixture
async def provider(
    fresh_database: Callable[[str], Awaitable[Database]], authority: Authority
) -> AsyncIterator[Provider]:
    made, application = Provider(), web.Application()
    application.router.add_get("/feed", made.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    db = await fresh_database("catalog_svc")
    async with served_catalog(db, authority, {"north": JsonFeed(f"http://{host}:{port}/feed")}) as catalog:
        made.catalog = catalog
        yield made
    await runner.cleanup()


def counts(sync: Sync) -> tuple[int, int, int, int, int]:
    return sync.added, sync.changed, sync.withdrawn, sync.rejected, sync.unchanged


async def test_a_report_says_what_was_done(provider: Provider) -> None:
    provider.sells("a", "b", "c", "d", "e", "f")
    provider.sells("b", texts=[{"language": "de", "name": "Die Karte"}], stock=5)
    sync, changes = await provider.sync()
    assert (sync.state, counts(sync)) == (Sync.DONE, (6, 0, 0, 0, 0))
    assert changes == [(name, "ADDED", (), "") for name in "abcdef"]
    provider.sells("a", name="Another", denominations=[10])
    provider.sells("b", stock=0)
    provider.sells("c", countries=["US", "UK"])
    provider.sells("g")
    del provider.rewards["f"]
    sync, changes = await provider.sync()
    assert (sync.state, counts(sync)) == (Sync.DONE, (1, 2, 1, 1, 2))
    assert changes == [
        ("a", "CHANGED", ("name", "denominations_minor"), ""),
        ("b", "CHANGED", ("stock",), ""),
        ("c", "REJECTED", (), "entry.countries[1] is not an ISO 3166-1 alpha-2 code"),
        ("f", "WITHDRAWN", (), ""),
        ("g", "ADDED", (), ""),
    ]
    shown = {
        one.reward_id: (one.name, rewards_pb2.Reward.Availability.Name(one.availability))
        for one in await provider.shown()
    }
    assert shown == {
        "a": ("Another", "AVAILABLE"),
        "b": ("The b card", "OUT_OF_STOCK"),
        # What cannot be read any more stays as it was.
        "c": ("The c card", "AVAILABLE"),
        "d": ("The d card", "AVAILABLE"),
        "e": ("The e card", "AVAILABLE"),
        "f": ("The f card", "WITHDRAWN"),
        "g": ("The g card", "AVAILABLE"),
    }
    provider.sells("f")
    sync, changes = await provider.sync()
    assert changes[-1] == ("f", "CHANGED", ("availability",), "")


async def test_the_same_feed_again_changes_nothing(provider: Provider) -> None:
    provider.sells("a", "b", stock=3)
    await provider.sync()
    call = provider.catalog.rewards.ListRewards(rewards_pb2.ListRewardsRequest(), metadata=PARTNER)
    before = dict(await call.initial_metadata() or ())["etag"]
    sync, changes = await provider.sync()
    assert (counts(sync), changes) == ((0, 0, 0, 0, 2), [])
    call = provider.catalog.rewards.ListRewards(rewards_pb2.ListRewardsRequest(), metadata=PARTNER)
    assert dict(await call.initial_metadata() or ())["etag"] == before


async def test_a_dry_run_says_all_and_does_nothing(provider: Provider) -> None:
    provider.sells("a", "b")
    sync, changes = await provider.sync(dry_run=True)
    assert (sync.state, sync.dry_run, counts(sync), len(changes)) == (Sync.DONE, True, (2, 0, 0, 0, 0), 2)
    assert await provider.shown() == []


@pytest.mark.parametrize(("left", "refused"), [(0, True), (7, True), (8, False)])
async def test_a_feed_that_lacks_too_much_needs_a_person(provider: Provider, left: int, *, refused: bool) -> None:
    names = [f"r{number}" for number in range(10)]
    provider.sells(*names)
    await provider.sync()
    provider.rewards = {name: provider.rewards[name] for name in names[:left]}
    sync, changes = await provider.sync()
    on_sale = [one for one in await provider.shown() if one.availability == rewards_pb2.Reward.AVAILABLE]
    assert (sync.state == Sync.REFUSED, len(on_sale)) == (refused, 10 if refused else left)
    assert bool(sync.reason) == refused
    # It says what it would have done.
    assert [action for _, action, _, _ in changes] == ["WITHDRAWN"] * (10 - left)
    if refused:
        forced, _ = await provider.sync(force=True)
        assert (forced.state, forced.withdrawn) == (Sync.DONE, 10 - left)


async def test_a_feed_that_breaks_off_changes_nothing(provider: Provider) -> None:
    provider.sells("a")
    await provider.sync()
    provider.raw = b'{"rewards": [{"rewardId": "a"'
    sync, changes = await provider.sync()
    assert (sync.state, sync.reason) == (Sync.REFUSED, "the feed is no JSON object with rewards")
    assert (len(await provider.shown()), changes) == (1, [])


async def test_a_provider_that_is_down_is_told(provider: Provider) -> None:
    provider.status = 503
    sync, _ = await provider.sync()
    assert (sync.state, sync.reason) == (Sync.REFUSED, "the feed answers with 503")


async def test_what_others_put_is_theirs(provider: Provider) -> None:
    await provider.catalog.put(reward("ours"), reward("also-ours"))
    provider.sells("ours", "theirs")
    sync, changes = await provider.sync()
    assert changes[0] == ("ours", "REJECTED", (), "this id is another provider's or an operator's")
    provider.sells("theirs-too")
    del provider.rewards["ours"]
    sync, _ = await provider.sync()
    assert (sync.withdrawn, sync.added) == (0, 1)
    assert {one.name for one in await provider.shown("ours")} == {"Baltic Books gift card"}


async def test_what_a_person_withdrew_or_priced_stays_so(provider: Provider) -> None:
    provider.sells("a", "b")
    await provider.sync()
    told = rewards_pb2.WithdrawRewardsRequest(program_id=PROGRAM, reward_ids=["a"], reason="Recalled")
    await provider.catalog.catalog.WithdrawRewards(told, metadata=OPERATOR)
    (b,) = await provider.shown("b")
    prices = tuple(rewards_pb2.RewardPrice(reward_id="b", denomination=d, points=int(d * 70)) for d in (10, 25))
    await provider.catalog.put(b, prices=prices)
    provider.sells("a", "b", description="New")
    sync, _ = await provider.sync()
    assert counts(sync) == (0, 2, 0, 0, 0)
    shown = {one.reward_id: one for one in await provider.shown()}
    assert (shown["a"].availability, shown["a"].description) == (rewards_pb2.Reward.WITHDRAWN, "New")
    assert [cost.points for cost in shown["b"].point_cost] == [700, 1_750]


async def test_stock_that_is_reserved_stays_reserved(provider: Provider) -> None:
    provider.sells("a", "b", stock=5)
    await provider.sync()
    request = stock_pb2.ReserveStockRequest(program_id=PROGRAM, reference="o", reward_id="a", quantity=2)
    await provider.catalog.stock.ReserveStock(request)
    provider.sells("a", stock=4)
    await provider.sync()
    asked = rewards_pb2.GetAvailabilityRequest(ids=["a"])
    answer = await provider.catalog.rewards.GetAvailability(asked, metadata=PARTNER)
    assert [one.units_left for one in answer.rewards] == [2]


async def test_one_of_a_provider_runs_at_a_time_and_one_worker_runs_it(provider: Provider) -> None:
    provider.sells("a")
    started = await provider.start()
    assert (await refusal_of(provider.start())).reason == Reason.CONFLICT
    assert sum(await asyncio.gather(*(provider.work() for _ in range(5)))) == 1
    assert (await provider.ended(started))[0].state == Sync.DONE
    assert await provider.work() == 0
    await provider.sync()


async def test_a_worker_that_lost_its_lease_applies_nothing(provider: Provider) -> None:
    provider.sells("a")
    started = await provider.start()

    async def lose() -> None:
        async def expire(tx: Tx) -> None:
            await tx.execute(update(syncs).values(due_at=syncs.c.started_at))
            assert await store.claim(tx, 60) is not None

        await provider.catalog.db.transact(expire)

    provider.meanwhile = lose
    assert await provider.work() == 1
    assert (await provider.ended(started))[0].state == Sync.RUNNING
    assert await provider.shown() == []


async def test_a_worker_that_dies_is_followed_by_another(provider: Provider) -> None:
    provider.sells("a")
    started = await provider.start()
    await provider.catalog.db.transact(lambda tx: store.claim(tx, 0))
    assert await provider.work() == 1
    assert (await provider.ended(started))[0].state == Sync.DONE


async def test_what_there_is_not_is_not_found(provider: Provider) -> None:
    unknown = sync_pb2.StartSyncRequest(program_id=PROGRAM, provider="south")
    assert (await refusal_of(provider.catalog.syncs.StartSync(unknown, metadata=OPERATOR))).reason == Reason.NOT_FOUND
    nowhere = sync_pb2.StartSyncRequest(program_id="nowhere", provider="north")
    assert (await refusal_of(provider.catalog.syncs.StartSync(nowhere, metadata=OPERATOR))).reason == Reason.NOT_FOUND
    never = sync_pb2.GetSyncRequest(program_id=PROGRAM, sync_id="01990f3e-8c1a-7b52-9d5e-3f6a1c2b4d70")
    assert (await refusal_of(provider.catalog.syncs.GetSync(never, metadata=OPERATOR))).reason == Reason.NOT_FOUND
    caller = headers(Principal(Kind.PARTNER, "p", PROGRAM, frozenset({"catalog:read"})))
    mine = sync_pb2.StartSyncRequest(program_id=PROGRAM, provider="north")
    assert (
        await refusal_of(provider.catalog.syncs.StartSync(mine, metadata=caller))
    ).reason == Reason.PERMISSION_DENIED
