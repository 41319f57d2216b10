"""Faults of the sandbox provider, switched on for a reference, for a brand, for the next orders, or by chance."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, Self


class On(StrEnum):
    """Which of a provider's doings a fault strikes."""

    ORDER = "order"
    QUERY = "query"
    CALLBACK = "callback"


class Fault(StrEnum):
    """What goes wrong."""

    REJECT = "reject"  # a definite no
    PART_REJECT = "part_reject"  # a definite no to all but the first item
    REJECT_THEN_ISSUE = "reject_then_issue"  # a definite no, and issued all the same after delayMs
    SLOW = "slow"  # answered after delayMs
    UNAVAILABLE = "unavailable"  # 503, nothing was done
    TIMEOUT_THEN_SUCCESS = "timeout_then_success"  # issued, and never answered
    ERROR_AFTER_ACCEPT = "error_after_accept"  # issued, and answered 500
    PENDING = "pending"  # issued, and answered as pending, as are the next queries
    DELAYED_VISIBILITY = "delayed_visibility"  # issued, answered 500, and not shown to the next queries
    MALFORMED_BODY = "malformed_body"  # issued, and answered with half a JSON object
    HUGE_BODY = "huge_body"  # issued, and answered with a megabyte
    WRONG_AMOUNT = "wrong_amount"  # issued, and answered with another amount

    NO_CALLBACK = "no_callback"
    DUPLICATE_CALLBACK = "duplicate_callback"  # five times the same
    EARLY_CALLBACK = "early_callback"  # that it is issued, before it is
    LATE_CALLBACK = "late_callback"  # after delayMs
    CONTRADICTORY_CALLBACK = "contradictory_callback"  # both that it is issued and that it is rejected
    FORGED_CALLBACK = "forged_callback"  # by somebody who does not have the secret


_OF_CALLBACKS: Final = frozenset(fault for fault in Fault if fault.endswith("_callback"))
_OF_QUERIES: Final = frozenset(
    {
        Fault.SLOW,
        Fault.UNAVAILABLE,
        Fault.TIMEOUT_THEN_SUCCESS,
        Fault.ERROR_AFTER_ACCEPT,
        Fault.MALFORMED_BODY,
        Fault.HUGE_BODY,
        Fault.WRONG_AMOUNT,
    }
)
_WHICH: Final = {"reference", "brand", "next", "chance"}


@dataclass(slots=True)
class Rule:
    """A fault and the orders that it strikes. `left` counts down; None strikes until it is cleared.

    `chance` is in (0, 1]. `queries` is for how many queries a DELAYED_VISIBILITY hides the order, or a PENDING lasts.
    """

    fault: Fault
    on: On
    reference: str = ""
    brand: str = ""
    left: int | None = None
    chance: float = 0.0
    delay_s: float = 1.0
    queries: int = 1

    @classmethod
    def read(cls, sent: Mapping[str, Any]) -> Self:
        """The rule of a PUT: {fault, and one of reference, brand, next and chance; on: "query" for a fault of an answer
        that shall strike queries; delayMs; queries}.

        Raises ValueError for an unknown fault or member, or if it does not say which orders.
        """
        known = {"fault", "on", "delayMs", "queries", *_WHICH}
        if unknown := sent.keys() - known:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        if len(sent.keys() & _WHICH) != 1:
            raise ValueError("one of reference, brand, next and chance is needed")
        fault = Fault(sent.get("fault", ""))
        on = On(sent.get("on", On.CALLBACK if fault in _OF_CALLBACKS else On.ORDER))
        if (on is On.CALLBACK) is not (fault in _OF_CALLBACKS) or (on is On.QUERY and fault not in _OF_QUERIES):
            raise ValueError(f"{fault} is no fault of a {on}")
        return cls(
            fault=fault,
            on=on,
            reference=str(sent.get("reference", "")),
            brand=str(sent.get("brand", "")),
            left=int(sent["next"]) if "next" in sent else None,
            chance=float(sent.get("chance", 0)),
            delay_s=float(sent.get("delayMs", 1000)) / 1000,
            queries=int(sent.get("queries", 1)),
        )


class Faults:
    """The rules that are switched on; an earlier one goes first. Chance is the same in every run."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []
        self._random = random.Random(0)  # noqa: S311 - guards nothing

    def add(self, rule: Rule) -> None:
        """Switches a fault on."""
        self._rules.append(rule)

    def clear(self) -> None:
        """Switches everything off."""
        self._rules.clear()

    def take(self, on: On, reference: str, brands: set[str]) -> Rule | None:
        """The fault of what has just come in; counts it."""
        for rule in self._rules:
            if rule.on is not on or not self._strikes(rule, reference, brands):
                continue
            if rule.left is not None:
                rule.left -= 1
                if rule.left <= 0:
                    self._rules.remove(rule)
            return rule
        return None

    def _strikes(self, rule: Rule, reference: str, brands: set[str]) -> bool:
        if rule.chance:
            return self._random.random() < rule.chance
        return rule.left is not None or rule.reference == reference or rule.brand in brands
