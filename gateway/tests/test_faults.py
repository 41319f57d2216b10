"""Parts that are down, come back, lie about who they are, or break."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from rewards.identity.v1 import signin_pb2, tokens_pb2
from rewards.ledger.v1 import points_pb2

from devmesh.pki import Authority
from devmesh.sockets import choose_port
from gateway.openapi.document import PATH
from gateway.tests.gate import Gate, Reply, assert_refused, path_of, running, until
from gateway.tests.upstreams import Answer, Service, listening, refusal

BALANCE = "PointsService/GetBalance"
DONE = Answer([points_pb2.GetBalanceResponse(balance=1)])


async def balance(gate: Gate, credential: str = "good") -> Reply:
    headers = {"authorization": f"Bearer {credential}"}
    return await gate.call("POST", "/v1/GetBalance", {"memberId": "m"}, headers=headers)


@asynccontextmanager
async def ledger_elsewhere(folder: Path, authority: Authority, descriptors: Path, port: int) -> AsyncIterator[Gate]:
    """A gate whose ledger_svc is at `port`, where the test starts and stops one."""
    async with running(folder, authority, descriptors, elsewhere={"ledger_svc": f"127.0.0.1:{port}"}) as gate:
        yield gate


async def test_a_service_that_comes_back_is_used_at_once(
    tmp_path: Path, authority: Authority, descriptors: Path
) -> None:
    port, tls = choose_port(), authority.issue("ledger_svc")
    ledger = Service({path_of("ledger_svc", BALANCE): DONE})
    async with ledger_elsewhere(tmp_path, authority, descriptors, port) as gate:
        for _ in range(3):
            reply = await balance(gate)
            assert_refused(reply, 503, 9002, "UNAVAILABLE")
            assert reply.headers["retry-after"] == "1"
            async with listening(ledger, tls, port):
                assert (await balance(gate)).status == 200


class Wire:
    """A line to a server that can be cut, and carries again at once."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._ends: list[asyncio.StreamWriter] = []

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self._target)
        self._ends += [writer, there[1]]
        await asyncio.gather(self._pump(reader, there[1]), self._pump(there[0], writer))

    def cut(self) -> None:
        for end in self._ends:
            end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                writer.write(data)
        writer.transport.abort()


async def test_a_call_that_was_sent_is_never_sent_again(
    tmp_path: Path, authority: Authority, descriptors: Path
) -> None:
    forever = asyncio.Event()
    ledger = Service({path_of("ledger_svc", BALANCE): Answer(wait=forever.wait)})
    async with listening(ledger, authority.issue("ledger_svc")) as target:
        wire = Wire(target)
        line = await asyncio.start_server(wire.carry, "127.0.0.1", choose_port())
        port = line.sockets[0].getsockname()[1]
        async with ledger_elsewhere(tmp_path, authority, descriptors, port) as gate:
            call = asyncio.create_task(balance(gate))
            await until(lambda: ledger.seen)
            wire.cut()
            assert_refused(await call, 503, 9002, "UNAVAILABLE")
            unavailable = refusal(14, "Not now.", "UNAVAILABLE")
            ledger.answers[path_of("ledger_svc", BALANCE)] = unavailable
            assert_refused(await balance(gate), 503, 9002, "UNAVAILABLE")
        line.close()
        await line.wait_closed()
    assert len(ledger.seen) == 2


async def test_a_service_with_another_name_is_not_believed(
    tmp_path: Path, authority: Authority, descriptors: Path
) -> None:
    port = choose_port()
    ledger = Service({path_of("ledger_svc", BALANCE): DONE})
    async with (
        ledger_elsewhere(tmp_path, authority, descriptors, port) as gate,
        listening(ledger, authority.issue("catalog_svc"), port),
    ):
        assert_refused(await balance(gate), 503, 9002, "UNAVAILABLE")
        assert ledger.seen == []


