"""The catalog's RPCs: partners list and read, operators fill, fulfillment_svc asks for prices."""

from collections.abc import Sequence
from typing import Any, Final, Literal

from google.protobuf.message import Message
from rewards.catalog.v1 import rewards_pb2 as pb
from rewards.catalog.v1.rewards_pb2_grpc import CatalogServiceServicer, RewardsServiceServicer

from catalog_svc import browse_store, etags, menu_store, rules, store, wire
from catalog_svc.kept import Answers, Standings
from catalog_svc.quoting import Quoting, existing, rate_of
from catalog_svc.rules import Rate, Reward
from svckit import call, paging
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused, invalid
from svckit.programs import Programs

ETAG_HEADER: Final = "etag"
# The gateway turns this into a 304; the answer itself is empty.
NOT_MODIFIED_HEADER: Final = "x-rewards-not-modified"


class RewardsServicer(RewardsServiceServicer):
    """The catalog as partners and members see it."""

    def __init__(self, db: Database, programs: Programs, standings: Standings) -> None:
        self._db = db
        self._programs = programs
        self._standings = standings
        self._answers = Answers()
        self._quoting = Quoting(db, programs)

    async def ListRewards(self, request: pb.ListRewardsRequest, context: Any) -> pb.ListRewardsResponse:
        """A page of rewards; empty and marked as not modified for a caller who has it already."""
        program_id = call.current().program_id
        filters, size = wire.filters(request), paging.size(request.page_size)
        (after,) = paging.place(request, 1) or ("",)
        rate, tag = await self._tagged(program_id, request)
        if _is_known(tag):
            return pb.ListRewardsResponse()

        async def listed() -> pb.ListRewardsResponse:
            async with self._db.read() as tx:
                found = await browse_store.page(tx, program_id, filters, after, size + 1)
            more = paging.token(request, found[size - 1].reward_id) if len(found) > size else ""
            shown = [wire.message(reward, rate, request.language) for reward in found[:size]]
            return pb.ListRewardsResponse(rewards=shown, next_page_token=more)

        return await self._answers.get(program_id, tag, pb.ListRewardsResponse, listed)

    async def GetReward(self, request: pb.GetRewardRequest, context: Any) -> pb.GetRewardResponse:
        """The reward's present version."""
        program_id = call.current().program_id
        async with self._db.read() as tx:
            rate = await rate_of(tx, self._programs, program_id)
            reward = await existing(tx, program_id, request.reward_id)
        return pb.GetRewardResponse(reward=wire.message(reward, rate, request.language))

    async def GetAvailability(self, request: pb.GetAvailabilityRequest, context: Any) -> pb.GetAvailabilityResponse:
        """What changes often about some rewards; tagged by what it says, so that others do not matter."""
        program_id, names = call.current().program_id, wire.reward_ids(request)
        async with self._db.read() as tx:
            rate = await rate_of(tx, self._programs, program_id)
            found = await store.present(tx, program_id, names)
        answer = pb.GetAvailabilityResponse(rewards=[wire.availability(reward, rate) for reward in found.values()])
        known = _is_known(etags.of_answer(answer.SerializeToString(deterministic=True)))
        return pb.GetAvailabilityResponse() if known else answer

    async def ListBrands(self, request: pb.ListBrandsRequest, context: Any) -> pb.ListBrandsResponse:
        """A page of brands."""
        found, more = await self._values(request, "brand")
        return pb.ListBrandsResponse(
            brands=[pb.Brand(brand=value, rewards=count) for value, count in found], next_page_token=more
        )

    async def ListCategories(self, request: pb.ListCategoriesRequest, context: Any) -> pb.ListCategoriesResponse:
        """A page of categories."""
        found, more = await self._values(request, "category")
        return pb.ListCategoriesResponse(
            categories=[pb.Category(category=value, rewards=count) for value, count in found], next_page_token=more
        )

    async def CreateQuote(self, request: pb.CreateQuoteRequest, context: Any) -> pb.CreateQuoteResponse:
        """Prices an order for whoever may place it."""
        asked = wire.quote_request(call.current().program_id, request)
        return wire.public_quote(await self._quoting.quote(asked))

    async def _values(
        self, request: pb.ListBrandsRequest | pb.ListCategoriesRequest, column: Literal["brand", "category"]
    ) -> tuple[Sequence[tuple[str, int]], str]:
        program_id, country, size = call.current().program_id, wire.country(request), paging.size(request.page_size)
        (after,) = paging.place(request, 1) or ("",)
        _, tag = await self._tagged(program_id, request)
        if _is_known(tag):
            return [], ""
        async with self._db.read() as tx:
            found = await browse_store.values(tx, program_id, column, country, after, size + 1)
        return found[:size], paging.token(request, found[size - 1][0]) if len(found) > size else ""

    async def _tagged(self, program_id: str, request: Message) -> tuple[Rate, str]:
        """The rate and the ETag of a listing. To be read before what is listed: a change in between makes the tag too
        old, never the page."""
        standing = await self._standings.of(program_id)
        rate = standing.rate(await self._programs.read(self._db, program_id))
        return rate, etags.etag(standing.revision, rate, request.SerializeToString(deterministic=True))


