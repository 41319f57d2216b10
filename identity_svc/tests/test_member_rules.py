"""Attributes, relations and changes of members, as values."""

from datetime import UTC, datetime
from typing import Any

import pytest
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from identity_svc.members import rules, wire
from identity_svc.members.rules import Change, Member, Relation, Status
from svckit.errors import Refused

MEMBER = Member("acme", "m_1", datetime(2026, 1, 1, tzinfo=UTC), attributes={"city": "Bonn", "vip": True})
SCALARS = st.text(max_size=20) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans()
NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,10}", fullmatch=True)
ATTRIBUTES = st.dictionaries(NAMES, SCALARS | st.lists(SCALARS, max_size=5), max_size=5)


def test_sent_attributes_go_over_the_stored_ones_and_none_removes() -> None:
    assert rules.merged({"a": 1.0, "b": "x"}, {"b": None, "c": ["y", True]}) == {"a": 1.0, "c": ["y", True]}
    assert rules.merged({}, {"a": None}) == {}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "must be a string"),
        ([{}], "must be a string"),
        ([None], "must be a string"),
        ([[1.0]], "must be a string"),
        (float("nan"), "finite"),
        ([float("inf")], "finite"),
        ("x" * 2001, "longer"),
        (["x" * 2001], "longer"),
        ([1.0] * 101, "more than 100 elements"),
    ],
)
def test_a_bad_value_is_refused_by_the_attributes_name(value: object, said: str) -> None:
    with pytest.raises(Refused, match=rf"^attributes\.secret .*{said}"):
        rules.merged({}, {"secret": value})


@pytest.mark.parametrize("name", ["", "1a", "a-b", "a.b", "é", "a" * 65, "a b", "a\n", "__proto__", "jane@example.com"])
def test_a_bad_name_is_refused_and_not_repeated(name: str) -> None:
    with pytest.raises(Refused) as caught:
        rules.merged({}, {name: "x"})
    assert caught.value.message.startswith("attributes has a name")
    assert "jane" not in caught.value.message


def test_attributes_have_bounds_after_merging() -> None:
    full = {f"a{n}": 1.0 for n in range(100)}
    assert len(rules.merged(full, {"a0": 2.0})) == 100
    for stored, sent in ((full, {"more": 1.0}), ({f"a{n}": "x" * 2000 for n in range(16)}, {"last": "x" * 2000})):
        with pytest.raises(Refused, match="attributes are more than"):
            rules.merged(stored, sent)


@given(ATTRIBUTES, ATTRIBUTES)
def test_merging_twice_is_merging_once(stored: dict[str, Any], sent: dict[str, Any]) -> None:
    once = rules.merged(stored, sent)
    assert rules.merged(once, sent) == once
    assert rules.merged(once, dict.fromkeys(once)) == {}


@given(ATTRIBUTES)
def test_attributes_survive_protobuf(attributes: dict[str, Any]) -> None:
    struct = Struct()
    struct.update(attributes)
    assert wire.attributes(struct) == attributes


@pytest.mark.parametrize(
    ("change", "version"),
    [
        (Change({}, None, ""), 1),
        (Change({"city": "Bonn"}, Status.ACTIVE, ""), 1),
        (Change({"city": "Köln"}, None, ""), 2),
        # True and 1.0 are equal in Python, and different in JSON.
        (Change({"vip": 1.0}, None, ""), 2),
        (Change({"vip": None}, None, MEMBER.etag), 2),
        (Change({}, Status.SUSPENDED, ""), 2),
    ],
)
def test_a_version_counts_changes_only(change: Change, version: int) -> None:
    changed = rules.changed(MEMBER, change)
    assert changed.version == version
    assert (changed is MEMBER) == (version == 1)
    assert (changed.etag == MEMBER.etag) == (version == 1)


def test_a_stale_etag_is_a_conflict() -> None:
    after = rules.changed(MEMBER, Change({"city": "Köln"}, None, MEMBER.etag))
    with pytest.raises(Refused, match="changed since"):
        rules.changed(after, Change({"city": "Ulm"}, None, MEMBER.etag))


def test_an_etag_is_quoted_and_is_one_members() -> None:
    assert MEMBER.etag[0] == MEMBER.etag[-1] == '"'
    int(MEMBER.etag[1:-1], 16)
    other = Member("acme", "m_2", MEMBER.created_at)
    assert other.etag != MEMBER.etag


def test_who_may_earn_and_redeem() -> None:
    assert {status for status in Status if status.active} == {Status.ACTIVE, Status.LOGIN_BLOCKED}


def test_relations_are_in_order_and_bounded() -> None:
    member = MEMBER
    for n in range(100):
        member = rules.linked(member, Relation("device", f"{n:03}"))
    assert list(member.relations) == sorted(member.relations)
    assert member.version == 101
    with pytest.raises(Refused, match="value"):
        rules.linked(member, Relation("device", "one more"))


@pytest.mark.parametrize("value", ["a\u200bb", "a\u202eb", "a\nb", "a\x7f", "a\u2028b", "\ufeffa"])
def test_a_relation_that_looks_like_another_is_refused(value: str) -> None:
    with pytest.raises(Refused, match=r"^relations\[0\]\.value has a character"):
        rules.check_relation(Relation("crm", value), "relations[0].value")
