"""The rules of prices and denominations."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog_svc.rules import MAX_EXACT, Availability, Price, Range, Rate, Reward, fault, points, quote
from svckit.errors import Reason, Refused
from svckit.money import exponent

USD = Rate("USD", 80)
CARD = Reward(
    reward_id="books",
    name="Books",
    description="",
    brand="Baltic Books",
    category="retail",
    kind="CLOSED_LOOP",
    countries=("DE", "US"),
    currency="USD",
    denominations_minor=(1000, 2500),
    range=None,
    prices=(),
    images=(),
    availability=Availability.AVAILABLE,
    terms="",
)
RANGED = replace(CARD, denominations_minor=(), range=Range(500, 2000, 250))

amounts = st.integers(1, 10**13)
rates = st.integers(1, 10**9)


def _refused(
    reward: Reward, *, denomination: int = 1000, quantity: int = 1, country: str = "", rate: Rate = USD
) -> str:
    with pytest.raises(Refused) as caught:
        quote(reward, denomination, quantity, country, rate)
    return Reason.Name(caught.value.reason)


@given(amounts, rates, st.sampled_from(["USD", "JPY", "BHD"]))
def test_the_rate_gives_the_least_whole_number_of_points_that_covers_the_value(
    amount_minor: int, points_per_unit: int, currency: str
) -> None:
    exact = Fraction(amount_minor, 10 ** exponent(currency)) * points_per_unit
    cost = points(replace(CARD, currency=currency), amount_minor, Rate(currency, points_per_unit))
    assert cost is not None
    assert exact <= cost < exact + 1


@given(amounts, amounts, st.integers(1, MAX_EXACT))
def test_a_ranges_explicit_price_is_proportional_and_never_gives_a_part_of_a_point_away(
    amount_minor: int, base_minor: int, base_points: int
) -> None:
    exact = Fraction(amount_minor * base_points, base_minor)
    assert exact <= Price(base_minor, base_points).of(amount_minor) < exact + 1


@given(st.integers(1, 10**6), st.integers(0, 500), st.integers(1, 10**6), st.integers(1, 10**9))
def test_a_range_holds_exactly_its_steps(least: int, steps: int, step: int, probe: int) -> None:
    sold = Range(least, least + steps * step, step)
    assert (probe in sold) == (probe in range(least, least + steps * step + 1, step))


@given(amounts, rates, st.integers(1, 100))
def test_a_quote_is_exact_or_refused(amount_minor: int, points_per_unit: int, quantity: int) -> None:
    reward = replace(CARD, denominations_minor=(amount_minor,))
    each = -(-amount_minor * points_per_unit // 100)
    if max(each, amount_minor) * quantity > MAX_EXACT:
        refused = _refused(reward, denomination=amount_minor, quantity=quantity, rate=Rate("USD", points_per_unit))
        assert refused == "AMOUNT_OUT_OF_RANGE"
        return
    quoted = quote(reward, amount_minor, quantity, "", Rate("USD", points_per_unit))
    assert (quoted.points, quoted.value_minor) == (each * quantity, amount_minor * quantity)


def test_each_item_is_rounded_by_itself() -> None:
    reward = replace(CARD, denominations_minor=(1,))
    assert quote(reward, 1, 3, "", USD).points == 3  # 0.8 points each


def test_explicit_prices_come_before_the_rate() -> None:
    reward = replace(CARD, prices=(Price(1000, 750), Price(2500, 1_900)))
    assert quote(reward, 2500, 2, "US", USD).points == 3_800
    ranged = replace(RANGED, currency="JPY", prices=(Price(1000, 534),))
    assert quote(ranged, 750, 1, "", USD).points == 401  # 400.5


def test_a_rate_of_another_currency_is_no_price() -> None:
    # 10 KWD are worth far more than 10 USD; the program's rate would give the difference away.
    assert _refused(replace(CARD, currency="KWD")) == "REWARD_UNAVAILABLE"


@pytest.mark.parametrize(
    ("reward", "order", "reason"),
    [
        (replace(CARD, availability=Availability.WITHDRAWN), {}, "REWARD_UNAVAILABLE"),
        (replace(CARD, availability=Availability.OUT_OF_STOCK), {}, "OUT_OF_STOCK"),
        (CARD, {"denomination": 1001}, "DENOMINATION_INVALID"),
        (RANGED, {"denomination": 250}, "DENOMINATION_INVALID"),
        (RANGED, {"denomination": 2250}, "DENOMINATION_INVALID"),
        (RANGED, {"denomination": 600}, "DENOMINATION_INVALID"),
        (CARD, {"country": "FR"}, "COUNTRY_NOT_SERVED"),
        (CARD, {"country": "UK"}, "COUNTRY_NOT_SERVED"),
    ],
)
def test_an_order_that_cannot_be_had_is_refused(reward: Reward, order: dict[str, object], reason: str) -> None:
    assert _refused(reward, **order) == reason  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "reward",
    [
        replace(CARD, denominations_minor=()),
        replace(CARD, range=Range(500, 1000, 500)),
        replace(CARD, denominations_minor=(1000, 1000)),
        replace(RANGED, range=Range(500, 1100, 250)),
        replace(RANGED, range=Range(1000, 500, 250)),
        replace(CARD, prices=(Price(1000, 1),)),
        replace(CARD, prices=(Price(1000, 1), Price(2500, 2), Price(5000, 3))),
        replace(CARD, prices=(Price(1000, 1), Price(1000, 2))),
        replace(RANGED, prices=(Price(750, 1), Price(1000, 2))),
        replace(RANGED, prices=(Price(500, 1), Price(750, 2), Price(750, 3))),
        replace(RANGED, prices=(Price(500, 1), Price(800, 2))),
        replace(CARD, currency="KWD"),
    ],
)
def test_a_reward_that_cannot_be_sold_has_a_fault(reward: Reward) -> None:
    assert fault(reward, USD)


@pytest.mark.parametrize(
    "reward",
    [
        CARD,
        RANGED,
        replace(RANGED, range=Range(500, 500, 250)),
        replace(CARD, currency="KWD", prices=(Price(1000, 1), Price(2500, 2))),
        replace(RANGED, currency="KWD", prices=(Price(500, 1),)),
    ],
)
def test_a_reward_that_can_be_sold_has_none(reward: Reward) -> None:
    assert fault(reward, USD) is None


def test_a_version_is_not_content() -> None:
    assert replace(CARD, version=7) == CARD
    assert replace(CARD, name="Other") != CARD
