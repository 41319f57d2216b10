"""What no client should send, to every operation: refused, never a fault of ours, and never with an effect."""

import asyncio

import aiohttp
import psycopg
import pytest
import yarl

from devmesh.mesh import Mesh
from gateway.openapi.document import document
from gateway.surface import DESCRIPTORS, load
from svckit.clock import new_id
from tests.mesh.conftest import Api
from tests.mesh.malformed import Attack, Attacks

MADE = document(load(DESCRIPTORS))
OPERATIONS = [(method.upper(), path) for path, ways in MADE["paths"].items() for method in ways]
NAMES = [" ".join(operation) for operation in OPERATIONS]
AT_ONCE = 8
REFUSED = {400, 413, 415}


@pytest.fixture
async def reckless(http: aiohttp.ClientSession, reckless_key: str) -> Api:
    """Calls where the member is whom the document's examples name, so that what is only odd is served."""
    reckless = Api(http, reckless_key)
    made = await reckless.post("CreateProfileWithAttributes", {"memberId": "m_8124"}, key="known")
    assert made.status == 200, made
    credited = await reckless.post("credits", {"memberId": "m_8124", "points": 100_000}, key="known")
    assert credited.status == 200, credited
    return reckless


@pytest.mark.parametrize(("method", "path"), OPERATIONS, ids=NAMES)
async def test_what_is_malformed_is_refused_and_has_no_effect(
    method: str, path: str, reckless: Api, mesh: Mesh
) -> None:
    run, gate = str(new_id()), asyncio.Semaphore(AT_ONCE)

    async def sent(number: int, attack: Attack) -> str | None:
        key = f"{run}-{'wrong' if attack.surely else 'odd'}-{number}"
        headers = {"authorization": f"Bearer {reckless.token}", "idempotency-key": key, **attack.headers}
        url = yarl.URL(f"{mesh.url}{attack.path}", encoded=True)
        untyped = ("content-type",)
        async with (
            gate,
            reckless.http.request(
                attack.method, url, data=attack.body, headers=headers, skip_auto_headers=untyped
            ) as response,
        ):
            good = response.status in REFUSED if attack.surely else response.status < 500
            return None if good else f"{attack.what}: {response.status} {(await response.text())[:300]}"

    attacks = Attacks(MADE).on(method, path, MADE["paths"][path][method.lower()])
    answers = await asyncio.gather(*(sent(number, attack) for number, attack in enumerate(attacks)))
    assert [answer for answer in answers if answer] == []
    for database in ("identity", "ledger", "fulfillment"):
        async with await psycopg.AsyncConnection.connect(mesh.dsn(database)) as connection:
            found = await connection.execute(
                "SELECT operation, key FROM idempotency_keys WHERE key LIKE %s", (f"{run}-wrong-%",)
            )
            assert await found.fetchall() == []
