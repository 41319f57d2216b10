"""Redemptions as a partner sees them over REST: called off, in part, and with the provider calling back."""

import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
from standardwebhooks import Webhook

from devmesh.mesh import Mesh
from svckit.clock import new_id
from tests.mesh.conftest import Api, until

RECIPIENT = {"email": "kim@example.com", "name": "Kim", "country": "US"}
CALLBACKS = "/v1/providers/sandbox/callbacks"


async def redeem(api: Api, member_id: str, **changes: Any) -> dict[str, Any]:
    body = {"memberId": member_id, "rewardId": "copperleaf-coffee-us", "denomination": 5, "recipient": RECIPIENT}
    answer = await api.post("redemptions", {**body, **changes})
    assert answer.status == 200, answer
    return answer.result


async def ended(api: Api, redemption_id: str) -> dict[str, Any]:
    async def seen() -> dict[str, Any] | None:
        found = (await api.call("GET", f"/v1/redemptions/{redemption_id}")).result
        return None if found["status"] in {"PENDING", "PROCESSING", "REVIEW"} else found

    found: dict[str, Any] = await until(seen)
    return found


def provider_url(mesh: Mesh) -> str:
    return f"http://{mesh.layout.address('provider')}"


async def fault(mesh: Mesh, **rule: Any) -> None:
    async with aiohttp.request("PUT", f"{provider_url(mesh)}/faults", json=rule) as response:
        assert response.status == 200


async def test_items_that_are_not_issued_are_given_back(api: Api, mesh: Mesh) -> None:
    member_id = await api.member(points=5_000)
    await fault(mesh, fault="part_reject", next=1)
    made = await redeem(api, member_id, quantity=3)
    done = await ended(api, made["redemptionId"])
    assert (done["status"], done["points"], done["pointsRefunded"]) == ("PARTIALLY_FULFILLED", 1_200, 800)
    assert [item["status"] for item in done["items"]] == ["ISSUED", "REFUNDED", "REFUNDED"]
    balance = await api.balance(member_id)
    assert (balance["balance"], balance["held"]) == (4_600, 0)


async def test_who_was_quoted_another_price_gets_nothing_at_this_one(api: Api) -> None:
    member_id = await api.member(points=5_000)
    body = {"memberId": member_id, "rewardId": "copperleaf-coffee-us", "denomination": 5, "recipient": RECIPIENT}
    (sold,) = (await api.call("GET", "/v1/rewards:availability?ids=copperleaf-coffee-us")).result["rewards"]
    for quoted in ({"points": 399}, {"version": sold["version"] + 1}):
        answer = await api.post("redemptions", {**body, **quoted}, key=f"quoted-{member_id}")
        assert (answer.status, answer.code, answer.result["reason"]) == (409, 5009, "PRICE_CHANGED")
    assert (await api.balance(member_id))["held"] == 0
    quoted = {"version": sold["version"], "points": 400}
    answer = await api.post("redemptions", {**body, **quoted}, key=f"quoted-{member_id}")
    assert (answer.status, answer.result["points"]) == (200, 400)


async def test_a_cancel_is_done_or_too_late(api: Api) -> None:
    member_id = await api.member(points=5_000)
    made = await redeem(api, member_id)
    answer = await api.post(f"redemptions/{made['redemptionId']}:cancel", {})
    done = await ended(api, made["redemptionId"])
    if answer.status == 200:
        assert (answer.result["status"], done["status"]) == ("CANCELLED", "CANCELLED")
    else:
        assert (answer.status, answer.code, done["status"]) == (409, 5011, "FULFILLED")
    again = await api.post(f"redemptions/{made['redemptionId']}:cancel", {})
    assert (again.status, again.code) == (409, 5011)
    unknown = await api.post(f"redemptions/{new_id()}:cancel", {})
    assert (unknown.status, unknown.code) == (404, 5012)


async def test_the_provider_calls_back_through_the_gateway(api: Api, mesh: Mesh) -> None:
    member_id = await api.member(points=5_000)
    made = await redeem(api, member_id)

    async def called() -> list[int]:
        async with aiohttp.request("GET", f"{provider_url(mesh)}/callbacks") as response:
            sent = (await response.json())["sent"]
        return [one["status"] for one in sent if one["reference"] == made["redemptionId"]]

    assert await until(called) == [200]
    assert (await ended(api, made["redemptionId"]))["status"] == "FULFILLED"


async def test_a_callback_needs_a_signature_and_no_credential(mesh: Mesh, http: aiohttp.ClientSession) -> None:
    secret = (mesh.layout.secrets / "provider_secret").read_text().strip()
    payload, at = json.dumps({"type": "order.issued", "reference": str(new_id())}), datetime.now(UTC)
    good = {
        "content-type": "application/json",
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign("msg_1", at, payload),
    }
    answers = []
    for path, data, headers in (
        (CALLBACKS, payload, good),
        (CALLBACKS, payload + " ", good),
        (CALLBACKS, payload, {"content-type": "application/json"}),
        ("/v1/providers/other/callbacks", payload, good),
    ):
        async with http.post(path, data=data, headers=headers) as response:
            answers.append((response.status, (await response.json())["ErrorCode"]))
    assert answers == [(200, 0), (401, 2001), (401, 2001), (401, 2001)]
