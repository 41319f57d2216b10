"""The journal: takes postings in, batches them by program, and answers each with its own outcome.

Load, decide, write, commit is one transaction a batch. An item's refusal is a row like any other, so it does
not disturb its neighbours; the same key twice in a batch is a replay (G60).
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeVar

from google.protobuf.message import Message

from ledger_svc.journal import load_store, save_store
from ledger_svc.journal.book import Book, Posted, Posting
from ledger_svc.journal.coalescer import DEFAULTS, Coalescer, Limits
from ledger_svc.journal.driver_store import connection_of, is_duplicate
from ledger_svc.journal.load_store import AccountsMissing
from ledger_svc.journal.values import Key, LotsMissing, MembersMerged, Mode
from svckit import idempotency
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused
from svckit.idempotency import Claim, Outcome, State

Response = TypeVar("Response", bound=Message)
Answer = TypeVar("Answer")

# A bulk call of so many items is posted with what else there is; a larger one is worth a transaction of its own.
TOGETHER_MAX: Final = 32
# How often a batch may lose a race before it fails, and is halved.
TWINS_MAX: Final = 3
MOMENT_S: Final = 0.05


class Item(NamedTuple):
    """A posting, the key it comes under, and how its outcome is told."""

    posting: Posting
    claim: Claim | None
    reply: Callable[[Posted], Message]


# A fresh answer, or what is kept of the key's first call.
Result = Message | Outcome
# What became of each item of a batch.
Results = Sequence[Result | BaseException]
# Runs work in a transaction, perhaps more than once, as Database.transact does.
Transact = Callable[[Callable[[Tx], Awaitable[Results]]], Awaitable[Answer]]


class Skipped(Exception):  # noqa: N818 - an outcome: the item was not tried
    """An item before this one, or another one of an atomic batch, was refused."""


class Journal:
    """Posts to `db`. One of it a process: what arrives together commits together."""

    def __init__(self, db: Database, limits: Limits = DEFAULTS) -> None:
        self._db = db
        self._limits = limits
        self._lanes: dict[str, Coalescer[Item, Result]] = {}
        self._under_way = 0
        self._ended_s = 0.0
        # More than a program may have, so that one whose accounts are locked for long does not keep the others out.
        self._slots = asyncio.Semaphore(limits.in_flight_max + 1)

    @property
    def busy(self) -> bool:
        """True while postings are under way, and for the moment in which the next batch gathers."""
        return self._under_way > 0 or time.monotonic() - self._ended_s < MOMENT_S

    async def post(self, program_id: str, item: Item, response: type[Response]) -> Response:
        """The posting's answer, given once it is durable, or its first answer again.

        Raises the posting's refusal, IDEMPOTENCY_KEY_REUSED for another request under the key, UNAVAILABLE if
        the queue is full or the database is down.
        """
        result = await self._lane(program_id).submit(item)
        if isinstance(result, Outcome):
            if item.claim is None:
                raise LookupError("only a key has an outcome to replay")
            return idempotency.replay(result, item.claim, response)
        if not isinstance(result, response):
            raise TypeError("the posting replies with another message")
        return result

    async def post_bulk(self, program_id: str, items: Sequence[Item], mode: Mode) -> Results:
        """As `post_many`; few items, of which each stands for itself, with whatever else is posted meanwhile."""
        if mode is not Mode.CONTINUE or len(items) > TOGETHER_MAX:
            return await self.post_many(program_id, items, mode)
        results = await self._lane(program_id).submit_all(items)
        for result in results:
            # Of the batch, and of no item: all of them are as they were, or nobody knows of any.
            if isinstance(result, Refused) and result.reason in (Reason.UNAVAILABLE, Reason.TIMEOUT):
                raise result
        return results

    async def post_many(self, program_id: str, items: Sequence[Item], mode: Mode = Mode.CONTINUE) -> Results:
        """Posts items of one program in one transaction, with an outcome for each; see Mode.

        A refusal is given, not raised. Raises UNAVAILABLE as `post` does.
        """
        return await self.post_within(self._db.transact, program_id, items, mode)

    async def post_within(
        self, transact: Transact[Answer], program_id: str, items: Sequence[Item], mode: Mode
    ) -> Answer:
        """As `post_many`, in the transaction that `transact` runs, and gives what that answers.

        It is run again where the batch needs more than was loaded, or lost a race.
        """
        self._under_way += 1
        try:
            return await self._post_within(transact, program_id, items, mode)
        finally:
            self._under_way -= 1
            self._ended_s = time.monotonic()

    async def post_in(self, tx: Tx, program_id: str, posting: Posting) -> Posted:
        """Posts in the caller's transaction, which holds no account's lock yet. Raises the posting's refusal."""
        connection, wants, aliases = await connection_of(tx), [posting.wants()], dict[str, str]()
        while True:
            book = Book(program_id, aliases=aliases)
            try:
                await load_store.load(connection, book, wants, set(), load_store.ALL_LOTS)
                break
            except AccountsMissing as missing:
                await load_store.create(connection, program_id, missing.keys)
            except MembersMerged as merged:
                aliases = merged.aliases
        posted = posting.decide(book)
        await save_store.save(connection, book)
        return posted

    def _lane(self, program_id: str) -> Coalescer[Item, Result]:
        if (lane := self._lanes.get(program_id)) is None:
            run = partial(self.post_many, program_id)
            lane = self._lanes[program_id] = Coalescer(run, self._limits, self._slots)
        return lane

    async def _post_within(
        self, transact: Transact[Answer], program_id: str, items: Sequence[Item], mode: Mode
    ) -> Answer:
        lots_max, twins, aliases = load_store.LOTS_MAX, TWINS_MAX, dict[str, str]()
        while True:
            try:
                return await transact(partial(_post, program_id, aliases, items, lots_max, mode))
            except LotsMissing:
                lots_max = load_store.ALL_LOTS
            except MembersMerged as merged:
                aliases = merged.aliases
            except AccountsMissing as missing:
                await self._db.transact(partial(_create, program_id, missing.keys))
            except Exception as error:
                # A twin of a key or an event, posted by another process, was first: now it is seen.
                if not is_duplicate(error) or not twins:
                    raise
                twins -= 1


