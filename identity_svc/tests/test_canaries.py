"""Secrets and personal data planted everywhere: none of them comes out in a log line or an error's text (G51)."""

import io
import logging
from typing import Any

import pytest
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.struct_pb2 import Struct
from rewards.identity.v1 import members_pb2, tokens_pb2
from sqlalchemy import text

from identity_svc.tests.running import OPERATOR, Running, refusal
from identity_svc.tests.test_gatekeeper import BALANCE, REST
from identity_svc.tests.test_members import create, link, updating
from identity_svc.tests.test_tokens import body
from svckit.telemetry import _JsonFormatter

CANARY = "canary"


@pytest.fixture
def logged() -> Any:
    """What the process logs, as it would on standard error."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonFormatter("identity_svc"))
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


async def test_no_canary_comes_out(identity: Running, logged: io.StringIO) -> None:
    client, key = await identity.client("points:read"), await identity.api_key("points:read")
    token = (await identity.tokens().IssueToken(body(client))).access_token
    await identity.member("CreateProfileWithAttributes", create(crm="canary-1", email="canary@example.com"))
    nested = Struct()
    nested.update({"canary@example.com": "x"})
    form = HttpBody(content_type="text/canary", data=b"client_secret=canary")
    refused = [
        await refusal(call)
        for call in (
            identity.member("CreateProfileWithAttributes", create("m_2", crm="canary-1")),
            identity.member("CreateProfileWithAttributes", create("m_3", email={"canary": 1})),
            identity.member("CreateProfileWithAttributes", create("m_4", email="canary\0")),
            identity.member("UpdateProfile", updating(email=["canary", None])),
            identity.member("UpdateProfile", updating(email="canary", etag='"canary"')),
            identity.member("UpdateProfile", members_pb2.UpdateProfileRequest(member_id="m_1", attributes=nested)),
            identity.member("LinkSubRelation", link("canary\u200b")),
            identity.member("LinkSubRelation", link("canary-1", "m_9")),
            identity.tokens().IssueToken(tokens_pb2.IssueTokenRequest(form=form)),
            identity.tokens().IssueToken(body(client, client_secret="canary-secret")),
            identity.tokens().IssueToken(body(client, scope="canary:read")),
        )
    ]
    # A fault of ours, in the middle of what is personal.
    await identity.db.transact(lambda tx: tx.execute(text("UPDATE members SET attributes = 'canary'")))
    refused.append(await refusal(identity.member("UpdateProfile", updating(email="canary"))))
    assert refused[-1].message == "Something went wrong on our side."
    for headers in ({"x-api-key": f"rk_test_{CANARY}"}, {"authorization": f"Bearer {CANARY}.a.b"}):
        answer = await identity.check(BALANCE, {**headers, **REST})
        assert CANARY not in str(answer)
    await identity.check(BALANCE, {"x-api-key": key.api_key})
    assert all(CANARY not in one.message and CANARY not in str(one.detail) for one in refused)
    lines = logged.getvalue()
    assert '"reason": "RELATION_TAKEN"' in lines
    for secret in (CANARY, client.client_secret, key.api_key, token, OPERATOR.name + "_"):
        assert secret not in lines
