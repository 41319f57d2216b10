"""Envoy's question: may this call pass, and what shall its answer say of the limits."""

import base64
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from envoy_min import rls_pb2, rls_pb2_grpc
from google.protobuf.struct_pb2 import Struct

from gateway.ratelimit.buckets import Limiter
from gateway.ratelimit.gcra import Decision, Limit
from gateway.ratelimit.quotas import Quotas, Standing
from svckit import admission, call
from svckit.errors import Reason, Refused, invalid

# Who is limited: the credential that the gatekeeper knows, or the address of a call without one.
_WHO: Final = ("credential", "remote_address")
# What of the limits goes on to the service, for GetLimits to show; where it is missing nobody has counted.
_COUNTED: Final = "x-rewards-limits"


@dataclass(frozen=True, slots=True)
class Spending:
    """What a call spends. Its `daily` quota is None if it is nobody's."""

    kind: str
    name: str
    limit: Limit
    daily: int | None
    cost: int


class Window(NamedTuple):
    """A limit as callers are told of it, in whole requests and seconds."""

    limit: int
    remaining: int
    reset_s: int


class RateLimitServicer(rls_pb2_grpc.RateLimitServiceServicer):
    """Answers the one descriptor that `gateway.envoy` renders: who, and the plan's rps, burst, daily and cost."""

    CALLERS = (admission.GATEWAY,)

    def __init__(self, limiter: Limiter, quotas: Quotas) -> None:
        self._limiter = limiter
        self._quotas = quotas

    async def ShouldRateLimit(self, request: rls_pb2.RateLimitRequest, context: Any) -> rls_pb2.RateLimitResponse:
        """Counts a call; a refused one counts for nothing.

        Raises INVALID_REQUEST for a descriptor of another form; Envoy then uses its own bucket.
        """
        spending, standing = _read(request), None
        if spending.daily is not None:
            try:
                standing = await self._quotas.take(spending.name, spending.daily, spending.cost)
            except Refused as refused:
                return _refused(refused, None)
            if not standing.allowed:
                return _refused(_exhausted(standing), _of_day(standing))
        decision = await self._limiter.take(f"{spending.kind}:{spending.name}", spending.limit, spending.cost)
        if decision.allowed:
            return _passed(decision, standing)
        if spending.daily is not None:
            self._quotas.give_back(spending.name, spending.daily, spending.cost)
        return _refused(_too_fast(decision), _of_rate(decision))


def _passed(decision: Decision, standing: Standing | None) -> rls_pb2.RateLimitResponse:
    rate, day = _of_rate(decision), None if standing is None else _of_day(standing)
    nearest = rate if day is None else min(day, rate, key=lambda window: window.remaining)
    counted = (decision.limit.per_second, *rate, *(day or ()))
    return rls_pb2.RateLimitResponse(
        overall_code=rls_pb2.RateLimitResponse.OK,
        response_headers_to_add=_headers(nearest),
        request_headers_to_add=[rls_pb2.HeaderValue(key=_COUNTED, value=" ".join(map(str, counted)))],
    )


def _refused(refused: Refused, window: Window | None) -> rls_pb2.RateLimitResponse:
    """Never OVER_LIMIT: Envoy has one answer to that, which names no reason. The refusal goes on beside the request, to
    the filter that gives it; unless the gatekeeper's own goes before it, and is all that the caller is told."""
    call.current().reason = Reason.Name(refused.reason)
    status = refused.status()
    headers = {
        "grpc-status": str(status.code),
        "grpc-message": status.message,
        "grpc-status-details-bin": base64.b64encode(status.SerializeToString()).decode().rstrip("="),
        "retry-after": str(refused.retry_after_s),
    }
    told = Struct()
    told.update({"refusal": headers})
    return rls_pb2.RateLimitResponse(
        overall_code=rls_pb2.RateLimitResponse.OK,
        response_headers_to_add=[] if window is None else _headers(window),
        dynamic_metadata=told,
    )


def _too_fast(decision: Decision) -> Refused:
    return Refused(Reason.RATE_LIMITED, "Too many requests.", retry_after_s=decision.retry_after_s)


def _exhausted(standing: Standing) -> Refused:
    return Refused(Reason.QUOTA_EXHAUSTED, "The day's quota is used up.", retry_after_s=standing.reset_s)


def _of_rate(decision: Decision) -> Window:
    return Window(decision.limit.burst, decision.remaining, decision.reset_s)


def _of_day(standing: Standing) -> Window:
    return Window(standing.quota, standing.remaining, standing.reset_s)


def _headers(window: Window) -> list[rls_pb2.HeaderValue]:
    names = ("x-ratelimit-limit", "x-ratelimit-remaining", "x-ratelimit-reset")
    return [rls_pb2.HeaderValue(key=name, value=str(value)) for name, value in zip(names, window, strict=True)]


def _read(request: rls_pb2.RateLimitRequest) -> Spending:
    if len(request.descriptors) != 1:
        raise invalid(descriptors="must be one: a refusal by the second would have counted for the first")
    return _spending(request.descriptors[0].SerializeToString())


@lru_cache(maxsize=10_000)
def _spending(descriptor: bytes) -> Spending:
    """A caller's calls come in the same words, so they are read once."""
    entries = {entry.key: entry.value for entry in rls_pb2.RateLimitDescriptor.FromString(descriptor).entries}
    try:
        kind = next(name for name in _WHO if name in entries)
        rps, burst, cost = (int(entries[name]) for name in ("rps", "burst", "cost"))
        daily = int(entries["daily"]) if kind == "credential" else None
    except (KeyError, StopIteration, ValueError):
        raise invalid(entries="must be a credential or an address, and numbers rps, burst, cost and daily") from None
    if min(rps, burst, cost, 1 if daily is None else daily) < 1:
        raise invalid(entries="must be at least 1")
    return Spending(kind, entries[kind], Limit(rps, burst), daily, cost)
