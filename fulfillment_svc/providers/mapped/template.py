"""Templates: values of JSON with names of ours in their texts, like "{reference}" or "Card of {value} {currency}".

A text that is nothing but one name becomes that value with its type; in any other text a name becomes text. A list of
one element that names an item, like "{item.number}", becomes as many as there are items. Pure.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Final

from fulfillment_svc.providers import Order
from svckit import money

_NAME: Final = re.compile(r"\{([a-z][a-z0-9_.]*)\}")
_ITEM: Final = "item."

Values = Mapping[str, object]


def values(order: Order) -> Values:
    """What a template may name of an order. `value` is one item's: "12.50", `value_number` 12.5 and `value_minor` 1250;
    `total` is that of all items."""
    first, quantity = order.items[0], len(order.items)
    return {
        "reference": order.reference,
        "program": order.program_id,
        "member": order.member_id,
        "country": order.country,
        "kind": order.kind,
        "brand": first.brand,
        "currency": first.currency,
        "quantity": quantity,
        **_amount("value", first.value_minor, first.currency),
        **_amount("total", first.value_minor * quantity, first.currency),
    }


def item_values(order: Order) -> list[Values]:
    """The same for each item in turn, with what is the item's own beside it."""
    common = values(order)
    return [
        {
            **common,
            "item.number": item.number,
            "item.brand": item.brand,
            "item.currency": item.currency,
            **_amount("item.value", item.value_minor, item.currency),
        }
        for item in order.items
    ]


def names(template: object) -> Iterator[str]:
    """The names in a template."""
    match template:
        case str():
            yield from _NAME.findall(template)
        case list():
            for one in template:
                yield from names(one)
        case dict():
            for one in template.values():
                yield from names(one)


def filled(template: object, order: Order, quoted: Callable[[str], str] = str) -> object:
    """The template with the values of an order; `quoted` is done to each that stands in a text."""
    return _filled(template, values(order), item_values(order), quoted)


def filled_with(template: object, known: Values) -> object:
    """The template with these values, without lists of items."""
    return _filled(template, known, [], str)


def _filled(template: object, known: Values, items: list[Values], quoted: Callable[[str], str]) -> object:
    match template:
        case str():
            whole = _NAME.fullmatch(template)
            if whole is not None and quoted is str:
                return known[whole[1]]
            return _NAME.sub(lambda name: quoted(str(known[name[1]])), template)
        case [one] if any(name.startswith(_ITEM) for name in names(one)):
            return [_filled(one, item, [], quoted) for item in items]
        case list():
            return [_filled(one, known, items, quoted) for one in template]
        case dict():
            return {name: _filled(one, known, items, quoted) for name, one in template.items()}
    return template


def _amount(name: str, minor: int, currency: str) -> dict[str, object]:
    major = money.major(minor, currency)
    return {name: f"{major:.{money.exponent(currency)}f}", f"{name}_number": major, f"{name}_minor": minor}
