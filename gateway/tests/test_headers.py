"""What of a caller's headers goes on. A service reads some names before any of our code does, and remembers for the
whole connection, which all callers share, what it could not read."""

import struct

import pytest
from rewards.ledger.v1 import points_pb2

from gateway.tests import http2
from gateway.tests.gate import AUTH, Gate
from gateway.tests.upstreams import Answer

BALANCE = "PointsService/GetBalance"
KNOWN = {
    "grpc-timeout",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-envoy-external-address",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-request-id",
    "x-rewards-credential",
    "x-rewards-kind",
    "x-rewards-limits",
    "x-rewards-program",
    "x-rewards-scopes",
    "x-trace-id",
}
BAD = [
    ("grpc-timeout", "soon"),
    ("grpc-timeout", "1234567890S"),
    ("grpc-encoding", "nope"),
    ("grpc-accept-encoding", "\xff"),
    ("grpc-previous-rpc-attempts", "x"),
    ("grpc-trace-bin", "!!!"),
    ("anything-bin", "!!!"),
    ("lb-cost-bin", "a"),
    ("lb-token", "a"),
    ("strange|name", "a"),
    ("strange~name`", "a"),
    ("anything", "\xd7\xf8"),
    ("user-agent", "\xd7\xf8"),
    ("traceparent", "\xd7\xf8"),
    ("x-forwarded-for", "\xd7\xf8"),
]


@pytest.fixture(autouse=True)
def _balance(gate: Gate) -> None:
    gate.answer("ledger_svc", BALANCE, Answer([points_pb2.GetBalanceResponse(balance=5)]))


async def spoilt_by(gate: Gate, name: str, value: str) -> bytes:
    """What a REST caller gets who sends this; a native one sends it before."""
    message = points_pb2.GetBalanceRequest(member_id="m").SerializeToString()
    native = {"content-type": "application/grpc", "te": "trailers", **AUTH, name: value}
    framed = b"\0" + struct.pack(">I", len(message)) + message
    await http2.post(gate.address, f"/rewards.ledger.v1.{BALANCE}", framed, native)
    return await http2.post(gate.address, "/v1/GetBalance", b'{"memberId":"m"}', {**AUTH, name: value})


@pytest.mark.parametrize(("name", "value"), BAD)
async def test_no_header_of_one_caller_spoils_a_call(gate: Gate, name: str, value: str) -> None:
    for _ in range(2):
        assert b'"balance":5' in await spoilt_by(gate, name, value)
    others = [await gate.call("POST", "/v1/GetBalance", {"memberId": "m"}) for _ in range(10)]
    assert [reply.status for reply in others] == [200] * 10


async def test_only_what_somebody_reads_goes_on(gate: Gate) -> None:
    sent = {"x-odd": "1", "cookie": "a=b", "accept": "text/html", "grpc-timeout": "900m", "accept-encoding": "gzip"}
    assert (await gate.call("POST", "/v1/GetBalance", {"memberId": "m"}, headers=sent)).status == 200
    (seen,) = gate.calls("ledger_svc", BALANCE)
    assert set(seen.metadata) <= KNOWN
    assert seen.remaining_s is not None
    assert seen.remaining_s < 0.95
