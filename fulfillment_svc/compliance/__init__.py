"""Whether a recipient may have a reward, asked before it is ordered (G79). One interface for whoever decides that, and
`by_rules`, which decides by the program's own settings."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class Effect(StrEnum):
    """What a verdict comes to."""

    ALLOW = "ALLOW"
    HOLD = "HOLD"  # a person decides, and the value stays held
    REFUSE = "REFUSE"


@dataclass(frozen=True, slots=True)
class Subject:
    """Who is to get what. `check_id` names the check: asked again it is the same one. `country` is the recipient's."""

    program_id: str
    check_id: UUID
    email: str = field(repr=False)
    country: str
    currency: str
    value_minor: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The answer to a check. `reason` is like COUNTRY_BLOCKED; neither partner nor recipient is told."""

    effect: Effect
    reason: str = ""


class Compliance(Protocol):
    """Whoever decides about recipients. It answers within the few seconds that a step of a redemption has."""

    async def check(self, subject: Subject) -> Verdict:
        """The verdict. Raises Refused where there is none, and then it is asked again."""
