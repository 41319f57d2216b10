"""Envoy's ext_authz: one check for REST and gRPC callers, by the RPC that the request will become, and by what its
caller may still spend."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from envoy_min import authz_pb2 as pb
from envoy_min.authz_pb2_grpc import AuthorizationServicer

from identity_svc.gatekeeper import wire
from identity_svc.gatekeeper.gate import Gate
from identity_svc.gatekeeper.rules import Caller
from identity_svc.gatekeeper.usage import Usage
from identity_svc.limits.meter import Meter, Spent
from svckit import admission, call
from svckit.call import Method
from svckit.clock import Clock, system_clock
from svckit.errors import Reason, Refused


@dataclass(frozen=True, slots=True)
class _Door:
    """What is known of an RPC before any request: the answer if it is open to all, else what a call costs."""

    method: Method
    answer: pb.CheckResponse | None
    cost: int


class Gatekeeper(AuthorizationServicer):
    """`methods` are all RPCs of the mesh by path; what is not among them does not exist."""

    CALLERS = (admission.GATEWAY,)

    def __init__(
        self, methods: Mapping[str, Method], gate: Gate, meter: Meter, usage: Usage, clock: Clock = system_clock
    ) -> None:
        self._doors = {path: door for path, one in methods.items() if (door := _door(one)) is not None}
        self._gate = gate
        self._meter = meter
        self._usage = usage
        self._clock = clock

    async def Check(self, request: pb.CheckRequest, context: Any) -> pb.CheckResponse:
        """Passes or denies a request; a credential that cannot be checked is denied with UNAVAILABLE. What a known
        caller may not call is counted as well: else it could be asked for without an end."""
        http = request.attributes.request.http
        try:
            door = self._doors.get(http.path)
            if door is None:
                raise Refused(Reason.NOT_FOUND, "There is no such operation.")
            if door.answer is not None:
                spent = await self._meter.by_address(http.headers.get(wire.PEER, ""))
                return _told(door.answer, spent, spent.refused)
            caller = await self._gate.caller(http.headers)
        except Refused as refused:
            call.current().reason = Reason.Name(refused.reason)
            return wire.denied(refused, http.headers)
        self._usage.note(caller.principal, self._clock())
        cost = caller.plan.costs.get(door.method.name, door.cost)
        spent = await self._meter.by_credential(caller.principal.name, caller.plan, cost)
        return _told(wire.admitted(caller.principal), spent, _barred(door.method, caller) or spent.refused)


def _told(answer: pb.CheckResponse, spent: Spent, refused: Refused | None) -> pb.CheckResponse:
    if refused is not None:
        call.current().reason = Reason.Name(refused.reason)
    return wire.counted(answer, spent, refused)


def _barred(method: Method, caller: Caller) -> Refused | None:
    """The refusal of a caller whom we know and who may not call this. It goes before one of its limits."""
    try:
        admission.check(method, caller.principal)
    except Refused as refused:
        return refused
    return None


def _door(one: Method) -> _Door | None:
    """The door of an RPC; None if nobody outside the mesh may call it, which looks as if it did not exist."""
    rule = one.access
    if rule is None or not any((rule.public, rule.claim, rule.partner, rule.scope, rule.member, rule.operator)):
        return None
    # A public RPC may read the credential itself (HTTP Basic); for a claim's the token in the path is all.
    answer = wire.open_to_all(keep_credentials=rule.public) if rule.public or rule.claim else None
    return _Door(one, answer, rule.cost or 1)
