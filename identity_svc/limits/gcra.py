"""The generic cell rate algorithm, as arithmetic on one number a bucket.

The number is the backlog: the seconds until the bucket is as if nobody had ever called. A call adds its cost
in seconds of the sustained rate, and is refused if that would take the backlog over what the burst allows.
So in any window at most rate * window + burst passes, with no edge to line up on, and a refusal adds nothing.
"""

import math
from dataclasses import dataclass
from typing import Final

# Backlogs are differences of clocks; what is lost in them must not cost a caller a call.
_SLACK_S: Final = 1e-6


@dataclass(frozen=True, slots=True)
class Limit:
    """What a plan gives: sustained calls a second, and calls that may come at once. Both at least 1."""

    per_second: int
    burst: int

    @property
    def interval_s(self) -> float:
        """What one call costs."""
        return 1 / self.per_second

    @property
    def backlog_max_s(self) -> float:
        """The backlog of an empty bucket."""
        return self.burst / self.per_second


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a call of `cost` may pass, and the backlog after it."""

    allowed: bool
    limit: Limit
    cost: int
    backlog_s: float

    @property
    def remaining(self) -> int:
        """Calls of cost 1 that would pass now."""
        return max(0, math.floor((self.limit.backlog_max_s - self.backlog_s + _SLACK_S) / self.limit.interval_s))

    @property
    def reset_s(self) -> int:
        """Seconds until the whole burst may come again, rounded up."""
        return math.ceil(self.backlog_s - _SLACK_S)

    @property
    def retry_after_s(self) -> int:
        """Seconds after which this call would pass if no other came, at least 1."""
        over = self.backlog_s + self.cost * self.limit.interval_s - self.limit.backlog_max_s
        return max(1, math.ceil(over - _SLACK_S))


def decide(limit: Limit, backlog_s: float, cost: int) -> Decision:
    """The decision on a call of `cost` that meets `backlog_s`.

    A call that costs more than the burst passes when the bucket is full: it is dear, not forbidden.
    """
    cost = min(cost, limit.burst)
    # A clock that was set back, or a plan that has shrunk, leaves more than a bucket can hold.
    before = min(max(backlog_s, 0.0), limit.backlog_max_s)
    after = before + cost * limit.interval_s
    allowed = after <= limit.backlog_max_s + _SLACK_S
    return Decision(allowed, limit, cost, after if allowed else before)
