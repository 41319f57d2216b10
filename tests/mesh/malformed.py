"""Requests that no client should send, for every operation of the OpenAPI document.

An `Attack` is either surely wrong, so that nothing but a refusal of the request itself will do, or only odd: then it
may be served or refused, but by what is documented.
"""

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

Json = dict[str, Any]
Path = tuple[Any, ...]

ODD_TEXTS = (
    "\u202e\u0645\u0631\u062d\u0628\u0627",
    "e\u0301\u0302" * 20,
    "\U0001f469\u200d\U0001f469\u200d\U0001f467",
    "\ufeff\ufffe\uffff",
    "\u2028\u2029\x7f\x85",
    "'; DROP TABLE members; --",
    "${jndi:ldap://x}{{7*7}}%s%n../../etc/passwd",
    "a" * 70_000,
)
HUGE = ("1e400", "-1e400", "1" * 400, "9007199254740993", "9223372036854775808", "-9223372036854775809", "1.5e308")
NO_JSON = (
    b"{",
    b'{"a":}',
    b'{"a":1,}',
    b"{'a':1}",
    b'{"a" 1}',
    b"{}{}",
    b"[]",
    b'"text"',
    b"7",
    b"null",
    b"true",
    b"NaN",
    b'{"a":NaN}',
    b'{"a":01}',
    b'{"a":"\x00"}',
    b'{"a":"\\x"}',
    b'{"a":"\xff"}',
    b'\xef\xbb\xbf{"a":1}',
    b'{"a":"' + b"\\ud800" + b'"}',
    '{"a":1}'.encode("utf-16"),
    b"[" * 50_000,
    b'{"a":' * 20_000,
    b'{"a":' * 20_000 + b"1" + b"}" * 20_000,
)
OTHER_TYPES: tuple[dict[str, str], ...] = (
    {},
    {"content-type": "text/plain"},
    {"content-type": "application/json; charset=utf-16"},
)
WRONG: dict[str, tuple[Any, ...]] = {
    "string": (7, 1.5, True, ["a"], {"a": 1}),
    "integer": ("seven", True, [1], {"a": 1}, 1.5, "1"),
    "number": ("seven", True, [1], {"a": 1}, "1.5"),
    "boolean": ("yes", 1, [True], {}),
    "object": ("text", 7, True, [1]),
    "array": ("text", 7, True, {"a": 1}),
}


JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Attack:
    """One request. `what` says how it is wrong; `surely` that it must be refused for it."""

    what: str
    method: str
    path: str
    body: bytes | None = None
    headers: dict[str, str] = field(default_factory=lambda: JSON)
    surely: bool = True


