"""Envoy's question: who gets through, as whom, and in which words everybody else is refused."""

from datetime import timedelta

import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from sqlalchemy import event, func, update

from devmesh.pki import Authority
from identity_svc import tables
from identity_svc.credentials.keys import Hasher, checksum
from identity_svc.credentials.servicer import create_operator
from identity_svc.tests.running import PEPPER, Running
from identity_svc.tests.test_tokens import body
from identity_svc.tests.verdicts import barred, denied, in_grpc, passed, sent
from svckit.clients import open_channel

BALANCE = "/rewards.ledger.v1.PointsService/GetBalance"
REDEEM = "/rewards.ledger.v1.PointsService/RedeemPoints"
LIMITS = "/rewards.identity.v1.LimitsService/GetLimits"
PUT_PROGRAM = "/rewards.identity.v1.ProgramsService/PutProgram"
TOKEN = "/rewards.identity.v1.TokenService/IssueToken"
INTERNAL = "/rewards.ledger.v1.MemberDirectoryService/StoreMember"
PRINCIPAL = ("x-rewards-kind", "x-rewards-program", "x-rewards-credential", "x-rewards-scopes", "x-rewards-member")
REST = {"content-type": "application/grpc", "x-envoy-original-path": "/v1/GetBalance"}


async def token(identity: Running, *scopes: str, narrowed: str = "") -> str:
    client = await identity.client(*scopes)
    answer = await identity.tokens().IssueToken(body(client, scope=narrowed))
    access_token: str = answer.access_token
    return access_token


async def test_a_token_gets_through_as_its_client(identity: Running) -> None:
    bearer = await token(identity, "points:read", "members:read")
    answer = await identity.check(BALANCE, {"authorization": f"Bearer {bearer}", **REST})
    headers, removed = passed(answer)
    client_id = headers.pop("x-rewards-credential")
    assert client_id.startswith("cl_")
    assert headers.pop("x-rewards-limits").startswith("200 400 399 1 1000000 999999 ")
    assert headers == {
        "x-rewards-kind": "partner",
        "x-rewards-program": "acme",
        "x-rewards-scopes": "members:read points:read",
    }
    assert removed == {"x-rewards-member", "x-rewards-peer", "authorization", "x-api-key"}
    assert dict(answer.dynamic_metadata) == {"credential": client_id}


@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
async def test_an_api_key_gets_through_in_either_header(identity: Running, header: str) -> None:
    key = await identity.api_key("points:read")
    text = key.api_key if header == "x-api-key" else f"bearer {key.api_key}"
    headers, _ = passed(await identity.check(BALANCE, {header: text}))
    assert (headers["x-rewards-kind"], headers["x-rewards-credential"]) == ("partner", key.key_id)


async def test_two_credentials_at_once_are_refused_also_if_both_are_good(identity: Running) -> None:
    key = (await identity.api_key("points:read")).api_key
    answer = await identity.check(BALANCE, {"x-api-key": key, "authorization": f"Bearer {key}", **REST})
    assert denied(answer) == (401, "UNAUTHENTICATED")


async def test_an_operator_gets_through_to_operators_rpcs_only(identity: Running) -> None:
    key = await create_operator(identity.db, Hasher(PEPPER), "ops")
    answer = await identity.check(PUT_PROGRAM, {"authorization": f"Bearer {key}"})
    headers, removed = passed(answer)
    assert headers["x-rewards-kind"] == "operator"
    assert {"x-rewards-program", "x-rewards-scopes", "x-rewards-member"} <= removed
    assert headers["x-rewards-limits"].startswith("500 1000 ")
    assert barred(await identity.check(BALANCE, {"authorization": f"Bearer {key}", **REST})) == "PERMISSION_DENIED"


async def test_a_public_rpc_is_open_and_no_principal_header_survives(identity: Running) -> None:
    spoofed = dict.fromkeys(PRINCIPAL, "operator")
    answer = await identity.check(TOKEN, {"authorization": "Basic whatever", **spoofed})
    headers, removed = passed(answer)
    assert headers == {"x-rewards-kind": "public", "x-rewards-limits": "50 200 199 1"}
    assert removed == {*PRINCIPAL, "x-rewards-peer"} - {"x-rewards-kind"}
    assert not answer.dynamic_metadata.fields


async def test_every_answer_decides_every_principal_header(identity: Running) -> None:
    key = await identity.api_key("points:read")
    operator = await create_operator(identity.db, Hasher(PEPPER), "ops")
    for path, text in ((TOKEN, ""), (BALANCE, key.api_key), (PUT_PROGRAM, operator)):
        headers, removed = passed(await identity.check(path, {"x-api-key": text} if text else {}))
        assert headers.keys() | removed >= set(PRINCIPAL)
        assert not headers.keys() & removed


