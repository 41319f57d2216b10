"""The limiter with a real Redis and without it."""

import asyncio
import shutil
import signal
from collections.abc import AsyncIterator, Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from devmesh.process import Child, until_ready
from devmesh.redis import RedisServer, throwaway_redis
from devmesh.sockets import private_socket_dir
from identity_svc.limits.buckets import KEYS_MAX, Limiter, OwnBuckets, RedisBuckets
from identity_svc.limits.gcra import Limit, decide

SLOW = Limit(per_second=1, burst=100)
NOWHERE = "unix:///nowhere/redis.sock"


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


@pytest.fixture
async def sharing(shared: RedisBuckets) -> AsyncIterator[Callable[[], Limiter]]:
    """Makes limiters that share Redis. None of them tells it anything after the test."""
    made: list[Limiter] = []

    def make() -> Limiter:
        made.append(Limiter(OwnBuckets(), shared))
        return made[-1]

    yield make
    await asyncio.gather(*(limiter.told() for limiter in made))


async def allowed(limiter: Limiter, calls: int, key: str = "k") -> int:
    decisions = await asyncio.gather(*(limiter.take(key, SLOW, 1) for _ in range(calls)))
    return sum(decision.allowed for decision in decisions)


def near(calls: int) -> range:
    """So many calls, and what comes back into a slow bucket while a busy machine counts them."""
    return range(calls, calls + 10)


async def test_limiters_share_a_bucket(sharing: Callable[[], Limiter]) -> None:
    one, other = sharing(), sharing()
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
    await shared.take("k", SLOW, 60)
    assert not (await limiter.take("k", SLOW, 50)).allowed
    # Redis refused it, so it does not count here either; what Redis knows of others does.
    assert not own.take("k", SLOW, 45).allowed
    assert own.take("k", SLOW, 35).allowed
    assert await allowed(limiter, 60) in near(5)
    assert (await shared.take("k", SLOW, 35)).allowed


async def test_who_is_far_from_the_limit_does_not_wait_for_redis_and_is_counted(
    shared: RedisBuckets, sharing: Callable[[], Limiter]
) -> None:
    one, other = sharing(), sharing()
    await one.take("k", SLOW, 1)
    await shared._redis.client_pause(60_000, all=False)
    # Redis answers nobody, so none of these has waited for it.
    assert await allowed(one, 20) == 20
    await shared._redis.client_unpause()
    await one.told()
    assert (await other.take("k", SLOW, 1)).remaining in near(78)
    assert await allowed(other, 100) in near(78)
    assert await allowed(one, 100) in near(0)


async def test_what_has_passed_is_counted_also_where_others_have_used_it_up(
    shared: RedisBuckets, sharing: Callable[[], Limiter]
) -> None:
    limiter = sharing()
    await limiter.take("k", SLOW, 1)
    assert (await shared.take("k", SLOW, 99)).allowed
    assert await allowed(limiter, 10) == 10
    await limiter.told()
    assert await allowed(limiter, 10) in near(0)


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
    await limiter.told()
    await buckets.close()
    await second.stop()
    shutil.rmtree(folder)


def test_own_buckets_are_bounded() -> None:
    own = OwnBuckets(clock=lambda: 0.0)
    for number in range(KEYS_MAX + 10):
        own.take(str(number), SLOW, 100)
    assert len(own._buckets) == KEYS_MAX
    assert own.take("0", SLOW, 1).allowed
    assert not own.take(str(KEYS_MAX + 9), SLOW, 1).allowed
