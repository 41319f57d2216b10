"""Where backlogs are kept: this process's own, and the ones in Redis that all limiters share."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from identity_svc.limits.gcra import Decision, Limit, decide

KEYS_MAX: Final = 100_000
# Whoever has used less than this of a bucket, by what Redis said this lately, does not wait for it to say so again.
FAR: Final = 0.25
LATELY_S: Final = 1.0
# What passes in this time is told together: telling each call by itself would take its time from the calls beside it.
TOLD_AFTER_S: Final = 0.02
_CONNECTIONS: Final = 16
_PREFIX: Final = "ratelimit:"

# Redis's own clock, so that limiters on several machines agree. What is stored is the instant at which the
# backlog is gone, in microseconds. The same arithmetic as `gcra.decide`; a test holds them together. What has passed
# already is counted in any case.
_TAKE: Final = """
local interval, burst, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local stored = tonumber(redis.call('GET', KEYS[1]) or '0')
local before = math.min(math.max(stored - now, 0), burst * interval)
local after = before + math.min(cost, burst) * interval
if ARGV[4] == '0' and after > burst * interval + 1 then return {0, string.format('%.3f', before)} end
redis.call('SET', KEYS[1], string.format('%.3f', now + after), 'PX', math.ceil(after / 1000) + 1)
return {1, string.format('%.3f', after)}
"""


@dataclass(slots=True)
class Bucket:
    """When its backlog will be gone, and when Redis last said how it stands."""

    empty_at_s: float = 0.0
    heard_at_s: float = float("-inf")


class OwnBuckets:
    """What this process has let through, and what it has heard that others have: a lower bound of what all have.

    Holds at most `KEYS_MAX` buckets, and forgets the longest unused.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    def take(self, key: str, limit: Limit, cost: int) -> Decision:
        """Decides on a call and counts it if it may pass."""
        bucket, now_s = self._buckets.setdefault(key, Bucket()), self._clock()
        decision = decide(limit, bucket.empty_at_s - now_s, cost)
        bucket.empty_at_s = now_s + decision.backlog_s
        self._buckets.move_to_end(key)
        if len(self._buckets) > KEYS_MAX:
            self._buckets.popitem(last=False)
        return decision

    def give_back(self, decision: Decision, key: str) -> None:
        """Undoes a call that was counted and then refused elsewhere."""
        if key in self._buckets:
            self._buckets[key].empty_at_s -= decision.cost * decision.limit.interval_s

    def hear(self, key: str, shared: Decision) -> None:
        """Notes how all limiters' bucket stands."""
        if key in self._buckets:
            bucket, now_s = self._buckets[key], self._clock()
            bucket.empty_at_s = max(bucket.empty_at_s, now_s + shared.backlog_s)
            bucket.heard_at_s = now_s

    def is_far(self, key: str, decision: Decision) -> bool:
        """True if after this decision the bucket is far from its limit, by what was heard lately."""
        heard = self._clock() - self._buckets[key].heard_at_s <= LATELY_S
        return heard and decision.backlog_s <= FAR * decision.limit.backlog_max_s


class RedisBuckets:
    """The buckets that all limiters share. A dead Redis is found out within `timeout_s`."""

    def __init__(self, url: str, timeout_s: float = 0.05) -> None:
        # The client would try again by itself; here the next call is the retry.
        pool = BlockingConnectionPool.from_url(
            url,
            max_connections=_CONNECTIONS,
            timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
        )
        self._redis: Redis = Redis.from_pool(pool)
        # By EVALSHA, and with the text only where Redis does not know it: at first, and after it was restarted.
        self._take: Any = self._redis.register_script(_TAKE)

    async def take(self, key: str, limit: Limit, cost: int, *, passed: bool = False) -> Decision:
        """Decides on a call and counts it if it may pass, or has `passed` already. Raises RedisError or OSError without
        Redis."""
        interval_us = limit.interval_s * 1_000_000
        args = [interval_us, limit.burst, cost, int(passed)]
        allowed, backlog_us = await self._take(keys=[_PREFIX + key], args=args)
        return Decision(bool(allowed), limit, min(cost, limit.burst), float(backlog_us) / 1_000_000)

    async def forget_connections(self) -> None:
        """Drops idle connections, which may all lead to a server that is gone."""
        await self._redis.connection_pool.disconnect(inuse_connections=False)

    async def close(self) -> None:
        """Ends all connections."""
        await self._redis.aclose()


class Limiter:
    """Decides with both counts, and with its own alone while Redis is away."""

    def __init__(self, own: OwnBuckets, shared: RedisBuckets, *, retry_s: float = 1.0) -> None:
        self._own = own
        self._shared = shared
        self._retry_s = retry_s
        self._away_until: float | None = None
        self._untold: dict[str, int] = {}
        self._telling: dict[str, asyncio.Task[None]] = {}

    def is_alone(self) -> bool:
        """True while Redis is away."""
        return self._away_until is not None

    async def take(self, key: str, limit: Limit, cost: int) -> Decision:
        """Decides on a call and counts it if it may pass."""
        # The own count is a lower bound, so its refusal stands. Counted before Redis is asked: calls that come
        # meanwhile must find it, also if Redis has just lost its memory.
        own = self._own.take(key, limit, cost)
        if not own.allowed:
            return own
        if self._own.is_far(key, own):
            self._tell(key, limit, own.cost)
            return own
        shared = await self._ask(key, limit, cost)
        if shared is None:
            return own
        if not shared.allowed:
            self._own.give_back(own, key)
        self._own.hear(key, shared)
        return max(own, shared, key=lambda decision: decision.backlog_s) if shared.allowed else shared

    async def close(self) -> None:
        """Tells Redis what is left to tell, and ends all connections."""
        await self.told()
        await self._shared.close()

    async def told(self) -> None:
        """Waits until Redis has been told of all that has passed, or could not be."""
        await asyncio.gather(*self._telling.values())

    def _tell(self, key: str, limit: Limit, cost: int) -> None:
        """Has Redis count what has passed, together with what passes until it is told."""
        self._untold[key] = self._untold.get(key, 0) + cost
        if key not in self._telling:
            # In a context of its own: it may take longer than the call that it begins with.
            self._telling[key] = asyncio.create_task(self._tell_all(key, limit), context=Context())

    async def _tell_all(self, key: str, limit: Limit) -> None:
        try:
            while key in self._untold:
                await asyncio.sleep(TOLD_AFTER_S)
                cost = self._untold.pop(key)
                shared = await self._ask(key, limit, cost, passed=True)
                if shared is not None:
                    self._own.hear(key, shared)
        finally:
            del self._telling[key]

    async def _ask(self, key: str, limit: Limit, cost: int, *, passed: bool = False) -> Decision | None:
        now = time.monotonic()
        if self._away_until is not None:
            if now < self._away_until:
                return None
            # One call finds out whether Redis is back; the others do not wait for it.
            self._away_until = now + self._retry_s
        try:
            decision = await self._shared.take(key, limit, cost, passed=passed)
        except (RedisError, OSError):
            self._away_until = time.monotonic() + self._retry_s
            await self._shared.forget_connections()
            return None
        self._away_until = None
        return decision
