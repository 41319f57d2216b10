"""What plans, credentials and tokens are, and which scopes there are to give."""

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from svckit.errors import invalid

TOKEN_LIFE: Final = timedelta(seconds=1800)
# Until this little is left a client that asks again gets the same token.
TOKEN_RENEWAL: Final = timedelta(seconds=300)
# A token of a process whose clock is a little ahead is still good.
CLOCK_SKEW: Final = timedelta(seconds=60)
# A gatekeeper answers from no reading of a credential that is older (design decision 11).
STATE_AGE_MAX_S: Final = 0.5


class Kind(enum.StrEnum):
    """What kind of credential it is."""

    CLIENT = "CLIENT"
    API_KEY = "API_KEY"
    OPERATOR = "OPERATOR"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a credential may spend: requests a second, requests at once, requests a UTC day.

    `costs` says how many requests a call of an operation counts as, where the operation itself does not decide.
    """

    plan_id: str
    requests_per_second: int
    burst: int
    requests_per_day: int
    costs: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What an operator wants a partner's credential to be. It never expires if `expires_at` is None."""

    program_id: str
    name: str
    scopes: tuple[str, ...]
    plan_id: str
    expires_at: datetime | None = None
    partner_id: str | None = None
    public_keys: str | None = None


@dataclass(frozen=True, slots=True)
class Partner:
    """Who has credentials in a program beside the program itself."""

    program_id: str
    partner_id: str
    name: str
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """What is revoked: a program, a partner of it, or one credential. An operator's key has an empty program."""

    program_id: str
    partner_id: str = ""
    credential_id: str = ""

    @property
    def kind(self) -> str:
        """What it is, for the audit trail."""
        return "credential" if self.credential_id else "partner" if self.partner_id else "program"

    @property
    def target(self) -> str:
        """The id of what it is."""
        return self.credential_id or self.partner_id or self.program_id


@dataclass(frozen=True, slots=True)
class Credential:
    """A credential about to exist. An operator's belongs to no program and has no plan."""

    program_id: str
    credential_id: str
    kind: Kind
    name: str
    secret_mac: bytes | None
    scopes: tuple[str, ...] = ()
    plan_id: str | None = None
    expires_at: datetime | None = None
    partner_id: str | None = None
    public_keys: str | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A credential as it stands in the database. `clock_offset` is its program's; `plan` is None for operators.

    `revoked` is true if it is revoked itself, or its partner or program is; `token_revoked` if the token is that it
    was looked up for. `secret_mac` is None for a client that signs assertions. Until `previous_until` the secret and
    the tokens of before the last rotation are good as well.
    """

    program_id: str
    partner_id: str | None
    credential_id: str
    kind: Kind
    secret_mac: bytes | None
    previous_mac: bytes | None
    previous_until: datetime | None
    scopes: frozenset[str]
    epoch: int
    expires_at: datetime | None
    revoked: bool
    plan: Plan | None
    clock_offset: timedelta
    token_revoked: bool = False

    def at(self, now: datetime) -> datetime:
        """The program's time when it is really `now`."""
        return now + self.clock_offset

    def reaches(self, other: "State") -> bool:
        """True if the holder may see and manage `other`: its own partner's, or all of its program if it has none; an
        operator may manage everybody's."""
        of_program = self.program_id == other.program_id and self.partner_id in {None, other.partner_id}
        return of_program or self.kind is Kind.OPERATOR

    def ended(self, now: datetime) -> bool:
        """True if it is revoked, or has expired by its program's clock when it is really `now`."""
        return self.revoked or (self.expires_at is not None and self.expires_at <= self.at(now))

    def overlaps(self, now: datetime) -> bool:
        """True while what the last rotation replaced is still good."""
        return self.previous_until is not None and self.at(now) < self.previous_until

    def admits(self, epoch: int, now: datetime) -> bool:
        """True if tokens of that epoch are good."""
        return epoch == self.epoch or (epoch == self.epoch - 1 and self.overlaps(now))

    def honours(self, token: "Token", now: datetime) -> bool:
        """True if the token is this credential's and good, but for its own end."""
        return (
            token.program_id == self.program_id
            and token.credential_id == self.credential_id
            and token.issued_at <= self.at(now) + CLOCK_SKEW
            and self.admits(token.epoch, now)
            and not self.ended(now)
            and not self.token_revoked
        )


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


def check_costs(costs: Mapping[str, int], known: frozenset[str]) -> dict[str, int]:
    """The costs. Raises INVALID_REQUEST if one is of an operation that there is not."""
    if not known.issuperset(costs):
        raise invalid(**{"plan.costs": "names an operation that there is not"})
    return dict(costs)


def check_scopes(asked: Iterable[str], known: frozenset[str]) -> tuple[str, ...]:
    """The scopes in order. Raises INVALID_REQUEST if one is declared by no RPC."""
    scopes = tuple(sorted(asked))
    if not known.issuperset(scopes):
        raise invalid(scopes="has one that no operation needs")
    return scopes
