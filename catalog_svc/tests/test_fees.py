"""Fees in quotes: what the schedule says, for each item, beside the face value."""

from typing import Any

import pytest
from rewards.catalog.v1 import rewards_pb2 as pb
from rewards.identity.v1 import programs_pb2

from catalog_svc.fees import Rate, fee
from catalog_svc.tests.conftest import PROGRAM, Catalog, refusal_of, reward
from svckit.errors import Reason
from svckit.testing import headers, partner

READER = headers(partner(PROGRAM, "catalog:read"))


@pytest.mark.parametrize(
    ("rate", "value_minor", "wanted"),
    [
        (Rate(0, 0), 2_500, 0),
        (Rate(250, 0), 1_000, 25),
        (Rate(250, 33), 1_000, 58),
        (Rate(1, 0), 4_999, 0),
        (Rate(1, 0), 5_000, 1),  # half a minor unit is a whole one
        (Rate(10_000, 0), 2**52, 2**52),
    ],
)
def test_a_fee_is_a_part_and_a_fixed_amount(rate: Rate, value_minor: int, wanted: int) -> None:
    assert fee({"USD": rate}, "USD", value_minor) == wanted
    assert fee({"USD": rate}, "EUR", value_minor) == 0


def settings(*fees: programs_pb2.Fee) -> programs_pb2.StoreProgramRequest:
    program = programs_pb2.Program(
        program_id=PROGRAM,
        name="Acme",
        mode=programs_pb2.Program.SANDBOX,
        time_zone="UTC",
        currency="USD",
        asset="PTS",
        points_per_unit=80,
        policy=programs_pb2.Policy(fees=fees),
        version=9,
    )
    return programs_pb2.StoreProgramRequest(program=program)


FEE = programs_pb2.Fee(currency="USD", basis_points=50, fixed_minor=20)


async def with_fees(catalog: Catalog) -> None:
    await catalog.put(reward("card", denominations=[10.1, 25]))
    await catalog.directory.StoreProgram(settings(FEE))


async def test_a_schedule_has_each_currency_once(catalog: Catalog) -> None:
    assert (await refusal_of(catalog.directory.StoreProgram(settings(FEE, FEE)))).reason == Reason.INVALID_REQUEST


async def test_a_quote_discloses_the_fees_on_all_items(catalog: Catalog) -> None:
    await with_fees(catalog)
    asked = pb.CreateQuoteRequest(reward_id="card", denomination=10.1, quantity=3)
    quote = await catalog.rewards.CreateQuote(asked, metadata=READER)
    # 5.05 cents and 20 are 25 for each; not 15.15 and 60 for the three.
    assert quote == pb.CreateQuoteResponse(version=1, points=2_424, currency="USD", value=30.3, fees=0.75)
    request = pb.QuoteRewardRequest(program_id=PROGRAM, reward_id="card", denomination=10.1, quantity=3)
    assert (await catalog.quotes.QuoteReward(request)).fees_minor == 75


async def test_values_without_a_reward_have_the_same_fees(catalog: Catalog) -> None:
    await with_fees(catalog)
    request = pb.QuoteFeesRequest(program_id=PROGRAM, currency="USD", values_minor=[1_010, 10_000])
    assert list((await catalog.quotes.QuoteFees(request)).fees_minor) == [25, 70]


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        ({"reward_id": "nothing"}, Reason.REWARD_NOT_FOUND),
        ({"denomination": 11}, Reason.DENOMINATION_INVALID),
        ({"country": "FR"}, Reason.COUNTRY_NOT_SERVED),
        ({"country": "france"}, Reason.INVALID_REQUEST),
    ],
)
async def test_what_cannot_be_ordered_is_not_quoted(catalog: Catalog, asked: dict[str, Any], why: int) -> None:
    await with_fees(catalog)
    request = pb.CreateQuoteRequest(**{"reward_id": "card", "denomination": 25, **asked})
    assert (await refusal_of(catalog.rewards.CreateQuote(request, metadata=READER))).reason == why
