"""When a program's funding counts as low (G67). Pure."""

from dataclasses import dataclass
from typing import Final

# What was low is low until more than the threshold and this part of it is available again, so that a balance that goes
# up and down around its threshold is told of once.
MARGIN_PARTS: Final = 10


@dataclass(slots=True)
class Alarm:
    """Funding of which less than `threshold` minor units available is low; 0 is never. `moved` says that it is to be
    written."""

    threshold: int = 0
    low: bool = False
    moved: bool = False

    def set(self, threshold: int) -> None:
        """Puts a threshold in place of the one before."""
        self.threshold, self.moved = threshold, True

    def look(self, available: int) -> bool:
        """Takes note of what is available; True if that has made it low."""
        if self.low:
            low = available <= self.threshold + self.threshold // MARGIN_PARTS and self.threshold > 0
        else:
            low = available < self.threshold
        fell, self.moved = low and not self.low, self.moved or low is not self.low
        self.low = low
        return fell
