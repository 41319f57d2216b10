"""What is sent to the ledger: programs and members as identity_svc stores them, points, and redemptions."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from google.protobuf.message import Message
from rewards.identity.v1 import programs_pb2
from rewards.ledger.v1 import directory_pb2, journal_pb2, points_pb2

from bench.calls import encode
from svckit.testing import headers, partner

MEMBERS = 4_000
POINTS = 1_000_000_000

Headers = list[list[tuple[str, str]]]


@dataclass(frozen=True, slots=True)
class Caller:
    """A member as a request names them."""

    program_id: str
    member_id: str


@dataclass(frozen=True, slots=True)
class Requests:
    """Calls of one RPC by one peer, as `calls.Plan` has them."""

    rpc: str
    peer: str
    bodies: list[str]
    headers: Headers


def spread(among: int) -> list[Caller]:
    """MEMBERS members of so many programs, the programs in turn."""
    return [Caller(f"bench-{among}-{n % among}", f"m{n}") for n in range(MEMBERS)]


def programs(callers: list[Caller]) -> Requests:
    """The callers' programs."""
    stored = [programs_pb2.StoreProgramRequest(program=_program(name)) for name in {c.program_id for c in callers}]
    return _internal("/rewards.identity.v1.ProgramDirectoryService/StoreProgram", stored)


def members(callers: list[Caller]) -> Requests:
    """The callers as members."""
    stored = [
        directory_pb2.StoreMemberRequest(program_id=c.program_id, member_id=c.member_id, active=True, version=1)
        for c in callers
    ]
    return _internal("/rewards.ledger.v1.MemberDirectoryService/StoreMember", stored)


def points(callers: list[Caller]) -> Requests:
    """More points for each caller than any run takes."""
    credits_ = [points_pb2.CreateCreditRequest(member_id=c.member_id, points=POINTS) for c in callers]
    return _of_partners("CreateCredit", callers, credits_)


def redemptions(callers: list[Caller]) -> Requests:
    """A redemption of one point by each caller."""
    redeem = [points_pb2.RedeemPointsRequest(member_id=c.member_id, points=1) for c in callers]
    return _of_partners("RedeemPoints", callers, redeem)


def bulk(callers: list[Caller], size: int, count: int, seed: str) -> Requests:
    """So many bulk calls of `size` redemptions of one point, of the callers in turn, each under a key of its own."""
    calls = [
        journal_pb2.PostBatchRequest(items=[_item(callers, f"{seed}:{n}:{i}", n * size + i) for i in range(size)])
        for n in range(count)
    ]
    told = [list(headers(partner(callers[0].program_id, "points:write")))] * count
    return Requests("/rewards.ledger.v1.JournalService/PostBatch", "gateway", _encoded(calls), told)


def balances(callers: list[Caller], instants: Sequence[datetime | None]) -> Requests:
    """The callers' balances as of the instants, one each; now if it is None."""
    reads = [points_pb2.GetBalanceRequest(member_id=caller.member_id) for caller in callers]
    for read, at in zip(reads, instants, strict=True):
        if at is not None:
            read.as_of.FromDatetime(at)
    return _of_partners("GetBalance", callers, reads, "points:read")


def _item(callers: list[Caller], key: str, place: int) -> journal_pb2.PostBatchItem:
    redeem = points_pb2.RedeemPointsRequest(member_id=callers[place % len(callers)].member_id, points=1)
    return journal_pb2.PostBatchItem(idempotency_key=str(uuid.uuid5(uuid.NAMESPACE_OID, key)), redeem=redeem)


def _of_partners(rpc: str, callers: list[Caller], requests: Sequence[Message], scope: str = "points:write") -> Requests:
    told = [list(headers(partner(caller.program_id, scope))) for caller in callers]
    return Requests(f"/rewards.ledger.v1.PointsService/{rpc}", "gateway", _encoded(requests), told)


def _internal(rpc: str, requests: Sequence[Message]) -> Requests:
    return Requests(rpc, "identity_svc", _encoded(requests), [[] for _ in requests])


def _encoded(requests: Sequence[Message]) -> list[str]:
    return [encode(request.SerializeToString()) for request in requests]


def _program(program_id: str) -> programs_pb2.Program:
    return programs_pb2.Program(
        program_id=program_id,
        name="Benchmark",
        mode=programs_pb2.Program.SANDBOX,
        time_zone="Europe/Berlin",
        currency="USD",
        asset="PTS",
        points_per_unit=80,
        version=1,
    )
