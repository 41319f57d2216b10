"""What is on its way out says so on every answer: a single call by its proto, a whole version by its root."""

import copy
import difflib
from collections.abc import AsyncIterator, Callable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import pytest
from rewards.ledger.v1 import points_pb2
from rewards.options.v1.options_pb2 import Deprecation

from devmesh.pki import Authority
from gateway.openapi.document import document
from gateway.openapi.shapes import shapes
from gateway.surface import DESCRIPTORS, load
from gateway.tests.gate import Gate, Probe, Reply, running
from gateway.tests.upstreams import Answer
from gateway.versions import notices

Json = dict[str, Any]

OLD = {
    "deprecation": "@1772323200",
    "sunset": "Tue, 01 Sep 2026 00:00:00 GMT",
    "link": '<https://docs.example.com/probes>; rel="deprecation"',
}
V1 = Deprecation(since="2027-01-01", sunset="2028-01-01", link="https://docs.example.com/v2")


FROZEN = DESCRIPTORS.parents[1] / "v1.shapes"


def said(reply: Reply) -> dict[str, str]:
    return {name: reply.headers[name] for name in OLD if name in reply.headers}


async def test_a_call_on_its_way_out_says_so_whatever_the_answer(gate: Gate, probe: Probe) -> None:
    gate.answer("probe_svc", "ProbeService/Old", Answer([probe["Everything"]()]))
    done = await gate.call("POST", "/v1/probes:old", {})
    assert (done.status, said(done)) == (200, OLD)
    malformed = await gate.call("POST", "/v1/probes:old", {"nmae": "a"})
    assert (malformed.status, said(malformed)) == (400, OLD)
    refused = await gate.call("POST", "/v1/probes:old", {}, headers={"authorization": "Bearer expired"})
    assert (refused.status, said(refused)) == (401, OLD)


async def test_no_other_call_says_anything(gate: Gate) -> None:
    gate.answer("ledger_svc", "PointsService/GetBalance", Answer([points_pb2.GetBalanceResponse()]))
    assert said(await gate.call("POST", "/v1/GetBalance", {"memberId": "m"})) == {}


@pytest.fixture
async def ending(tmp_path: Path, authority: Authority, descriptors: Path) -> AsyncIterator[Gate]:
    """A gate whose whole v1 is on its way out."""
    async with running(tmp_path, authority, descriptors, versions={"/v1/": V1}) as gate:
        yield gate


async def test_a_version_on_its_way_out_says_so_on_all_its_paths(ending: Gate, probe: Probe) -> None:
    ending.answer("ledger_svc", "PointsService/GetBalance", Answer([points_pb2.GetBalanceResponse()]))
    ending.answer("probe_svc", "ProbeService/Old", Answer([probe["Everything"]()]))
    balance = await ending.call("POST", "/v1/GetBalance", {"memberId": "m"})
    assert (balance.status, said(balance)) == (200, notices(V1))
    assert said(await ending.call("POST", "/v1/GetBalance", {"member": "m"})) == notices(V1)
    assert said(await ending.call("POST", "/v1/probes:old", {})) == OLD  # its own word goes first
    assert said(await ending.call("POST", "/oauth/token", raw=b"")) == {}
    served = await ending.call("GET", "/v1/openapi.json")
    assert served.json["paths"]["/v1/GetBalance"]["post"]["deprecated"] is True


def test_the_document_says_so_too(descriptors: Path) -> None:
    made = document(load(descriptors))["paths"]
    old = made["/v1/probes:old"]["post"]
    assert old["deprecated"] is True
    assert "Deprecated since 2026-03-01, and may be gone from 2026-09-01 on" in old["description"]
    assert {"Deprecation", "Sunset", "Link"} <= set(old["responses"]["200"]["headers"])
    assert "deprecated" not in made["/v1/GetBalance"]["post"]


def test_days_that_make_no_sense_stop_the_rendering() -> None:
    found = notices(V1)
    assert int(found["deprecation"][1:]) < parsedate_to_datetime(found["sunset"]).timestamp()
    assert "sunset" not in notices(Deprecation(since="2027-01-01", link="https://x.example"))
    for since, sunset, link in (
        ("2027-01-01", "2026-01-01", "https://x.example"),
        ("soon", "", "https://x.example"),
        ("2027-01-01", "", ""),
    ):
        with pytest.raises(ValueError, match=r"before|match|page"):
            notices(Deprecation(since=since, sunset=sunset, link=link))


def test_the_json_of_v1_is_as_it_was_frozen(made: Json) -> None:
    """What partners have built on. A new call or field is frozen with `make api-freeze`; all else goes to a new
    version."""
    frozen, now = FROZEN.read_text().splitlines(), shapes(made, "/v1/").splitlines()
    assert "\n".join(difflib.unified_diff(frozen, now, "frozen", "made", lineterm="")) == ""


@pytest.fixture(scope="module")
def made() -> Json:
    return document(load(DESCRIPTORS))


def redeem(made: Json) -> Json:
    found: Json = made["components"]["schemas"]["ledger.RedeemPointsRequest"]
    return found


def balance(made: Json) -> Json:
    found: Json = made["components"]["schemas"]["ledger.GetBalanceResponse"]
    return found


BREAKS: dict[str, Callable[[Json], object]] = {
    "a call is gone": lambda made: made["paths"].pop("/v1/GetBalance"),
    "a field is gone": lambda made: balance(made)["properties"].pop("held"),
    "a field has another type": lambda made: balance(made)["properties"]["held"].update(type="string"),
    "a field may be missing": lambda made: balance(made)["required"].remove("held"),
    "a field must be sent": lambda made: redeem(made)["required"].append("reason"),
    "a field may hold less": lambda made: redeem(made)["properties"]["points"].update(maximum=10),
    "a field is no longer taken": lambda made: redeem(made)["properties"].pop("asset"),
    "an enum has lost a value": lambda made: made["components"]["schemas"]["identity.Member.Status"]["enum"].pop(),
    "a door is closed": lambda made: made["paths"]["/v1/GetBalance"]["post"]["security"].pop(),
    "a refusal is no longer there": lambda made: made["paths"]["/v1/GetBalance"]["post"]["responses"].pop("404"),
}


@pytest.mark.parametrize("change", BREAKS.values(), ids=BREAKS)
def test_a_change_of_the_json_is_seen(change: Callable[[Json], object], made: Json) -> None:
    changed = copy.deepcopy(made)
    change(changed)
    assert shapes(changed, "/v1/") != shapes(made, "/v1/")
