"""Plans, clients and API keys, made by operators."""

import asyncio
from datetime import UTC, datetime

import pytest
from rewards.identity.v1 import credentials_pb2 as pb
from rewards.identity.v1 import programs_pb2
from sqlalchemy import func, select, text

from identity_svc import surface, tables
from identity_svc.credentials import keys
from identity_svc.credentials.keys import Hasher
from identity_svc.credentials.servicer import create_operator
from identity_svc.tests.running import PEPPER, PLAN, PROGRAM, Running, reason, refusal, worker


def test_the_surface_holds_all_four_services_and_their_scopes() -> None:
    packages = {path.split(".")[1] for path in surface.METHODS}
    assert {"identity", "ledger", "catalog", "fulfillment"} <= packages
    assert {"members:read", "members:write", "points:write", "catalog:read", "webhooks:write"} <= surface.SCOPES
    assert "" not in surface.SCOPES


async def test_a_plan_is_stored_once_and_its_changes_are_audited(identity: Running) -> None:
    for _ in range(2):
        await identity.operate("PutPlan", pb.PutPlanRequest(plan=PLAN))
    async with identity.db.read() as tx:
        query = select(func.count()).where(tables.audit.c.action == "plan.changed")
        assert await tx.scalar(query) == 1


async def test_a_key_says_whether_its_program_is_live(identity: Running) -> None:
    assert (await identity.api_key("points:read")).api_key.startswith("rk_test_")
    live = programs_pb2.Program()
    live.CopyFrom(PROGRAM)
    live.program_id, live.mode = "acme-live", programs_pb2.Program.LIVE
    await identity.operate("PutProgram", programs_pb2.PutProgramRequest(program=live))
    request = pb.CreateApiKeyRequest(program_id="acme-live", name="x", scopes=["points:read"], plan_id="standard")
    assert (await identity.operate("CreateApiKey", request)).api_key.startswith("rk_live_")


@pytest.mark.parametrize(
    ("changes", "wanted"),
    [
        ({"program_id": "unknown"}, "NOT_FOUND"),
        ({"plan_id": "unknown"}, "NOT_FOUND"),
        ({"scopes": ["points:steal"]}, "INVALID_REQUEST"),
        ({"scopes": []}, "INVALID_REQUEST"),
        ({"name": ""}, "INVALID_REQUEST"),
    ],
)
async def test_a_credential_that_cannot_be_is_refused(
    identity: Running, changes: dict[str, object], wanted: str
) -> None:
    fields = {"program_id": "acme", "name": "x", "scopes": ["points:read"], "plan_id": "standard", **changes}
    for request in (pb.CreateClientRequest(**fields), pb.CreateApiKeyRequest(**fields)):  # type: ignore[arg-type]
        name = type(request).__name__.removesuffix("Request")
        assert await reason(identity.operate(name, request)) == wanted


async def test_an_impossible_expiry_is_refused_by_name(identity: Running) -> None:
    request = pb.CreateApiKeyRequest(program_id="acme", name="x", scopes=["points:read"], plan_id="standard")
    request.expires_at.seconds = 2**60
    assert "expiresAt" in (await refusal(identity.operate("CreateApiKey", request))).message


async def test_a_replay_shows_the_secret_for_15_minutes_and_then_without_it(bare: Running) -> None:
    await bare.seed()
    request = pb.CreateClientRequest(program_id="acme", name="x", scopes=["points:read"], plan_id="standard")
    first = await bare.operate("CreateClient", request, "one")
    assert await bare.operate("CreateClient", request, "one") == first
    other = pb.CreateClientRequest(program_id="acme", name="y", scopes=["points:read"], plan_id="standard")
    assert await reason(bare.operate("CreateClient", other, "one")) == "IDEMPOTENCY_KEY_REUSED"
    async with bare.db.read() as tx:
        await tx.execute(text("UPDATE idempotency_keys SET created_at = created_at - interval '16 minutes'"))
        await tx.commit()
    assert await worker(bare.service, "idempotency.wipe")() == 1
    later = await bare.operate("CreateClient", request, "one")
    assert later.client_id == first.client_id
    assert not later.HasField("client_secret")


async def test_two_copies_of_a_call_make_one_client(identity: Running) -> None:
    request = pb.CreateClientRequest(program_id="acme", name="x", scopes=["points:read"], plan_id="standard")
    answers = await asyncio.gather(*(identity.operate("CreateClient", request, "one") for _ in range(5)))
    assert len({(answer.client_id, answer.client_secret) for answer in answers}) == 1
    async with identity.db.read() as tx:
        assert await tx.scalar(select(func.count()).select_from(tables.credentials)) == 1


async def test_no_secret_is_in_the_database_in_the_clear(identity: Running) -> None:
    client, key = await identity.client("points:read"), await identity.api_key("points:read")
    async with identity.db.read() as tx:
        dump = ""
        for table in tables.metadata.sorted_tables:
            dump += str((await tx.execute(select(table))).all())
    for secret in (client.client_secret, key.api_key):
        assert secret not in dump
        assert secret[-38:] not in dump


async def test_create_operator_makes_a_key_that_is_shown_once(bare: Running) -> None:
    key = await create_operator(bare.db, Hasher(PEPPER), "devmesh")
    assert key.startswith("rk_op_")
    async with bare.db.read() as tx:
        row = (await tx.execute(select(tables.credentials))).one()
        audited = (await tx.execute(select(tables.audit))).one()
    assert row.credential_id == keys.credential_id(key)
    assert (row.kind, row.program_id, row.name) == ("OPERATOR", "", "devmesh")
    assert (audited.actor, audited.action) == ("create-operator", "credential.created")


async def test_last_use_is_written_by_the_worker(identity: Running) -> None:
    key = await identity.api_key("points:read")
    await identity.check("/rewards.ledger.v1.PointsService/GetBalance", {"x-api-key": key.api_key})
    await worker(identity.service, "credentials.usage")()
    async with identity.db.read() as tx:
        used_at: datetime | None = await tx.scalar(select(tables.credentials.c.last_used_at))
    assert used_at is not None
    assert used_at.astimezone(UTC) == identity.clocks.now
