"""The catalog's RPCs: partners list and read, operators store, fulfillment_svc asks for prices."""

from collections.abc import Sequence
from typing import Any, Final

from rewards.catalog.v1 import rewards_pb2 as pb
from rewards.catalog.v1.rewards_pb2_grpc import CatalogServiceServicer, RewardsServiceServicer

from catalog_svc import etags, rules, store, wire
from catalog_svc.rules import Rate, Reward
from svckit import call, paging
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused, invalid
from svckit.money import minor
from svckit.programs import Programs

ETAG_HEADER: Final = "etag"
# The gateway turns this into a 304; the answer itself is empty.
NOT_MODIFIED_HEADER: Final = "x-rewards-not-modified"


class RewardsServicer(RewardsServiceServicer):
    """The catalog as partners and members see it."""

    def __init__(self, db: Database, programs: Programs) -> None:
        self._db = db
        self._programs = programs

    async def ListRewards(self, request: pb.ListRewardsRequest, context: Any) -> pb.ListRewardsResponse:
        """A page of rewards; empty and marked as not modified for a caller who has it already."""
        ours = call.current()
        filters, size = wire.filters(request), paging.size(request.page_size)
        (after,) = paging.place(request, 1) or (None,)
        async with self._db.read() as tx:
            rate = await _rate(tx, self._programs, ours.program_id)
            # Read before the rewards: a change in between makes the tag too old, never the page.
            revision = await store.revision(tx, ours.program_id)
            tag = etags.etag(revision, rate, request.SerializeToString(deterministic=True))
            ours.reply_headers[ETAG_HEADER] = tag
            if etags.matches(ours.metadata.get("if-none-match", ""), tag):
                ours.reply_headers[NOT_MODIFIED_HEADER] = "1"
                return pb.ListRewardsResponse()
            found = await store.page(tx, ours.program_id, filters, after, size + 1)
        more = paging.token(request, found[size - 1].reward_id) if len(found) > size else ""
        return pb.ListRewardsResponse(
            rewards=[wire.message(reward, rate) for reward in found[:size]], next_page_token=more
        )

    async def GetReward(self, request: pb.GetRewardRequest, context: Any) -> pb.GetRewardResponse:
        """The reward's present version."""
        program_id = call.current().program_id
        async with self._db.read() as tx:
            rate = await _rate(tx, self._programs, program_id)
            reward = await _existing(tx, program_id, request.reward_id)
        return pb.GetRewardResponse(reward=wire.message(reward, rate))


class CatalogServicer(CatalogServiceServicer):
    """The catalog as operators fill it and as orders are priced from it."""

    def __init__(self, db: Database, programs: Programs) -> None:
        self._db = db
        self._programs = programs

    async def PutRewards(self, request: pb.PutRewardsRequest, context: Any) -> pb.PutRewardsResponse:
        """Stores all of the rewards or none."""
        wanted = wire.rewards(request)

        async def work(tx: Tx) -> int:
            _check_sellable(wanted, await _rate(tx, self._programs, request.program_id))
            return await store.put(tx, request.program_id, wanted)

        return pb.PutRewardsResponse(changed=await self._db.transact(work))

    async def QuoteReward(self, request: pb.QuoteRewardRequest, context: Any) -> pb.QuoteRewardResponse:
        """Prices an order of the reward's present version."""
        async with self._db.read() as tx:
            rate = await _rate(tx, self._programs, request.program_id)
            reward = await _existing(tx, request.program_id, request.reward_id)
        denomination_minor = minor(request.denomination, reward.currency, "denomination")
        quote = rules.quote(reward, denomination_minor, request.quantity, request.country, rate)
        return wire.quote_reply(reward, quote)


def _check_sellable(wanted: Sequence[Reward], rate: Rate) -> None:
    faults = {f"rewards[{index}]": rules.fault(reward, rate) for index, reward in enumerate(wanted)}
    named = {field: text for field, text in faults.items() if text is not None}
    if named:
        raise invalid(**named)


async def _rate(tx: Tx, programs: Programs, program_id: str) -> Rate:
    program = await programs.get(tx, program_id)
    return Rate(currency=program.currency, points_per_unit=program.points_per_unit)


async def _existing(tx: Tx, program_id: str, reward_id: str) -> Reward:
    reward = await store.find(tx, program_id, reward_id)
    if reward is None:
        raise Refused(Reason.REWARD_NOT_FOUND, "There is no such reward.")
    return reward
