"""Every fault of the provider, mixed by chance, while the service, the ledger and the catalog are killed
again and again: each redemption ends fulfilled or given back, or waits for a person, and no value and no unit of stock
is lost or doubled (F4 to F6, F11, R5)."""

import asyncio
import os
import random
import signal
from collections import Counter
from typing import Any, Final

import grpc
import pytest
from rewards.fulfillment.v1 import redemptions_pb2 as pb
from rewards.identity.v1.programs_pb2 import RecipientLimit

from fulfillment_svc.tests.harness import ENDS, Harness
from fulfillment_svc.tests.world import Funds, Service, Stock, Tenant
from ledger_svc.verify.report import faults, findings

TORTURE: Final = bool(os.environ.get("REWARDS_TORTURE"))
REDEMPTIONS: Final = 500 if TORTURE else 50
KILLS: Final = 30 if TORTURE else 4
AT_ONCE: Final = 8
SEED: Final = int(os.environ.get("REWARDS_SEED", "5"))
POINTS, CENTS, UNITS = 2_000_000, 200_000_000, 3 * REDEMPTIONS

ORDERS: Final = {
    "reject": 0.06,
    "part_reject": 0.10,
    "reject_then_issue": 0.05,
    "slow": 0.06,
    "unavailable": 0.08,
    "timeout_then_success": 0.03,
    "error_after_accept": 0.08,
    "delayed_visibility": 0.08,
    "malformed_body": 0.06,
    "huge_body": 0.06,
    "wrong_amount": 0.06,
}
QUERIES: Final = {"slow": 0.1, "unavailable": 0.1, "malformed_body": 0.1, "huge_body": 0.1, "wrong_amount": 0.1}
CALLBACKS: Final = (
    "no_callback",
    "duplicate_callback",
    "early_callback",
    "late_callback",
    "contradictory_callback",
    "forged_callback",
)


async def switch_on(harness: Harness) -> None:
    for fault, chance in ORDERS.items():
        await harness.provider.fault(fault, chance=chance, delayMs=200, queries=2)
    for fault, chance in QUERIES.items():
        await harness.provider.fault(fault, chance=chance, on="query", delayMs=200)
    for fault in CALLBACKS:
        await harness.provider.fault(fault, chance=0.15, delayMs=500)


async def definite(call: Any) -> Any:
    """What a client gets that repeats its call until the answer is definite: the answer, or the reason's name."""
    while True:
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            if error.code() in (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND):
                return error.code().name
            # In flight, down, or too late to tell: the same call again.
            await asyncio.sleep(0.1)


async def redeem(
    harness: Harness, tenant: Tenant, number: int, chance: random.Random, places: asyncio.Semaphore
) -> None:
    async with places:
        quantity = chance.randint(1, 3)
        created = await definite(lambda: harness.create(tenant, f"k-{number}", quantity=quantity))
        assert isinstance(created, pb.Redemption), created
        if chance.random() < 0.1:
            await definite(lambda: harness.cancel(tenant, created.redemption_id, f"c-{number}"))


async def kill(harness: Harness, process: Service, chance: random.Random) -> None:
    """Kills the service or one that it calls each time that some more redemptions have begun, and starts it again."""
    for number in range(KILLS):
        begun = chance.randint(number * REDEMPTIONS, (number + 1) * REDEMPTIONS - 1) // KILLS
        while (await harness.execute("SELECT count(*) FROM redemptions"))[0][0] < begun:  # noqa: ASYNC110
            await asyncio.sleep(chance.uniform(0, 0.2))
        victim = chance.choice([process, harness.world.ledger, harness.world.catalog])
        await victim.stop(signal.SIGKILL)
        await victim.start()


