"""What a recipient sees, between values and protobuf."""

from collections.abc import Sequence

from rewards.catalog.v1 import rewards_pb2 as catalog_pb
from rewards.fulfillment.v1 import claims_pb2 as pb

from fulfillment_svc.orders.values import Order
from fulfillment_svc.orders.wire import listed
from fulfillment_svc.redemptions import wire as redemptions_wire
from fulfillment_svc.redemptions.values import Redemption
from svckit import money


def menu(order: Order) -> catalog_pb.Menu:
    """What may be chosen from: the order's menu, or anything, where its one reward is then asked for by name."""
    if order.choice is not None:
        return catalog_pb.Menu(choices=[catalog_pb.MenuChoice()])
    return catalog_pb.Menu.FromString(order.menu)


def menu_request(order: Order, country: str, reward_id: str = "") -> catalog_pb.ListMenuRequest:
    """What the catalog is asked for an order's menu, or for one reward of it."""
    asked = listed(order.program_id, menu(order), country, order.currency)
    asked.reward_id = reward_id if order.choice is None else order.choice.reward_id
    return asked


def option(order: Order, reward: catalog_pb.Reward) -> pb.ClaimOption:
    """A reward that may be chosen, in the denominations that what is left suffices for."""
    shown = pb.ClaimOption(
        reward_id=reward.reward_id,
        name=reward.name,
        description=reward.description,
        brand=reward.brand,
        category=reward.category,
        kind=reward.kind,
        images=reward.images,
        terms=reward.terms,
    )
    left = money.major(order.remaining_minor, order.currency)
    if order.choice is not None:
        shown.denominations.append(money.major(order.choice.denomination_minor, order.currency))
    elif reward.HasField("denomination_range"):
        shown.denomination_range.CopyFrom(reward.denomination_range)
        shown.denomination_range.max = _last(reward.denomination_range, left, order.currency)
    else:
        shown.denominations.extend(one for one in reward.denominations if one <= left)
    return shown


def made(claim: Redemption) -> pb.ClaimMade:
    """A claim as whoever holds the link sees it: without its id, which would show its code."""
    whole = redemptions_wire.claim(claim)
    return pb.ClaimMade(
        status=whole.status, brand=whole.brand, denomination=whole.denomination, code_masked=whole.code_masked
    )


def all_made(claims: Sequence[Redemption]) -> list[pb.ClaimMade]:
    """The claims of an order as whoever holds the link sees them."""
    return [made(claim) for claim in claims]


def _last(of: catalog_pb.DenominationRange, left: float, currency: str) -> float:
    """The last denomination of a range that is not over what is left."""
    least, most, step, at_most = (money.minor(part, currency, "") for part in (of.min, of.max, of.step, left))
    return money.major(least + (min(most, at_most) - least) // step * step, currency)