async def _post(
    program_id: str, aliases: dict[str, str], items: Sequence[Item], lots_max: int, mode: Mode, tx: Tx
) -> Results:
    connection = await connection_of(tx)
    wants = [item.posting.wants() for item in items]
    keys = {(item.claim.operation, item.claim.key) for item in items if item.claim is not None}
    book = Book(program_id, aliases=aliases)
    await load_store.load(connection, book, wants, keys, lots_max)
    results: list[Result | BaseException] = []
    for item in items:
        stopped = mode is Mode.STOP_ON_ERROR and bool(results) and _failed(results[-1], items[len(results) - 1])
        results.append(Skipped() if stopped else _decide(book, item))
    if mode is Mode.ATOMIC and any(map(_failed, results, items)):
        # The book is forgotten: nothing of it was written.
        return [result if _failed(result, item) else Skipped() for result, item in zip(results, items, strict=True)]
    await save_store.save(connection, book)
    return results


async def _create(program_id: str, keys: Collection[Key], tx: Tx) -> None:
    await load_store.create(await connection_of(tx), program_id, keys)


def _failed(result: Result | BaseException, item: Item) -> bool:
    if isinstance(result, Outcome):
        same = item.claim is not None and result.fingerprint == item.claim.fingerprint
        return result.state is not State.DONE or not same
    return isinstance(result, BaseException)


def _decide(book: Book, item: Item) -> Result | BaseException:
    claim = item.claim
    name = ("", "") if claim is None else (claim.operation, claim.key)
    if claim is not None and (seen := book.keys.get(name)) is not None:
        return seen
    result: Result | BaseException
    outcome: Outcome | None = None
    try:
        result = item.reply(item.posting.decide(book))
        outcome = None if claim is None else idempotency.done(claim, result)
    except Refused as refusal:
        result = refusal
        outcome = idempotency.refused(claim, refusal) if claim is not None and refusal.binds else None
    if outcome is not None:
        book.keys[name] = book.new_keys[name] = outcome
    return result