async def settled(harness: Harness) -> None:
    """Waits until the provider has called about everything and the workers have ended it; pauses are over at once,
    leases run out by themselves."""
    async with asyncio.timeout(600 if TORTURE else 90):
        while not await harness.provider.has_called():  # noqa: ASYNC110
            await asyncio.sleep(0.2)
        while await harness.execute("SELECT 1 FROM redemptions WHERE due_at IS NOT NULL LIMIT 1"):
            await harness.execute("UPDATE redemptions SET due_at = now() WHERE due_at > now() AND NOT leased")
            await asyncio.sleep(0.2)


async def check(harness: Harness, tenant: Tenant) -> Counter[str]:
    """What must hold of all redemptions at their end, judged by the provider's and the ledger's own books."""
    decisions: dict[str, list[dict[str, Any]]] = {}
    for entry in await harness.provider.journal():
        if entry["event"] == "DECIDED" and entry["status"] == "ISSUED":
            decisions.setdefault(entry["reference"], []).append(entry)
    points, cents, sold, ends = 0, 0, 0, Counter[str]()
    for row in await harness.execute("SELECT *, parked_at IS NOT NULL AS parked FROM redemptions"):
        issues = decisions.get(str(row.redemption_id), [])
        assert len(issues) <= 1, "issued twice"
        given_back = row.state in ("FAILED", "CANCELLED")
        assert row.parked == (bool(issues) and given_back), (row.state, "silence about a late issue, or a false alarm")
        assert issues or given_back, "paid, and never issued"
        if not given_back:
            units = [item["number"] for item in issues[0]["items"] if "code" in item]
            share, left = divmod(row.points, row.quantity)
            points += sum(share + (unit <= left) for unit in units)
            cents += len(units) * row.denomination_minor
            sold += len(units)
            assert (row.state == "FULFILLED") == (len(units) == row.quantity)
        ends["late issue" if row.parked else row.state] += 1
    assert await tenant.points() == Funds(POINTS - points, 0)
    assert await tenant.funding() == Funds(CENTS - cents, 0)
    assert await tenant.stock() == Stock(UNITS - sold, 0, sold)
    ((checked, counted),) = await harness.execute("SELECT count(*), sum(value_minor)::bigint FROM compliance_checks")
    assert (checked, counted) == (ends.total(), cents), "what counts for compliance is what was issued"
    return ends


@pytest.mark.timeout(1_500 if TORTURE else 240)
async def test_whatever_the_provider_does_and_whoever_dies(harness: Harness, process: Service) -> None:
    print(f"REWARDS_SEED={SEED}")  # noqa: T201 - shown when the test fails
    chance, places = random.Random(SEED), asyncio.Semaphore(AT_ONCE)  # noqa: S311 - guards nothing
    await process.start()
    tenant = await harness.tenant(points=POINTS, funding=CENTS / 100)
    await tenant.limit(UNITS)
    limit = RecipientLimit(currency="USD", value_minor=CENTS, days=1, over=RecipientLimit.REFUSE)
    await harness.obey(tenant, limits=[limit])
    harness.answer_callbacks()
    await switch_on(harness)
    killing = asyncio.create_task(kill(harness, process, chance))
    await asyncio.gather(*(redeem(harness, tenant, number, chance, places) for number in range(REDEMPTIONS)))
    await killing
    await harness.provider.clear()
    await harness.world.start()
    await process.start()
    await settled(harness)
    ends = await check(harness, tenant)
    print(ends)  # noqa: T201 - shown when the test fails
    assert ends.total() == REDEMPTIONS
    assert ends["FULFILLED"]
    told = await harness.execute("SELECT type, count(*) FROM events GROUP BY type")
    states = await harness.execute("SELECT state, count(*) FROM redemptions GROUP BY state")
    expected = Counter[str]()
    for state, count in states:
        expected[ENDS[state]] += count
    assert Counter(dict(told)) == expected, "each end is told once"
    gaps = await harness.execute(
        "SELECT 1 FROM redemptions r WHERE version <> (SELECT count(*) FROM redemption_edges e"
        " WHERE e.redemption_id = r.redemption_id)"
    )
    assert gaps == [], "each edge has one row of history (R6)"
    assert faults(await findings(harness.world.ledger.database_url)) == []
