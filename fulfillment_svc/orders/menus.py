"""What an order lets its recipient choose from and what it costs, asked of the catalog."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self

from google.protobuf.message import Message
from rewards.catalog.v1 import rewards_pb2 as catalog_pb
from rewards.fulfillment.v1 import redemptions_pb2

from fulfillment_svc.orders.spending import Offer, spendable, unspendable
from fulfillment_svc.redemptions import wire as redemptions_wire
from fulfillment_svc.redemptions.values import Choice
from svckit import money
from svckit.clients import invoke
from svckit.errors import Reason, Refused

if TYPE_CHECKING:
    from rewards.catalog.v1.rewards_pb2_grpc import CatalogServiceAsyncStub

_PAGE: Final = 200
_FEES_AT_ONCE: Final = 500

Ask = Callable[[Any, Message], Awaitable[Any]]


class Menus:
    """Menus of the catalog, each as a `rewards.catalog.v1.ListMenuRequest` asks for it."""

    def __init__(self, catalog: "CatalogServiceAsyncStub", ask: Ask = invoke) -> None:
        self._catalog = catalog
        self._ask = ask

    def remembering(self) -> Self:
        """The same menus for one call about many orders: whatever it asks again it is told as before."""
        return type(self)(self._catalog, _Remembering())

    async def check(self, menu: catalog_pb.ListMenuRequest, value_minor: int) -> None:
        """Raises DENOMINATION_INVALID if the value cannot be spent to the last, COUNTRY_NOT_SERVED if nothing on the
        menu can be sent to the country, REWARD_UNAVAILABLE if there is nothing on it at all."""
        offers: set[Offer] = set()
        async for reward in self._all(menu):
            offers |= _offers(reward)
            if spendable(value_minor, offers):
                return
        if not offers:
            raise await self._empty(menu)
        raise Refused(Reason.DENOMINATION_INVALID, unspendable(value_minor, offers))

    async def sold_in(self, menu: catalog_pb.ListMenuRequest, denomination_minor: int) -> str:
        """The first reward on the menu that is sold in this denomination. Raises as `check`."""
        offers: set[Offer] = set()
        async for reward in self._all(menu):
            offers |= (sold := _offers(reward))
            if any(_sells(offer, denomination_minor) for offer in sold):
                return reward.reward_id
        if not offers:
            raise await self._empty(menu)
        raise Refused(Reason.DENOMINATION_INVALID, "This brand is not sold in this denomination.")

    async def page(
        self, menu: catalog_pb.ListMenuRequest, affordable: Callable[[catalog_pb.Reward], bool]
    ) -> catalog_pb.ListMenuResponse:
        """A page of the menu without what is not affordable."""
        found = await self._ask(self._catalog.ListMenu, menu)
        rewards = [reward for reward in found.rewards if affordable(reward)]
        return catalog_pb.ListMenuResponse(rewards=rewards, next_after=found.next_after)

    async def has(self, menu: catalog_pb.ListMenuRequest) -> bool:
        """True if anything is on the menu."""
        asked = catalog_pb.ListMenuRequest()
        asked.MergeFrom(menu)
        asked.page_size = 1
        return bool((await self._ask(self._catalog.ListMenu, asked)).rewards)

    async def quote(self, program_id: str, reward_id: str, denomination: float, country: str) -> Choice:
        """One item of a reward as the catalog quotes it, for no points or fees. Raises what the catalog refuses."""
        recipient = redemptions_pb2.Recipient(country=country)
        wanted = redemptions_pb2.CreateRedemptionRequest(
            reward_id=reward_id, denomination=denomination, recipient=recipient
        )
        quote = await self._ask(self._catalog.QuoteReward, redemptions_wire.quote_request(program_id, wanted))
        return replace(redemptions_wire.choice(wanted, quote), points=0, fees_minor=0)

    async def fees(self, program_id: str, currency: str, values_minor: Sequence[int]) -> list[int]:
        """The fees on orders of those values, each of which is one item to it, in minor units."""
        fees: list[int] = []
        for start in range(0, len(values_minor), _FEES_AT_ONCE):
            some = values_minor[start : start + _FEES_AT_ONCE]
            request = catalog_pb.QuoteFeesRequest(program_id=program_id, currency=currency, values_minor=some)
            fees += (await self._ask(self._catalog.QuoteFees, request)).fees_minor
        return fees

    async def _all(self, menu: catalog_pb.ListMenuRequest) -> AsyncIterator[catalog_pb.Reward]:
        asked = catalog_pb.ListMenuRequest()
        asked.MergeFrom(menu)
        asked.page_size = _PAGE
        while True:
            found = await self._ask(self._catalog.ListMenu, asked)
            for reward in found.rewards:
                yield reward
            if not found.next_after:
                return
            asked.after = found.next_after

    async def _empty(self, menu: catalog_pb.ListMenuRequest) -> Refused:
        anywhere = catalog_pb.ListMenuRequest()
        anywhere.MergeFrom(menu)
        anywhere.ClearField("country")
        anywhere.menu.ClearField("countries")
        if anywhere != menu and await self.has(anywhere):
            return Refused(Reason.COUNTRY_NOT_SERVED, "Nothing on the menu is delivered to this country.")
        return Refused(Reason.REWARD_UNAVAILABLE, "Nothing on the menu can be had in this currency.")


class _Remembering:
    """Asks the same only once."""

    def __init__(self) -> None:
        self._answers: dict[tuple[str, bytes], asyncio.Task[Any]] = {}

    async def __call__(self, rpc: Any, request: Message) -> Any:
        asked = request.DESCRIPTOR.full_name, request.SerializeToString(deterministic=True)
        if asked not in self._answers:
            self._answers[asked] = asyncio.create_task(invoke(rpc, request))
        return await self._answers[asked]


def affordable(remaining_minor: int) -> Callable[[catalog_pb.Reward], bool]:
    """Whether a reward has a denomination of at most that."""
    return lambda reward: any(offer.least <= remaining_minor for offer in _offers(reward))


def _offers(reward: catalog_pb.Reward) -> set[Offer]:
    currency = reward.currency
    if reward.HasField("denomination_range"):
        of = reward.denomination_range
        return {Offer(*(money.minor(part, currency, "") for part in (of.min, of.max, of.step)))}
    sold = {money.minor(one, currency, "") for one in reward.denominations}
    return {Offer(one, one, one) for one in sold}


def _sells(offer: Offer, denomination_minor: int) -> bool:
    return offer.least <= denomination_minor <= offer.most and (denomination_minor - offer.least) % offer.step == 0
