"""The keys that sign access tokens: Ed25519, kept in the database under the pepper.

Ed25519 signs the same claims always the same way (RFC 8032), and a strict allow-list of one algorithm is
what RFC 9068 verifiers need. So "the same token comes back" needs no stored token: its claims are stored,
and every process that signs them again, also after a restart, makes the same token.

A new key signs after SETTLE, when every process and whoever fetches the JWKS has had the time to read it; what it
replaces verifies for a day, or ends at once.
"""

import asyncio
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.credentials import oauth_store
from identity_svc.credentials.oauth_store import SealedKey
from identity_svc.credentials.rules import STATE_AGE_MAX_S
from identity_svc.pepper import Box, Pepper
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused

SETTLE: Final = timedelta(minutes=1)
# Far longer than any token lives.
VERIFIES_ON: Final = timedelta(days=1)
ROTATES_AFTER: Final = timedelta(days=30)
# What takes longer to read is too old when it comes.
WAIT_S: Final = STATE_AGE_MAX_S


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair; `key_id` is the JWT header's kid."""

    key_id: str
    private: Ed25519PrivateKey
    public: Ed25519PublicKey


class Keyring:
    """The signing keys, read from the database and remembered for at most STATE_AGE_MAX_S, as credentials are."""

    def __init__(self, db: Database, pepper: Pepper, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._box = Box(pepper.key("signing keys"))
        self._monotonic = monotonic
        self._opened: dict[str, SigningKey] = {}
        self._rows: list[SealedKey] = []
        self._read_at_s = float("-inf")
        self._reading: asyncio.Task[None] | None = None

    async def newest(self) -> SigningKey:
        """The key that signs new tokens; the first one is made here. Raises UNAVAILABLE."""
        rows = await self._fresh()
        if not rows:
            await self._db.transact(lambda tx: self._make(tx, Actor("identity_svc"), before=0))
            self._read_at_s = float("-inf")
            rows = await self._fresh()
        # Where none is settled the oldest is the one that most will know: at first, and after all have been ended.
        return self._opened[next((row for row in rows if row.settled), rows[-1]).key_id]

    async def find(self, key_id: str) -> SigningKey | None:
        """The key of that id, if it is one of ours and not retired. Raises UNAVAILABLE."""
        rows = await self._fresh()
        if all(row.key_id != key_id for row in rows):
            # Where there was no other a key signs as soon as it is made, and then it may be newer than the reading.
            rows = await self._fresh(again=True)
        return next((self._opened[key_id] for row in rows if row.key_id == key_id), None)

    async def live(self) -> list[SigningKey]:
        """All keys that are not retired, newest first. Raises UNAVAILABLE."""
        return [self._opened[row.key_id] for row in await self._fresh()]

    async def rotate(self, tx: Tx, actor: Actor, *, revoke_earlier: bool) -> str | None:
        """Makes a new key and returns its id; those of before end after VERIFIES_ON, or now. None if somebody else
        has made one at the same time."""
        newest = await oauth_store.newest_generation(tx)
        return await self._replace(tx, actor, newest, timedelta(0) if revoke_earlier else VERIFIES_ON)

    async def rotate_if_old(self) -> int:
        """A worker's step: rotates if the newest key is older than ROTATES_AFTER; how many it made."""
        rows = await self._fresh()
        if not rows or rows[0].age_s < ROTATES_AFTER.total_seconds():
            return 0
        # By its generation, so that of several processes that find it old one replaces it.
        old = rows[0].generation
        made = await self._db.transact(lambda tx: self._replace(tx, Actor("identity_svc"), old, VERIFIES_ON))
        return 0 if made is None else 1

    async def _replace(self, tx: Tx, actor: Actor, newest: int, verifies_on: timedelta) -> str | None:
        key_id = await self._make(tx, actor, before=newest)
        if key_id is not None:
            await oauth_store.retire_signing_keys(tx, newest + 1, verifies_on)
        return key_id

    async def _fresh(self, *, again: bool = False) -> list[SealedKey]:
        if again or self._is_old():
            # Those who ask at once share one query; it goes on if one of them gives up.
            if self._reading is None or self._reading.done():
                self._reading = asyncio.create_task(self._read())
            await asyncio.shield(self._reading)
            if self._is_old():
                raise _too_slow()
        return self._rows

    def _is_old(self) -> bool:
        return self._monotonic() - self._read_at_s > STATE_AGE_MAX_S

    async def _read(self) -> None:
        read_at_s = self._monotonic()
        try:
            async with asyncio.timeout(WAIT_S), self._db.read() as tx:
                rows = await oauth_store.signing_keys(tx, SETTLE)
        except TimeoutError:
            raise _too_slow() from None
        for row in rows:
            if row.key_id not in self._opened:
                self._opened[row.key_id] = self._open(row)
        self._rows, self._read_at_s = rows, read_at_s

    async def _make(self, tx: Tx, actor: Actor, *, before: int) -> str | None:
        """Makes the key after generation `before`, and returns its id; None if somebody else has."""
        private = Ed25519PrivateKey.generate()
        digest = sha256(private.public_key().public_bytes_raw()).digest()
        key_id = urlsafe_b64encode(digest[:12]).decode()
        sealed = self._box.seal(private.private_bytes_raw(), key_id)
        if not await oauth_store.add_signing_key(tx, before + 1, key_id, sealed):
            return None
        await audit.append(tx, actor, "signing_key.created", "", key_id)
        return key_id

    def _open(self, row: SealedKey) -> SigningKey:
        private = Ed25519PrivateKey.from_private_bytes(self._box.open(row.sealed_key, row.key_id))
        return SigningKey(row.key_id, private, private.public_key())


def _too_slow() -> Refused:
    return Refused(Reason.UNAVAILABLE, "The signing keys cannot be read now.", retry_after_s=1)
