"""Revoking access, and when that may be acknowledged.

A gatekeeper answers from what it read of a credential at most STATE_AGE_MAX_S ago, and refuses everything if it
cannot read (design decision 11). So that long after the commit no gatekeeper anywhere can pass what was good
before, however many there are and whatever has happened to them, and nobody has to be told.
"""

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Final

from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.credentials import levels_store
from identity_svc.credentials.rules import STATE_AGE_MAX_S, Level
from svckit.db import Tx

# Two machines' clocks may run at slightly different speeds, and a timer may fire a little early.
MARGIN_S: Final = 0.05

Pause = Callable[[float], Awaitable[None]]


async def settle(pause: Pause) -> None:
    """Waits until no gatekeeper can pass what was good before this task's last commit. A replay waits as well:
    the call that it repeats may have ended before its own wait did."""
    await pause(STATE_AGE_MAX_S + MARGIN_S)


async def revoke(tx: Tx, actor: Actor, level: Level) -> datetime:
    """When the level was revoked, now or before. Raises NOT_FOUND."""
    earlier = await levels_store.lock(tx, level)
    if earlier is not None:
        return earlier
    await audit.append(tx, actor, f"{level.kind}.revoked", level.program_id, level.target)
    return await levels_store.revoke(tx, level)


async def restore(tx: Tx, actor: Actor, level: Level) -> None:
    """Takes a revocation back, if there is one. Raises NOT_FOUND."""
    if await levels_store.lock(tx, level) is not None:
        await levels_store.restore(tx, level)
        await audit.append(tx, actor, f"{level.kind}.restored", level.program_id, level.target)
