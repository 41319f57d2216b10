"""A program's rules of compliance: an operator sets them, partners meet them, an operator decides about the rest."""

import json

import aiohttp
import pytest

from devmesh.mesh import Mesh
from tests.mesh.conftest import Api
from tests.mesh.operators import Operator
from tests.mesh.test_commands import typed
from tests.mesh.test_redemptions import ended, redeem

SHAPE = ("--name", "Careful", "--mode", "sandbox", "--time-zone", "UTC", "--currency", "USD", "--asset", "PTS")
LIMITS = [
    {"currency": "USD", "valueMinor": 500, "days": 30, "over": "HOLD"},
    {"currency": "USD", "valueMinor": 1_500, "days": 30, "over": "REFUSE"},
]


# Each command is a Python of its own, which takes a second to start, and more where all else runs as well.
@pytest.mark.timeout(300)
async def test_what_a_recipient_may_get(mesh: Mesh, operator: Operator, http: aiohttp.ClientSession) -> None:
    program_id = await operator.program()
    policy = json.dumps({"compliance": {"blockedCountries": ["KP"], "limits": LIMITS}})
    of_program = ("--program-id", program_id)
    put = await typed(mesh, "program", "put", *of_program, *SHAPE, "--points-per-unit", "80", "--policy", policy)
    assert put["program"]["policy"]["compliance"]["blockedCountries"] == ["KP"]
    api = Api(http, await operator.api_key(program_id))
    reward_id = await operator.reward(program_id)
    assert (await api.post("funding/deposits", {"amount": 100, "currency": "USD"})).status == 200
    member_id = await api.member(points=5_000)

    first = await redeem(api, member_id, rewardId=reward_id)
    assert (await ended(api, first["redemptionId"]))["status"] == "FULFILLED"
    held = await redeem(api, member_id, rewardId=reward_id)
    assert (held["status"], held["failureReason"]) == ("REVIEW", "COMPLIANCE_HOLD")
    recipient = {"email": "KIM@example.com", "name": "Kim", "country": "US"}
    over = {"memberId": member_id, "rewardId": reward_id, "denomination": 10, "recipient": recipient}
    answer = await api.post("redemptions", over)
    assert (answer.status, answer.code, answer.result["reason"]) == (422, 5010, "COMPLIANCE_REFUSED")
    balance = await api.balance(member_id)
    assert (balance["balance"], balance["held"]) == (4_600, 400)

    (one,) = (await typed(mesh, "review", "list", *of_program, service="fulfillment_svc"))["reviews"]
    assert (one["kind"], one["reason"], one["actions"]) == ("COMPLIANCE_HOLD", "RECIPIENT_LIMIT", ["RELEASE", "REFUSE"])
    named = (*of_program, "--redemption-id", held["redemptionId"], "--evidence", "no reason to send this twice")
    await typed(mesh, "review", "refuse", *named, service="fulfillment_svc")
    done = await ended(api, held["redemptionId"])
    assert (done["status"], done["failureReason"], done["pointsRefunded"]) == ("FAILED", "COMPLIANCE_REFUSED", 400)
    assert (await api.balance(member_id))["held"] == 0
