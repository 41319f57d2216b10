"""What a program pays on the face value of what is issued. Pure."""

from collections.abc import Mapping
from typing import NamedTuple


class Rate(NamedTuple):
    """What is paid on one item: so many ten thousandths of its face value, and a fixed amount in minor units."""

    basis_points: int
    fixed_minor: int

    def of(self, value_minor: int) -> int:
        """The fee on one item of that value; half a minor unit and more is a whole one."""
        return (value_minor * self.basis_points + 5_000) // 10_000 + self.fixed_minor


def fee(schedule: Mapping[str, Rate], currency: str, value_minor: int) -> int:
    """The fee on one item, in minor units; none where the schedule does not name the currency."""
    return schedule.get(currency, Rate(0, 0)).of(value_minor)