class CatalogServicer(CatalogServiceServicer):
    """The catalog as operators fill it and as orders are priced from it."""

    def __init__(self, db: Database, programs: Programs, standings: Standings) -> None:
        self._db = db
        self._programs = programs
        self._standings = standings
        self._offers = Answers()
        self._quoting = Quoting(db, programs)

    async def PutRewards(self, request: pb.PutRewardsRequest, context: Any) -> pb.PutRewardsResponse:
        """Stores all of the rewards or none."""
        wanted = wire.rewards(request)

        async def work(tx: Tx) -> int:
            _check_sellable(wanted, await rate_of(tx, self._programs, request.program_id))
            return await store.put(tx, request.program_id, wanted)

        return pb.PutRewardsResponse(changed=await self._standings.change(request.program_id, work))

    async def PutRates(self, request: pb.PutRatesRequest, context: Any) -> pb.PutRatesResponse:
        """Replaces what other currencies cost."""

        async def work(tx: Tx) -> None:
            program = await self._programs.get(tx, request.program_id)
            rates = wire.rates(request, program.currency)
            await store.lock(tx, request.program_id)
            await store.put_rates(tx, request.program_id, rates)

        await self._standings.change(request.program_id, work)
        return pb.PutRatesResponse()

    async def WithdrawRewards(self, request: pb.WithdrawRewardsRequest, context: Any) -> pb.WithdrawRewardsResponse:
        """Takes rewards off sale, whatever their providers say."""
        return pb.WithdrawRewardsResponse(changed=await self._set_withdrawn(request, withdrawn=True))

    async def RestoreRewards(self, request: pb.RestoreRewardsRequest, context: Any) -> pb.RestoreRewardsResponse:
        """Takes a withdrawal back."""
        return pb.RestoreRewardsResponse(changed=await self._set_withdrawn(request, withdrawn=False))

    async def _set_withdrawn(
        self, request: pb.WithdrawRewardsRequest | pb.RestoreRewardsRequest, *, withdrawn: bool
    ) -> int:
        program_id, names, actor = request.program_id, set(request.reward_ids), call.current().principal.name

        async def work(tx: Tx) -> int:
            await store.lock(tx, program_id)
            if missing := names - (await store.present(tx, program_id, names)).keys():
                raise Refused(Reason.REWARD_NOT_FOUND, f"There is no reward {min(missing)}.")
            told = {"reason": request.reason, "actor": actor}
            return await store.set_withdrawn(tx, program_id, names, withdrawn=withdrawn, **told)

        return await self._standings.change(program_id, work)

    async def QuoteReward(self, request: pb.QuoteRewardRequest, context: Any) -> pb.QuoteRewardResponse:
        """Prices an order of the reward's present version, if that is what the caller was quoted."""
        return await self._quoting.quote(request)

    async def QuoteFees(self, request: pb.QuoteFeesRequest, context: Any) -> pb.QuoteFeesResponse:
        """Says what is paid on values."""
        return await self._quoting.fees(request)

    async def ListOffers(self, request: pb.ListOffersRequest, context: Any) -> pb.ListOffersResponse:
        """Sums up what there is for a country."""
        program_id, country = request.program_id, wire.country(request)
        standing = await self._standings.of(program_id)

        async def summed_up() -> pb.ListOffersResponse:
            async with self._db.read() as tx:
                found = await browse_store.offers(tx, program_id, country)
            return pb.ListOffersResponse(offers=map(wire.offer, found))

        return await self._offers.get(program_id, f"{standing.revision} {country}", pb.ListOffersResponse, summed_up)

    async def ListMenu(self, request: pb.ListMenuRequest, context: Any) -> pb.ListMenuResponse:
        """A page of what a recipient may choose from."""
        size = paging.size(request.page_size)
        async with self._db.read() as tx:
            rate = await rate_of(tx, self._programs, request.program_id)
            found = await menu_store.page(tx, request.program_id, wire.menu(request), request.after, size + 1)
        shown = [wire.message(reward, rate, request.language) for reward in found[:size]]
        return pb.ListMenuResponse(rewards=shown, next_after=found[size - 1].reward_id if len(found) > size else "")


def _is_known(tag: str) -> bool:
    """True if the caller has the answer with this ETag already; says so, and gives the tag, in the reply's headers."""
    ours = call.current()
    ours.reply_headers[ETAG_HEADER] = tag
    known = etags.matches(ours.metadata.get("if-none-match", ""), tag)
    if known:
        ours.reply_headers[NOT_MODIFIED_HEADER] = "1"
    return known


def _check_sellable(wanted: Sequence[Reward], rate: Rate) -> None:
    faults = {f"rewards[{index}]": rules.fault(reward, rate) for index, reward in enumerate(wanted)}
    named = {field: text for field, text in faults.items() if text is not None}
    if named:
        raise invalid(**named)