class Attacks:
    """Makes the attacks on the operations of a document."""

    def __init__(self, document: Json) -> None:
        self._components = document["components"]

    def on(self, method: str, path: str, operation: Json) -> Iterator[Attack]:
        """Everything that is done to one operation."""
        parameters = [self._resolved(parameter) for parameter in operation.get("parameters", ())]
        values = {p["name"]: self.sample(p["schema"]) for p in parameters if p["in"] == "path"}
        good = path.format(**{name: quote(str(value), safe="") for name, value in values.items()})
        needed = {p["name"]: self.sample(p["schema"]) for p in parameters if p["in"] == "query" and p["required"]}
        query = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in needed.items())
        yield from self._paths(method, path, values)
        yield from self._queries(method, f"{good}?{query}", [p for p in parameters if p["in"] == "query"])
        if any(p["name"] == "Idempotency-Key" and p["required"] for p in parameters):
            for key in ("", " ", "a b", "a" * 256, "\u043a\u043b\u044e\u0447", "a\tb"):
                yield Attack(f"key {key[:10]!r}", method, good, b"{}", {**JSON, "idempotency-key": key})
        body = operation.get("requestBody", {}).get("content", {})
        if "application/json" not in body:
            yield Attack("a body where none is", method, good, b'{"a":1}')
            return
        if "application/x-www-form-urlencoded" in body:
            # A form is its service's to read, and what it makes of a body is its own.
            yield from (Attack(f"form {raw[:20]!r}", method, good, raw, surely=False) for raw in NO_JSON)
            return
        yield from (Attack(f"no JSON {raw[:20]!r}", method, good, raw) for raw in NO_JSON)
        yield from (Attack(f"type {kind}", method, good, b"a=1", headers=kind) for kind in OTHER_TYPES)
        schema = self._resolved(body["application/json"]["schema"])
        for what, text, surely in self._bodies(schema):
            yield Attack(what, method, good, text.encode("utf-8", "surrogatepass"), surely=surely)

    def sample(self, schema: Json) -> Any:
        """A value that the schema allows, with all its members."""
        found = self._resolved(schema)
        if "examples" in schema or "examples" in found:
            return (schema.get("examples") or found["examples"])[0]
        if "enum" in found:
            return found["enum"][0]
        kind = found.get("type")
        if kind == "object":
            one = next((choice["required"] for choice in found.get("oneOf", ())), None)
            names = one or found.get("properties", {})
            return {name: self.sample(found["properties"][name]) for name in names}
        if kind == "array":
            return [self.sample(found["items"])]
        return {"integer": found.get("minimum", 1), "number": 1, "boolean": True}.get(kind or "", "a")

    def _resolved(self, node: Json) -> Json:
        if "$ref" not in node:
            return node
        kind, name = node["$ref"].removeprefix("#/components/").split("/", 1)
        found: Json = self._components[kind][name]
        return found

    def _paths(self, method: str, path: str, values: Json) -> Iterator[Attack]:
        for name in values:
            rest = {other: quote(str(value), safe="") for other, value in values.items()}
            for bad in ("%00", "a%00b", "%FF", "%C0%80", "%ED%A0%80", "%2F", "..%2f"):
                yield Attack(f"{name} is {bad}", method, path.format(**{**rest, name: bad}))
            for odd in ("%E2%80%AE", "%F0%9F%91%A9", "a" * 3_000, "%25", "'", "*", "a:b"):
                yield Attack(f"{name} is {odd[:20]}", method, path.format(**{**rest, name: odd}), surely=False)

    def _queries(self, method: str, good: str, parameters: list[Json]) -> Iterator[Attack]:
        for bad in ("nobody=1", "a%00=1", "%FF=1", "=1", f"a{'%C3%A8' * 150}=1"):
            yield Attack(f"query {bad[:20]}", method, f"{good}&{bad}")
        for parameter in parameters:
            name, schema = parameter["name"], self._resolved(parameter["schema"])
            for bad in ("%00", "a%00b", "%FF", "%ED%A0%80"):
                yield Attack(f"query {name} {bad}", method, f"{good}&{name}={bad}")
            if schema.get("type") != "array":
                yield Attack(f"query {name} twice", method, f"{good}&{name}=1&{name}=1")
            if schema.get("type") in {"integer", "number", "boolean"} or "enum" in schema:
                yield Attack(f"query {name} of another type", method, f"{good}&{name}=nothing")
            for text in (*ODD_TEXTS[:-1], *HUGE[:-1]):
                yield Attack(f"query {name} {text[:20]}", method, f"{good}&{name}={quote(text)}", surely=False)

    def _bodies(self, schema: Json) -> Iterator[tuple[str, str, bool]]:
        sample = self.sample(schema)
        deep: Any = 1
        for _ in range(40):
            deep = {"a": [deep]}
        for where, node in _objects(sample, ()):
            known = not self._is_open(schema, where)
            for what, value, surely in (("unknown", 1, known), ("unknown null", None, known), ("too deep", deep, True)):
                yield f"{what} in {where}", _dumped(_changed(sample, where, {**node, "nobody": value})), surely
            for key in node:
                yield f"{key} twice in {where}", _twice(sample, where, key), True
        for where, inner, needed in self._fields(schema, ()):
            if _has(sample, where[:-1]):
                yield from self._values(sample, where, inner, needed=needed)

    def _values(self, sample: Any, where: Path, schema: Json, *, needed: bool) -> Iterator[tuple[str, str, bool]]:
        kind = schema.get("type", "")
        for wrong in WRONG.get(kind, ()):
            yield f"{where} is {wrong!r}", _dumped(_changed(sample, where, wrong)), True
        yield f"{where} is null", _dumped(_changed(sample, where, None)), needed
        marked = _dumped(_changed(sample, where, "@@"))
        if kind in {"integer", "number"}:
            for huge in HUGE:
                surely = kind == "integer" or "e400" in huge or len(huge) > 300
                yield f"{where} is {huge[:20]}", marked.replace('"@@"', huge), surely
        if kind == "string":
            for escaped in ("\\u0000", "a\\u0000b", "\\ud800", "\\udc00\\ud800", "\x00"):
                yield f"{where} is {escaped!r}", marked.replace("@@", escaped), True
            for text in ODD_TEXTS:
                yield f"{where} is {text[:20]!r}", marked.replace('"@@"', json.dumps(text, ensure_ascii=False)), False
            yield f"{where} is empty", _dumped(_changed(sample, where, "")), needed and isinstance(where[-1], str)

    def _fields(self, schema: Json, where: Path) -> Iterator[tuple[Path, Json, bool]]:
        for name, inner in schema.get("properties", {}).items():
            found = self._resolved(inner)
            yield (*where, name), found, name in schema.get("required", ())
            yield from self._fields(found, (*where, name))
            if found.get("type") == "array":
                items = self._resolved(found["items"])
                yield (*where, name, 0), items, True
                yield from self._fields(items, (*where, name, 0))

    def _is_open(self, schema: Json, where: Path) -> bool:
        """True inside what has no fields of its own: there any key may stand."""
        for step in where:
            inner = schema["items"] if isinstance(step, int) else schema.get("properties", {}).get(step)
            if inner is None:
                return True
            schema = self._resolved(inner)
        return "properties" not in schema


def _objects(value: Any, where: Path) -> Iterator[tuple[Path, Json]]:
    if isinstance(value, dict):
        yield where, value
        for key, item in value.items():
            yield from _objects(item, (*where, key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _objects(item, (*where, index))


def _dumped(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _has(value: Any, where: Path) -> bool:
    for step in where:
        if isinstance(value, list) != isinstance(step, int) or (isinstance(value, dict) and step not in value):
            return False
        value = value[step]
    return True


def _changed(sample: Any, where: Path, value: Any) -> Any:
    if not where:
        return value
    changed = copy.deepcopy(sample)
    node = changed
    for step in where[:-1]:
        node = node[step]
    node[where[-1]] = value
    return changed


def _twice(sample: Any, where: Path, key: str) -> str:
    """The sample as text, with a key of the object at `where` given twice."""
    node = sample
    for step in where:
        node = node[step]
    marked = {**node, "@@": 0}
    again = f"{json.dumps(key)}: {_dumped(node[key])}"
    return _dumped(_changed(sample, where, marked)).replace('"@@": 0', again)
