"""The secrets of webhook endpoints: how they are made, and how they lie in the database."""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from typing import Final, Self
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32
KEY_ID_BYTES: Final = 8

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class SealBrokenError(Exception):
    """A sealed secret was changed, moved to another endpoint, or sealed by a key that is not here."""


def new_secret() -> str:
    """A secret as Standard Webhooks writes it: "whsec_" and 32 random bytes in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


class Sealer:
    """AES-256-GCM under keys that are derived from the service's master keys (HKDF-SHA256) for this use alone.

    Seals with the first key and opens with any. A sealed secret opens only for the endpoint that it was
    sealed for. Each master key has 32 bytes.
    """

    def __init__(self, master_keys: Sequence[bytes]) -> None:
        if not master_keys or any(len(key) != _KEY_BYTES for key in master_keys):
            raise ValueError(f"a master key has {_KEY_BYTES} bytes")
        derived = [HKDF(SHA256(), _KEY_BYTES, salt=None, info=b"webhook-secrets").derive(key) for key in master_keys]
        self._ciphers = {_key_id(key): AESGCM(key) for key in derived}
        self._current = _key_id(derived[0])

    @classmethod
    def from_base64(cls, lines: bytes) -> Self:
        """The sealer of a key file: base64, one master key a line, the current one first. Raises ValueError."""
        return cls([base64.b64decode(line, validate=True) for line in lines.split()])

    def seal(self, program_id: str, endpoint_id: UUID, secret: str) -> bytes:
        """The secret as it is stored: key id, nonce, ciphertext."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        cipher = self._ciphers[self._current]
        return self._current + nonce + cipher.encrypt(nonce, secret.encode(), _place(program_id, endpoint_id))

    @property
    def key_id(self) -> bytes:
        """The key that is sealed with."""
        return self._current

    @property
    def old_key_ids(self) -> tuple[bytes, ...]:
        """The keys that are still known and no longer sealed with; what they sealed begins with them."""
        return tuple(key_id for key_id in self._ciphers if key_id != self._current)

    def open(self, program_id: str, endpoint_id: UUID, sealed: bytes) -> str:
        """The secret. Raises SealBrokenError unless it is what was sealed for this endpoint."""
        key_id, rest = sealed[:KEY_ID_BYTES], sealed[KEY_ID_BYTES:]
        try:
            cipher = self._ciphers[key_id]
            return cipher.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], _place(program_id, endpoint_id)).decode()
        except (KeyError, InvalidTag, ValueError):
            raise SealBrokenError("the secret is not what was sealed for this endpoint") from None


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"key id" + key).digest()[:KEY_ID_BYTES]


def _place(program_id: str, endpoint_id: UUID) -> bytes:
    return f"{program_id}|{endpoint_id}".encode()
