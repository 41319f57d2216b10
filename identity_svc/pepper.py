"""The one secret of this service, and the keys that are derived from it, one for each purpose.

The pepper lies in a file, never in the database, so that a copy of the database alone opens nothing.
"""

import hashlib
import hmac
import secrets
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Pepper:
    """Derives keys by HKDF (RFC 5869), so that none of them tells anything about another."""

    def __init__(self, secret: bytes) -> None:
        if len(secret) < _KEY_BYTES:
            raise SystemExit(f"the pepper must have at least {_KEY_BYTES} bytes")
        self._secret = secret

    def key(self, purpose: str) -> bytes:
        """32 bytes that are always the same for the same purpose."""
        return HKDF(SHA256(), _KEY_BYTES, salt=None, info=f"identity_svc {purpose}".encode()).derive(self._secret)


class Box:
    """Seals bytes with AES-256-GCM under one key and a random nonce, bound to a context.

    What was sealed for one context (one program, one member, one column) does not open in another.
    """

    def __init__(self, key: bytes) -> None:
        self._cipher = AESGCM(key)

    @classmethod
    def fresh(cls) -> tuple[Self, bytes]:
        """A box under a new random key, and that key."""
        key = secrets.token_bytes(_KEY_BYTES)
        return cls(key), key

    def seal(self, plain: bytes, *context: str) -> bytes:
        """The nonce and the ciphertext."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, plain, _bound(context))

    def open(self, sealed: bytes, *context: str) -> bytes:
        """What was sealed. Raises ValueError if it was sealed for another context or was changed since."""
        try:
            return self._cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], _bound(context))
        except InvalidTag as error:
            raise ValueError("sealed for another context, or changed") from error


def mac(key: bytes, *parts: str) -> bytes:
    """HMAC-SHA256 of the parts, each of which keeps its borders."""
    return hmac.digest(key, _bound(parts), hashlib.sha256)


def _bound(parts: tuple[str, ...]) -> bytes:
    # Lengths before the parts: no choice of values can make two lists of parts look the same.
    encoded = [part.encode() for part in parts]
    return b"".join(len(part).to_bytes(4, "big") + part for part in encoded)
