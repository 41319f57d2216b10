"""Pages while the catalog changes: no reward twice, and none lost that was there all along."""

from dataclasses import dataclass, field

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rewards.catalog.v1 import rewards_pb2 as pb

from catalog_svc.tests.conftest import OPERATOR, Catalog, reward
from svckit.clock import new_id
from svckit.testing import headers, partner

NAMES = [f"r-{number:02}" for number in range(24)]
FOOD = {"category": "food"}


@dataclass
class World:
    """Which rewards are of the category that is listed. Each example has a program of its own."""

    catalog: Catalog
    program_id: str = field(default_factory=lambda: f"p-{new_id()}")
    food: set[str] = field(default_factory=set)

    async def put(self, name: str, category: str, label: str) -> None:
        await self.catalog.put(reward(name, category=category, name=label), program_id=self.program_id)
        (self.food.add if category == "food" else self.food.discard)(name)

    async def page(self, size: int, token: str) -> pb.ListRewardsResponse:
        request = pb.ListRewardsRequest(category="food", q="card", page_size=size, page_token=token)
        caller = headers(partner(self.program_id, "catalog:read"))
        return await self.catalog.rewards.ListRewards(request, metadata=caller)

    async def withdraw(self, name: str) -> None:
        request = pb.WithdrawRewardsRequest(program_id=self.program_id, reward_ids=[name], reason="x")
        await self.catalog.catalog.WithdrawRewards(request, metadata=OPERATOR)


changes = st.tuples(st.sampled_from(NAMES), st.sampled_from(["food", "retail", "rename", "withdraw"]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    there=st.sets(st.sampled_from(NAMES), min_size=3),
    size=st.integers(1, 5),
    between=st.lists(st.lists(changes, max_size=4), max_size=12),
)
async def test_pages_lose_nothing_and_repeat_nothing_while_rewards_come_and_go(
    catalog: Catalog, there: set[str], size: int, between: list[list[tuple[str, str]]]
) -> None:
    world = World(catalog)
    await catalog.set_program(version=1, program_id=world.program_id)
    for name in there:
        await world.put(name, "food", "A card")
    always, seen, token, rounds = set(world.food), [], "", iter(between)
    while True:
        answer = await world.page(size, token)
        seen += [listed.reward_id for listed in answer.rewards]
        assert seen == sorted(set(seen))
        token = answer.next_page_token
        if not token:
            break
        for name, change in next(rounds, []):
            if change in {"rename", "withdraw"} and name not in world.food:
                continue
            if change == "withdraw":
                await world.withdraw(name)  # It stays listed, as what it is.
            else:
                await world.put(name, "food" if change == "rename" else change, f"Another card {len(seen)}")
            always &= world.food
    assert always <= set(seen)
