"""How often a client may do what others could be guessed by, whatever its plan: ask OAuth's endpoints, which are open
to all, and have members sign in.

Counted by this process alone, of clients that have proven who they are: so nobody can spend another's share by
naming it, and there are never more counts than clients. What comes unproven is bounded by its address, in Envoy.
"""

import math
from collections.abc import Callable
from typing import Final

from svckit.errors import Reason, Refused

_ROUNDING_S: Final = 1e-6


class Pace:
    """GCRA: a client's backlog grows with each request and drains at `per_second`."""

    def __init__(self, monotonic: Callable[[], float], *, per_second: int, burst: int) -> None:
        self._monotonic = monotonic
        self._interval_s = 1 / per_second
        self._backlog_max_s = (burst - 1) / per_second
        self._drained_at_s: dict[str, float] = {}

    def check(self, client_id: str) -> None:
        """Raises RATE_LIMITED if the client's share is spent; before its proof is looked at, which costs more."""
        over_s = self._drained_at_s.get(client_id, -math.inf) - self._monotonic() - self._backlog_max_s
        if over_s > _ROUNDING_S:
            wait_s = math.ceil(over_s)
            raise Refused(Reason.RATE_LIMITED, "The client asks this too often.", retry_after_s=wait_s)

    def count(self, client_id: str) -> None:
        """Counts a request of a client that has proven who it is. Raises RATE_LIMITED: others may have come first."""
        self.check(client_id)
        now_s = self._monotonic()
        self._drained_at_s[client_id] = max(self._drained_at_s.get(client_id, -math.inf), now_s) + self._interval_s
