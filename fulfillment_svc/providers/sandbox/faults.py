"""Faults of the sandbox provider, switched on for orders of a reference, of a brand, or for the next ones."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self


class Fault(StrEnum):
    """What goes wrong with an order."""

    REJECT = "reject"  # a definite no
    SLOW = "slow"  # answered after delayMs
    UNAVAILABLE = "unavailable"  # 503, nothing was done
    TIMEOUT_THEN_SUCCESS = "timeout_then_success"  # issued, and never answered
    ERROR_AFTER_ACCEPT = "error_after_accept"  # issued, and answered 500
    DELAYED_VISIBILITY = "delayed_visibility"  # issued, answered 500, and not shown to the next queries
    MALFORMED_BODY = "malformed_body"  # issued, and answered with half a JSON object
    HUGE_BODY = "huge_body"  # issued, and answered with a megabyte
    WRONG_AMOUNT = "wrong_amount"  # issued, and answered with another amount


@dataclass(slots=True)
class Rule:
    """A fault and the orders that it strikes. `left` counts down; None strikes until it is cleared.

    `queries` is for how many queries a DELAYED_VISIBILITY hides the order.
    """

    fault: Fault
    reference: str = ""
    brand: str = ""
    left: int | None = None
    delay_s: float = 1.0
    queries: int = 1

    @classmethod
    def read(cls, sent: Mapping[str, Any]) -> Self:
        """The rule of a PUT: {fault, and one of reference, brand and next; delayMs; queries}.

        Raises ValueError for an unknown fault or member, or if it does not say which orders.
        """
        known = {"fault", "reference", "brand", "next", "delayMs", "queries"}
        if unknown := sent.keys() - known:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        if len(sent.keys() & {"reference", "brand", "next"}) != 1:
            raise ValueError("one of reference, brand and next is needed")
        return cls(
            fault=Fault(sent.get("fault", "")),
            reference=str(sent.get("reference", "")),
            brand=str(sent.get("brand", "")),
            left=int(sent["next"]) if "next" in sent else None,
            delay_s=float(sent.get("delayMs", 1000)) / 1000,
            queries=int(sent.get("queries", 1)),
        )

    def strikes(self, reference: str, brands: set[str]) -> bool:
        """True if the rule is for this order."""
        return self.left is not None or self.reference == reference or self.brand in brands


class Faults:
    """The rules that are switched on; an earlier one goes first."""

    def __init__(self) -> None:
        self._rules: list[Rule] = []

    def add(self, rule: Rule) -> None:
        """Switches a fault on."""
        self._rules.append(rule)

    def clear(self) -> None:
        """Switches everything off."""
        self._rules.clear()

    def take(self, reference: str, brands: set[str]) -> Rule | None:
        """The fault of an order that has just come in; counts it."""
        for rule in self._rules:
            if not rule.strikes(reference, brands):
                continue
            if rule.left is not None:
                rule.left -= 1
                if rule.left <= 0:
                    self._rules.remove(rule)
            return rule
        return None
