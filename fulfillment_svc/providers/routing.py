"""Which provider gets an order: the first in line that serves it and answers.

It is chosen once, when the order is taken in, and only a provider to which nothing has gone out is passed over later:
what became of an order is known to whoever may have got it (G68). A sandbox program and a live one have lines of their
own, so that no sandbox program reaches a live provider (G50).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import dropwhile, islice
from typing import Final, NamedTuple

from fulfillment_svc.providers import Issued, NotSent, Order, Pending, Provider, Rejected, Unknown
from fulfillment_svc.providers.health import Health
from fulfillment_svc.providers.serving import COUNTRY, Route, Wanted
from svckit.errors import Reason, Refused


class Place(NamedTuple):
    """A provider's place in a line; `objection` says in a word why it does not serve something, empty if it does."""

    name: str
    provider: Provider
    objection: Callable[[Wanted], str]


class Router:
    """Chooses providers, the first in line first, and asks them. `clock_s` is for their health."""

    def __init__(
        self, sandbox: Sequence[Place], live: Sequence[Place], clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        self._lines = {True: tuple(sandbox), False: tuple(live)}
        self._providers = {place.name: place.provider for place in (*sandbox, *live)}
        self._health = Health(clock_s)

    def choose(self, wanted: Wanted) -> Route:
        """The provider of a new order; where none of those that serve it is healthy, the first of them all the same.

        Raises COUNTRY_NOT_SERVED if all but the country could be served (G74), else REWARD_UNAVAILABLE.
        """
        line = self._lines[wanted.program.sandbox]
        name, why = self._walk(line, wanted)
        if name is not None:
            return Route(name, why)
        objections = [place.objection(wanted) for place in line]
        for place, objection in zip(line, objections, strict=True):
            if not objection:
                return Route(place.name, f"{why}, {place.name}: NONE_HEALTHY")
        if COUNTRY in objections:
            raise Refused(Reason.COUNTRY_NOT_SERVED, "Nobody delivers this reward in the recipient's country.")
        raise Refused(Reason.REWARD_UNAVAILABLE, "No provider delivers this reward.")

    def onward(self, wanted: Wanted, route: Route, reason: str) -> Route | None:
        """The next in line behind a route on which, for this reason, nothing has gone out; None if there is none."""
        behind = dropwhile(lambda place: place.name != route.name, self._lines[wanted.program.sandbox])
        name, why = self._walk(islice(behind, 1, None), wanted)
        return None if name is None else Route(name, f"{route.why}, {route.name}: {reason}, {why}")

    def serves(self, wanted: Wanted) -> bool:
        """True if there is a provider for this, healthy or not."""
        return any(not place.objection(wanted) for place in self._lines[wanted.program.sandbox])

    def provider(self, name: str) -> Provider:
        """The provider of this name, which may have gone since it was chosen."""
        return self._providers.get(name, _GONE)

    async def order(self, name: str, order: Order) -> Issued | Rejected | Pending | Unknown:
        """Orders at a provider, and learns how healthy it is."""
        answer = await self.provider(name).order(order)
        self._health.heard(name, definite=not isinstance(answer, Unknown))
        return answer

    def _walk(self, line: Iterable[Place], wanted: Wanted) -> tuple[str | None, str]:
        """The first that serves this and is healthy, and what was found of each up to there."""
        found: list[str] = []
        for place in line:
            objection = place.objection(wanted) or ("" if self._health.admits(place.name) else "UNHEALTHY")
            found.append(f"{place.name}: {objection or 'SERVES'}")
            if not objection:
                return place.name, ", ".join(found)
        return None, ", ".join(found)


class _Gone:
    """Stands for a provider that is not configured any more: a person has to find out what became of its orders."""

    idempotent: Final = False
    visibility_s: Final = 0.0
    pending_s: Final = 0.0

    async def order(self, order: Order) -> Unknown:
        return NotSent("NOT_CONFIGURED")

    async def query(self, order: Order) -> Unknown:
        return Unknown("NOT_CONFIGURED")


_GONE: Final = _Gone()
