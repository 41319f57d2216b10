"""Values that stand as examples, by the JSON names of fields, and by message where the name alone would mislead: the
sandbox's own where it has one."""

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
    "from": "2026-03-01T00:00:00Z",
    "fromMemberId": "m_8124",
    "idempotencyKey": "order-1042-redeem",
    "memberId": "m_8124",
    "mergedId": "m_1001",
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
    "survivorId": "m_8124",
    "to": "2026-04-01T00:00:00Z",
    "toMemberId": "m_1001",
    "type": "purchase",
    "url": "https://partner.example.com/webhooks",
    "value": "crm-77120",
}


_OF_MESSAGE: Final[dict[str, Any]] = {
    "AttributeDefinition.name": "tier",
    "Credential.name": "analytics",
    "GetProfileByAttributeRequest.name": "crm",
    "IssueApiKeyRequest.name": "analytics",
    "LinkSubRelationRequest.type": "crm",
    "ListRewardsRequest.category": "food",
    "PastRelation.type": "crm",
    "Refusal.reason": "INSUFFICIENT_POINTS",
    "Relation.type": "crm",
    "Reward.category": "food",
    "Reward.name": "Copperleaf Coffee card",
    "UnlinkSubRelationRequest.type": "crm",
}


def example(message: str, name: str, schema: dict[str, Any]) -> Any:
    """An example of the field `name` of a message, None where it needs none: its schema has one by itself, or a value
    would say nothing."""
    if "$ref" in schema or "enum" in schema or schema.get("type") == "array":
        return None
    general = _INSTANT if schema.get("format") == "date-time" else _UUID if name.endswith("Id") else None
    wanted = (_OF_MESSAGE.get(f"{message}.{name}"), _VALUES.get(name), general)
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
