"""The same torture for a program whose orders are routed: the first in line cannot be reached, and comes up with a
memory of nothing when all is over; the second has every fault there is; cashback goes to the ledger. Each redemption is
issued once by one of them, by their own books, or given back."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from rewards.fulfillment.v1 import redemptions_pb2 as pb

from fulfillment_svc.tests import mapped
from fulfillment_svc.tests.harness import Harness
from fulfillment_svc.tests.outside import SandboxProvider
from fulfillment_svc.tests.test_torture import AT_ONCE, REDEMPTIONS, SEED, TORTURE, definite, kill, settled, switch_on
from fulfillment_svc.tests.world import CASH, REWARD, Funds, Service, Tenant
from ledger_svc.verify.report import faults, findings

POINTS, CENTS = 2_000_000, 200_000_000


@pytest.fixture
async def late(tmp_path: Path) -> AsyncIterator[SandboxProvider]:
    folder = tmp_path / "late"
    folder.mkdir()
    process = SandboxProvider(folder)
    yield process
    await process.stop()


@pytest.fixture
def process_env(provider: SandboxProvider, late: SandboxProvider, tmp_path: Path) -> dict[str, str]:
    """The service with a line of both."""
    file = tmp_path / "providers.toml"
    first = mapped.provider(late.url, name="late")
    second = mapped.provider(provider.url, name="second", callback_secret_file=provider.secret_file)
    file.write_text(mapped.toml(first, second))
    return {"REWARDS_PROVIDERS_FILE": str(file), "REWARDS_WEBHOOK_ALLOW_LOOPBACK": "true"}


async def redeem(
    harness: Harness, tenant: Tenant, number: int, chance: random.Random, places: asyncio.Semaphore
) -> None:
    async with places:
        wanted: dict[str, Any] = {"quantity": chance.randint(1, 3), "reward_id": chance.choice([REWARD, REWARD, CASH])}
        created = await definite(lambda: harness.create(tenant, f"k-{number}", **wanted))
        assert isinstance(created, pb.Redemption), created


async def check(harness: Harness, tenant: Tenant, late: SandboxProvider) -> Counter[tuple[str, str]]:
    """What must hold of all redemptions at their end, judged by the providers' and the ledger's own books."""
    decided = [entry for books in (harness.provider, late) for entry in await books.journal()]
    issues: dict[str, list[Any]] = {}
    for entry in decided:
        if entry["event"] == "DECIDED" and entry["status"] == "ISSUED":
            issues.setdefault(entry["reference"], []).append(entry)
    points, cents, cash, ends = 0, 0, 0, Counter[tuple[str, str]]()
    for row in await harness.execute("SELECT *, parked_at IS NOT NULL AS parked FROM redemptions"):
        found = issues.get(str(row.redemption_id), [])
        given_back, by_ledger = row.state == "FAILED", row.provider == "cashback"
        assert len(found) <= 1, "issued twice"
        assert row.parked == (bool(found) and given_back), (row.state, "silence about a late issue, or a false alarm")
        assert by_ledger or found or given_back, "paid, and never issued"
        if not given_back:
            numbers = range(1, row.quantity + 1)
            units = numbers if by_ledger else [item["number"] for item in found[0]["items"] if "code" in item]
            share, left = divmod(row.points, row.quantity)
            points += sum(share + (unit <= left) for unit in units)
            cents += len(units) * row.denomination_minor
            cash += by_ledger * row.quantity * row.denomination_minor
        ends[row.provider, "late issue" if row.parked else row.state] += 1
    assert await tenant.points() == Funds(POINTS - points, 0)
    assert await tenant.funding() == Funds(CENTS - cents, 0)
    assert await tenant.points("USD") == Funds(cash, 0), "what left the funding for cashback is the member's"
    return ends


@pytest.mark.timeout(1_500 if TORTURE else 240)
async def test_whoever_is_in_line_each_order_is_issued_once(
    harness: Harness, process: Service, late: SandboxProvider
) -> None:
    print(f"REWARDS_SEED={SEED}")  # noqa: T201 - shown when the test fails
    chance, places = random.Random(SEED), asyncio.Semaphore(AT_ONCE)  # noqa: S311 - guards nothing
    await process.start()
    tenant = await harness.tenant(points=POINTS, funding=CENTS / 100, sandbox=False, assets=["USD"])
    harness.provider.door.names = ["second"]
    harness.answer_callbacks()
    await switch_on(harness)
    await harness.provider.fault("pending", chance=0.1, queries=2)
    killing = asyncio.create_task(kill(harness, process, chance))
    await asyncio.gather(*(redeem(harness, tenant, number, chance, places) for number in range(REDEMPTIONS)))
    await killing
    await harness.provider.clear()
    await late.start()
    await harness.world.start()
    await process.start()
    await settled(harness)
    ends = await check(harness, tenant, late)
    print(ends)  # noqa: T201 - shown when the test fails
    assert ends.total() == REDEMPTIONS
    assert ends["second", "FULFILLED"]
    assert ends["cashback", "FULFILLED"]
    moved = await harness.execute(
        "SELECT count(*) FROM redemptions WHERE route LIKE '%late: UNREACHABLE, second: SERVES'"
    )
    passed = await harness.execute(
        "SELECT count(*) FROM redemptions WHERE route LIKE '%late: UNHEALTHY, second: SERVES'"
    )
    assert moved[0][0] > 0
    assert passed[0][0] > 0
    assert faults(await findings(harness.world.ledger.database_url)) == []
