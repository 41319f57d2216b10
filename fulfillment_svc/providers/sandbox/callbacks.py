"""How the sandbox provider calls back: signed as Standard Webhooks says, and disturbed by faults."""

import asyncio
import json
import secrets
from datetime import UTC, datetime
from typing import Final, Self

import aiohttp
from standardwebhooks import Webhook

from fulfillment_svc.providers.sandbox.faults import Fault, Rule
from fulfillment_svc.providers.sandbox.journal import Entry
from fulfillment_svc.webhooks.sealer import new_secret

ATTEMPTS: Final = 60
PAUSE_MAX_S: Final = 2.0
DUPLICATES: Final = 5
_OPPOSITE: Final = {"ISSUED": "REJECTED", "REJECTED": "ISSUED"}
_SERVER_ERROR: Final = 500


class Callbacks:
    """Calls `url` about orders, signed with `secret`. `sent` has what was sent: the order, and the answer's status."""

    def __init__(self, url: str, secret: str) -> None:
        self._url = url
        self._ours, self._forged = Webhook(secret), Webhook(new_secret())
        self._under_way: set[asyncio.Task[None]] = set()
        self.sent: list[tuple[str, int]] = []

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=2))
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._under_way:
            task.cancel()
        await asyncio.gather(*self._under_way, return_exceptions=True)
        await self._session.close()

    @property
    def under_way(self) -> int:
        """How many orders are still to be called about."""
        return len(self._under_way)

    async def before(self, reference: str, rule: Rule | None) -> None:
        """What is sent when an order has come in and nothing is decided yet."""
        if rule is not None and rule.fault is Fault.EARLY_CALLBACK:
            await self._tell(reference, "ISSUED")

    def after(self, entry: Entry, rule: Rule | None, wait_s: float = 0.0) -> None:
        """Sends what is due once an order is decided, in `wait_s`, without waiting for it."""
        task = asyncio.create_task(self._after(entry, rule, wait_s))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _after(self, entry: Entry, rule: Rule | None, wait_s: float) -> None:
        reference, status = entry["reference"], entry["status"]
        await asyncio.sleep(wait_s)
        match rule.fault if rule else None:
            case Fault.NO_CALLBACK:
                return
            case Fault.FORGED_CALLBACK:
                await self._tell(reference, _OPPOSITE[status], forged=True)
            case Fault.CONTRADICTORY_CALLBACK:
                await self._tell(reference, _OPPOSITE[status])
                await self._tell(reference, status)
            case Fault.DUPLICATE_CALLBACK:
                await self._tell(reference, status, times=DUPLICATES)
            case Fault.LATE_CALLBACK if rule:
                await asyncio.sleep(rule.delay_s)
                await self._tell(reference, status)
            case _:
                await self._tell(reference, status)

    async def _tell(self, reference: str, status: str, *, times: int = 1, forged: bool = False) -> None:
        payload = json.dumps({"type": f"order.{status.lower()}", "reference": reference})
        message_id = f"msg_{secrets.token_hex(8)}"
        for _ in range(times):
            await self._send(reference, message_id, payload, self._forged if forged else self._ours)

    async def _send(self, reference: str, message_id: str, payload: str, webhook: Webhook) -> None:
        for attempt in range(ATTEMPTS):
            at = datetime.now(UTC)
            headers = {
                "content-type": "application/json",
                "webhook-id": message_id,
                "webhook-timestamp": str(int(at.timestamp())),
                "webhook-signature": webhook.sign(message_id, at, payload),
            }
            try:
                async with self._session.post(self._url, data=payload, headers=headers) as response:
                    self.sent.append((reference, response.status))
                    if response.status < _SERVER_ERROR:
                        return
            except (aiohttp.ClientError, TimeoutError, OSError):
                self.sent.append((reference, 0))
            await asyncio.sleep(min(PAUSE_MAX_S, 0.2 * 2**attempt))
