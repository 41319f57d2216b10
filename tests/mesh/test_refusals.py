"""Every refusal that the document gives the named operations, provoked through Envoy."""

import asyncio
from collections.abc import Iterator
from typing import Final

import aiohttp
import grpc
import pytest

from devmesh.mesh import Mesh
from gateway.openapi.document import document
from gateway.surface import DESCRIPTORS, load, published
from svckit.errors import Reason, spec
from tests.mesh.refusals import general, members, points, signin
from tests.mesh.refusals.stage import EVERY, Case, Cast, Operator, Stage

NAMED: Final = (
    general.TOKEN,
    *("RotateCredentials", "CreateProfileWithAttributes", "GetProfile", "GetProfileByAttribute", "UpdateProfile"),
    *("MergeProfiles", "LinkSubRelation", "GetSubRelations", "UnlinkSubRelation", "InsertTransactionData"),
    *("ReverseTransaction", "InsertTransactionBatch", "GetBatchStatus", "CheckAvailability", "RedeemPoints"),
    *("ReversalPoints", "GetRedemption", "GetStatementSummary", "GetStatementByCategory", "GetTransactionHistory"),
    *("GetExpirySchedule", "GetBalance", "CheckCredentials", "GenerateOTP", "VerifyOTP", "PasswordlessSignIn"),
)
CASES: Final = general.CASES | members.CASES | points.CASES | signin.CASES
UNPROVOKED: Final = {
    "INTERNAL": "a fault of ours that is known is mended",
    "IDEMPOTENCY_IN_FLIGHT": "a call waits for its twin and gives the same answer; only redemptions outlive theirs",
}
# What hangs in identity_svc hangs its gatekeeper first, and that is UNAVAILABLE.
JUDGED_WHERE_SERVED: Final = {rpc.name for rpc in published(load(DESCRIPTORS)) if rpc.cluster == "identity_svc"}
OUTAGES: Final = {"UNAVAILABLE": "identity_svc", "TIMEOUT": "ledger_svc"}


def documented() -> Iterator[tuple[str, str]]:
    """The operations with their reasons, as the document has them."""
    made = document(load(DESCRIPTORS))
    responses = made["components"]["responses"]
    for operation in NAMED:
        ways = made["paths"].get(operation if operation.startswith("/") else f"/v1/{operation}", {"post": {}})
        for answer in ways["post"].get("responses", {}).values():
            if "$ref" in answer:
                name = answer["$ref"].rpartition("/")[2]
                schema = responses[name]["content"]["application/json"]["schema"]
                for reason in schema["properties"]["ReturnObject"]["properties"]["reason"]["enum"]:
                    yield operation, reason


def provoked(operation: str, reason: str) -> bool:
    hangs = reason == "TIMEOUT" and operation in {general.TOKEN, *JUDGED_WHERE_SERVED}
    return reason not in UNPROVOKED and not hangs


DOCUMENTED: Final = set(documented())
REASONS: Final = sorted({reason for operation, reason in DOCUMENTED if provoked(operation, reason)})


def case(operation: str, reason: str) -> Case | None:
    return CASES.get((operation, reason), CASES.get((EVERY, reason)))


@pytest.fixture(scope="session")
async def cast(mesh: Mesh) -> Cast:
    """Everybody who plays, and a token that has run out by now."""
    async with grpc.aio.insecure_channel(mesh.env["REWARDS_GRPC"]) as channel:
        found = await Operator(mesh, channel).found()
    async with aiohttp.ClientSession(base_url=mesh.url) as session:
        stage = Stage(mesh, found, session)
        found.expired_token = (await stage.send(general.TOKEN, json=stage.proof)).body["access_token"]
        await stage.pass_an_hour()
    return found


@pytest.fixture
def stage(mesh: Mesh, cast: Cast, http: aiohttp.ClientSession) -> Stage:
    return Stage(mesh, cast, http)


def test_every_refusal_has_a_case_or_cannot_be_provoked() -> None:
    own = {pair for pair in CASES if pair[0] != EVERY}
    assert {pair for pair in DOCUMENTED if provoked(*pair) and case(*pair) is None} == set()
    assert own - DOCUMENTED == set()


@pytest.mark.parametrize("reason", REASONS)
async def test_the_operations_refuse_with(reason: str, stage: Stage) -> None:
    operations = sorted(operation for operation, one in DOCUMENTED if one == reason and provoked(operation, reason))
    found = spec(Reason.Value(reason))

    async def wrong(operation: str) -> str | None:
        provoke = case(operation, reason)
        assert provoke is not None
        answer = await provoke(stage, operation)
        told = (answer.status, answer.code, answer.result["reason"])
        right = (found.http_status, Reason.Value(reason), reason)
        return None if told == right else f"{operation}: {answer}"

    with stage.away(OUTAGES.get(reason)):
        answers = await asyncio.gather(*map(wrong, operations))
    assert [answer for answer in answers if answer] == []


async def test_the_operations_take_no_other_method(stage: Stage) -> None:
    for operation in {operation for operation, _ in DOCUMENTED if operation != general.TOKEN}:
        answer = await stage.api.call("GET", f"/v1/{operation}")
        assert (answer.status, answer.code, answer.headers["allow"]) == (405, 1007, "POST"), operation
