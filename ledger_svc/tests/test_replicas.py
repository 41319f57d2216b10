"""The mesh's own channels, where a service has several replicas, as in production."""

from collections.abc import Awaitable, Callable

from rewards.ledger.v1 import points_pb2
from rewards.ledger.v1.points_pb2_grpc import PointsServiceStub

from devmesh.pki import Authority
from ledger_svc.tests.instances import PROGRAM, SCOPES, instance, prepare, until
from svckit.clients import open_channel
from svckit.clock import new_id
from svckit.testing import headers, partner


async def test_all_replicas_get_their_share_and_one_that_goes_is_not_missed(
    fresh_url: Callable[[str], Awaitable[str]], authority: Authority
) -> None:
    # A database of its own tells which of them a call went to.
    urls = [await fresh_url("ledger_svc") for _ in range(2)]
    async with instance(urls[0], authority) as one:
        async with instance(urls[1], authority) as other:
            for replica in (one, other):
                await prepare(replica.address, authority, ["m_1"])
            both = f"ipv4:{one.address},{other.address}"
            channel = open_channel(both, "ledger_svc", authority.issue("gateway"))
            credit = points_pb2.CreateCreditRequest(member_id="m_1", points=1)

            async def credited(times: int) -> None:
                for _ in range(times):
                    metadata = headers(partner(PROGRAM, *SCOPES), str(new_id()))
                    await PointsServiceStub(channel).CreateCredit(credit, timeout=10, metadata=metadata)

            async def balances() -> list[int]:
                return [(await replica.balance("m_1")).balance for replica in (one, other)]

            async def reached() -> bool:
                await credited(2)
                return all(await balances())

            await until(reached)
            before = await balances()
            await credited(10)
            assert await balances() == [balance + 5 for balance in before]
        await credited(10)
        assert (await one.balance("m_1")).balance == before[0] + 15
        await channel.close()
