"""What an order costs: points, face value and fees. Partners are told before they order, sagas when they do."""

from rewards.catalog.v1 import rewards_pb2 as pb

from catalog_svc import fees, rules, store, wire
from catalog_svc.rules import Rate, Reward
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused
from svckit.money import minor
from svckit.programs import Programs


class Quoting:
    """Prices orders of what is in the catalog on `db`."""

    def __init__(self, db: Database, programs: Programs) -> None:
        self._db = db
        self._programs = programs

    async def quote(self, asked: pb.QuoteRewardRequest) -> pb.QuoteRewardResponse:
        """Prices an order of the reward's present version, if that is what the caller was quoted.

        Raises REWARD_NOT_FOUND, PRICE_CHANGED, and what `rules.quote` does.
        """
        program_id = asked.program_id
        async with self._db.read() as tx:
            program = await self._programs.get(tx, program_id)
            rate = (await store.standing(tx, program_id)).rate(program)
            reward = await existing(tx, program_id, asked.reward_id)
            quoted: Reward | None = reward
            if asked.version not in (0, reward.version):
                quoted = await store.version(tx, program_id, asked.reward_id, asked.version)
        rules.check_available(reward, asked.quantity)
        denomination_minor = minor(asked.denomination, reward.currency, "denomination")
        if quoted is not reward and not rules.sold_as(quoted, reward, denomination_minor, rate):
            raise rules.price_changed()
        quote = rules.quote(reward, denomination_minor, asked.quantity, asked.country, rate)
        if asked.points not in (0, quote.points):
            raise rules.price_changed()
        each = fees.fee(wire.fees(program), reward.currency, denomination_minor)
        return wire.quote_reply(reward, quote, each * asked.quantity)

    async def fees(self, asked: pb.QuoteFeesRequest) -> pb.QuoteFeesResponse:
        """What is paid on each of the values."""
        schedule = wire.fees(await self._programs.read(self._db, asked.program_id))
        return pb.QuoteFeesResponse(fees_minor=[fees.fee(schedule, asked.currency, one) for one in asked.values_minor])


async def rate_of(tx: Tx, programs: Programs, program_id: str) -> Rate:
    """What currencies cost in a program. Raises NOT_FOUND."""
    program = await programs.get(tx, program_id)
    return (await store.standing(tx, program_id)).rate(program)


async def existing(tx: Tx, program_id: str, reward_id: str) -> Reward:
    """A reward's present version. Raises REWARD_NOT_FOUND."""
    reward = await store.find(tx, program_id, reward_id)
    if reward is None:
        raise Refused(Reason.REWARD_NOT_FOUND, "There is no such reward.")
    return reward
