"""Members' own tokens: what they say, whom they reach, and when they end."""

from typing import Any

import jwt
import pytest
from google.protobuf.message import Message
from rewards.identity.v1 import members_pb2, privacy_pb2
from sqlalchemy import text

from identity_svc.tests.running import WRITER, Running, reason
from identity_svc.tests.test_members import create
from identity_svc.tests.test_signin import check, generate, sign_in
from identity_svc.tests.verdicts import barred, passed
from svckit.call import Kind, Principal


@pytest.fixture
async def member(identity: Running) -> Running:
    await identity.member("CreateProfileWithAttributes", create("m_1", email="kim@example.com"))
    return identity


async def token_of(member: Running, client: Any) -> str:
    caller = Principal(Kind.PARTNER, client.client_id, "acme", WRITER.scopes)
    code = await member.member("GenerateOTP", generate(), caller=caller)
    answer = await member.member("PasswordlessSignIn", sign_in(code), caller=caller)
    assert (answer.token_type, answer.expires_in, answer.member_id) == ("Bearer", 900, "m_1")
    token: str = answer.access_token
    return token


PROFILE = "/rewards.identity.v1.MembersService/GetProfile"
CREATE = "/rewards.identity.v1.MembersService/CreateProfileWithAttributes"


async def test_a_members_token_is_the_members_and_ends_with_the_credential(member: Running) -> None:
    client = await member.client("members:write", "points:write")
    token = await token_of(member, client)
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["member"], claims["scope"]) == ("m_1", "m_1", "")
    bearer = {"authorization": f"Bearer {token}"}
    headers, _ = passed(await member.check(PROFILE, bearer))
    assert (headers["x-rewards-kind"], headers["x-rewards-member"]) == ("member", "m_1")
    assert "x-rewards-scopes" not in headers
    assert barred(await member.check(CREATE, bearer)) == "PERMISSION_DENIED"
    member.clocks.pass_s(901)
    assert (await member.check(PROFILE, bearer)).denied_response.status.code == 401
    token = await token_of(member, client)
    member.clocks.pass_s(1)
    raised = text("UPDATE credentials SET epoch = epoch + 1 WHERE credential_id = :name")
    await member.db.transact(lambda tx: tx.execute(raised, {"name": client.client_id}))
    assert (await member.check(PROFILE, {"authorization": f"Bearer {token}"})).denied_response.status.code == 401


async def test_a_member_reaches_nobody_elses_data(member: Running) -> None:
    await member.member("CreateProfileWithAttributes", create("m_2", email="b@example.com"))
    own = Principal(Kind.MEMBER, "cl", "acme", member_id="m_1")
    requests: list[tuple[str, Message]] = [
        ("GetProfile", members_pb2.GetProfileRequest(member_id="m_2")),
        ("GetSubRelations", members_pb2.GetSubRelationsRequest(member_id="m_2")),
        ("ExportMember", privacy_pb2.ExportMemberRequest(member_id="m_2")),
    ]
    for name, request in requests:
        assert await reason(member.member(name, request, caller=own)) == "MEMBER_NOT_FOUND"
        request.member_id = ""  # type: ignore[attr-defined]
        await member.member(name, request, caller=own)
    for name, request in (("GenerateOTP", generate()), ("CheckCredentials", check())):
        assert await reason(member.member(name, request, caller=own)) == "PERMISSION_DENIED"
