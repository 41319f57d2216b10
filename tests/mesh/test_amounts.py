"""Amounts as JSON has them: each is taken exactly, or refused by the name of its field and without a trace."""

from decimal import Decimal
from typing import Any

import aiohttp
import pytest

from devmesh.demo.partner import Answer
from svckit.clock import new_id
from tests.mesh.conftest import Api

MOST = 2**53
OVER = ("0", "-1", "-9223372036854775808", "-9223372036854775809", "9007199254740993", "9223372036854775807")
UNREADABLE = ("9223372036854775808", "1.5", "0.5", "1e-3", "1e400", "true", '""', '"abc"', '"0x10"', "[1]", "{}")
QUOTED = ('"9007199254740993"', '"9223372036854775807"', '"9223372036854775808"', '"1.5"', '"-1"', '"0"')
# A number may be written in more than one way; it counts as what it is, or not at all.
WRITTEN = ("7", '"7"', "1e3", '"1e3"', "1000.0", '"1000.0"', '"007"', '"+7"', "9007199254740992", '"9007199254740992"')


async def sent(http: aiohttp.ClientSession, api: Api, operation: str, text: str) -> Answer:
    headers = {
        "authorization": f"Bearer {api.token}",
        "content-type": "application/json",
        "idempotency-key": str(new_id()),
    }
    async with http.post(f"/v1/{operation}", data=text.encode(), headers=headers) as response:
        return Answer(response.status, {}, await response.json())


def named(answer: Answer) -> set[str]:
    """The fields that a call was refused for."""
    assert answer.status == 400, answer
    return {violation["field"] for violation in answer.result["details"]["fieldViolations"]}


async def test_points_that_cannot_be_name_their_field(api: Api, http: aiohttp.ClientSession) -> None:
    member_id = await api.member(points=2_000)
    for points in (*OVER, *UNREADABLE, *QUOTED):
        for operation in ("credits", "RedeemPoints"):
            answer = await sent(http, api, operation, f'{{"memberId": "{member_id}", "points": {points}}}')
            assert named(answer) == {"points"}, points
    assert (await api.balance(member_id))["balance"] == 2_000


@pytest.mark.parametrize("points", WRITTEN)
async def test_points_count_as_what_they_are_or_not_at_all(api: Api, http: aiohttp.ClientSession, points: str) -> None:
    member_id = await api.member()
    answer = await sent(http, api, "credits", f'{{"memberId": "{member_id}", "points": {points}}}')
    exact = int(Decimal(points.strip('"'))) if answer.status == 200 else 0
    if not exact:
        assert named(answer) == {"points"}
    assert (await api.balance(member_id))["balance"] == exact
    assert exact or points not in {"7", str(MOST)}


async def test_money_that_cannot_be_names_its_field(api: Api, http: aiohttp.ClientSession) -> None:  # G24
    member_id = await api.member(points=2_000)
    bad = ("-0.01", "0.001", "12.505", "1e-7", "9007199254740993", "1e300", "1e400", '"NaN"', '"Infinity"', '"12,50"')
    for amount in (*bad, "123456789012345.67", "true", "[]"):
        for operation, more in (("InsertTransactionData", '"type": "purchase"'), ("RedeemPoints", '"points": 80')):
            text = f'{{"memberId": "{member_id}", {more}, "amount": {amount}}}'
            assert named(await sent(http, api, operation, text)) == {"amount"}, amount
    assert (await api.balance(member_id))["balance"] == 2_000


async def test_a_balance_that_would_overflow_is_4006(api: Api) -> None:
    member_id, other = await api.member(points=MOST), await api.member(points=1)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("credits", {"memberId": member_id, "points": 1}),
        ("credits", {"memberId": member_id, "points": MOST}),
    ]
    for operation, body in calls:
        answer = await api.post(operation, body)
        assert (answer.status, answer.code) == (422, 4006), answer
    assert (await api.balance(member_id))["balance"] == MOST
    assert (await api.balance(other))["balance"] == 1
