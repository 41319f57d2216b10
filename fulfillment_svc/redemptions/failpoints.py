"""Places where a test makes this process die: one before and after everything that a crash could tear apart.

Off unless FAILPOINTS is set at the start, for example "order.after:kill" or "deliver.before:raise:2", which
strikes at the second time. `kill` is SIGKILL; `raise` ends only the task, for tests in one process.
"""

import asyncio
import os
import signal
from typing import Final

from fulfillment_svc.orders.states import Step as OrderStep
from fulfillment_svc.redemptions.states import Step

NAMES: Final = (
    "begin.before",
    "begin.after",
    *(f"{step}.{boundary}" for step in Step for boundary in ("before", "after", "stored")),
    "order.sent",
    "cancel.before",
    "cancel.after",
    "review.claimed",
)
OF_ORDERS: Final = (
    "place.before",
    "place.after",
    *(f"{step}.{boundary}" for step in OrderStep for boundary in ("before", "after", "stored")),
    "claim.before",
    "claim.after",
)
OF_BATCHES: Final = ("batch.claimed", "item.before", "item.after", "batch.stored")

_armed: dict[str, tuple[str, int]] = {}


class Killed(asyncio.CancelledError):
    """A failpoint has struck. As for a cancelled task, nothing stops it and the RPC ends without an answer."""


def load(setting: str) -> None:
    """Arms the failpoints of the setting and disarms all others. Raises ValueError for an unknown one."""
    _armed.clear()
    for one in filter(None, setting.split(",")):
        name, action, *count = one.split(":")
        if name not in (*NAMES, *OF_ORDERS, *OF_BATCHES) or action not in ("kill", "raise"):
            raise ValueError(f"no failpoint {one}")
        _armed[name] = (action, int(*count) if count else 1)


def reach(name: str) -> None:
    """Passes a failpoint."""
    if name not in _armed:
        return
    action, left = _armed.pop(name)
    if left > 1:
        _armed[name] = (action, left - 1)
    elif action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    else:
        raise Killed(name)


def armed() -> frozenset[str]:
    """The failpoints that have not struck yet."""
    return frozenset(_armed)
