"""Whether a limit was held, told by the instants of the answers alone, however slow the machine was."""

from dataclasses import dataclass, field

# The bound on how far a credential may be from its own limit, either way.
TOLERANCE = 0.05


@dataclass(frozen=True)
class Call:
    """A call was decided at some instant between these two; `passed` is None if nobody knows how."""

    sent_s: float
    answered_s: float
    passed: bool | None


@dataclass
class Judge:
    """The calls of one credential of `rate` a second and `burst` at once, each of cost 1."""

    rate: float
    burst: int
    calls: list[Call] = field(default_factory=list)

    @property
    def passed(self) -> list[Call]:
        return [call for call in self.calls if call.passed]

    @property
    def refused(self) -> list[Call]:
        return [call for call in self.calls if call.passed is False]

    @property
    def unknown(self) -> list[Call]:
        return [call for call in self.calls if call.passed is None]

    def excess(self) -> float:
        """By what share more passed, in the worst window, than rate and burst allow; below 0 if nowhere more did."""
        worst = -1.0
        for first in self.passed:
            inside = sorted(call.answered_s for call in self.passed if call.sent_s >= first.sent_s)
            for count, end_s in enumerate(inside, start=1):
                worst = max(worst, count / (self.rate * (end_s - first.sent_s) + self.burst) - 1)
        return worst

    def wrongly_refused(self) -> list[Call]:
        """Refusals that nothing explains: since no call that passed had enough others passed to fill the bucket."""
        return [call for call in self.refused if not any(self._explains(first, call) for first in self.passed)]

    def _explains(self, first: Call, refused: Call) -> bool:
        spending = [*self.passed, *self.unknown]
        spent = sum(call.answered_s >= first.sent_s and call.sent_s <= refused.answered_s for call in spending)
        drained = self.rate * max(0.0, refused.sent_s - first.answered_s)
        return spent >= (self.burst - 1 + drained) * (1 - TOLERANCE)
