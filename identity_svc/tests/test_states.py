"""Credentials' states as the gatekeeper remembers them."""

import asyncio

from identity_svc.gatekeeper.states import States
from identity_svc.tests.running import Running
from svckit.db import Database


async def test_made_up_keys_do_not_keep_those_waiting_who_are_known(identity: Running) -> None:
    key = (await identity.api_key("points:read")).key_id
    db = Database(identity.url, pool_size=4)
    states = States(db, identity.clocks.monotonic)
    assert await states.get(key) is not None
    identity.clocks.monotonic_s += 0.51
    for _ in range(2):  # what was made up before is no better known
        made_up = [asyncio.create_task(states.get(f"rk_test_{number:016}")) for number in range(500)]
        await asyncio.sleep(0)  # all of them have come first
        assert await states.get(key) is not None
        assert sum(task.done() for task in made_up) < 250
        assert set(await asyncio.gather(*made_up)) == {None}
        identity.clocks.monotonic_s += 0.51
    await db.close()
