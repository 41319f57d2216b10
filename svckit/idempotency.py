"""Idempotency for ever: a key, the fingerprint of its request and its outcome, in the transaction that has
the effect (design decision 7, G57 to G60)."""

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from enum import IntEnum
from functools import cache, partial
from typing import Final, NamedTuple, TypeVar

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message
from google.rpc.status_pb2 import Status
from rewards.options.v1 import options_pb2
from sqlalchemy import Column, DateTime, Index, LargeBinary, MetaData, SmallInteger, Table, Text, func, select, text
from sqlalchemy.dialects.postgresql import insert

from svckit import call
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused, from_status

Response = TypeVar("Response", bound=Message)

SECRET_REPLAY: Final = timedelta(minutes=15)


class State(IntEnum):
    """What became of a key's first call."""

    IN_PROGRESS = 1
    DONE = 2
    REFUSED = 3


class Outcome(NamedTuple):
    """What is kept of a key's first call. `body` is the response, or the `google.rpc.Status`; `secret_body` is the
    response with its secrets, for as long as those may be replayed."""

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
    return Table(
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
        Index("idempotency_keys_secrets", "program_id", "created_at", postgresql_where=text("secret_body IS NOT NULL")),
    )


class Idempotency:
    """Runs a call's work once a key. `fingerprint_key` makes fingerprints that cannot be guessed back."""

    def __init__(self, db: Database, keys: Table, fingerprint_key: bytes) -> None:
        self._db = db
        self._keys = keys
        self._fingerprint_key = fingerprint_key

    async def once(
        self, request: Message, response: type[Response], work: Callable[[Tx], Awaitable[Response]]
    ) -> Response:
        """Runs `work` and keeps its outcome, or gives the first call's outcome again. The effect and the outcome are
        of one transaction, and the key's uniqueness decides a race: the loser's effect is rolled back and it replays
        the winner. Refusals that bind are kept as well. Raises IDEMPOTENCY_KEY_REUSED for another request,
        IDEMPOTENCY_IN_FLIGHT while the first runs."""
        if call.current().idempotency_key is None:
            return await self._db.transact(work)
        claim = self.claim(request)

        async def first_or_replay(tx: Tx) -> Response | Outcome:
            if (seen := await self.find(tx, claim)) is not None:
                return seen
            answer = await work(tx)
            if not await self.record(tx, claim, done(claim, answer)):
                # A twin was first. Raised so that this call's effect is rolled back; the twin's outcome follows.
                raise Refused(Reason.CONFLICT, "Another call with this key was first.")
            return answer

        try:
            result = await self._db.transact(first_or_replay)
        except Refused as refusal:
            if refusal.reason in (Reason.UNAVAILABLE, Reason.TIMEOUT):
                raise
            twin = await self._db.transact(partial(self._settle, claim, refusal))
            if twin is None:
                raise
            result = twin
        return replay(result, claim, response) if isinstance(result, Outcome) else result

    async def _settle(self, claim: Claim, refusal: Refused, tx: Tx) -> Outcome | None:
        """Keeps a refusal that binds; else gives the outcome of a twin, which is this call's answer too."""
        kept = refusal.binds and await self.record(tx, claim, refused(claim, refusal))
        return None if kept else await self.find(tx, claim)

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
        if (row := (await tx.execute(select(self._keys).filter_by(**_named(claim)))).one_or_none()) is None:
            return None
        fresh = datetime.now(UTC) - row.created_at < SECRET_REPLAY
        return Outcome(row.fingerprint, State(row.state), row.body, row.secret_body if fresh else None)

    async def record(self, tx: Tx, claim: Claim, outcome: Outcome) -> bool:
        """Keeps an outcome; False if the key is taken already. Waits for a twin that has not committed."""
        statement = insert(self._keys).values(claim._asdict() | outcome._asdict())
        return (await tx.execute(statement.on_conflict_do_nothing())).rowcount == 1

    async def finish(self, tx: Tx, claim: Claim, outcome: Outcome) -> None:
        """Replaces the outcome of a key that was recorded as IN_PROGRESS."""
        running = self._keys.update().filter_by(**_named(claim), state=State.IN_PROGRESS)
        await tx.execute(running.values(state=outcome.state, body=outcome.body))

    async def wipe(self) -> int:
        """A worker's step: wipes secrets that may no longer be replayed; how many there were."""
        keys = self._keys.c
        old = self._keys.update().where(keys.secret_body.is_not(None), keys.created_at < func.now() - SECRET_REPLAY)
        return (await self._db.transact(lambda tx: tx.execute(old.values(secret_body=None)))).rowcount


def _named(claim: Claim) -> dict[str, str]:
    return {"program_id": claim.program_id, "operation": claim.operation, "key": claim.key}


def done(claim: Claim, answer: Message) -> Outcome:
    """The outcome of a call that took effect. An answer with a secret replays in full for 15 minutes."""
    secrets, whole = _secrets(answer.DESCRIPTOR), answer.SerializeToString()
    if not secrets:
        return Outcome(claim.fingerprint, State.DONE, whole)
    bare = type(answer).FromString(whole)
    for name in secrets:
        bare.ClearField(name)
    return Outcome(claim.fingerprint, State.DONE, bare.SerializeToString(), whole)


@cache
def _secrets(message: Descriptor) -> tuple[str, ...]:
    return tuple(field.name for field in message.fields if field.GetOptions().Extensions[options_pb2.secret])


def refused(claim: Claim, refusal: Refused) -> Outcome:
    """The outcome of a call that was refused for good."""
    return Outcome(claim.fingerprint, State.REFUSED, refusal.status().SerializeToString())


def replay(outcome: Outcome, claim: Claim, response: type[Response]) -> Response:
    """The first call's answer, marked as replayed. Raises its refusal, IDEMPOTENCY_KEY_REUSED if the request is
    another, IDEMPOTENCY_IN_FLIGHT while the first call runs."""
    if not hmac.compare_digest(outcome.fingerprint, claim.fingerprint):
        raise Refused(Reason.IDEMPOTENCY_KEY_REUSED, "This Idempotency-Key was used with another request.")
    if outcome.state is State.IN_PROGRESS:
        raise Refused(Reason.IDEMPOTENCY_IN_FLIGHT, "The first call with this key is still running.", retry_after_s=1)
    call.current().reply_headers["idempotency-replayed"] = "true"
    if outcome.state is State.REFUSED:
        raise from_status(Status.FromString(outcome.body))
    return response.FromString(outcome.secret_body or outcome.body)
