"""The token request of RFC 6749, as a form, as JSON, and with HTTP Basic."""

import base64
import json

import pytest
from rewards.errors.v1.errors_pb2 import OAuthError

from identity_svc.credentials import oauth
from identity_svc.credentials.oauth import Proof, TokenRequest
from svckit.errors import Reason, Refused

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"
BODY = b"grant_type=client_credentials&client_id=cl_1&client_secret=s%2Bt"
WANTED = TokenRequest(Proof("cl_1", "s+t"))


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("content_type", "body", "authorization", "wanted"),
    [
        (FORM, BODY, "", WANTED),
        (f"{FORM}; charset=UTF-8", BODY, "", WANTED),
        (FORM, BODY + b"&scope=a+b&unknown=1", "", TokenRequest(Proof("cl_1", "s+t"), "a b")),
        (FORM, BODY + b"&scope=", "", WANTED),
        (
            JSON,
            json.dumps({"grant_type": "client_credentials", "client_id": "cl_1", "client_secret": "s+t"}).encode(),
            "",
            WANTED,
        ),
        (FORM, b"grant_type=client_credentials", basic("cl_1:s%2Bt"), WANTED),
        (FORM, b"grant_type=client_credentials&client_id=cl_1", basic("cl_1:s%2Bt"), WANTED),
        (FORM, BODY, "Bearer something", WANTED),
    ],
)
def test_a_client_may_ask_in_several_ways(
    content_type: str, body: bytes, authorization: str, wanted: TokenRequest
) -> None:
    assert oauth.token_request(content_type, body, authorization) == wanted


@pytest.mark.parametrize(
    ("content_type", "body", "authorization", "error"),
    [
        (FORM, b"", "", "invalid_request"),
        (FORM, b"client_id=cl_1", "", "invalid_request"),
        (FORM, BODY + b"&client_id=cl_1", "", "invalid_request"),
        (FORM, BODY + b"&scope=a&scope=b", "", "invalid_request"),
        (FORM, BODY + b"&x=%ff", "", "invalid_request"),
        (FORM, b"\xff", "", "invalid_request"),
        (FORM, b"&".join(b"a%d=1" % n for n in range(30)), "", "invalid_request"),
        (FORM, BODY.replace(b"client_credentials", b"password"), "", "unsupported_grant_type"),
        (FORM, b"grant_type=client_credentials&client_id=a%00b&client_secret=x", "", "invalid_request"),
        (FORM, b"grant_type=client_credentials&client_id=cl_1", "", "invalid_client"),
        (FORM, b"grant_type=client_credentials", "", "invalid_client"),
        (FORM, b"grant_type=client_credentials", "Basic !!!", "invalid_client"),
        (FORM, b"grant_type=client_credentials", basic("no colon"), "invalid_client"),
        (FORM, BODY, basic("cl_1:s"), "invalid_request"),
        (FORM, b"grant_type=client_credentials&client_id=cl_2", basic("cl_1:s"), "invalid_request"),
        ("text/plain", BODY, "", "invalid_request"),
        ("", BODY, "", "invalid_request"),
        (JSON, b"{", "", "invalid_request"),
        (JSON, b"[]", "", "invalid_request"),
        (JSON, b'[["grant_type", "client_credentials"]]', "", "invalid_request"),
        (JSON, b'{"grant_type": "client_credentials", "grant_type": "client_credentials"}', "", "invalid_request"),
        (JSON, b'{"grant_type": {"a": "b"}}', "", "invalid_request"),
        (JSON, b'{"grant_type": 1}', "", "invalid_request"),
        (
            JSON,
            b'{"grant_type": "client_credentials", "client_id": "\\ud800", "client_secret": "x"}',
            "",
            "invalid_request",
        ),
        (JSON, b"[" * 100_000, "", "invalid_request"),
    ],
)
def test_what_is_wrong_is_said_in_the_rfcs_words(
    content_type: str, body: bytes, authorization: str, error: str
) -> None:
    with pytest.raises(Refused) as caught:
        oauth.token_request(content_type, body, authorization)
    assert caught.value.detail == OAuthError(error=error)
    assert caught.value.reason == (Reason.UNAUTHENTICATED if error == "invalid_client" else Reason.INVALID_REQUEST)


def test_a_token_carries_what_is_asked_and_never_more() -> None:
    allowed = frozenset({"members:read", "points:read"})
    assert oauth.grant(allowed, "") == "members:read points:read"
    assert oauth.grant(allowed, "points:read points:read") == "points:read"
    for asked in ("points:write", "points:read points:write"):
        with pytest.raises(Refused) as caught:
            oauth.grant(allowed, asked)
        assert caught.value.detail == OAuthError(error="invalid_scope")
