"""What plans, credentials and tokens are, and which scopes there are to give."""

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from svckit.errors import invalid

TOKEN_LIFE: Final = timedelta(seconds=1800)
# Until this little is left a client that asks again gets the same token.
TOKEN_RENEWAL: Final = timedelta(seconds=300)


class Kind(enum.StrEnum):
    """What kind of credential it is."""

    CLIENT = "CLIENT"
    API_KEY = "API_KEY"
    OPERATOR = "OPERATOR"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a credential may spend: requests a second, requests at once, requests a UTC day."""

    plan_id: str
    requests_per_second: int
    burst: int
    requests_per_day: int


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator wants a partner's credential to be. It never expires if `expires_at` is None."""

    program_id: str
    name: str
    scopes: tuple[str, ...]
    plan_id: str
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential about to exist. An operator's belongs to no program and has no plan."""

    program_id: str
    credential_id: str
    kind: Kind
    name: str
    secret_mac: bytes
    scopes: tuple[str, ...] = ()
    plan_id: str | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A credential as it stands in the database. `clock_offset` is its program's; `plan` is None for operators."""

    program_id: str
    credential_id: str
    kind: Kind
    secret_mac: bytes
    scopes: frozenset[str]
    epoch: int
    expires_at: datetime | None
    revoked: bool
    plan: Plan | None
    clock_offset: timedelta

    def ended(self, now: datetime) -> bool:
        """True if it is revoked, or has expired by its program's clock when it is really `now`."""
        return self.revoked or (self.expires_at is not None and self.expires_at <= now + self.clock_offset)


@dataclass(frozen=True, slots=True)
class Token:
    """An access token's claims. `scope` is separated by spaces and in order; times are whole seconds of the
    program's clock (design decision 12); `key_id` is the signing key's. With a `member_id` it is that member's own."""

    program_id: str
    credential_id: str
    scope: str
    epoch: int
    token_id: UUID
    key_id: str
    issued_at: datetime
    expires_at: datetime
    member_id: str = ""

    def serves_for(self, offered: "Token") -> bool:
        """True while a client that asks again gets this token and not the new one that could be `offered`.

        Not after a rotation, and not if the program's clock has been moved back.
        """
        asked_at = offered.issued_at
        return self.epoch == offered.epoch and self.issued_at <= asked_at < self.expires_at - TOKEN_RENEWAL


def check_scopes(asked: Iterable[str], known: frozenset[str]) -> tuple[str, ...]:
    """The scopes in order. Raises INVALID_REQUEST if one is declared by no RPC."""
    scopes = tuple(sorted(asked))
    if not known.issuperset(scopes):
        raise invalid(scopes="has one that no operation needs")
    return scopes
