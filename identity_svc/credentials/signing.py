"""The keys that sign access tokens: Ed25519, kept in the database under the pepper.

Ed25519 signs the same claims always the same way (RFC 8032), and a strict allow-list of one algorithm is
what RFC 9068 verifiers need. So "the same token comes back" needs no stored token: its claims are stored,
and every process that signs them again, also after a restart, makes the same token.
"""

import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from identity_svc.credentials import store
from identity_svc.pepper import Box, Pepper
from svckit.db import Database, Tx

# A key that was made elsewhere signs here after this time at the latest.
MAX_AGE_S: Final = 60.0
# An unknown key id is looked for no more often than this.
LOOK_AGAIN_S: Final = 1.0
_FIRST: Final = 1


@dataclass(frozen=True, slots=True)
class SigningKey:
    """A key pair; `key_id` is the JWT header's kid."""

    key_id: str
    private: Ed25519PrivateKey
    public: Ed25519PublicKey


class Keyring:
    """The signing keys, read from the database and remembered."""

    def __init__(self, db: Database, pepper: Pepper, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._db = db
        self._box = Box(pepper.key("signing keys"))
        self._monotonic = monotonic
        self._keys: dict[str, SigningKey] = {}
        self._read_at_s = float("-inf")

    async def newest(self) -> SigningKey:
        """The key that signs new tokens; the first one is made here. Raises UNAVAILABLE."""
        if not self._keys or self._age_s() > MAX_AGE_S:
            await self._read()
        if not self._keys:
            await self._db.transact(self._make_first)
            await self._read()
        return next(iter(self._keys.values()))

    async def find(self, key_id: str) -> SigningKey | None:
        """The key of that id, if it is one of ours. Raises UNAVAILABLE."""
        if key_id not in self._keys and (not self._keys or self._age_s() > LOOK_AGAIN_S):
            await self._read()
        return self._keys.get(key_id)

    def _age_s(self) -> float:
        return self._monotonic() - self._read_at_s

    async def _read(self) -> None:
        read_at_s = self._monotonic()
        async with self._db.read() as tx:
            rows = await store.signing_keys(tx)
        self._keys = {key_id: self._opened(key_id, sealed) for key_id, sealed in rows}
        self._read_at_s = read_at_s

    async def _make_first(self, tx: Tx) -> None:
        private = Ed25519PrivateKey.generate()
        digest = sha256(private.public_key().public_bytes_raw()).digest()
        key_id = urlsafe_b64encode(digest[:12]).decode()
        await store.add_signing_key(tx, _FIRST, key_id, self._box.seal(private.private_bytes_raw(), key_id))

    def _opened(self, key_id: str, sealed: bytes) -> SigningKey:
        private = Ed25519PrivateKey.from_private_bytes(self._box.open(sealed, key_id))
        return SigningKey(key_id, private, private.public_key())