@pytest.mark.parametrize(
    "path",
    [
        INTERNAL,
        "/rewards.ledger.v1.JournalService/PlaceHold",
        "/envoy.service.auth.v3.Authorization/Check",
        "/grpc.health.v1.Health/Check",
        "/rewards.ledger.v1.PointsService/Nothing",
        BALANCE + "?x=1",
        "//" + BALANCE,
        "/",
        "",
    ],
)
async def test_what_is_not_open_to_anybody_outside_does_not_exist(identity: Running, path: str) -> None:
    operator = await create_operator(identity.db, Hasher(PEPPER), "ops")
    for headers in ({**REST}, {"authorization": f"Bearer {operator}", **REST}):
        assert denied(await identity.check(path, headers)) == (404, "NOT_FOUND")


async def test_a_scope_that_was_not_asked_for_is_a_403(identity: Running) -> None:
    bearer = await token(identity, "points:read", "points:write", narrowed="points:read")
    headers = {"authorization": f"Bearer {bearer}", **REST}
    assert "refusal" not in (await identity.check(BALANCE, headers)).dynamic_metadata
    assert barred(await identity.check(REDEEM, headers)) == "PERMISSION_DENIED"
    # Another RPC's wants are the partner's only: no scope opens an operator's.
    assert barred(await identity.check(PUT_PROGRAM, headers)) == "PERMISSION_DENIED"


async def test_any_credential_of_a_partner_opens_what_needs_no_scope(identity: Running) -> None:
    key = (await identity.api_key("catalog:read")).api_key
    assert "refusal" not in (await identity.check(LIMITS, {"x-api-key": key, **REST})).dynamic_metadata
    operator = await create_operator(identity.db, Hasher(PEPPER), "ops")
    assert barred(await identity.check(LIMITS, {"x-api-key": operator, **REST})) == "PERMISSION_DENIED"
    assert denied(await identity.check(LIMITS, REST)) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": ""},
        {"authorization": "Bearer"},
        {"authorization": "Bearer "},
        {"authorization": "Basic Y2xfMTpz"},
        {"authorization": "Bearer a.b.c"},
        {"authorization": "Bearer a.b.c,Bearer d.e.f"},
        {"authorization": "Bearer " + "a" * 100_000},
        {"authorization": "Bearer é"},
        {"x-api-key": "rk_test_nonsense"},
        {"x-api-key": "rk_test_nonsense", "authorization": "Bearer a.b.c"},
    ],
)
async def test_no_good_credential_is_a_401_with_a_challenge(identity: Running, headers: dict[str, str]) -> None:
    answer = await identity.check(BALANCE, {**headers, **REST})
    assert denied(answer) == (401, "UNAUTHENTICATED")
    challenge = sent(answer)["www-authenticate"]
    assert challenge.startswith('Bearer realm="rewards-mesh"')
    assert ("invalid_token" in challenge) == bool(headers)


async def test_an_expired_token_and_an_expired_key_have_their_own_reasons(identity: Running) -> None:
    bearer = await token(identity, "points:read")
    soon = identity.clocks.now + timedelta(seconds=1000)
    key = await identity.api_key("points:read", expires_at=soon)
    by_token, by_key = {"authorization": f"Bearer {bearer}", **REST}, {"x-api-key": key.api_key, **REST}
    passed(await identity.check(BALANCE, by_key))
    identity.clocks.pass_s(1001)
    passed(await identity.check(BALANCE, by_token))
    assert denied(await identity.check(BALANCE, by_key)) == (401, "UNAUTHENTICATED")
    identity.clocks.pass_s(799)
    assert denied(await identity.check(BALANCE, by_token)) == (401, "TOKEN_EXPIRED")


