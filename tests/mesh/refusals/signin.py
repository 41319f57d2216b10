"""Refusals of members who sign in."""

from typing import Any

from devmesh.demo.partner import Answer
from tests.mesh.refusals.stage import Cases, Stage

CASES = Cases()
_PASSWORD = "correct horse"
_SENDS_AN_HOUR = 5
_TRIES = 5


@CASES.provokes("MEMBER_NOT_ACTIVE", "CheckCredentials")
async def blocked_with_the_right_password(stage: Stage, operation: str) -> Answer:
    member_id = await stage.api.member()
    await stage.must("UpdateProfile", {"memberId": member_id, "password": _PASSWORD, "status": "LOGIN_BLOCKED"})
    return await stage.api.post(operation, {"memberId": member_id, "password": _PASSWORD})


@CASES.provokes("MEMBER_NOT_ACTIVE", "PasswordlessSignIn")
async def blocked_with_the_right_code(stage: Stage, operation: str) -> Answer:
    member_id = await stage.api.member()
    right = await _code(stage, operation, member_id)
    await stage.must("UpdateProfile", {"memberId": member_id, "status": "LOGIN_BLOCKED"})
    return await stage.api.post(operation, right)


@CASES.provokes("OTP_LOCKED", "GenerateOTP")
async def too_many_codes(stage: Stage, operation: str) -> Answer:
    body = {"memberId": await stage.api.member(), "purpose": "REDEEM"}
    for _ in range(_SENDS_AN_HOUR):
        await stage.must(operation, body)
    return await stage.api.post(operation, body)


@CASES.provokes("OTP_LOCKED", "VerifyOTP", "PasswordlessSignIn")
async def too_many_tries(stage: Stage, operation: str) -> Answer:
    right = await _code(stage, operation, await stage.api.member())
    wrong = {**right, "code": f"{(int(right['code']) + 1) % 10**6:06d}"}
    for _ in range(_TRIES):
        assert (await stage.api.post(operation, wrong)).result["reason"] == "OTP_INVALID"
    answer = await stage.api.post(operation, right)
    assert int(answer.headers["retry-after"]) >= 1
    return answer


@CASES.provokes("OTP_EXPIRED", "VerifyOTP", "PasswordlessSignIn")
async def too_late(stage: Stage, operation: str) -> Answer:
    right = await _code(stage, operation, await stage.api.member())
    await stage.pass_an_hour()
    return await stage.api.post(operation, right)


async def _code(stage: Stage, operation: str, member_id: str) -> dict[str, Any]:
    """The request with the right code of a member."""
    made = await stage.must("GenerateOTP", {"memberId": member_id, "purpose": "SIGN_IN"})
    right = {"otpId": made["otpId"], "code": made["sandboxCode"]}
    return right if operation == "PasswordlessSignIn" else {**right, "purpose": "SIGN_IN"}
