"""The adapter for a provider that speaks JSON over HTTP.

`POST /orders` orders and `GET /orders?reference=` asks. An answer counts only if it fits the order in
every member; whatever else comes back is `Unknown`, because a provider is not to be trusted (OWASP API10).
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp

from fulfillment_svc.providers import Issued, Item, NotSeen, Order, Pending, Rejected, Unknown
from fulfillment_svc.providers.transport import CONTRADICTION, MALFORMED, Heard, exchange, is_code, reason

# What an answered item has besides what was ordered: just one of these.
_OUTCOME: Final = {"code", "rejected"}


class HttpProvider:
    """A provider at `url`. `idempotent` and `visibility_s` are what its contract promises (see `Provider`).

    `timeout_s` bounds a whole call; it must be well under the saga's lease.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        url: str,
        *,
        idempotent: bool,
        visibility_s: float,
        timeout_s: float,
        pending_s: float = 60.0,
    ) -> None:
        self._session = session
        self._orders = f"{url.rstrip('/')}/orders"
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self.idempotent = idempotent
        self.visibility_s = visibility_s
        self.pending_s = pending_s

    async def order(self, order: Order) -> Issued | Rejected | Pending | Unknown:
        """Orders the items under our reference."""
        body = {"reference": order.reference, "items": _written(order.items)}
        answer = await self._ask("POST", order, json=body)
        return CONTRADICTION if isinstance(answer, NotSeen) else answer

    async def query(self, order: Order) -> Issued | Rejected | Pending | NotSeen | Unknown:
        """Asks what became of the order."""
        return await self._ask("GET", order, params={"reference": order.reference})

    async def _ask(self, method: str, order: Order, **what: Any) -> Issued | Rejected | Pending | NotSeen | Unknown:
        heard = await exchange(self._session, method, self._orders, timeout=self._timeout, **what)
        return read(heard.status, heard.body, order) if isinstance(heard, Heard) else heard


def read(status: int, body: bytes, order: Order) -> Issued | Rejected | Pending | NotSeen | Unknown:
    """What an HTTP answer says about the order; total over all answers."""
    if status not in (200, 202, 404, 422):
        return Unknown(f"HTTP_{status}")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return MALFORMED
    about = answer.get("reference") if isinstance(answer, dict) else None
    return _meaning(status, answer, order) if about == order.reference else CONTRADICTION


def _meaning(status: int, answer: Mapping[str, Any], order: Order) -> Issued | Rejected | Pending | NotSeen | Unknown:
    match (status, answer):
        case (200, {"status": "ISSUED", "items": answered}):
            return _issued(answered, order.items)
        case (200 | 422, {"status": "REJECTED", "reason": why}):
            return Rejected(reason(why))
        case (202, {"status": "PENDING"}):
            return Pending()
        case (404, {"status": "NOT_FOUND"}):
            return NotSeen()
    return CONTRADICTION


def _issued(answered: object, items: Sequence[Item]) -> Issued | Rejected | Unknown:
    if not isinstance(answered, list) or not all(isinstance(one, dict) for one in answered):
        return MALFORMED
    ordered = [{name: value for name, value in one.items() if name not in _OUTCOME} for one in answered]
    # Compared as text, because in Python 1 equals True and 1.0, and an amount must be neither.
    if json.dumps(ordered, sort_keys=True) != json.dumps(_written(items), sort_keys=True):
        return CONTRADICTION
    if not all(is_code(one["code"]) if "code" in one else "rejected" in one for one in answered):
        return MALFORMED
    if any(one.keys() >= _OUTCOME for one in answered):
        return CONTRADICTION
    reasons = [reason(one["rejected"]) for one in answered if "rejected" in one]
    if len(reasons) == len(answered):
        return Rejected(reasons[0])
    return Issued(tuple(one.get("code") for one in answered), *reasons[:1])


def _written(items: Sequence[Item]) -> list[Mapping[str, object]]:
    return [
        {"number": item.number, "brand": item.brand, "valueMinor": item.value_minor, "currency": item.currency}
        for item in items
    ]