async def test_expiry_follows_the_programs_clock(identity: Running) -> None:
    headers = {"authorization": f"Bearer {await token(identity, 'points:read')}", **REST}
    passed(await identity.check(BALANCE, headers))
    await identity.db.transact(lambda tx: tx.execute(update(tables.programs).values(clock_offset_s=1800)))
    identity.clocks.monotonic_s += 0.51
    assert denied(await identity.check(BALANCE, headers)) == (401, "TOKEN_EXPIRED")
    await identity.db.transact(lambda tx: tx.execute(update(tables.programs).values(clock_offset_s=-3600)))
    identity.clocks.monotonic_s += 0.51
    assert denied(await identity.check(BALANCE, headers)) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize(
    "change",
    [{"epoch": 2}, {"revoked_at": func.now()}, {"scopes": ["members:read"]}],
    ids=["rotated", "revoked", "scope lost"],
)
async def test_a_change_of_the_credential_holds_within_half_a_second(
    identity: Running, change: dict[str, object]
) -> None:
    headers = {"authorization": f"Bearer {await token(identity, 'points:read')}", **REST}
    passed(await identity.check(BALANCE, headers))
    await identity.db.transact(lambda tx: tx.execute(update(tables.credentials).values(**change)))
    identity.clocks.monotonic_s += 0.49
    passed(await identity.check(BALANCE, headers))
    identity.clocks.monotonic_s += 0.02
    answer = await identity.check(BALANCE, headers)
    if "scopes" in change:
        assert barred(answer) == "PERMISSION_DENIED"
    else:
        assert denied(answer) == (401, "UNAUTHENTICATED")


async def test_a_revoked_key_and_a_key_of_another_secret_are_refused(identity: Running) -> None:
    key, other = await identity.api_key("points:read"), await identity.api_key("points:read")
    crossed = key.key_id + other.api_key[len(other.key_id) : -6]
    forged = crossed + checksum(crossed)
    assert denied(await identity.check(BALANCE, {"x-api-key": forged, **REST})) == (401, "UNAUTHENTICATED")
    await identity.db.transact(lambda tx: tx.execute(update(tables.credentials).values(revoked_at=func.now())))
    identity.clocks.monotonic_s += 0.51
    assert denied(await identity.check(BALANCE, {"x-api-key": key.api_key, **REST})) == (401, "UNAUTHENTICATED")


async def test_the_database_is_asked_once_in_half_a_second_and_never_for_a_wrong_checksum(identity: Running) -> None:
    key = (await identity.api_key("points:read")).api_key
    passed(await identity.check(BALANCE, {"x-api-key": key}))  # a part of the quota is in hand
    identity.clocks.monotonic_s += 0.51
    statements: list[str] = []
    engine = identity.gate_db._engine.sync_engine

    def count(*args: object) -> None:
        statements.append(str(args[2]))

    event.listen(engine, "before_cursor_execute", count)
    typo = key[:-1] + ("a" if key[-1] != "a" else "b")
    for _ in range(5):
        assert denied(await identity.check(BALANCE, {"x-api-key": typo, **REST})) == (401, "UNAUTHENTICATED")
    assert statements == []
    for _ in range(5):
        passed(await identity.check(BALANCE, {"x-api-key": key}))
    assert len(statements) == 1
    identity.clocks.monotonic_s += 0.51
    passed(await identity.check(BALANCE, {"x-api-key": key}))
    assert len(statements) == 2
    event.remove(engine, "before_cursor_execute", count)


async def test_without_the_database_nobody_gets_through(identity: Running) -> None:
    key = await identity.api_key("points:read")
    passed(await identity.check(BALANCE, {"x-api-key": key.api_key}))
    identity.clocks.monotonic_s += 0.51
    # Every connection of the pool is taken, so the question is not answered in time.
    taken = [await identity.gate_db._engine.connect() for _ in range(2)]
    with pytest.MonkeyPatch.context() as impatient:
        impatient.setattr("identity_svc.gatekeeper.states.WAIT_S", 0.1)
        answer = await identity.check(BALANCE, {"x-api-key": key.api_key, **REST})
    for connection in taken:
        await connection.close()
    assert denied(answer) == (503, "UNAVAILABLE")
    assert int(sent(answer)["retry-after"]) >= 1
    passed(await identity.check(BALANCE, {"x-api-key": key.api_key}))


async def test_other_work_does_not_keep_the_gatekeeper_waiting(identity: Running) -> None:
    key = await identity.api_key("points:read")
    taken = [await identity.db._engine.connect() for _ in range(10)]
    passed(await identity.check(BALANCE, {"x-api-key": key.api_key}))
    for connection in taken:
        await connection.close()


async def test_a_native_grpc_caller_is_refused_in_grpcs_words(identity: Running) -> None:
    answer = await identity.check(BALANCE, {"content-type": "application/grpc+proto"})
    status = in_grpc(sent(answer)["grpc-status-details-bin"])
    info = ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.reason == "UNAUTHENTICATED"
    assert answer.denied_response.body == status.message
    assert answer.denied_response.status.code == 401


async def test_only_the_gateway_may_ask(identity: Running, authority: Authority) -> None:
    async with open_channel(identity.address, "identity_svc", authority.issue("ledger_svc")) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await identity.check(TOKEN, {}, channel)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
