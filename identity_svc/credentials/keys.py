"""The text of keys and secrets: how they are made, read and hashed.

A key is `rk_test_<id>_<secret><checksum>` (`rk_live_`, `rk_op_`): the part before the last underscore names it
in logs and lists, the secret has 190 bits, and the checksum (CRC-32, base62) lets scanners and the gatekeeper
refuse a typo without asking the database.
"""

import re
import secrets
import string
import zlib
from base64 import b64decode, b64encode
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from identity_svc.pepper import Box, Pepper, mac

_ALPHABET: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID_LENGTH: Final = 16
_SECRET_LENGTH: Final = 32
_CHECKSUM_LENGTH: Final = 6
_KEY: Final = re.compile(r"(rk_(?:test|live|op)_[0-9A-Za-z]{16})_([0-9A-Za-z]{38})")

KEY_PREFIX: Final = "rk_"
# By the program's mode (G50).
PREFIXES: Final = {"SANDBOX": "rk_test", "LIVE": "rk_live"}
OPERATOR_PREFIX: Final = "rk_op"
CLIENT_PREFIX: Final = "cl"


@dataclass(frozen=True, slots=True)
class Issued:
    """A new credential's id, and what its holder must show. The latter is shown once and never stored."""

    credential_id: str
    secret: str


class Hasher:
    """Turns secrets into what the database keeps of them: an HMAC, useless without the pepper."""

    def __init__(self, pepper: Pepper) -> None:
        self._key = pepper.key("credential secrets")

    def mac(self, credential_id: str, secret: str) -> bytes:
        """32 bytes. They are of one credential: another one's row cannot be given the same."""
        return mac(self._key, credential_id, secret)

    def matches(self, credential_id: str, secret: str, stored: bytes | None) -> bool:
        """True if `secret` is the credential's. `stored` is None for a credential that does not exist, which
        takes the same time to find out."""
        sent = self.mac(credential_id, secret)
        return compare_digest(sent, bytes(len(sent)) if stored is None else stored) and stored is not None


class Veil:
    """Hides a new secret in the answer that is kept for replays: the database never has it in the clear, not
    even for the 15 minutes in which it may be shown again."""

    def __init__(self, pepper: Pepper) -> None:
        self._box = Box(pepper.key("shown secrets"))

    def hide(self, issued: Issued) -> str:
        """The secret as it may be stored."""
        return b64encode(self._box.seal(issued.secret.encode(), issued.credential_id)).decode()

    def lift(self, credential_id: str, hidden: str) -> str:
        """The secret that was hidden."""
        return self._box.open(b64decode(hidden), credential_id).decode()


def new_key(prefix: str) -> Issued:
    """A new API key or operator key; `prefix` is for example "rk_test"."""
    credential_id = f"{prefix}_{_random(_ID_LENGTH)}"
    text = f"{credential_id}_{_random(_SECRET_LENGTH)}"
    return Issued(credential_id, text + checksum(text))


def new_client() -> Issued:
    """A new OAuth client."""
    return new_secret(f"{CLIENT_PREFIX}_{_random(_ID_LENGTH)}")


def new_secret(client_id: str) -> Issued:
    """A new secret of a client."""
    secret = f"cs_{_random(_SECRET_LENGTH)}"
    return Issued(client_id, secret + checksum(secret))


def credential_id(key: str) -> str | None:
    """The id in an API key or operator key; None if it is malformed or its checksum is wrong."""
    found = _KEY.fullmatch(key)
    # A checksum is no secret: it only tells a typo from a key.
    if found is None or checksum(key[:-_CHECKSUM_LENGTH]) != key[-_CHECKSUM_LENGTH:]:
        return None
    return found[1]


def checksum(text: str) -> str:
    """The CRC-32 of `text` as six base62 digits."""
    rest, digits = zlib.crc32(text.encode()), ""
    for _ in range(_CHECKSUM_LENGTH):
        rest, digit = divmod(rest, len(_ALPHABET))
        digits = _ALPHABET[digit] + digits
    return digits


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
