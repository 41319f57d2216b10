"""What a described provider is sent, and how it is read: every order fits into every template, and nothing but an
answer that fits the order is definite."""

import copy
import json
import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulfillment_svc.providers import Issued, Item, NotSeen, Order, Pending, Rejected, Unknown
from fulfillment_svc.providers.mapped import template
from fulfillment_svc.providers.mapped.adapter import Description
from fulfillment_svc.providers.mapped.answers import Answer, read
from fulfillment_svc.providers.transport import CONTRADICTION, MALFORMED, Heard
from fulfillment_svc.tests import mapped
from fulfillment_svc.tests.test_provider_answers import ISSUED, ORDER, json_values
from fulfillment_svc.webhooks import ssrf

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
currencies = st.sampled_from(["USD", "JPY", "KWD"])


@st.composite
def orders(draw: st.DrawFn) -> Order:
    brand, minor, currency = draw(words), draw(st.integers(1, 10**9)), draw(currencies)
    items = tuple(Item(number, brand, minor, currency) for number in range(1, draw(st.integers(1, 10)) + 1))
    return Order(draw(words), draw(words), draw(words | st.just("")), "DE", "CLOSED_LOOP", items)


def described(**changes: Any) -> Description:
    with tempfile.TemporaryDirectory() as folder:
        (one,) = mapped.configured(Path(folder), mapped.provider("https://api.giftly.example", **changes))
    assert one.described is not None
    return one.described


DESCRIBED = described()


def seen(answer: object, status: int = 200, order: Order = ORDER, by: Description = DESCRIBED) -> Answer:
    return read(by.rules, Heard(status, json.dumps(answer).encode()), order)


def answered(order: Order) -> dict[str, Any]:
    """The answer to what was sent: each item as it was ordered, with a code."""
    sent: Any = template.filled(DESCRIBED.order.body, order)
    items = [{**item, "code": f"CODE-{item['number']}"} for item in sent["items"]]
    return {"status": "ISSUED", "reference": sent["reference"], "items": items}


@given(orders())
def test_an_order_is_sent_whole_and_its_answer_believed(order: Order) -> None:
    sent: Any = template.filled(DESCRIBED.order.body, order)
    assert sent["reference"] == order.reference
    assert [(item["number"], item["valueMinor"]) for item in sent["items"]] == [
        (item.number, item.value_minor) for item in order.items
    ]
    assert seen(answered(order), order=order) == Issued(tuple(f"CODE-{item.number}" for item in order.items))


@given(orders(), st.data())
def test_an_answer_that_differs_anywhere_is_not_believed(order: Order, data: st.DataObject) -> None:
    answer = answered(order)
    place: Any = data.draw(st.sampled_from([answer, *answer["items"]]))
    name = data.draw(st.sampled_from(sorted(place.keys() - {"items"})))
    value = data.draw(json_values.filter(lambda other: other != place[name] and not isinstance(other, str)))
    place[name] = value
    assert isinstance(seen(answer, order=order), Unknown)


@given(st.integers(100, 599), st.one_of(json_values, st.just(ISSUED)))
def test_only_what_fits_is_definite(status: int, answer: object) -> None:
    assert isinstance(seen(answer, status), Unknown) or (answer == ISSUED and status == 200)


@given(st.binary(max_size=200), st.sampled_from([200, 202, 404, 422]))
def test_no_body_is_too_strange_to_be_read(body: bytes, status: int) -> None:
    assert isinstance(read(DESCRIBED.rules, Heard(status, body), ORDER), Unknown)


@given(orders())
def test_whatever_an_order_holds_the_url_is_of_the_same_host(order: Order) -> None:
    url = "https://api.giftly.example/{program}/orders/{reference}?brand={brand}&member={member}"
    made = str(template.filled(url, order, quoted=lambda value: quote(value, safe="")))
    place = ssrf.read(made)
    assert (place.host, place.port) == ("api.giftly.example", 443)
    assert made.count("/") == 5


