"""The Redis of the mesh: on its socket only, and gone with the block."""

import stat

from redis.asyncio import Redis

from devmesh.readiness import answers_ping
from devmesh.redis import throwaway_redis


async def test_it_serves_on_a_private_socket_and_no_port() -> None:
    async with throwaway_redis() as server:
        assert stat.S_IMODE(server.socket.stat().st_mode) == 0o700
        async with Redis.from_url(server.url) as client:
            await client.set("seen", "yes", ex=60)
            assert await client.get("seen") == b"yes"
            for setting, value in {"port": "0", "save": "", "appendonly": "no"}.items():
                assert await client.config_get(setting) == {setting: value}


async def test_two_run_at_once_and_leave_nothing() -> None:
    async with throwaway_redis() as first, throwaway_redis() as second:
        async with Redis.from_url(first.url) as client:
            await client.set("mine", "1")
        async with Redis.from_url(second.url) as client:
            assert await client.get("mine") is None
    assert not first.socket.parent.exists()
    assert not await answers_ping(first.socket)
