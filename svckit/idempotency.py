"""Idempotency for ever: a key, the fingerprint of its request and its outcome, in the transaction that has
the effect (design decision 7, G57 to G60)."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from typing import Final, NamedTuple, TypeVar

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from sqlalchemy import (
    Column,
    ColumnElement,
    DateTime,
    Index,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    and_,
    func,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from svckit import call
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused, from_status
from svckit.methods import fields_with

Response = TypeVar("Response", bound=Message)

SECRET_REPLAY: Final = timedelta(minutes=15)
REPLAYED_HEADER: Final = "idempotency-replayed"


class State(IntEnum):
    """What became of a key's first call."""

    IN_PROGRESS = 1
    DONE = 2
    REFUSED = 3


class Outcome(NamedTuple):
    """What is kept of a key's first call. `body` is the response, or the `google.rpc.Status`.

    `secret_body` is the response with its secrets, for as long as those may be replayed.
    """

    fingerprint: bytes
    state: State
    body: bytes
    secret_body: bytes | None = None


class Claim(NamedTuple):
    """A call as its key names it: program, operation, key, and the request's fingerprint."""

    program_id: str
    operation: str
    key: str
    fingerprint: bytes


def table(metadata: MetaData) -> Table:
    """The table of a service's keys."""
    keys = Table(
        "idempotency_keys",
        metadata,
        Column("program_id", Text, primary_key=True),
        Column("operation", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("fingerprint", LargeBinary, nullable=False),
        Column("state", SmallInteger, nullable=False),
        Column("body", LargeBinary, nullable=False),
        Column("secret_body", LargeBinary, comment="the answer with its secrets, wiped after 15 minutes"),
        Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    )
    with_secret = keys.c.secret_body.is_not(None)
    Index("idempotency_keys_secrets", keys.c.program_id, keys.c.created_at, postgresql_where=with_secret)
    return keys


class Idempotency:
    """Runs a call's work once a key. `fingerprint_key` makes fingerprints that cannot be guessed back."""

    def __init__(self, db: Database, keys: Table, fingerprint_key: bytes) -> None:
        self._db = db
        self._keys = keys
        self._fingerprint_key = fingerprint_key

    async def once(
        self, request: Message, response: type[Response], work: Callable[[Tx], Awaitable[Response]]
    ) -> Response:
        """Runs `work` and keeps its outcome, or gives the first call's outcome again.

        The effect and the outcome are of one transaction, and the key's uniqueness decides a race: the
        loser's effect is rolled back and it replays the winner. Refusals that bind are kept as well.
        Raises IDEMPOTENCY_KEY_REUSED for another request, IDEMPOTENCY_IN_FLIGHT while the first runs.
        """
        if call.current().idempotency_key is None:
            return await self._db.transact(work)
        claim = self.claim(request)

        async def first_or_replay(tx: Tx) -> Response | Outcome:
            seen = await self.find(tx, claim)
            if seen is not None:
                return seen
            answer = await work(tx)
            if not await self.record(tx, claim, done(claim, answer)):
                raise _LostRaceError
            return answer

        result: Response | Outcome
        try:
            result = await self._db.transact(first_or_replay)
        except (_LostRaceError, Refused) as error:
            result = await self._settle(claim, error)
        return replay(result, claim, response) if isinstance(result, Outcome) else result

    async def _settle(self, claim: Claim, error: Exception) -> Outcome:
        """What a call that did not get through answers: the outcome of a twin, else its own refusal."""

        async def settle(tx: Tx) -> Outcome | None:
            if isinstance(error, Refused) and error.binds and await self.record(tx, claim, refused(claim, error)):
                return None
            return await self.find(tx, claim)

        if isinstance(error, Refused) and error.reason in (Reason.UNAVAILABLE, Reason.TIMEOUT):
            raise error
        kept = await self._db.transact(settle)
        if kept is None:
            raise error
        return kept

    def claim(self, request: Message) -> Claim:
        """The current call's key with the fingerprint of `request`."""
        ours = call.current()
        program_id = ours.principal.program_id or getattr(request, "program_id", "")
        return self.claim_as(program_id, ours.method.name, ours.idempotency_key or "", request)

    def claim_as(self, program_id: str, operation: str, key: str, request: Message) -> Claim:
        """A key of an operation, with the fingerprint of `request`; for the items of a bulk call."""
        canonical = request.SerializeToString(deterministic=True)
        return Claim(program_id, operation, key, hmac.digest(self._fingerprint_key, canonical, hashlib.sha256))

    async def find(self, tx: Tx, claim: Claim) -> Outcome | None:
        """What is kept of the key, whatever its request was."""
        row = (await tx.execute(select(self._keys).where(self._is(claim)))).one_or_none()
        if row is None:
            return None
        fresh = datetime.now(UTC) - row.created_at < SECRET_REPLAY
        return Outcome(row.fingerprint, State(row.state), row.body, row.secret_body if fresh else None)

    async def record(self, tx: Tx, claim: Claim, outcome: Outcome) -> bool:
        """Keeps an outcome; False if the key is taken already. Waits for a twin that has not committed."""
        statement = insert(self._keys).values(claim._asdict() | outcome._asdict())
        return (await tx.execute(statement.on_conflict_do_nothing())).rowcount == 1

    async def finish(self, tx: Tx, claim: Claim, outcome: Outcome) -> None:
        """Replaces the outcome of a key that was recorded as IN_PROGRESS."""
        running = self._is(claim) & (self._keys.c.state == State.IN_PROGRESS)
        await tx.execute(update(self._keys).where(running).values(state=outcome.state, body=outcome.body))

    def _is(self, claim: Claim) -> ColumnElement[bool]:
        keys = self._keys.c
        return and_(keys.program_id == claim.program_id, keys.operation == claim.operation, keys.key == claim.key)

    async def wipe(self) -> int:
        """A worker's step: wipes secrets that may no longer be replayed; how many there were."""
        keys = self._keys.c
        old = (keys.secret_body.is_not(None)) & (keys.created_at < func.now() - SECRET_REPLAY)

        async def work(tx: Tx) -> int:
            return (await tx.execute(update(self._keys).where(old).values(secret_body=None))).rowcount

        return await self._db.transact(work)


class _LostRaceError(Exception):
    """A twin recorded the key first; this call's effect is rolled back."""


def done(claim: Claim, answer: Message) -> Outcome:
    """The outcome of a call that took effect. An answer with a secret replays in full for 15 minutes."""
    secrets = fields_with(answer.DESCRIPTOR, "secret")
    if not secrets:
        return Outcome(claim.fingerprint, State.DONE, answer.SerializeToString())
    bare = type(answer).FromString(answer.SerializeToString())
    for name in secrets:
        bare.ClearField(name)
    return Outcome(claim.fingerprint, State.DONE, bare.SerializeToString(), answer.SerializeToString())


def refused(claim: Claim, refusal: Refused) -> Outcome:
    """The outcome of a call that was refused for good."""
    return Outcome(claim.fingerprint, State.REFUSED, refusal.status().SerializeToString())


def replay(outcome: Outcome, claim: Claim, response: type[Response]) -> Response:
    """The first call's answer, marked as replayed.

    Raises its refusal, IDEMPOTENCY_KEY_REUSED if the request is another, IDEMPOTENCY_IN_FLIGHT while the
    first call runs.
    """
    if not hmac.compare_digest(outcome.fingerprint, claim.fingerprint):
        raise Refused(Reason.IDEMPOTENCY_KEY_REUSED, "This Idempotency-Key was used with another request.")
    if outcome.state is State.IN_PROGRESS:
        text = "The first call with this key is still running."
        raise Refused(Reason.IDEMPOTENCY_IN_FLIGHT, text, retry_after_s=1)
    call.current().reply_headers[REPLAYED_HEADER] = "true"
    if outcome.state is State.REFUSED:
        raise from_status(Status.FromString(outcome.body))
    return response.FromString(outcome.secret_body or outcome.body)
