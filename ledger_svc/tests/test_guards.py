"""What keeps the ledger right, one test each: take the guard away and it fails every time.

The tests hold what the processes need until both wait for it, so that nothing is left to chance. test_breakages takes
each guard away in a copy of the code and looks at these tests fail.
"""

import asyncio
import os
import signal
from typing import Final

from ledger_svc.tests.instances import KEYS_HELD, Twins, ask, holding, recovered, stopped_walwriter, waiting

WRITES_HELD: Final = "LOCK TABLE entries, idempotency_keys IN SHARE MODE"
ACCOUNT_HELD: Final = "SELECT 1 FROM accounts WHERE account_id = %s FOR UPDATE"


async def test_a_balance_is_decided_under_its_row_lock(twins: Twins) -> None:
    await twins.one.call("CreateCredit", member_id="m_1", points=100)
    async with asyncio.TaskGroup() as group:
        async with holding(twins.url, WRITES_HELD):
            spends = [
                group.create_task(process.definite("RedeemPoints", key, member_id="m_1", points=100))
                for process, key in ((twins.one, "one"), (twins.other, "other"))
            ]
            await waiting(twins.url, 2)
    outcomes = [spend.result() for spend in spends]
    assert outcomes.count("INSUFFICIENT_POINTS") == 1
    assert await twins.balances("m_1") == [0]


async def test_a_key_is_taken_with_its_effect_or_not_at_all(twins: Twins) -> None:  # D1, D2
    for member_id in ("m_1", "m_2"):
        await twins.one.call("CreateCredit", member_id=member_id, points=100)
    async with asyncio.TaskGroup() as group:
        async with holding(twins.url, KEYS_HELD):
            spends = [
                group.create_task(process.definite("RedeemPoints", "one-key", member_id=member_id, points=100))
                for process, member_id in ((twins.one, "m_1"), (twins.other, "m_2"))
            ]
            await waiting(twins.url, 2)
    outcomes = [spend.result() for spend in spends]
    assert outcomes.count("IDEMPOTENCY_KEY_REUSED") == 1
    assert sorted(await twins.balances("m_1", "m_2")) == [0, 100]


async def test_what_expires_first_is_drawn_first(twins: Twins) -> None:  # G2
    for expires_at in ("", "2099-12-31", "2097-12-31", "2098-12-31"):
        await twins.one.call("CreateCredit", member_id="m_1", points=10, expires_at=expires_at)
    for left in ([5, 10, 10], [10, 10], [5, 10], [10], [5], []):
        await twins.one.call("RedeemPoints", member_id="m_1", points=5)
        schedule = await twins.one.call("GetExpirySchedule", member_id="m_1")
        assert [row.points for row in schedule.rows] == left


async def test_accounts_are_locked_in_one_order_whatever_the_request(twins: Twins) -> None:  # G16
    for member_id in ("m_1", "m_2"):
        await twins.one.call("CreateCredit", member_id=member_id, points=100)
    ids = dict(await ask(twins.url, "SELECT owner, account_id FROM accounts"))
    async with asyncio.TaskGroup() as group:
        async with holding(twins.url, ACCOUNT_HELD, ids["m_2"]):
            async with holding(twins.url, ACCOUNT_HELD, ids["m_1"]):
                for process, giver, taker in ((twins.one, "m_1", "m_2"), (twins.other, "m_2", "m_1")):
                    transfer = {"from_member_id": giver, "to_member_id": taker, "points": 10}
                    group.create_task(process.definite("CreateTransfer", giver, **transfer))
                # Whoever took the accounts in the order of the request would now wait at one each, ...
                await waiting(twins.url, 2)
            # ... and here have the one and wait for the other.
            await waiting(twins.url, 2)
    assert await twins.balances("m_1", "m_2") == [100, 100]
    assert await twins.deadlocks() == 0


async def test_what_was_acknowledged_survives_a_crash_at_once(twins: Twins) -> None:  # D3
    await twins.one.call("CreateCredit", member_id="m_1", points=100)
    # The process that would write the log later, for those who did not wait for it, gets no chance to.
    walwriter = await stopped_walwriter(twins.url)
    try:
        for points in (1, 2, 3):
            await twins.one.call("RedeemPoints", str(points), member_id="m_1", points=points)
    finally:
        os.kill(walwriter, signal.SIGKILL)  # PostgreSQL then ends every connection and recovers from its log.
    await recovered(twins.url, walwriter)
    kept = await ask(twins.url, "SELECT key FROM idempotency_keys WHERE operation = 'RedeemPoints' ORDER BY key")
    assert kept == [("1",), ("2",), ("3",)]
