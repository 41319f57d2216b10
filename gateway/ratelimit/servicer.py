"""Envoy's question: may this call pass, and what shall its answer say of the limit."""

from typing import Any, Final

from envoy_min import rls_pb2, rls_pb2_grpc

from gateway.ratelimit.buckets import Limiter
from gateway.ratelimit.gcra import Decision, Limit
from svckit.errors import invalid

# Who is limited: the credential that the gatekeeper knows, or the address of a call without one.
_WHO: Final = ("credential", "remote_address")
_Code = rls_pb2.RateLimitResponse.Code


class RateLimitServicer(rls_pb2_grpc.RateLimitServiceServicer):
    """Answers the one descriptor that `gateway.envoy` renders: who, and the plan's rps, burst and cost."""

    def __init__(self, limiter: Limiter) -> None:
        self._limiter = limiter

    async def ShouldRateLimit(self, request: rls_pb2.RateLimitRequest, context: Any) -> rls_pb2.RateLimitResponse:
        """Counts a call. Raises INVALID_REQUEST for a descriptor of another form; Envoy then uses its own bucket."""
        key, limit, cost = _read(request)
        decision = await self._limiter.take(key, limit, cost)
        return rls_pb2.RateLimitResponse(
            overall_code=_Code.OK if decision.allowed else _Code.OVER_LIMIT,
            response_headers_to_add=[rls_pb2.HeaderValue(key=k, value=str(v)) for k, v in headers(decision).items()],
            request_headers_to_add=[rls_pb2.HeaderValue(key="x-rewards-counted", value="1")],
        )


def headers(decision: Decision) -> dict[str, int]:
    """What the caller is told: whole numbers, and seconds."""
    told = {
        "x-ratelimit-limit": decision.limit.burst,
        "x-ratelimit-remaining": decision.remaining,
        "x-ratelimit-reset": decision.reset_s,
    }
    return told if decision.allowed else {**told, "retry-after": decision.retry_after_s}


def _read(request: rls_pb2.RateLimitRequest) -> tuple[str, Limit, int]:
    if len(request.descriptors) != 1:
        raise invalid(descriptors="must be one: a refusal by the second would have counted for the first")
    entries = {entry.key: entry.value for entry in request.descriptors[0].entries}
    try:
        who = next(name for name in _WHO if name in entries)
        rps, burst, cost = (int(entries[name]) for name in ("rps", "burst", "cost"))
    except (KeyError, StopIteration, ValueError):
        raise invalid(entries="must be a credential or an address, and numbers rps, burst and cost") from None
    if min(rps, burst, cost) < 1:
        raise invalid(entries="must be at least 1")
    return f"{who}:{entries[who]}", Limit(rps, burst), cost
