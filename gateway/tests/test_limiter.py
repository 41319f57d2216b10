"""The limiter with a real Redis, without it, and over the wire as Envoy calls it."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator

import grpc
import pytest
from envoy_min import rls_pb2, rls_pb2_grpc
from hypothesis import given, settings
from hypothesis import strategies as st

from devmesh.pki import Authority
from devmesh.process import Child, until_ready
from devmesh.redis import RedisServer, throwaway_redis
from devmesh.sockets import private_socket_dir
from gateway.ratelimit.__main__ import SERVICE, declared
from gateway.ratelimit.buckets import KEYS_MAX, Limiter, OwnBuckets, RedisBuckets
from gateway.ratelimit.gcra import Limit, decide
from gateway.ratelimit.servicer import RateLimitServicer
from svckit import server
from svckit.clients import open_channel
from svckit.config import Config
from svckit.server import Served

SLOW = Limit(per_second=1, burst=100)
NOWHERE = "unix:///nowhere/redis.sock"
Code = rls_pb2.RateLimitResponse.Code


@pytest.fixture(scope="module")
async def shared() -> AsyncIterator[RedisBuckets]:
    async with throwaway_redis() as redis:
        # A generous timeout: here the question is what Redis decides, and the machine may be busy.
        buckets = RedisBuckets(redis.url, timeout_s=10)
        yield buckets
        await buckets.close()


@pytest.fixture(autouse=True)
async def _empty(shared: RedisBuckets) -> None:
    await shared._redis.flushall()


async def allowed(limiter: Limiter, calls: int, key: str = "k") -> int:
    decisions = await asyncio.gather(*(limiter.take(key, SLOW, 1) for _ in range(calls)))
    return sum(decision.allowed for decision in decisions)


def near(calls: int) -> range:
    """So many calls, and what comes back into a slow bucket while a busy machine counts them."""
    return range(calls, calls + 10)


async def test_limiters_share_a_bucket(shared: RedisBuckets) -> None:
    one, other = Limiter(OwnBuckets(), shared), Limiter(OwnBuckets(), shared)
    assert await allowed(one, 60) == 60
    assert await allowed(other, 60) in near(40)
    assert await allowed(other, 60, key="another") == 60


@settings(max_examples=50, deadline=None)
@given(
    costs=st.lists(st.integers(1, 15), min_size=1, max_size=12),
    limit=st.builds(Limit, per_second=st.just(1), burst=st.integers(1, 30)),
)
async def test_redis_decides_as_the_arithmetic_does(shared: RedisBuckets, costs: list[int], limit: Limit) -> None:
    await shared._redis.flushall()
    backlog_s = 0.0
    for cost in costs:
        theirs, ours = await shared.take("k", limit, cost), decide(limit, backlog_s, cost)
        # Time passes for Redis only, so it is a little ahead.
        assert ours.backlog_s - 0.9 < theirs.backlog_s <= ours.backlog_s + 0.001
        assert theirs.allowed == ours.allowed
        backlog_s = theirs.backlog_s


async def test_a_bucket_leaves_redis_once_it_is_full_again(shared: RedisBuckets) -> None:
    await shared.take("k", Limit(per_second=10, burst=100), 100)
    assert 5_000 < await shared._redis.pttl("ratelimit:k") <= 10_001


async def test_a_redis_without_the_script_is_sent_it(shared: RedisBuckets) -> None:
    await shared.take("k", SLOW, 1)
    await shared._redis.script_flush()
    assert (await shared.take("k", SLOW, 1)).remaining == 98


async def test_a_refusal_consumes_nothing(shared: RedisBuckets) -> None:
    await shared.take("k", SLOW, 90)
    before = await shared.take("k", SLOW, 50)
    after = await shared.take("k", SLOW, 50)
    assert (before.allowed, after.allowed) == (False, False)
    assert after.backlog_s <= before.backlog_s


async def test_a_refusal_of_either_count_consumes_nothing_of_the_other(shared: RedisBuckets) -> None:
    own = OwnBuckets()
    limiter = Limiter(own, shared)
    await shared.take("k", SLOW, 100)
    assert await allowed(limiter, 60) in near(0)
    await shared._redis.flushall()
    # Redis refused them, so they do not count here either.
    assert own.take("k", SLOW, 90).allowed
    assert await allowed(limiter, 60) in near(10)
    assert (await shared.take("k", SLOW, 80)).allowed


async def test_without_redis_a_limiter_holds_the_limit_alone() -> None:
    assert await allowed(Limiter(OwnBuckets(), RedisBuckets(NOWHERE)), 300) in near(100)


async def test_a_redis_that_does_not_answer_is_not_asked_again_at_once() -> None:
    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1024):
            pass
        writer.close()
        await writer.wait_closed()

    folder = private_socket_dir()
    silent = await asyncio.start_unix_server(hold, folder / "redis.sock")
    buckets = RedisBuckets(f"unix://{folder}/redis.sock", timeout_s=0.05)
    limiter = Limiter(OwnBuckets(), buckets, retry_s=3_600)
    assert await allowed(limiter, 300) in near(100)
    assert limiter.is_alone()
    await buckets.close()
    silent.close()
    shutil.rmtree(folder)


async def test_redis_killed_and_started_again_never_opens_the_limit() -> None:
    folder = private_socket_dir()
    redis = RedisServer(folder / "redis.sock", folder / "redis.log")
    buckets = RedisBuckets(redis.url, timeout_s=1)
    limiter = Limiter(OwnBuckets(), buckets, retry_s=0.01)
    first = Child(redis.part().command)
    await until_ready(first, redis.part())
    assert await allowed(limiter, 40) == 40
    await first.stop(signal.SIGKILL)
    assert await allowed(limiter, 40) == 40
    assert limiter.is_alone()
    second = Child(redis.part().command)
    await until_ready(second, redis.part())
    while limiter.is_alone():
        await limiter.take("someone", SLOW, 1)
    # The new server knows of nothing, but eighty are gone.
    assert await allowed(limiter, 100) in near(20)
    await buckets.close()
    await second.stop()
    shutil.rmtree(folder)


def test_own_buckets_are_bounded() -> None:
    own = OwnBuckets(clock=lambda: 0.0)
    for number in range(KEYS_MAX + 10):
        own.take(str(number), SLOW, 100)
    assert len(own._empty_at) == KEYS_MAX
    assert own.take("0", SLOW, 1).allowed
    assert not own.take(str(KEYS_MAX + 9), SLOW, 1).allowed


@pytest.fixture
async def address(shared: RedisBuckets, authority: Authority) -> AsyncIterator[str]:
    served = Served(
        SERVICE,
        rls_pb2_grpc.add_RateLimitServiceServicer_to_server,
        RateLimitServicer(Limiter(OwnBuckets(), shared)),
    )
    config = Config(listen="127.0.0.1:0", tls_dir=authority.issue("ratelimit"))
    built, _, port = server.build(config, [served], declared=declared())
    await built.start()
    yield f"127.0.0.1:{port}"
    await built.stop(grace=0)


def question(**entries: str) -> rls_pb2.RateLimitRequest:
    pairs = [rls_pb2.Entry(key=key, value=value) for key, value in entries.items()]
    return rls_pb2.RateLimitRequest(domain="rewards", descriptors=[rls_pb2.RateLimitDescriptor(entries=pairs)])


async def ask(address: str, authority: Authority, peer: str, request: rls_pb2.RateLimitRequest) -> dict[str, str]:
    async with open_channel(address, "ratelimit", authority.issue(peer)) as channel:
        answer = await rls_pb2_grpc.RateLimitServiceStub(channel).ShouldRateLimit(request)
    told = {header.key: header.value for header in answer.response_headers_to_add}
    return {"code": Code.Name(answer.overall_code), **told}


async def test_the_gateway_is_told_what_to_tell(address: str, authority: Authority) -> None:
    plan = {"credential": "c", "rps": "1", "burst": "5"}
    passed = await ask(address, authority, "gateway", question(**plan, cost="4"))
    assert passed == {
        "code": "OK",
        "x-ratelimit-limit": "5",
        "x-ratelimit-remaining": "1",
        "x-ratelimit-reset": "4",
    }
    over = await ask(address, authority, "gateway", question(**plan, cost="3"))
    assert over["code"] == "OVER_LIMIT"
    assert int(over["retry-after"]) in {1, 2}
    other = await ask(address, authority, "gateway", question(remote_address="c", rps="1", burst="5", cost="5"))
    assert other["code"] == "OK"


async def test_nobody_but_the_gateway_may_ask(address: str, authority: Authority) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(address, authority, "ledger_svc", question(credential="c", rps="1", burst="5", cost="1"))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize(
    "request_",
    [
        question(credential="c", rps="1", burst="5"),
        question(credential="c", rps="1", burst="5", cost="x"),
        question(credential="c", rps="0", burst="5", cost="1"),
        question(somebody="c", rps="1", burst="5", cost="1"),
        rls_pb2.RateLimitRequest(domain="rewards"),
    ],
)
async def test_what_envoy_does_not_send_is_refused(
    address: str, authority: Authority, request_: rls_pb2.RateLimitRequest
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await ask(address, authority, "gateway", request_)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
