"""Orders and claims under test, as their partner and their recipients see them, and what must hold at the end."""

import uuid
from collections.abc import Awaitable
from typing import Any, Final

import grpc
from grpc_status import rpc_status
from rewards.fulfillment.v1 import claims_pb2, orders_pb2
from rewards.fulfillment.v1 import orders_pb2 as pb

from fulfillment_svc.orders.assembly import Room as OrdersRoom
from fulfillment_svc.redemptions.failpoints import Killed
from fulfillment_svc.tests.harness import SITE, Harness
from fulfillment_svc.tests.world import BRAND, REWARD, Funds, Tenant
from svckit.call import Kind, Principal
from svckit.errors import Reason, from_status
from svckit.testing import headers
from svckit.testing import partner as as_partner

_SCOPES: Final = ("orders:write", "orders:read", "redemptions:reveal")
NOBODY: Final = Principal(Kind.PUBLIC)


class Ordering:
    """The orders of one tenant."""

    def __init__(self, harness: Harness, tenant: Tenant) -> None:
        self.harness = harness
        self.tenant = tenant

    async def create(self, key: str = "k", **changes: Any) -> pb.Order:
        """Orders 25 dollars of the brand's cards by link, unless changed."""
        sent = self.harness.orders.CreateOrder(wanted(**changes), metadata=self.partner(key))
        response: pb.CreateOrderResponse = await sent
        return response.order

    async def get(self, order: pb.Order) -> pb.Order:
        """Reads an order."""
        request = pb.GetOrderRequest(order_id=order.order_id)
        response: pb.GetOrderResponse = await self.harness.orders.GetOrder(request, metadata=self.partner())
        return response.order

    async def cancel(self, order: pb.Order, key: str = "off") -> pb.Order:
        """Calls an order off."""
        request = pb.CancelOrderRequest(order_id=order.order_id)
        response: pb.CancelOrderResponse = await self.harness.orders.CancelOrder(request, metadata=self.partner(key))
        return response.order

    async def reveal(self, order: pb.Order) -> list[str]:
        """The codes of an order."""
        request = pb.RevealOrderRequest(order_id=order.order_id)
        shown = await self.harness.orders.RevealOrder(request, metadata=self.partner())
        return [claim.code for claim in shown.claims]

    async def claim(self, order: pb.Order, key: str, **changes: Any) -> orders_pb2.OrderClaim:
        """Claims 12.50 of the reward in Germany, unless changed."""
        chosen: dict[str, Any] = {"reward_id": REWARD, "denomination": 12.5, "country": "DE"} | changes
        request = claims_pb2.CreateClaimRequest(token=token(order), **chosen)
        response: claims_pb2.CreateClaimResponse = await self.harness.claims.CreateClaim(
            request, metadata=headers(NOBODY, key)
        )
        return response.claim

    async def show(self, order: pb.Order, **asked: Any) -> claims_pb2.GetClaimResponse:
        """What the link shows."""
        request = claims_pb2.GetClaimRequest(token=token(order), **asked)
        response: claims_pb2.GetClaimResponse = await self.harness.claims.GetClaim(request, metadata=headers(NOBODY))
        return response

    async def finish(self, rounds: int = 40) -> None:
        """Works until no order and no claim has a step left. A failpoint that strikes is a crash, and another worker
        goes on."""
        room = await self.harness.assemble()
        ordered = await self.harness.assemble_orders(room)
        for _ in range(rounds):
            await self.harness.expire_leases()
            await self.harness.execute("UPDATE orders SET due_at = now() WHERE due_at IS NOT NULL")
            try:
                if not await ordered.saga.work() + await room.saga.work():
                    return
            except Killed:
                room = await self.harness.assemble()
                ordered = await self.harness.assemble_orders(room)
        raise AssertionError(await self.harness.execute("SELECT state, reason, attempts FROM orders"))

    async def expire(self) -> OrdersRoom:
        """Closes what has run out, as its worker does."""
        ordered = await self.harness.assemble_orders(await self.harness.assemble())
        await ordered.saga.expire()
        return ordered

    async def check(self, before: Funds) -> None:
        """Value conserves: what an order was worth is captured, given back, held or under way, to the last minor unit;
        and the provider has issued what was captured and no more."""
        captured = held = 0
        for row in await self.harness.execute(
            "SELECT * FROM orders WHERE program_id = :p AND state <> 'HOLDING'", p=self.tenant.program_id
        ):
            claims = await self.harness.execute(
                "SELECT * FROM redemptions WHERE program_id = :p AND order_id = :o",
                p=self.tenant.program_id,
                o=row.order_id,
            )
            assert all(claim.state in ("FULFILLED", "FAILED") for claim in claims)
            issued = [claim for claim in claims if await self.harness.issued(str(claim.redemption_id))]
            assert sorted(one.redemption_id for one in issued) == sorted(
                claim.redemption_id for claim in claims if claim.state == "FULFILLED"
            )
            assert row.redeemed_minor == sum(one.denomination_minor for one in issued)
            refused = row.refusal is not None
            assert row.remaining_minor + row.redeemed_minor + row.returned_minor == (0 if refused else row.value_minor)
            # What is still held has its part of the fee, and all that was issued has had the rest of that.
            fee_held = row.fee_minor * row.remaining_minor // row.value_minor
            unspent = row.fee_minor * (row.value_minor - row.redeemed_minor) // row.value_minor
            assert sum(one.fees_minor for one in claims) == row.fee_minor - unspent
            captured += row.redeemed_minor + sum(one.fees_minor for one in claims)
            held += row.remaining_minor + fee_held
        assert await self.tenant.funding() == Funds(before.balance - captured, held)

    async def events(self) -> list[str]:
        """What was told of this tenant, in order."""
        told = await self.harness.execute(
            "SELECT type FROM events WHERE program_id = :p ORDER BY sequence", p=self.tenant.program_id
        )
        return [one.type for one in told]

    def partner(self, key: str = "") -> Any:
        """What the tenant's partner sends along."""
        return headers(as_partner(self.tenant.program_id, *_SCOPES), key)


async def ordering(harness: Harness, **funds: Any) -> Ordering:
    """The orders of a new tenant."""
    return Ordering(harness, await harness.tenant(**funds))


def wanted(**changes: Any) -> pb.CreateOrderRequest:
    """A request for 25 dollars of the brand's cards, by link."""
    menu: dict[str, Any] = {"options": [pb.MenuOption(type=pb.MenuOption.CLOSED_LOOP, brands=[BRAND])], "value": 25.0}
    named = changes.keys() & {"options", "catalog_filter", "brand", "reward_id"}
    return pb.CreateOrderRequest(**(({} if named else menu) | {"delivery": pb.Order.LINK} | changes))


def token(order: pb.Order) -> str:
    """Of an order's link."""
    prefix = f"{SITE}/claim/"
    assert order.redemption_url.startswith(prefix)
    return order.redemption_url.removeprefix(prefix)


def mail_address() -> str:
    """One that nobody else has."""
    return f"{uuid.uuid4().hex}@example.com"


async def outcome(call: Awaitable[object]) -> str:
    """CLAIMED, or the reason that a call is refused with."""
    try:
        await call
    except grpc.aio.AioRpcError as error:
        status = rpc_status.from_call(error)  # type: ignore[arg-type]
        return error.code().name if status is None else Reason.Name(from_status(status).reason)
    return "CLAIMED"
