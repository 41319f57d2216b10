"""What is to be delivered, and what of it a provider serves. Pure."""

from dataclasses import dataclass
from typing import Final, NamedTuple

from svckit.programs import Program

COUNTRY: Final = "COUNTRY"
CASHBACK: Final = "CASHBACK"


class Wanted(NamedTuple):
    """What is to be delivered. `member` is true if the recipient is a member of the program, `country` the recipient's
    (ISO 3166-1 alpha-2), `kind` the reward's as the catalog names it, `quantity` the number of items."""

    program: Program
    member: bool
    country: str
    currency: str
    brand: str
    kind: str
    quantity: int = 1


class Route(NamedTuple):
    """A provider's name, and why it is this one: who was looked at, and what was found of each, for example "alpha:
    COUNTRY, beta: UNHEALTHY, gamma: SERVES"."""

    name: str
    why: str


@dataclass(frozen=True, slots=True)
class Served:
    """What a provider serves; an empty set is no limit."""

    countries: frozenset[str] = frozenset()
    currencies: frozenset[str] = frozenset()
    brands: frozenset[str] = frozenset()
    kinds: frozenset[str] = frozenset()
    items_max: int = 100

    def objection(self, wanted: Wanted) -> str:
        """Why it does not serve this, in a word; empty if it does. COUNTRY only where nothing else is wrong."""
        if self.kinds and wanted.kind not in self.kinds:
            return "KIND"
        if self.brands and wanted.brand not in self.brands:
            return "BRAND"
        if self.currencies and wanted.currency not in self.currencies:
            return "CURRENCY"
        if wanted.quantity > self.items_max:
            return "QUANTITY"
        return COUNTRY if self.countries and wanted.country not in self.countries else ""


def by_cashback(wanted: Wanted) -> str:
    """As `Served.objection`, of the ledger: it credits members, in currencies that are assets of the program."""
    if wanted.kind != CASHBACK:
        return "KIND"
    if not wanted.member:
        return "MEMBER"
    return "" if wanted.currency in wanted.program.policy.more_assets else "CURRENCY"