@given(orders())
def test_a_text_has_amounts_as_people_write_them(order: Order) -> None:
    (first, *_), quantity = order.items, len(order.items)
    decimals = {"USD": 2, "JPY": 0, "KWD": 3}[first.currency]
    sent = {"text": "{value} {currency}", "total": "{total}", "exact": "{total_minor}", "number": "{value_number}"}
    made: Any = template.filled(sent, order)
    assert made["exact"] == first.value_minor * quantity
    assert round(float(made["total"]) * 10**decimals) == made["exact"]
    assert made["text"] == f"{made['number']:.{decimals}f} {first.currency}"
    assert isinstance(made["number"], float)


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b"\xff", b"[" * 100_000, b'{"a":' + b"9" * 5000 + b"}"])
def test_what_does_not_parse_is_malformed(body: bytes) -> None:
    assert read(DESCRIBED.rules, Heard(200, body), ORDER) == MALFORMED


def test_an_item_is_issued_or_rejected() -> None:
    answer = copy.deepcopy(ISSUED)
    del answer["items"][0]["code"]
    assert seen(answer) == CONTRADICTION, "neither"
    answer["items"][0]["rejected"] = "OUT_OF_STOCK"
    assert seen(answer) == Issued((None, "BBBB"), "OUT_OF_STOCK")
    answer["items"][0]["code"] = "AAAA"
    assert seen(answer) == CONTRADICTION, "both"
    rejected = [{**{k: v for k, v in item.items() if k != "code"}, "rejected": "no"} for item in ISSUED["items"]]
    assert seen({**ISSUED, "items": rejected}) == Rejected("REJECTED"), "nothing is issued, so it is a no"


@pytest.mark.parametrize("code", [7, "", "x" * 257, "AB\nCD", "AB\u202eCD", ["A"]])
def test_a_code_that_is_none_is_malformed(code: object) -> None:
    answer = copy.deepcopy(ISSUED)
    answer["items"][0]["code"] = code
    assert seen(answer) == MALFORMED


def test_pending_and_not_seen_are_what_the_file_says() -> None:
    assert seen({"reference": "r", "status": "PENDING"}, 202) == Pending()
    assert seen({"reference": "r", "status": "NOT_FOUND"}, 404) == NotSeen()
    assert seen({"reference": "other", "status": "NOT_FOUND"}, 404) == CONTRADICTION
    assert seen({"reference": "r", "status": "PENDING"}, 503) == Unknown("HTTP_503")


def test_values_may_stand_anywhere_and_be_one_of_several() -> None:
    where = {"data.0.order.ref": "{reference}", "data.0.state": ["DONE", "SENT"], "data.0.paid": "{total_number}"}
    rule = {"says": "issued", "http": [201], "where": where, "items": "data.0.cards", "code": "pin"}
    by = described(answers=[rule])
    data = {"order": {"ref": "r"}, "state": "SENT", "paid": 20, "cards": [{"pin": "A"}, {"pin": "B"}]}
    assert seen({"data": [data]}, 201, by=by) == Issued(("A", "B"))
    for name, other in (("paid", True), ("paid", "20.00"), ("state", "NEW"), ("cards", [{"pin": "A"}]), ("order", [])):
        assert seen({"data": [{**data, name: other}]}, 201, by=by) == CONTRADICTION


def test_an_answer_may_be_the_one_item_itself() -> None:
    rule = {"says": "issued", "http": [200], "where": {"id": "{reference}"}, "code": "card.code"}
    by, one = described(answers=[rule]), Order("r", "acme", "", "DE", "CLOSED_LOOP", ORDER.items[:1])
    answer = {"id": "r", "card": {"code": "AAAA"}}
    assert seen(answer, order=one, by=by) == Issued(("AAAA",))
    assert seen(answer, by=by) == CONTRADICTION, "it was an order of two"
