"""What a feed is read as, and what comes of it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog_svc.rules import Availability, Price, Range, Rate, Text
from catalog_svc.sync.feeds import FeedBrokenError, parse
from catalog_svc.sync.rules import Action, Before, Feed, Offer, doubt, plan

USD = Rate("USD", 80)
ENTRY: dict[str, Any] = {
    "rewardId": "card",
    "name": "A card",
    "brand": "North",
    "category": "retail",
    "kind": "CASHBACK",
    "countries": ["US"],
    "currency": "USD",
    "denominations": [10, 25],
    "sku": 7,
}


def read(*entries: Any) -> Feed:
    return parse(json.dumps({"rewards": entries}).encode())


CARD = read(ENTRY).offers["card"].reward


def test_an_entry_has_all_that_a_reward_can_have() -> None:
    more = {
        "denominations": [],
        "denominationRange": {"min": 5, "max": 50, "step": 5},
        "prices": [{"denomination": 5, "points": 500}, {"denomination": 25, "points": 2_400}],
        "texts": [{"language": "de", "name": "Eine Karte", "description": "Gut.", "terms": "Keine."}],
        "images": ["https://north.example/card.png"],
        "availability": "OUT_OF_STOCK",
        "stock": 3,
    }
    (offer,) = read({**ENTRY, **more}).offers.values()
    assert offer == Offer(
        replace(
            CARD,
            denominations_minor=(),
            range=Range(500, 5_000, 500),
            prices=(Price(500, 500), Price(2_500, 2_400)),
            texts=(Text("de", "Eine Karte", "Gut.", "Keine."),),
            images=("https://north.example/card.png",),
            availability=Availability.OUT_OF_STOCK,
        ),
        units=3,
    )


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"7", b"null", b"{}", b'{"rewards": {}}', b"\xff", b'{"rewards": 7}']
)
def test_what_is_no_feed_is_broken(body: bytes) -> None:
    with pytest.raises(FeedBrokenError):
        parse(body)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"rewardId": "Not An Id"}, "rewardId does not match"),
        ({"kind": "UNHEARD_OF"}, "Failed to parse kind field"),
        ({"name": 7}, "Failed to parse name field"),
        ({"name": "a\0b"}, "name must not contain NUL"),
        ({"name": "\ud800"}, ""),
        ({"kind": "\0"}, "Failed to parse kind field"),
        ({"countries": ["UK"]}, "entry.countries[0] is not an ISO 3166-1 alpha-2 code"),
        ({"denominations": [0.001]}, "entry.denominations[0] has more decimals than USD has"),
        ({"prices": [{"denomination": 10, "points": 0}]}, "points must be"),
        ({"prices": 7}, ""),
        ({"prices": [7]}, ""),
        ({"texts": [{"language": "de", "name": ""}]}, "name must"),
        ({"stock": -1}, "stock is no number of units"),
        ({"stock": True}, "stock is no number of units"),
    ],
)
def test_an_entry_that_cannot_be_read_is_rejected_alone(more: dict[str, Any], reason: str) -> None:
    feed = read({**ENTRY, "rewardId": "good"}, {**ENTRY, **more})
    assert list(feed.offers) == ["good"]
    (rejected,) = feed.rejected
    assert rejected.action is Action.REJECTED
    assert rejected.reason.startswith(reason)
    assert "\0" not in f"{rejected.reason}{rejected.reward_id}"


@pytest.mark.parametrize("entry", [7, None, [], "x", {}, {"rewardId": 7}, {"rewardId": "\0" * 999}])
def test_an_entry_without_an_id_is_named_by_its_place(entry: Any) -> None:
    feed = read(entry, ENTRY)
    (rejected,) = feed.rejected
    assert rejected.reward_id == "entry 0" or set(rejected.reward_id) == {"?"}
    assert (rejected.reason != "", list(feed.offers)) == (True, ["card"])


def test_an_id_that_stands_there_twice_is_nobodys() -> None:
    feed = read(ENTRY, {**ENTRY, "name": "Another"})
    assert (feed.offers, [change.reason for change in feed.rejected]) == ({}, ["it stands there 2 times"])


@pytest.mark.parametrize(
    ("reward", "reason"),
    [
        (replace(CARD, denominations_minor=()), "must have either denominations or a denominationRange"),
        (replace(CARD, currency="JPY"), "must have explicit prices, because JPY has no rate in this program"),
    ],
)
def test_what_cannot_be_sold_is_rejected_and_stays_as_it_was(reward: Any, reason: str) -> None:
    made = plan(Before({"card": CARD}, (), {}), Feed({"card": Offer(reward)}), USD)
    assert [(change.action, change.reason) for change in made.changes] == [(Action.REJECTED, reason)]
    assert made.rewards == []


def test_somebodys_prices_stay_unless_the_feed_has_some_or_they_fit_no_more() -> None:
    priced = replace(CARD, prices=(Price(1_000, 700), Price(2_500, 1_700)))
    before = Before({"card": priced}, (), {})
    assert plan(before, Feed({"card": Offer(CARD)}), USD).rewards == [priced]
    dearer = replace(CARD, prices=(Price(1_000, 900), Price(2_500, 2_000)))
    assert plan(before, Feed({"card": Offer(dearer)}), USD).rewards == [dearer]
    other = replace(CARD, denominations_minor=(1_000,))
    assert plan(before, Feed({"card": Offer(other)}), USD).rewards == [other]


names = st.sets(st.sampled_from([f"r{number}" for number in range(12)]))


@given(there=names, withdrawn=names, sold=names, broken=names, taken=names)
def test_every_reward_is_accounted_for_once(
    there: set[str], withdrawn: set[str], sold: set[str], broken: set[str], taken: set[str]
) -> None:
    taken, broken = taken - there, broken - sold
    gone = Availability.WITHDRAWN
    present = {
        name: replace(CARD, reward_id=name, availability=gone if name in withdrawn else CARD.availability)
        for name in there
    }
    feed = Feed(
        {name: Offer(replace(CARD, reward_id=name)) for name in sold},
        [read({"rewardId": name}).rejected[0] for name in broken],
    )
    made = plan(Before(present, taken, {}), feed, USD)
    of = {action: {change.reward_id for change in made.changes if change.action is action} for action in Action}
    assert len(made.changes) == len({change.reward_id for change in made.changes})
    assert of[Action.ADDED] == sold - there - taken
    assert of[Action.CHANGED] == sold & there & withdrawn
    assert of[Action.REJECTED] == broken | (sold & taken)
    assert of[Action.WITHDRAWN] == there - withdrawn - sold - broken
    assert made.unchanged == len((sold & there) - withdrawn)
    on_sale = there - withdrawn
    lacks_too_much = len(of[Action.WITHDRAWN]) * 5 > len(on_sale)
    assert (doubt(Before(present, taken, {}), feed) is not None) == (not sold or lacks_too_much)
