"""The ledger in plain Python: replays what was asked for, and so knows what a read at any instant shows.

It never posts an expiry: points whose time has come are simply not counted. So it shares no idea with the ledger
of how late expiries are found.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple


class Step(NamedTuple):
    """One call that took effect. `number` names the step whose debit or hold it is about."""

    name: str
    at: datetime
    amount: int
    expires_at: datetime | None = None
    number: int = 0


@dataclass
class Oracle:
    """`lots` are expiry and remainder in the order they came; `drawn` is by step, as are the active `holds`."""

    lots: list[tuple[datetime | None, int]] = field(default_factory=list)
    drawn: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    holds: dict[int, int] = field(default_factory=dict)

    def free(self, at: datetime) -> dict[datetime | None, int]:
        """What has not run out and is not held, by expiry."""
        found: dict[datetime | None, int] = {}
        for expires_at, remaining in self.lots:
            if remaining and (expires_at is None or expires_at > at):
                found[expires_at] = found.get(expires_at, 0) + remaining
        return found

    def available(self, at: datetime) -> int:
        """What may be taken."""
        return sum(self.free(at).values())

    def held(self) -> int:
        """What is set aside."""
        return sum(self.holds.values())

    def take(self, number: int, step: Step) -> None:
        """Does a step; the caller has seen to it that it may be done."""
        if step.name == "credit":
            self.lots.append((step.expires_at, step.amount))
        elif step.name in {"redeem", "hold"}:
            self.drawn[number] = self._draw(step.at, step.amount)
            if step.name == "hold":
                self.holds[number] = step.amount
        else:
            left = sum(amount for _, amount in self.drawn[step.number])
            back = {"reverse": step.amount, "capture": left - step.amount, "void": left}[step.name]
            self.holds.pop(step.number, None)
            self._give_back(step.number, back)

    def _draw(self, at: datetime, amount: int) -> list[tuple[int, int]]:
        usable = [i for i, (expires_at, _) in enumerate(self.lots) if expires_at is None or expires_at > at]
        drawn = []
        for i in sorted(usable, key=lambda i: (self.lots[i][0] is None, self.lots[i][0] or at, i)):
            expires_at, remaining = self.lots[i]
            taken = min(amount, remaining)
            if taken:
                drawn.append((i, taken))
                self.lots[i] = (expires_at, remaining - taken)
                amount -= taken
        return drawn

    def _give_back(self, number: int, amount: int) -> None:
        drawn = self.drawn[number]
        while amount:
            i, taken = drawn.pop()
            back = min(amount, taken)
            expires_at, remaining = self.lots[i]
            self.lots[i] = (expires_at, remaining + back)
            if taken > back:
                drawn.append((i, taken - back))
            amount -= back


def replay(steps: list[Step], at: datetime) -> Oracle:
    """The ledger after everything that happened up to `at`."""
    oracle = Oracle()
    for number, step in enumerate(steps):
        if step.at <= at:
            oracle.take(number, step)
    return oracle
