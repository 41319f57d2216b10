"""Holds answers against the OpenAPI document that the mesh itself serves."""

import copy
import json
import re
from collections.abc import Iterator
from typing import Any

import jsonschema

Json = dict[str, Any]

_ROOTS = ("/v1/", "/oauth/", "/.well-known/")
_UNROUTED = {"404", "405", "431", "400", "429"}


class Document:
    """The document, as a judge of answers: `check` raises AssertionError for one that it does not describe."""

    def __init__(self, document: Json) -> None:
        closed = _closed(document)
        self._paths = [(_pattern(path), methods) for path, methods in closed["paths"].items()]
        # Literal paths first: "/v1/rewards" is no "/v1/{anything}".
        self._paths.sort(key=lambda entry: entry[0].pattern.count("[^/]+?"))
        self._components = closed["components"]
        self._refusal = {"$ref": "#/components/schemas/Refusal"}
        self._validators: dict[int, jsonschema.Draft202012Validator] = {}

    def check(self, method: str, path: str, status: int, headers: dict[str, str], body: bytes) -> None:
        """One answer to `method` on `path`, without its query. Header names are in lower case."""
        if not path.startswith(_ROOTS):
            return
        where = f"{method} {path} -> {status} {body[:2000].decode(errors='replace')}"
        operation = self._operation(method, path)
        if operation is None:
            assert str(status) in _UNROUTED, where
            self._check_json(self._refusal, json.loads(body), where)
            return
        answers = operation["responses"]
        assert str(status) in answers, f"undocumented status: {where}"
        answer = self._resolved(answers[str(status)])
        for name, header in answer.get("headers", {}).items():
            self._check_header(name, self._resolved(header), headers.get(name.lower()), where)
        kind = headers.get("content-type", "").partition(";")[0]
        content = answer.get("content", {})
        assert kind in content or "*/*" in content or (not content and not body), f"undocumented type {kind}: {where}"
        if "schema" in content.get(kind, {}):
            self._check_json(content[kind]["schema"], json.loads(body), where)

    def _operation(self, method: str, path: str) -> Json | None:
        for pattern, methods in self._paths:
            if pattern.fullmatch(path) and method.lower() in methods:
                found: Json = methods[method.lower()]
                return found
        return None

    def _resolved(self, node: Json) -> Json:
        if "$ref" not in node:
            return node
        kind, name = node["$ref"].removeprefix("#/components/").split("/", 1)
        found: Json = self._components[kind][name]
        return found

    def _check_header(self, name: str, header: Json, text: str | None, where: str) -> None:
        if text is None:
            assert not header["required"], f"no {name}: {where}"
            return
        value = int(text) if header["schema"]["type"] == "integer" else text
        self._check_json(header["schema"], value, f"{name} of {where}")

    def _check_json(self, schema: Json, value: Any, where: str) -> None:
        if id(schema) not in self._validators:
            whole = {**schema, "components": self._components}
            checker = jsonschema.FormatChecker()
            self._validators[id(schema)] = jsonschema.Draft202012Validator(whole, format_checker=checker)
        wrong = [f"{error.json_path}: {error.message}" for error in self._validators[id(schema)].iter_errors(value)]
        assert wrong == [], f"{where}: {wrong}"


def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{[^}]*\}", path)
    return re.compile("[^/]+?".join(re.escape(part) for part in parts))


def _closed(document: Json) -> Json:
    """The same, where a field that is not in it is wrong. A partner must bear new ones; a test must see them."""
    copied = copy.deepcopy(document)
    for node in _nodes(copied):
        if isinstance(node.get("properties"), dict) and "additionalProperties" not in node and "type" in node:
            node["additionalProperties"] = False
    return copied


def _nodes(value: Any) -> Iterator[Json]:
    if isinstance(value, dict):
        yield value
        for item in value.values():
            yield from _nodes(item)
    elif isinstance(value, list):
        for item in value:
            yield from _nodes(item)
