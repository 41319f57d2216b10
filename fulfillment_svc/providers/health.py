"""Which providers answer: a circuit for each, closed by a definite answer and opened by several others in a row.

It is kept in memory, by each process for itself: it only decides where new orders go, and is learnt again in a moment.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

FAILURES_MAX: Final = 5
REST_S: Final = 30.0


@dataclass(slots=True)
class _Circuit:
    failures: int = 0
    rests_until_s: float = 0.0


class Health:
    """The circuits of providers, by their names. `clock_s` only moves forward."""

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._circuits: dict[str, _Circuit] = {}

    def heard(self, name: str, *, definite: bool) -> None:
        """An order's answer was definite, or was not."""
        circuit = self._circuits.setdefault(name, _Circuit())
        circuit.failures = 0 if definite else circuit.failures + 1
        circuit.rests_until_s = self._clock_s() + REST_S

    def admits(self, name: str) -> bool:
        """True if a new order may go there. Where the circuit is open, that is one order each REST_S, to try."""
        circuit = self._circuits.get(name)
        if circuit is None or circuit.failures < FAILURES_MAX:
            return True
        now_s = self._clock_s()
        if now_s < circuit.rests_until_s:
            return False
        circuit.rests_until_s = now_s + REST_S
        return True
