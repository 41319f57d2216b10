"""Files of providers for tests: the sandbox provider as somebody would describe it who knows only its documentation."""

import copy
import json
from pathlib import Path
from typing import Any

from fulfillment_svc.providers.mapped.configuration import Configured, read

PROVIDER: dict[str, Any] = {
    "name": "giftly",
    "adapter": "http",
    "idempotent": True,
    "visibility_s": 0,
    "timeout_s": 1,
    "order": {
        "body": {
            "reference": "{reference}",
            "items": [
                {
                    "number": "{item.number}",
                    "brand": "{item.brand}",
                    "valueMinor": "{item.value_minor}",
                    "currency": "{item.currency}",
                }
            ],
        },
    },
    "query": {"method": "GET"},
    "answers": [
        {
            "says": "issued",
            "http": [200],
            "where": {"reference": "{reference}", "status": "ISSUED"},
            "items": "items",
            "code": "code",
            "rejected": "rejected",
            "item_where": {
                "number": "{item.number}",
                "brand": "{item.brand}",
                "valueMinor": "{item.value_minor}",
                "currency": "{item.currency}",
            },
        },
        {
            "says": "rejected",
            "http": [200, 422],
            "where": {"reference": "{reference}", "status": "REJECTED"},
            "reason": "reason",
        },
        {"says": "pending", "http": [200, 202], "where": {"reference": "{reference}", "status": "PENDING"}},
        {"says": "not_seen", "http": [404], "where": {"reference": "{reference}", "status": "NOT_FOUND"}},
    ],
}


def provider(url: str, **changes: Any) -> dict[str, Any]:
    """The description of a provider at `url` that speaks as the sandbox provider does, changed."""
    described = copy.deepcopy(PROVIDER)
    described["order"]["url"] = f"{url}/orders"
    described["query"]["url"] = f"{url}/orders?reference={{reference}}"
    return described | changes


def configured(folder: Path, *providers: dict[str, Any]) -> list[Configured]:
    """What the service reads from a file with these descriptions."""
    file = folder / "providers.toml"
    file.write_text(toml(*providers))
    return read(file, allow_http=True)


def toml(*providers: dict[str, Any]) -> str:
    """The text of a file with these descriptions."""
    return f"provider = {_inline(list(providers))}\n"


def _inline(value: object) -> str:
    match value:
        case dict():
            return "{" + ", ".join(f"{json.dumps(name)} = {_inline(one)}" for name, one in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(_inline, value)) + "]"
    return json.dumps(value)
