"""Refusals that calls of every kind share: of the body, the credential, the key, the limits, and what is not there."""

import asyncio
import io
from typing import Any, Final

from devmesh.demo.partner import Answer
from svckit.clock import new_id
from tests.mesh.conftest import until
from tests.mesh.refusals.stage import Cases, Stage

CASES = Cases()
TOKEN: Final = "/oauth/Auth/Token"
NOBODY: Final = {"memberId": "m_nobody"}
_NO_TRANSACTION: Final = {"transactionId": "01990f3e-8c1a-7b52-9d5e-3f6a1c2b4d70"}
_NO_CODE: Final = {"otpId": "01990f3e-8c1a-7b52-9d5e-3f6a1c2b4d70", "code": "000000"}
_RELATION: Final = {"type": "crm", "value": "nobody"}
_EVENT: Final = {"type": "purchase", "amount": 1}
_TOO_LONG: Final = b"x" * 1_100_000

# A good request of each operation, about something that there is not.
SAMPLES: Final[dict[str, dict[str, Any]]] = {
    TOKEN: {"grant_type": "client_credentials", "client_id": "nobody", "client_secret": "nothing"},
    "RotateCredentials": {"clientId": "nobody"},
    "CreateProfileWithAttributes": {},
    "GetProfile": NOBODY,
    "GetProfileByAttribute": {"name": "crm", "value": "nobody"},
    "UpdateProfile": {**NOBODY, "status": "ACTIVE"},
    "MergeProfiles": {"survivorId": "m_nobody", "mergedId": "m_nobody_either"},
    "LinkSubRelation": {**NOBODY, **_RELATION},
    "GetSubRelations": NOBODY,
    "UnlinkSubRelation": {**NOBODY, **_RELATION},
    "InsertTransactionData": {**NOBODY, **_EVENT},
    "ReverseTransaction": _NO_TRANSACTION,
    "InsertTransactionBatch": {"transactions": [{**NOBODY, **_EVENT, "idempotencyKey": "nobody's"}]},
    "GetBatchStatus": {"batchId": "01990f3e-8c1a-7b52-9d5e-3f6a1c2b4d70"},
    "CheckAvailability": {**NOBODY, "points": 1},
    "RedeemPoints": {**NOBODY, "points": 1},
    "ReversalPoints": _NO_TRANSACTION,
    "GetRedemption": _NO_TRANSACTION,
    "GetStatementSummary": NOBODY,
    "GetStatementByCategory": NOBODY,
    "GetTransactionHistory": NOBODY,
    "GetExpirySchedule": NOBODY,
    "GetBalance": NOBODY,
    "CheckCredentials": {**NOBODY, "password": "none of theirs"},
    "GenerateOTP": {**NOBODY, "purpose": "SIGN_IN"},
    "VerifyOTP": {**_NO_CODE, "purpose": "SIGN_IN"},
    "PasswordlessSignIn": _NO_CODE,
}


@CASES.provokes("MEMBER_NOT_FOUND")
@CASES.provokes("TRANSACTION_NOT_FOUND")
@CASES.provokes("NOT_FOUND")
@CASES.provokes("CREDENTIALS_INVALID")
@CASES.provokes("ORDER_NOT_FOUND")
@CASES.provokes("OTP_INVALID")
@CASES.provokes("UNAVAILABLE")
@CASES.provokes("TIMEOUT")
async def of_nothing(stage: Stage, operation: str) -> Answer:
    return await stage.api.post(operation, SAMPLES[operation])


@CASES.provokes("INVALID_REQUEST")
async def misspelt(stage: Stage, operation: str) -> Answer:
    answer = await stage.api.post(operation, SAMPLES[operation] | {"mebmerId": "m"})
    assert [one["field"] for one in answer.result["details"]["fieldViolations"]] == ["mebmerId"]
    return answer


@CASES.provokes("INVALID_REQUEST", TOKEN)
async def without_a_grant(stage: Stage, operation: str) -> Answer:
    return await stage.send(operation, json={})


@CASES.provokes("UNAVAILABLE", TOKEN)
async def without_a_credential(stage: Stage, operation: str) -> Answer:
    return await stage.send(operation, json=stage.proof)


@CASES.provokes("UNSUPPORTED_MEDIA_TYPE")
async def as_text(stage: Stage, operation: str) -> Answer:
    return await stage.send(operation, data="{}", headers=_headers(stage) | {"content-type": "text/plain"})


