"""What an event earns. Pure, so that live calls, dry runs and tests share it (design decision 16)."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from ledger_svc.journal.values import MAX_AMOUNT
from svckit.errors import Reason, Refused


@dataclass(frozen=True, slots=True)
class Rule:
    """Points for a share of an event's amount; `event_type` "" is any."""

    rule_id: str
    version: int
    event_type: str
    points_numerator: int
    points_denominator: int


@dataclass(frozen=True, slots=True)
class Award:
    """What one rule gave, and why."""

    rule_id: str
    rule_version: int
    points: int
    explanation: str


def awards(rules: Sequence[Rule], event_type: str, amount: Fraction | None) -> list[Award]:
    """What each matching rule gives for an event of `amount` major units; None if it has none.

    The product is exact and floored once (G21). Raises AMOUNT_OUT_OF_RANGE over 2^53 points.
    """
    given = []
    for rule in rules:
        if amount is None or rule.event_type not in {"", event_type}:
            continue
        rate = Fraction(rule.points_numerator, rule.points_denominator)
        points = int(amount * rate)
        if points > MAX_AMOUNT:
            raise Refused(Reason.AMOUNT_OUT_OF_RANGE, "The event would earn more than the allowed range.")
        text = f"{rate} points per currency unit, rounded down to {points}"
        given.append(Award(rule.rule_id, rule.version, points, text))
    return given