async def test_without_memory_to_spare_callers_are_told_to_wait(
    tmp_path: Path, authority: Authority, descriptors: Path
) -> None:
    def poor(bootstrap: str) -> str:
        assert bootstrap.count('"max_heap_size_bytes": 1073741824') == 1
        return bootstrap.replace('"max_heap_size_bytes": 1073741824', '"max_heap_size_bytes": 1')

    async with running(tmp_path, authority, descriptors, edit=poor) as gate:
        gate.answer("ledger_svc", BALANCE, DONE)
        async with asyncio.timeout(20):
            while (reply := await balance(gate)).status == 200:
                pass
        assert_refused(reply, 503, 9002, "UNAVAILABLE")
        assert reply.headers["retry-after"] == "1"


async def test_an_address_guesses_only_so_often_whatever_credentials_it_shows(
    tmp_path: Path, authority: Authority, descriptors: Path
) -> None:
    def poor(bootstrap: str) -> str:
        assert bootstrap.count('"max_tokens": 200,') == bootstrap.count('"tokens_per_fill": 50,') == 1
        return bootstrap.replace('"max_tokens": 200,', '"max_tokens": 20,').replace('_fill": 50,', '_fill": 1,')

    async with running(tmp_path, authority, descriptors, edit=poor) as gate:
        gate.answer("identity_svc", "SignInService/VerifyOTP", Answer([signin_pb2.VerifyOTPResponse()]))
        gate.answer("identity_svc", "TokenService/IssueToken", Answer([tokens_pb2.IssueTokenResponse()]))
        gate.answer("ledger_svc", BALANCE, DONE)
        body = {"otpId": "0192f0c8-5d0b-7000-8000-000000000000", "purpose": "SIGN_IN", "code": "123456"}
        started_s = asyncio.get_running_loop().time()
        replies = [
            await gate.call("POST", "/v1/VerifyOTP", body, headers={"authorization": f"Bearer {number}"})
            for number in range(60)
        ]
        passed = sum(reply.status == 200 for reply in replies)
        assert 20 <= passed <= 20 + (asyncio.get_running_loop().time() - started_s) + 1
        over = next(reply for reply in replies if reply.status == 429)
        assert_refused(over, 429, 2004, "RATE_LIMITED")
        asked = [gate.call("POST", "/oauth/token", raw=b"", headers={"authorization": ""}) for _ in range(20)]
        assert 429 in {reply.status for reply in await asyncio.gather(*asked)}
        assert (await balance(gate)).status == 200


async def test_an_address_gets_the_document_only_so_often(
    tmp_path: Path, authority: Authority, descriptors: Path
) -> None:
    def poor(bootstrap: str) -> str:
        assert bootstrap.count('"max_tokens": 400,') == bootstrap.count('"tokens_per_fill": 200') == 1
        return bootstrap.replace('"max_tokens": 400,', '"max_tokens": 20,').replace('_fill": 200,', '_fill": 1,')

    # Envoy answers by itself there, and asks the gatekeeper for what leads to a service only.
    async with running(tmp_path, authority, descriptors, edit=poor) as gate:
        replies = await asyncio.gather(*(gate.call("GET", PATH) for _ in range(100)))
        assert {reply.status for reply in replies} == {200, 429}
        over = next(reply for reply in replies if reply.status == 429)
        assert_refused(over, 429, 2004, "RATE_LIMITED")
        assert int(over.headers["retry-after"]) >= 1


@pytest.mark.parametrize(
    ("place", "upstream_calls"),
    [("function request.receive(handle)", 0), ("local function success(family, route, text)", 1)],
)
async def test_a_broken_script_lets_nothing_through(
    tmp_path: Path, authority: Authority, descriptors: Path, place: str, upstream_calls: int
) -> None:
    def broken(bootstrap: str) -> str:
        assert bootstrap.count(place) == 1
        return bootstrap.replace(place, f"{place} error('broken')")

    async with running(tmp_path, authority, descriptors, edit=broken) as gate:
        gate.answer("ledger_svc", BALANCE, DONE)
        assert_refused(await balance(gate), 500, 9001, "INTERNAL")
        assert len(gate.calls("ledger_svc", BALANCE)) == upstream_calls
