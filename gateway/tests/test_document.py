"""The OpenAPI document: valid, complete, and served to whoever asks."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from rewards.errors.v1 import errors_pb2

from gateway.openapi.document import PATH, document
from gateway.openapi.refusals import refused_with
from gateway.surface import DESCRIPTORS, load, published
from gateway.tests.gate import CHECK, Gate, assert_refused

Json = dict[str, Any]


@pytest.fixture(scope="module")
def made() -> Json:
    return document(load(DESCRIPTORS))


def operations(made: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def nodes(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from nodes(item)


def test_it_is_valid(made: Json, descriptors: Path) -> None:
    validate(made)
    validate(document(load(descriptors)))  # with every kind of field that a proto can have


def test_every_call_of_the_surface_is_in_it(made: Json) -> None:
    bindings = [(rpc, binding) for rpc in published(load(DESCRIPTORS)) if rpc.documented for binding in rpc.bindings]
    found = dict(operations(made))
    assert len(found) == len(bindings) + 1
    spelt = {re.sub(r"\{[^}]*\}", "*", name) for name in found}
    assert spelt == {f"{b.method} {b.path}{':' if b.verb else ''}{b.verb}" for _, b in bindings} | {f"GET {PATH}"}
    names = [operation["operationId"] for operation in found.values()]
    assert len(set(names)) == len(names)


def test_everything_in_it_is_said_in_words(made: Json) -> None:
    wordless = [name for name, operation in operations(made) if not operation["summary"]]
    wordless += [
        f"{name}.{field}"
        for name, schema in made["components"]["schemas"].items()
        for field, inner in schema.get("properties", {}).items()
        if name not in {"Refusal", "RefusalDetails"} and not inner.get("description")
    ]
    wordless += [tag["name"] for tag in made["tags"] if not tag["description"]]
    wordless += [row["reason"] for row in made["x-error-codes"] if not (row["when"] and row["retry"])]
    assert wordless == []


def test_examples_are_of_their_schemas(made: Json) -> None:
    shown = [node for node in nodes(made) if isinstance(node.get("examples"), list)]
    assert len(shown) > 100
    for node in shown:
        validator = Draft202012Validator({**node, "components": made["components"]})
        for example in node["examples"]:
            validator.validate(example)
    for parameter in made["components"]["parameters"].values():
        for example in [parameter["example"]] if "example" in parameter else []:
            Draft202012Validator(parameter["schema"]).validate(example)
    refusal = Draft202012Validator({"$ref": "#/components/schemas/Refusal", "components": made["components"]})
    for example in made["components"]["examples"].values():
        refusal.validate(example["value"])


def test_the_error_table_has_every_reason_with_its_retry(made: Json) -> None:
    rows = {row["errorCode"]: row for row in made["x-error-codes"]}
    assert set(rows) == set(errors_pb2.Reason.values()) - {0}
    assert rows[2001]["retry"] == "Once, with a fresh token."
    for row in rows.values():
        line = f"| {row['errorCode']} | {row['reason']} | {row['httpStatus']} | {row['when']} | {row['retry']} |"
        assert line in made["info"]["description"]


def test_what_a_call_needs_is_in_it(made: Json) -> None:
    redeem = made["paths"]["/v1/RedeemPoints"]["post"]
    assert redeem["security"] == [{name: ["points:write"]} for name in ("oauth2", "bearer", "apiKey")]
    assert redeem["parameters"] == [{"$ref": "#/components/parameters/IdempotencyKey"}]
    request = made["components"]["schemas"]["ledger.RedeemPointsRequest"]
    assert (request["required"], request["additionalProperties"]) == (["memberId", "points"], False)
    assert request["properties"]["points"].items() >= {"minimum": 1, "maximum": 2**53}.items()
    assert request["properties"]["memberId"]["pattern"] == "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
    assert made["components"]["schemas"]["ledger.GetRedemptionRequest"]["oneOf"]
    assert made["paths"]["/v1/ReversalPoints"]["post"]["parameters"][0]["$ref"].endswith("/OptionalIdempotencyKey")
    assert made["paths"]["/v1/GetBalance"]["post"]["security"][-1] == {"memberToken": []}
    assert made["paths"]["/oauth/token"]["post"]["security"] == []
    token = made["paths"]["/oauth/Auth/Token"]["post"]["requestBody"]["content"]
    assert set(token) == {"application/x-www-form-urlencoded", "application/json"}
    assert all(form["schema"]["required"] == ["grant_type"] for form in token.values())
    capture = made["paths"]["/v1/holds/{holdId}:capture"]["post"]
    assert [p.get("name") for p in capture["parameters"]] == ["holdId", None]
    assert [*capture["requestBody"]["content"]["application/json"]["schema"]["properties"]] == ["points"]


def test_a_call_is_refused_with_what_its_comment_names() -> None:
    rpc = next(rpc for rpc in published(load(DESCRIPTORS)) if rpc.name == "RedeemPoints")
    named = refused_with(rpc, "Refused with OUT_OF_STOCK, or NOT_A_REASON.", json_body=True)
    assert {"OUT_OF_STOCK", "IDEMPOTENCY_KEY_MISSING", "UNAUTHENTICATED", "UNSUPPORTED_MEDIA_TYPE"} <= named
    assert "NOT_A_REASON" not in named


async def test_whoever_asks_gets_it(gate: Gate, descriptors: Path) -> None:
    reply = await gate.call("GET", PATH, headers={"authorization": ""})
    assert reply.status == 200
    assert reply.json == document(load(descriptors))
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["access-control-allow-origin"] == "*"
    assert reply.headers["x-request-id"]
    assert len(reply.headers["x-trace-id"]) == 32
    small = await gate.call("GET", PATH, headers={"accept-encoding": "gzip"})
    assert small.headers["content-encoding"] == "gzip"
    assert gate.services["identity_svc"].calls(CHECK) == []


async def test_it_takes_no_other_method_and_no_parameters(gate: Gate) -> None:
    assert_refused(await gate.call("POST", PATH, {}), 405, 1007, "METHOD_NOT_ALLOWED")
    assert_refused(await gate.call("GET", f"{PATH}?a=1"), 400, 1000, "INVALID_REQUEST")
