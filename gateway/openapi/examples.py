"""Values that stand as examples, by the JSON names of fields: the sandbox's own where it has one."""

import re
from typing import Any, Final

_UUID: Final = "01990f3e-8c1a-7b52-9d5e-3f6a1c2b4d70"
_INSTANT: Final = "2026-03-01T12:00:00Z"
_VALUES: Final[dict[str, Any]] = {
    "amount": 12.5,
    "asset": "PTS",
    "attributes": {"tier": "gold"},
    "brand": "Copperleaf Coffee",
    "category": "BONUS",
    "country": "US",
    "currency": "USD",
    "denomination": 5,
    "description": "Coffee and pastries.",
    "email": "ada@example.com",
    "eventId": "order-1042",
    "eventTypes": ["points.earned"],
    "idempotencyKey": "order-1042-redeem",
    "memberId": "m_8124",
    "name": "Ada Lovelace",
    "nextPageToken": "",
    "note": "Parcel came late.",
    "operation": "RedeemPoints",
    "pageSize": 50,
    "pageToken": "",
    "points": 1000,
    "quantity": 1,
    "reason": "Birthday",
    "reasonCode": "GOODWILL",
    "rewardId": "copperleaf-coffee-us",
    "type": "purchase",
    "url": "https://partner.example.com/webhooks",
    "value": "crm-77120",
}


def example(name: str, schema: dict[str, Any]) -> Any:
    """An example of the field `name`, None where it needs none: its schema has one by itself, or a value would say
    nothing."""
    kind = schema.get("type")
    if "$ref" in schema or "enum" in schema or kind == "array":
        return None
    if schema.get("format") == "date-time":
        return _INSTANT
    wanted = (_VALUES.get(name), _UUID if name.endswith("Id") else None)
    return next((value for value in wanted if value is not None and _fits(value, schema)), None)


def _fits(value: Any, schema: dict[str, Any]) -> bool:
    kinds: dict[str | None, Any] = {"string": str, "integer": int, "number": (int, float), "object": dict}
    if not isinstance(value, kinds.get(schema.get("type"), ())):
        return False
    if isinstance(value, str):
        short_enough = len(value) <= schema.get("maxLength", len(value))
        return short_enough and re.search(schema.get("pattern", ""), value) is not None
    if isinstance(value, int | float):
        return bool(schema.get("minimum", value) <= value <= schema.get("maximum", value))
    return True
