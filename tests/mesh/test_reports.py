"""Funding, quotes and reports as a partner's bookkeeper sees them over REST."""

import csv
import io
import json
from typing import Any

import aiohttp
import psycopg
import pytest

from devmesh.mesh import Mesh
from tests.mesh.conftest import Api, until
from tests.mesh.operators import Operator
from tests.mesh.owners import RECIPIENT

CSV = {"accept": "text/csv"}


TOLD = "SELECT convert_from(payload, 'UTF8') FROM events WHERE program_id = %s AND type = 'funding.low'"


@pytest.fixture
async def program(operator: Operator) -> str:
    """A fresh program."""
    return await operator.program()


@pytest.fixture
async def books(http: aiohttp.ClientSession, operator: Operator, program: str) -> Api:
    """A partner of it."""
    return Api(http, await operator.api_key(program))


async def sheet(api: Api, path: str, **headers: str) -> tuple[Any, list[list[str]]]:
    sent = {"authorization": f"Bearer {api.token}", **headers}
    async with api.http.get(path, headers=sent) as answer:
        assert answer.status == 200, await answer.text()
        return answer.headers, list(csv.reader(io.StringIO(await answer.text(), newline="")))


async def test_low_funding_is_set_shown_and_told(mesh: Mesh, books: Api, program: str) -> None:
    assert (await books.post("funding/deposits", {"amount": 100})).status == 200
    set_ = await books.call("PUT", "/v1/funding/lowBalance", {"currency": "USD", "threshold": 200})
    assert (set_.result["available"], set_.result["lowThreshold"], set_.result["low"]) == (100, 200, True)
    [funding] = (await books.call("GET", "/v1/funding")).result["balances"]
    assert funding == set_.result
    assert (await books.call("PUT", "/v1/funding/lowBalance", {"currency": "USD"})).code == 1000

    async def told() -> list[Any]:
        async with await psycopg.AsyncConnection.connect(mesh.dsn("fulfillment")) as connection:
            return await (await connection.execute(TOLD, (program,))).fetchall()

    [(payload,)] = await until(told)
    assert json.loads(payload)["data"] == {"currency": "USD", "available": 100, "threshold": 200}
    statement = (await books.call("GET", "/v1/funding/statement?currency=USD&pageSize=1")).result
    assert (statement["opening"], statement["deposits"], statement["closing"]) == (0, 100, 100)
    assert [row["line"] for row in statement["rows"]] == ["DEPOSIT"]
    assert (await books.call("GET", "/v1/funding/statement?from=2030-01-01T00:00:00Z")).result["opening"] == 100
    bad = "/v1/funding/statement?from=2030-01-01T00:00:00Z&to=2029-01-01T00:00:00Z"
    assert (await books.call("GET", bad)).code == 1000


async def test_a_quote_says_what_it_costs(api: Api) -> None:
    quote = await api.post("quotes", {"rewardId": "copperleaf-coffee-us", "denomination": 5, "quantity": 2})
    assert quote.result == {
        "version": quote.result["version"],
        "points": 800,
        "currency": "USD",
        "value": 10,
        "fees": 0,
    }
    assert (await api.post("quotes", {"rewardId": "copperleaf-coffee-us", "denomination": 6})).code == 5003


@pytest.mark.parametrize("name", ["spend", "redemptions", "liability", "payees", "reconciliation"])
async def test_a_report_is_json_or_csv_by_what_is_accepted(books: Api, name: str) -> None:
    answer = await books.call("GET", f"/v1/reports/{name}")
    assert answer.status == 200
    assert {one["difference"] for one in answer.result["totals"]} <= {0}
    for path, headers in ((f"/v1/reports/{name}", CSV), (f"/v1/reports/{name}:csv", {}), (f"/v1/reports/{name}?", CSV)):
        got, lines = await sheet(books, path, **headers)
        assert got["content-type"] == "text/csv"
        assert len({len(line) for line in lines}) == 1
    both = await books.call("GET", f"/v1/reports/{name}", headers={"accept": "application/json, text/csv"})
    assert both.status == 200


async def test_a_report_that_is_refused_is_refused_in_the_envelope(api: Api, operator: Operator) -> None:
    assert (await api.call("GET", "/v1/reports/gossip", headers=CSV)).code == 1000
    assert (await api.call("GET", "/v1/reports/liability?breakageBasisPoints=1", headers=CSV)).code == 1000
    assert (await api.call("GET", "/v1/rewards", headers=CSV)).status == 200
    unscoped = Api(api.http, await operator.api_key(scopes=["points:read"]))
    for headers in (CSV, {}):
        assert (await unscoped.call("GET", "/v1/reports/spend", headers=headers)).code == 2003


async def test_what_was_redeemed_is_in_the_reports_once_its_minute_is_over(api: Api) -> None:
    member_id = await api.member(2_000)
    wanted = {"memberId": member_id, "rewardId": "copperleaf-coffee-us", "denomination": 5, "recipient": RECIPIENT}
    made = (await api.post("redemptions", wanted)).result["redemptionId"]

    async def fulfilled() -> bool:
        return bool((await api.call("GET", f"/v1/redemptions/{made}")).result["status"] == "FULFILLED")

    await until(fulfilled)
    report = (await api.call("GET", "/v1/reports/redemptions?pageSize=500")).result
    # It is too young to be sure that nothing older is still to come.
    assert made not in {row["redemptionId"] for row in report["rows"]}
