"""Bodies, paths and parameters made by chance: never a fault, and never a field that is dropped."""

import json
import re
from typing import Any
from urllib.parse import quote_from_bytes

import pytest
from google.protobuf import json_format
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.tests import gate as gates
from gateway.tests.gate import ECHO, Gate
from gateway.tests.upstreams import Answer

NAMES = ("name", "points", "count", "amount", "active", "colour", "inner", "inners", "nested", "attributes")
WRONG = ("point", "Points", "many_points", "inner.points", "", "x", "é", "a\\b", '"')
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64),
    st.integers(-5, 5),
    st.floats(allow_nan=False, allow_infinity=False),
    TEXTS,
    st.sampled_from(["RED", "dark_blue", "GREEN", "5", "2026-01-01T00:00:00Z"]),
)


class Members(list[tuple[str, Any]]):
    """A JSON object as its members, of which two may have one name."""


def objects(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    keys = st.one_of(st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(NAMES), st.sampled_from(WRONG))
    return st.lists(st.tuples(keys, values), max_size=4).map(Members)


VALUES = st.recursive(SCALARS, lambda inner: objects(inner) | st.lists(inner, max_size=3), max_leaves=12)
# Bodies that are right in most of their parts, so that some are right in all.
INNER = st.fixed_dictionaries({}, optional={"points": st.integers(-5, 2**53), "label": TEXTS})
RIGHT = st.fixed_dictionaries(
    {},
    optional={
        "name": TEXTS,
        "points": st.integers(-(2**53), 2**53),
        "amount": st.floats(allow_nan=False, allow_infinity=False) | st.integers(0, 9),
        "active": st.booleans() | st.none(),
        "colour": st.sampled_from(["RED", "DARK_BLUE"]),
        "inner": INNER | st.none(),
        "inners": st.lists(INNER, max_size=3),
        "nested": st.fixed_dictionaries({}, optional={"inner": INNER, "count": st.integers(-9, 9)}),
        "attributes": st.dictionaries(TEXTS, st.booleans() | st.integers(-9, 9) | TEXTS | st.none(), max_size=3),
    },
)


def written(value: Any, *, escape: bool, space: str) -> str:
    """`value` as JSON, in one of the ways in which it may be written."""
    if isinstance(value, Members | dict):
        pairs = list(value.items()) if isinstance(value, dict) else value
        names = [written(key, escape=escape, space="") for key, _ in pairs]
        values = [written(item, escape=escape, space=space) for _, item in pairs]
        members = (f"{name}{space}:{space}{text}" for name, text in zip(names, values, strict=True))
        return "{" + space + f"{space},{space}".join(members) + space + "}"
    if isinstance(value, list):
        return "[" + f"{space},{space}".join(written(item, escape=escape, space=space) for item in value) + "]"
    if isinstance(value, str) and escape:
        units = value.encode("utf-16-be")
        return '"' + "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2)) + '"'
    return json.dumps(value, ensure_ascii=escape)


def has_foreign_key(value: Any, message: Any) -> bool:
    """Whether a key of `value` is unknown to `message` or stands twice. Written anew, to judge the Lua by it."""
    if isinstance(value, list) and not isinstance(value, Members):
        return any(has_foreign_key(item, message) for item in value)
    if not isinstance(value, Members | dict):
        return False
    pairs = list(value.items()) if isinstance(value, dict) else list(value)
    fields = {field.json_name: field.message_type for field in message.fields} if message else None
    if len({key for key, _ in pairs}) < len(pairs):
        return True
    if fields is not None and any(key not in fields for key, _ in pairs):
        return True
    below = {key: (fields or {}).get(key) for key, _ in pairs}
    free = {key for key, kind in below.items() if kind is not None and kind.full_name == "google.protobuf.Struct"}
    return any(has_foreign_key(item, None if key in free else below[key]) for key, item in pairs)


@pytest.fixture(scope="module")
def echo(shared_gate: Gate, probe: dict[str, type[Message]]) -> type[Message]:
    gates.reset(shared_gate)
    shared_gate.answer("probe_svc", ECHO, Answer([probe["Everything"]()]))
    return probe["Everything"]


@settings(max_examples=300, deadline=None)
@given(value=objects(VALUES) | RIGHT | VALUES, escape=st.booleans(), space=st.sampled_from(["", " ", "\r\n\t"]))
async def test_a_body_passes_whole_or_not_at_all(
    shared_gate: Gate,
    echo: type[Message],
    value: Any,
    escape: bool,  # noqa: FBT001 - hypothesis passes by name
    space: str,
) -> None:
    shared_gate.services["probe_svc"].seen.clear()
    text = written(value, escape=escape, space=space)
    reply = await shared_gate.call(
        "POST", "/v1/probes", raw=text.encode(), headers={"content-type": "application/json"}
    )
    assert reply.status in {200, 400}, (text, reply.body)
    assert reply.json["IsSucessful"] == (reply.status == 200)
    if has_foreign_key(value, echo.DESCRIPTOR):
        assert reply.status == 400, text
    arrived = shared_gate.calls("probe_svc", ECHO)
    assert len(arrived) == (reply.status == 200)
    if arrived:
        assert echo.FromString(arrived[0].request) == json_format.Parse(_proper(text), echo())


_COLOURS = re.compile(r'"colours?"\s*:\s*(?:"[^"]*"|\[[^]]*\])')


def _proper(text: str) -> str:
    # Protobuf for Python knows enum values in their own case only; a text may say the same and stays as it is.
    return _COLOURS.sub(lambda found: found[0].replace('"dark_blue"', '"DARK_BLUE"'), text)


@settings(max_examples=100, deadline=None)
@given(value=RIGHT)
async def test_a_right_body_passes(shared_gate: Gate, echo: type[Message], value: Any) -> None:
    reply = await shared_gate.call("POST", "/v1/probes", value)
    assert reply.status == 200, (value, reply.body)


@settings(max_examples=200, deadline=None)
@given(raw=st.binary(max_size=60) | st.text(alphabet='{}[]:,"\\u0019aetrunlfs-+.eE \n', max_size=60).map(str.encode))
async def test_bytes_are_never_a_fault(shared_gate: Gate, echo: type[Message], raw: bytes) -> None:
    reply = await shared_gate.call("POST", "/v1/probes", raw=raw, headers={"content-type": "application/json"})
    assert reply.status in {200, 400}, (raw, reply.body)
    assert reply.json["ErrorCode"] == (0 if reply.status == 200 else 1000)


@settings(max_examples=200, deadline=None)
@given(
    path=st.lists(st.binary(max_size=6).map(lambda raw: quote_from_bytes(raw, safe=":.~;@!$")), max_size=4),
    query=st.lists(st.tuples(st.sampled_from(("points", "name", "x", "%", "%zz")), st.binary(max_size=6)), max_size=3),
)
async def test_a_path_is_never_a_fault(
    shared_gate: Gate, echo: type[Message], path: list[str], query: list[tuple[str, bytes]]
) -> None:
    asked = "&".join(f"{name}={quote_from_bytes(text)}" for name, text in query)
    for target in (f"/v1/{'/'.join(path)}?{asked}", f"/v1/probes/{path[0] if path else 'a'}/items/1?{asked}"):
        reply = await shared_gate.call("GET", target)
        assert reply.status in {200, 400, 404, 405}, (target, reply.body)
        assert reply.json["IsSucessful"] == (reply.status == 200)
