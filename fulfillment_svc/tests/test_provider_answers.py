"""What a provider answers over HTTP is believed only if it fits the order in every member (API10)."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulfillment_svc.providers import Issued, Item, NotSeen, Order, Pending, Rejected, Unknown
from fulfillment_svc.providers.over_http import read
from fulfillment_svc.providers.transport import CONTRADICTION, MALFORMED

ITEMS = Item(1, "Kaffa", 1000, "USD"), Item(2, "Kaffa", 1000, "USD")
ORDER = Order("r", "acme", "m_1", "DE", "CLOSED_LOOP", ITEMS)
ISSUED: dict[str, Any] = {
    "reference": "r",
    "status": "ISSUED",
    "items": [
        {"number": 1, "brand": "Kaffa", "valueMinor": 1000, "currency": "USD", "code": "AAAA"},
        {"number": 2, "brand": "Kaffa", "valueMinor": 1000, "currency": "USD", "code": "BBBB"},
    ],
}

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def seen(answer: object, status: int = 200) -> Issued | Rejected | Pending | NotSeen | Unknown:
    return read(status, json.dumps(answer).encode(), ORDER)


def test_an_answer_that_fits_is_believed() -> None:
    assert seen(ISSUED) == Issued(("AAAA", "BBBB"))
    assert seen({"reference": "r", "status": "REJECTED", "reason": "NO_FUNDS"}, 422) == Rejected("NO_FUNDS")
    assert seen({"reference": "r", "status": "NOT_FOUND"}, 404) == NotSeen()
    assert seen({"reference": "r", "status": "PENDING"}, 202) == Pending()


def test_an_item_is_issued_or_rejected() -> None:
    answer = copy.deepcopy(ISSUED)
    del answer["items"][0]["code"]
    assert seen(answer) == MALFORMED
    answer["items"][0]["rejected"] = "OUT_OF_STOCK"
    assert seen(answer) == Issued((None, "BBBB"), "OUT_OF_STOCK")
    answer["items"][0]["code"] = "AAAA"
    assert seen(answer) == CONTRADICTION
    rejected = [{**{k: v for k, v in item.items() if k != "code"}, "rejected": "no"} for item in ISSUED["items"]]
    assert seen({**ISSUED, "items": rejected}) == Rejected("REJECTED"), "nothing is issued, so it is a no"


@pytest.mark.parametrize(
    ("member", "value"),
    [("number", 3), ("brand", "Other"), ("valueMinor", 1001), ("valueMinor", 1000.0), ("valueMinor", "1000"),
     ("valueMinor", True), ("currency", "EUR"), ("surprise", 1)],
)  # fmt: skip
def test_an_item_that_differs_contradicts(member: str, value: object) -> None:
    answer = copy.deepcopy(ISSUED)
    answer["items"][1][member] = value
    assert seen(answer) == CONTRADICTION


@pytest.mark.parametrize("code", [None, "", 7, "x" * 257, "AB\nCD", "AB\u202eCD"])
def test_a_code_that_is_none_is_malformed(code: object) -> None:
    answer = copy.deepcopy(ISSUED)
    answer["items"][0]["code"] = code
    assert seen(answer) == MALFORMED


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({**ISSUED, "reference": "other"}, 200),
        (ISSUED, 404),
        (ISSUED, 422),
        ({**ISSUED, "items": ISSUED["items"][:1]}, 200),
        ({**ISSUED, "items": ISSUED["items"][::-1]}, 200),
        ({"reference": "other", "status": "REJECTED", "reason": "X"}, 422),
        ({"status": "REJECTED", "reason": "X"}, 422),
        ({"reference": "r", "status": "PENDING"}, 200),
        ({"reference": "other", "status": "PENDING"}, 202),
        ({"reference": "r", "status": "NOT_FOUND"}, 200),
        ({"reference": "r", "status": "REJECTED", "reason": "X"}, 404),
        ("gone", 404),
        (None, 422),
    ],
)
def test_an_answer_that_contradicts_is_unknown(answer: object, status: int) -> None:
    assert seen(answer, status) == CONTRADICTION


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"\xff", b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"])
def test_what_does_not_parse_is_malformed(body: bytes) -> None:
    assert read(200, body, ORDER) == MALFORMED


@given(st.integers(100, 599), st.one_of(json_values, st.just(ISSUED)))
def test_only_what_fits_is_definite(status: int, answer: object) -> None:
    assert isinstance(seen(answer, status), Unknown) or (answer == ISSUED and status == 200)


@given(st.text(max_size=50))
def test_a_reason_is_a_constant_or_none(reason: str) -> None:
    found = seen({"reference": "r", "status": "REJECTED", "reason": reason}, 422)
    assert isinstance(found, Rejected)
    assert found.reason.isascii()
    assert len(found.reason) <= 40
