"""Limits and quotas as partners see them: through two Envoys, with and without Redis, over a gatekeeper's death."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from itertools import pairwise
from pathlib import Path

import aiohttp
import grpc
import pytest
from google.rpc.error_details_pb2 import ErrorInfo
from grpc_status import rpc_status
from rewards.identity.v1 import credentials_pb2 as pb
from rewards.identity.v1 import limits_pb2
from rewards.identity.v1.credentials_pb2_grpc import CredentialsServiceStub
from rewards.identity.v1.limits_pb2_grpc import LimitsServiceStub
from yarl import URL

from devmesh.demo.partner import Answer
from devmesh.mesh import Mesh
from devmesh.seed import FIRST
from svckit.clock import new_id
from tests.mesh.conftest import Api, until
from tests.mesh.judge import TOLERANCE, Call, Judge
from tests.mesh.twin import second_door

DAY_S = 86_400
PLENTY = 1_000_000
# By ErrorCode; whatever else it is, nobody knows whether the call was counted.
UNKNOWN_MEMBER = 3001
BALANCE = "/v1/GetBalance"
ODD_PATHS = ("/v1//limits", "/v1/./limits", "/v1/%6Cimits", "/v1/Limits", "/v1/limits/")
PASSED = {0: True, 2004: False, 2005: False}


class Plans:
    """Makes keys on plans of their own."""

    def __init__(self, channel: grpc.aio.Channel, bearer: str) -> None:
        self._stub = CredentialsServiceStub(channel)
        self._bearer = bearer

    async def key(self, rate: int, burst: int, daily: int = PLENTY, scope: str = "points:read") -> str:
        """An API key that nobody has used yet."""
        plan_id = f"plan-{new_id()}"
        headers = (("authorization", f"Bearer {self._bearer}"), ("idempotency-key", plan_id))
        plan = pb.Plan(plan_id=plan_id, requests_per_second=rate, burst=burst, requests_per_day=daily)
        await self._stub.PutPlan(pb.PutPlanRequest(plan=plan), metadata=headers)
        wanted = pb.CreateApiKeyRequest(program_id=FIRST, name="x", scopes=[scope], plan_id=plan_id)
        return str((await self._stub.CreateApiKey(wanted, metadata=headers)).api_key)


@pytest.fixture
async def channel(mesh: Mesh) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(mesh.env["REWARDS_GRPC"]) as opened:
        yield opened


@pytest.fixture
async def plans(mesh: Mesh, channel: grpc.aio.Channel) -> Plans:
    return Plans(channel, mesh.env["REWARDS_ADMIN_TOKEN"])


async def limits(door: aiohttp.ClientSession, key: str) -> Answer:
    """The cheapest call there is, which counts like any other."""
    return await Api(door, key).call("GET", "/v1/limits")


class Crowd:
    """Many calls, a few at a time: a call that Envoy loses patience with is one that nobody has counted."""

    def __init__(self, *doors: aiohttp.ClientSession) -> None:
        self._doors = doors
        self._places = asyncio.Semaphore(16)

    async def come(self, key: str, judge: Judge, calls: int) -> None:
        """So many calls at each door."""
        await asyncio.gather(*(self._one(door, key, judge) for _ in range(calls) for door in self._doors))

    async def _one(self, door: aiohttp.ClientSession, key: str, judge: Judge) -> None:
        async with self._places:
            sent_s = time.monotonic()
            answer = await limits(door, key)
            judge.calls.append(Call(sent_s, time.monotonic(), PASSED.get(answer.code)))


async def test_forty_credentials_are_each_held_to_their_own_limit_through_two_envoys(
    mesh: Mesh, plans: Plans, tmp_path: Path
) -> None:
    judges = {}
    for number in range(40):
        rate, burst = 1 + number % 3, 3 + number % 6
        judges[await plans.key(rate, burst)] = Judge(rate, burst)

    async def drive(key: str, judge: Judge) -> None:
        await crowd.come(key, judge, judge.burst + 3)
        for _ in range(6):
            await crowd.come(key, judge, 1)
            await asyncio.sleep(1 / judge.rate)  # twice its rate comes, whatever the machine makes of it

    async with (
        second_door(mesh, tmp_path) as url,
        aiohttp.ClientSession(mesh.url) as one,
        aiohttp.ClientSession(url) as other,
    ):
        crowd = Crowd(one, other)
        await asyncio.gather(*(drive(key, judge) for key, judge in judges.items()))
    for judge in judges.values():
        assert judge.refused
        assert len(judge.passed) >= judge.burst
        assert judge.excess() <= TOLERANCE
        assert judge.wrongly_refused() == []


async def test_any_credential_reads_its_limits(http: aiohttp.ClientSession, plans: Plans) -> None:
    first, second = [await limits(http, key) for key in [await plans.key(2, 50, 1_000, scope="catalog:read")] * 2]
    assert (first.status, set(first.result)) == (200, {"rate", "quota"})
    rate, quota = second.result["rate"], second.result["quota"]
    assert {name: rate[name] for name in ("requestsPerSecond", "burst")} == {"requestsPerSecond": 2, "burst": 50}
    assert 48 <= rate["remaining"] <= 49
    assert rate["resetSeconds"] == 1
    assert (quota["requestsPerDay"], quota["remaining"]) == (1_000, 998)
    assert 0 < quota["resetSeconds"] <= DAY_S
    told = {name: int(second.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset")}
    assert told == {"limit": 50, "remaining": rate["remaining"], "reset": rate["resetSeconds"]}


async def test_no_form_of_a_call_gets_round_a_limit(
    mesh: Mesh, http: aiohttp.ClientSession, channel: grpc.aio.Channel, plans: Plans
) -> None:
    """G65, and what tests of gateways know of it: other headers, paths, protocols, connections and operations."""
    key, judge = await plans.key(1, 12), Judge(1, 12)
    bearer, bare = {"authorization": f"Bearer {key}"}, {"x-api-key": key}

    async def by_rest(session: aiohttp.ClientSession, headers: dict[str, str], path: str = "/v1/limits") -> bool | None:
        method, body = ("POST", {"memberId": "m_nobody"}) if path == BALANCE else ("GET", None)
        async with session.request(method, URL(path, encoded=True), json=body, headers=headers) as answer:
            code = (await answer.json())["ErrorCode"]
        return {**PASSED, UNKNOWN_MEMBER: True}.get(code)

    async def by_grpc(_: aiohttp.ClientSession, headers: dict[str, str]) -> bool | None:
        try:
            await LimitsServiceStub(channel).GetLimits(limits_pb2.GetLimitsRequest(), metadata=tuple(headers.items()))
        except grpc.aio.AioRpcError as refused:
            return False if refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else None
        return True

    others = [{"x-forwarded-for": f"192.0.2.{number}"} for number in range(5)]
    others += [{"x-rewards-credential": "another"}, {"x-rewards-limits": "9 9 9 9 9 9 9"}, {"x-rewards-peer": "::1"}]
    forms = [
        *(partial(send, headers=shown) for send in (by_rest, by_grpc) for shown in (bearer, bare)),
        *(partial(by_rest, headers={**bare, **more}) for more in others),
        partial(by_rest, headers={"X-API-KEY": key}),
        *(partial(by_rest, headers=bearer, path=path) for path in (BALANCE, *ODD_PATHS)),
    ]
    for _ in range(3):
        for form in forms:
            async with aiohttp.ClientSession(mesh.url) as fresh:
                for session in (http, fresh):
                    sent_s = time.monotonic()
                    passed = await form(session)
                    judge.calls.append(Call(sent_s, time.monotonic(), passed))
    # What is another path is no operation, and the only thing that is neither passed nor refused.
    assert len(judge.unknown) <= 3 * 2 * len(ODD_PATHS)
    assert len(judge.refused) > len(judge.passed) >= 12
    assert judge.excess() <= TOLERANCE


async def test_who_shows_no_credential_is_counted_by_the_address(http: aiohttp.ClientSession) -> None:
    async with http.get("/.well-known/jwks.json") as answer:
        told = {name: int(answer.headers[f"x-ratelimit-{name}"]) for name in ("limit", "remaining", "reset")}
    assert answer.status == 200
    assert (told["limit"], told["remaining"] < 200) == (200, True)
    assert told["reset"] >= 1


async def test_a_call_that_its_scope_does_not_cover_is_counted_and_stays_a_403(
    http: aiohttp.ClientSession, plans: Plans
) -> None:
    key = await plans.key(1, 400, 20)
    answers = [await Api(http, key).post("RedeemPoints", {"memberId": "m_zero", "points": 1}) for _ in range(25)]
    assert {(answer.status, answer.code) for answer in answers} == {(403, 2003)}
    assert not any("retry-after" in answer.headers for answer in answers)
    remaining = [int(answer.headers["x-ratelimit-remaining"]) for answer in answers]
    assert remaining == [*range(19, -1, -1), *[0] * 5]
    spent = await Api(http, key).post("GetBalance", {"memberId": "m_zero"})
    assert (spent.status, spent.code) == (429, 2005)


async def test_a_quota_holds_over_two_doors_without_redis_and_over_a_gatekeepers_death(
    mesh: Mesh, http: aiohttp.ClientSession, channel: grpc.aio.Channel, plans: Plans, tmp_path: Path
) -> None:
    quota, part = 300, 3
    if seconds_of_today_left() < 120:
        pytest.skip("the day ends too soon")
    key = await plans.key(PLENTY, PLENTY, quota)
    judge = Judge(PLENTY, PLENTY)

    async def is_counted() -> bool:
        """While no gatekeeper answers, nothing passes."""
        await Crowd(http).come(key, judge, 1)
        return judge.calls[-1].passed is not None

    async with second_door(mesh, tmp_path) as url, aiohttp.ClientSession(url) as other:
        crowd = Crowd(http, other)
        await crowd.come(key, judge, 25)
        mesh.kill("redis", signal.SIGSTOP)
        await crowd.come(key, judge, 25)
        mesh.kill("redis", signal.SIGCONT)
        mesh.kill("identity_svc")
        await mesh.ready("identity_svc")
        await until(is_counted)
        await crowd.come(key, judge, 200)
        # A part was lost with the gatekeeper, and one may be left in the hands of each.
        assert quota - 3 * part - len(judge.unknown) <= len(judge.passed) <= quota
        for door in (http, other):
            answer = await limits(door, key)
            assert (answer.status, answer.code) == (429, 2005)
            assert answer.headers["x-ratelimit-limit"] == str(quota)
            assert abs(int(answer.headers["retry-after"]) - seconds_of_today_left()) <= 5
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await LimitsServiceStub(channel).GetLimits(limits_pb2.GetLimitsRequest(), metadata=(("x-api-key", key),))
    assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    info = ErrorInfo()
    assert rpc_status.from_call(refused.value).details[0].Unpack(info)  # type: ignore[arg-type]
    assert info.reason == "QUOTA_EXHAUSTED"
    assert int(dict(refused.value.trailing_metadata())["retry-after"]) > 0


async def test_redis_goes_and_comes_and_nothing_is_restarted(
    mesh: Mesh, http: aiohttp.ClientSession, plans: Plans, tmp_path: Path
) -> None:
    before = {path.name: path.read_text() for path in mesh.layout.run.glob("*.pid")}
    key = await plans.key(1, 30)
    judge = Judge(1, 30)
    mesh.kill("redis", signal.SIGSTOP)
    await Crowd(http).come(key, judge, 60)
    mesh.kill("redis", signal.SIGCONT)
    assert judge.refused
    assert judge.excess() <= TOLERANCE
    async with second_door(mesh, tmp_path) as url, aiohttp.ClientSession(url) as other:

        async def shared() -> bool:
            """A gatekeeper counts alone while it holds Redis for dead; then what one lets through the other knows, at
            least near the limit."""
            fresh = await plans.key(1, 5)
            seen = [(await limits(door, fresh)).result["rate"]["remaining"] for door in (http, other) * 2]
            return all(later < earlier for earlier, later in pairwise(seen))

        await until(shared)
    assert {path.name: path.read_text() for path in mesh.layout.run.glob("*.pid")} == before


def seconds_of_today_left() -> int:
    now = datetime.now(UTC)
    return DAY_S - (now.hour * 3600 + now.minute * 60 + now.second)
