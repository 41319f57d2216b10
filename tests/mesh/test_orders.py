"""Orders and claims as a partner and a recipient see them over REST, through the whole mesh."""

import asyncio
from typing import Any

import aiohttp
from rewards.errors.v1.errors_pb2 import Reason

from devmesh.demo.partner import Answer
from devmesh.mailbox import messages
from devmesh.mesh import Mesh
from svckit.clock import new_id
from tests.mesh.conftest import Api, until

CHOICE = {"rewardId": "copperleaf-coffee-us", "denomination": 10, "country": "US"}
OPTIONS = [
    {"type": "closed_loop", "brands": ["copperleaf coffee", "amberline books"]},
    {"type": "open_loop", "network": "meridian prepaid"},
]


async def ordered(api: Api, **changes: Any) -> dict[str, Any]:
    """An order of 20 dollars by link, unless changed."""
    body = {"value": 20, "currency": "USD", "options": OPTIONS, "delivery": "LINK", **changes}
    answer = await api.post("orders", {name: value for name, value in body.items() if value is not None})
    assert answer.status == 200, answer
    return answer.result


async def at_link(
    http: aiohttp.ClientSession, order: dict[str, Any], action: str = "", body: Any = None, **asked: str
) -> Answer:
    """What whoever holds the link gets, without a credential."""
    path = f"/v1/claims/{order['redemptionUrl'].rpartition('/')[2]}{action}"
    headers = {"idempotency-key": str(new_id())} if action == ":claim" else {}
    async with http.request("POST" if action else "GET", path, json=body, params=asked, headers=headers) as response:
        lowered = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, lowered, await response.json())


async def settled(api: Api, order: dict[str, Any]) -> dict[str, Any]:
    """The order once none of its claims is under way."""

    async def seen() -> dict[str, Any] | None:
        found = (await api.call("GET", f"/v1/orders/{order['orderId']}")).result
        waits = found["status"] == "PENDING" or any(one["status"] == "PROCESSING" for one in found["claims"])
        return None if waits else found

    found: dict[str, Any] = await until(seen)
    return found


async def test_a_recipient_chooses_and_sees_the_code(api: Api, http: aiohttp.ClientSession) -> None:
    order = await ordered(api)
    assert (order["status"], order["value"], order["remaining"], order["fees"]) == ("PENDING", 20, 20, 0)
    shown = await at_link(http, order, country="US")
    menu = {one["rewardId"] for one in shown.result["menu"]}
    # Other tests may have put rewards of these brands beside the seed's.
    assert menu >= {"amberline-books-us", "copperleaf-coffee-us", "meridian-prepaid-us"}
    assert {one["brand"] for one in shown.result["menu"]} == {
        "Amberline Books",
        "Copperleaf Coffee",
        "Meridian Prepaid",
    }
    claimed = await at_link(http, order, ":claim", CHOICE)
    assert (claimed.status, claimed.result["status"]) == (200, "PROCESSING")
    read = await settled(api, order)
    assert (read["status"], read["remaining"], read["redemptionUrl"]) == ("PARTIALLY_REDEEMED", 10, "")
    code = (await at_link(http, order, ":reveal", {"claimId": claimed.result["claimId"]})).result["code"]
    revealed = await api.post(f"orders/{order['orderId']}:reveal", {})
    assert revealed.result["claims"] == [{"claimId": claimed.result["claimId"], "code": code}]
    masked = (await at_link(http, order)).result["claims"][0]["codeMasked"]
    assert masked.endswith(code[-4:])
    assert code not in masked


async def test_one_reward_arrives_by_mail_without_a_click(api: Api, mesh: Mesh) -> None:
    to = f"{new_id().hex}@example.com"
    named = {"brand": "Copperleaf Coffee", "denomination": 10, "recipientEmail": to, "delivery": "EMAIL"}
    order = await ordered(api, **named, options=None, value=None)
    assert (await settled(api, order))["status"] == "REDEEMED"
    mails = [mail for mail in messages(mesh.layout.mail) if mail["X-Envelope-To"] == to]
    assert len(mails) == 1


async def test_fifty_claims_of_one_link_have_one_winner(api: Api, http: aiohttp.ClientSession) -> None:
    order = await ordered(api, value=10)
    answers = await asyncio.gather(*(at_link(http, order, ":claim", CHOICE) for _ in range(50)))
    assert sorted((one.status, one.code) for one in answers) == [(200, 0), *([(410, Reason.CLAIM_GONE)] * 49)]
    assert (await settled(api, order))["status"] == "REDEEMED"


async def test_what_is_called_off_goes_back(api: Api, http: aiohttp.ClientSession) -> None:
    order = await ordered(api)
    cancelled = await api.post(f"orders/{order['orderId']}:cancel", {})
    assert (cancelled.status, cancelled.result["status"], cancelled.result["remaining"]) == (200, "CANCELLED", 0)

    async def returned() -> bool:
        found = (await api.call("GET", f"/v1/orders/{order['orderId']}")).result
        return bool(found["returned"] == 20)

    await until(returned)
    gone = [await at_link(http, order), await at_link(http, order, ":claim", CHOICE)]
    never = {"redemptionUrl": f"{order['redemptionUrl'][:-4]}AAAA"}
    unknown = [await at_link(http, never), await at_link(http, never, ":claim", CHOICE)]
    assert [(one.status, one.body) for one in gone] == [(one.status, one.body) for one in unknown]
    assert {(one.status, one.code) for one in gone} == {(410, Reason.CLAIM_GONE)}


async def test_what_is_refused_is_documented(api: Api, http: aiohttp.ClientSession) -> None:
    """The session holds each answer against the document."""
    wrong = [
        ({"value": 7, "options": OPTIONS}, Reason.DENOMINATION_INVALID),
        ({"value": 10, "options": OPTIONS, "recipient": {"country": "KE"}}, Reason.COUNTRY_NOT_SERVED),
        ({"value": 10, "options": [{"type": "closed_loop", "brands": ["nobody's"]}]}, Reason.REWARD_UNAVAILABLE),
        ({"rewardId": "nothing", "denomination": 10}, Reason.REWARD_NOT_FOUND),
        ({"value": 90_000_000, "catalogFilter": {}}, Reason.DENOMINATION_INVALID),
        ({"value": 10, "options": OPTIONS, "recipientEmail": "a..b@example.com"}, Reason.RECIPIENT_INVALID),
        ({"value": 10}, Reason.INVALID_REQUEST),
    ]
    for body, reason in wrong:
        assert (await api.post("orders", body)).code == reason, body
    order = await ordered(api)
    for changes, reason in (
        ({"denomination": 500}, Reason.DENOMINATION_INVALID),
        ({"country": "KE"}, Reason.COUNTRY_NOT_SERVED),
        ({"rewardId": "nothing"}, Reason.REWARD_NOT_FOUND),
    ):
        assert (await at_link(http, order, ":claim", {**CHOICE, **changes})).code == reason
    listed = await api.call("GET", "/v1/orders?pageSize=1")
    assert listed.result["orders"][0]["orderId"] == order["orderId"]
