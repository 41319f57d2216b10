"""Gift codes and recipients at rest: envelope encryption, and how little of a code is ever shown (G53).

Each value has a random data key of its own, which lies beside it wrapped by the master key. So the master
key is rotated by wrapping small keys anew, and one stored row tells nothing about another.
"""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Self
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
RECIPIENT: Final = 0

_NONCE_BYTES: Final = 12
_SHOWN: Final = 4


class SealBrokenError(Exception):
    """A sealed value was changed, moved to another place, or sealed by a master key that is not here."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """An encrypted value. `wrapped_key` and `ciphertext` each begin with their nonce."""

    key_id: str
    wrapped_key: bytes
    ciphertext: bytes


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed value belongs; it opens nowhere else. `number` is an item's, from 1, or RECIPIENT."""

    program_id: str
    redemption_id: UUID
    number: int

    @property
    def associated_data(self) -> bytes:
        """The place as AES-GCM authenticates it."""
        return f"{self.program_id}|{self.redemption_id}|{self.number}".encode()


class Vault:
    """Seals with the first master key and opens with any: 32 bytes each."""

    def __init__(self, master_keys: Sequence[bytes]) -> None:
        if not master_keys or any(len(key) != KEY_BYTES for key in master_keys):
            raise ValueError(f"a master key has {KEY_BYTES} bytes")
        self._keys = {_key_id(key): AESGCM(key) for key in master_keys}
        self._current = _key_id(master_keys[0])

    @classmethod
    def from_base64(cls, lines: bytes) -> Self:
        """The vault of a key file: base64, one key a line, the current one first. Raises ValueError."""
        return cls([base64.b64decode(line, validate=True) for line in lines.split()])

    @property
    def key_id(self) -> str:
        """The master key that is sealed with."""
        return self._current

    @property
    def old_key_ids(self) -> tuple[str, ...]:
        """The master keys that are still known and no longer sealed with."""
        return tuple(key_id for key_id in self._keys if key_id != self._current)

    def rewrap(self, sealed: Sealed, place: Place) -> Sealed:
        """The same value, its data key wrapped by the current master key. The value itself is not decrypted. Raises
        SealBrokenError unless the data key is what was sealed for this place."""
        data_key = self._data_key(sealed, place)
        return replace(sealed, key_id=self._current, wrapped_key=_encrypt(self._keys[self._current], data_key, place))

    def seal(self, plaintext: bytes, place: Place) -> Sealed:
        """Encrypts a value for its place."""
        data_key = AESGCM.generate_key(bit_length=8 * KEY_BYTES)
        return Sealed(
            key_id=self._current,
            wrapped_key=_encrypt(self._keys[self._current], data_key, place),
            ciphertext=_encrypt(AESGCM(data_key), plaintext, place),
        )

    def open(self, sealed: Sealed, place: Place) -> bytes:
        """The value. Raises SealBrokenError unless it is what was sealed for this place."""
        return _decrypt(AESGCM(self._data_key(sealed, place)), sealed.ciphertext, place)

    def _data_key(self, sealed: Sealed, place: Place) -> bytes:
        master = self._keys.get(sealed.key_id)
        if master is None:
            raise SealBrokenError(f"no master key {sealed.key_id}")
        return _decrypt(master, sealed.wrapped_key, place)


def mask(code: str) -> str:
    """A code as lists show it: its last four characters, and of a short code not even those."""
    shown = code[-_SHOWN:] if len(code) >= 2 * _SHOWN else ""
    return f"****{shown}"


def _key_id(key: bytes) -> str:
    return hashlib.sha256(b"rewards-mesh code key" + key).hexdigest()[:16]


def _encrypt(cipher: AESGCM, plaintext: bytes, place: Place) -> bytes:
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + cipher.encrypt(nonce, plaintext, place.associated_data)


def _decrypt(cipher: AESGCM, stored: bytes, place: Place) -> bytes:
    try:
        return cipher.decrypt(stored[:_NONCE_BYTES], stored[_NONCE_BYTES:], place.associated_data)
    except (InvalidTag, ValueError):
        raise SealBrokenError("the value is not what was sealed here") from None