@CASES.provokes("PAYLOAD_TOO_LARGE")
async def too_large(stage: Stage, operation: str) -> Answer:
    headers = _headers(stage) | {"content-type": "application/json"}
    of_headers = await stage.send(operation, json={}, headers=headers | {"x-long": "x" * 20_000})
    assert (of_headers.status, of_headers.code) == (431, 1005)
    return await stage.send(operation, data=io.BytesIO(_TOO_LONG), headers=headers)


@CASES.provokes("UNAUTHENTICATED")
async def unknown(stage: Stage, operation: str) -> Answer:
    return await stage.send(operation, json=SAMPLES[operation], headers={"authorization": "Bearer rk_test_none"})


@CASES.provokes("TOKEN_EXPIRED")
async def expired(stage: Stage, operation: str) -> Answer:
    return await stage.send(operation, json=SAMPLES[operation], headers=_bearer(stage.cast.expired_token))


@CASES.provokes("PERMISSION_DENIED")
async def out_of_scope(stage: Stage, operation: str) -> Answer:
    return await stage.send(operation, json=SAMPLES[operation], headers=_bearer(stage.cast.powerless))


@CASES.provokes("RATE_LIMITED")
async def too_often(stage: Stage, operation: str) -> Answer:
    return await _limited(stage, operation, stage.cast.poor)


@CASES.provokes("QUOTA_EXHAUSTED")
async def too_often_today(stage: Stage, operation: str) -> Answer:
    return await _limited(stage, operation, stage.cast.modest)


async def _limited(stage: Stage, operation: str, credential: str) -> Answer:
    async def limited() -> Answer | None:
        answer = await stage.send(operation, json=SAMPLES[operation], headers=_bearer(credential))
        return answer if answer.status == 429 else None

    answer: Answer = await until(limited)
    assert int(answer.headers["retry-after"]) >= 1
    return answer


@CASES.provokes("RATE_LIMITED", TOKEN)
async def asks_for_tokens_too_often(stage: Stage, operation: str) -> Answer:
    async def limited() -> Answer | None:
        answers = await asyncio.gather(*(stage.send(operation, json=stage.proof) for _ in range(50)))
        return next((answer for answer in answers if answer.status == 429), None)

    answer: Answer = await until(limited)
    return answer


@CASES.provokes("IDEMPOTENCY_KEY_MISSING")
async def without_a_key(stage: Stage, operation: str) -> Answer:
    return await stage.send(operation, json=SAMPLES[operation], headers=_bearer(stage.cast.all_powerful))


@CASES.provokes("IDEMPOTENCY_KEY_REUSED")
async def with_a_used_key(stage: Stage, operation: str) -> Answer:
    first, other = await _two_requests(stage, operation)
    key = str(new_id())
    kept = await stage.api.post(operation, first, key=key)
    assert (await stage.api.post(operation, first, key=key)).headers["idempotency-replayed"] == "true", kept
    return await stage.api.post(operation, other, key=key)


async def _two_requests(stage: Stage, operation: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A request whose outcome is remembered under its key, and another one."""
    member = {"memberId": await stage.api.member()}
    relation = {"type": "crm", "value": str(new_id())}
    requests: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "RotateCredentials": ({"clientId": stage.cast.rotated_client_id}, {"overlapS": 60}),
        "CreateProfileWithAttributes": ({}, {"attributes": {"city": "Bonn"}}),
        "UpdateProfile": ({**member, "status": "SUSPENDED"}, {"status": "ACTIVE"}),
        "LinkSubRelation": ({**member, **relation}, {"type": "device"}),
        "UnlinkSubRelation": ({**member, **relation}, {"type": "device"}),
        "InsertTransactionData": ({**member, **_EVENT}, {"amount": 2}),
        "InsertTransactionBatch": (
            {"transactions": [{**member, **_EVENT, "idempotencyKey": str(new_id())}]},
            {"mode": "ATOMIC"},
        ),
        "RedeemPoints": ({**member, "points": 1}, {"points": 2}),
        "ReverseTransaction": (_NO_TRANSACTION, {"amount": 1}),
        "ReversalPoints": (_NO_TRANSACTION, {"points": 1}),
        "MergeProfiles": (
            {"survivorId": member["memberId"], "mergedId": await stage.api.member()},
            {"mergedId": await stage.api.member()},
        ),
    }
    first, other = requests[operation]
    if operation == "UnlinkSubRelation":
        await stage.must("LinkSubRelation", first)
    return first, {**first, **other}


def _bearer(credential: str) -> dict[str, str]:
    return {"authorization": f"Bearer {credential}"}


def _headers(stage: Stage) -> dict[str, str]:
    return {**_bearer(stage.cast.all_powerful), "idempotency-key": str(new_id())}
