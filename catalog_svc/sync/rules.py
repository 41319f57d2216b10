"""What a feed changes. Pure values and functions."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from typing import Final, NamedTuple

from catalog_svc.rules import Availability, Rate, Reward, fault

# How much of what is on sale a feed may lack before a person has to say that it is meant.
SHRINK_MAX: Final = 0.2
ELSEWHERE: Final = "this id is another provider's or an operator's"


class Action(StrEnum):
    """What is done with a reward; the names of the proto's enum."""

    ADDED = "ADDED"
    CHANGED = "CHANGED"
    WITHDRAWN = "WITHDRAWN"
    REJECTED = "REJECTED"


class Change(NamedTuple):
    """What is done with one reward: for CHANGED in which `fields`, for REJECTED for which `reason`."""

    reward_id: str
    action: Action
    fields: tuple[str, ...] = ()
    reason: str = ""


class Offer(NamedTuple):
    """What a provider sells; without `units` it does not say how many there are."""

    reward: Reward
    units: int | None = None


class Feed(NamedTuple):
    """All that a provider sells, by reward, and the entries that cannot be read."""

    offers: Mapping[str, Offer]
    rejected: Sequence[Change] = ()


class Before(NamedTuple):
    """What there is: the provider's rewards, which ids are taken by others, and how many units there are of what is
    limited."""

    rewards: Mapping[str, Reward]
    taken: Collection[str]
    units: Mapping[str, int | None]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a feed comes to: the rewards to be stored, the units to be set, and what is told about each reward."""

    rewards: Sequence[Reward]
    units: Mapping[str, int]
    changes: Sequence[Change]
    unchanged: int

    def count(self, action: Action) -> int:
        """With how many rewards this is done."""
        return sum(change.action is action for change in self.changes)


def plan(before: Before, feed: Feed, rate: Rate) -> Plan:
    """What the feed comes to. An entry without prices keeps those that somebody gave its reward."""
    changes, rewards, units, unchanged = list(feed.rejected), [], {}, 0
    for reward_id, offer in feed.offers.items():
        present = before.rewards.get(reward_id)
        wanted = _with_prices(present, offer.reward, rate)
        reason = ELSEWHERE if reward_id in before.taken else fault(wanted, rate)
        if reason is not None:
            changes.append(Change(reward_id, Action.REJECTED, reason=reason))
            continue
        differing = _differing(present, wanted)
        if offer.units is not None and offer.units != before.units.get(reward_id):
            units[reward_id] = offer.units
            differing = (*differing, "stock")
        if present is None:
            changes.append(Change(reward_id, Action.ADDED))
        elif differing:
            changes.append(Change(reward_id, Action.CHANGED, differing))
        unchanged += present is not None and not differing
        rewards.append(wanted)
    for reward in _gone(before, feed):
        changes.append(Change(reward.reward_id, Action.WITHDRAWN))
        rewards.append(replace(reward, availability=Availability.WITHDRAWN))
    return Plan(rewards, units, sorted(changes), unchanged)


def doubt(before: Before, feed: Feed) -> str | None:
    """Why the feed should not be applied unless a person says so; None if nothing speaks against it."""
    if not feed.offers:
        return "the feed has nothing that can be read"
    gone, on_sale = len(_gone(before, feed)), len(_on_sale(before))
    if gone > SHRINK_MAX * on_sale:
        return f"the feed lacks {gone} of the {on_sale} rewards that are on sale"
    return None


def _on_sale(before: Before) -> list[Reward]:
    return [reward for reward in before.rewards.values() if reward.availability is not Availability.WITHDRAWN]


def _gone(before: Before, feed: Feed) -> list[Reward]:
    # One that cannot be read is still there.
    named = {*feed.offers, *(change.reward_id for change in feed.rejected)}
    return [reward for reward in _on_sale(before) if reward.reward_id not in named]


def _with_prices(present: Reward | None, offered: Reward, rate: Rate) -> Reward:
    if present is None or offered.prices or not present.prices:
        return offered
    priced = replace(offered, prices=present.prices)
    return offered if fault(priced, rate) else priced


def _differing(present: Reward | None, wanted: Reward) -> tuple[str, ...]:
    compared = (field.name for field in fields(Reward) if field.compare)
    return tuple(name for name in compared if present and getattr(present, name) != getattr(wanted, name))
