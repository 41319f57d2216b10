"""What becomes of a stock and its reservations. Pure values and functions."""

from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from svckit.errors import Reason, Refused, invalid


class State(StrEnum):
    """What became of a reservation; the names of the proto's enum."""

    RESERVED = "RESERVED"
    CONSUMED = "CONSUMED"
    RELEASED = "RELEASED"
    EXPIRED = "EXPIRED"


@dataclass(frozen=True, slots=True)
class Stock:
    """The stock of a reward; without `units` it is not limited. `reserved` is the sum of what holds."""

    units: int | None
    reserved: int

    @property
    def left(self) -> int | None:
        """How many can still be had. More may be reserved than there are, where the stock was set lower since."""
        return None if self.units is None else max(self.units - self.reserved, 0)

    def take(self, quantity: int) -> "Stock":
        """The stock with so many more reserved. Raises OUT_OF_STOCK."""
        if self.left is not None and self.left < quantity:
            raise Refused(Reason.OUT_OF_STOCK, "This reward is out of stock.")
        return replace(self, reserved=self.reserved + quantity)

    def give_back(self, quantity: int) -> "Stock":
        """The stock with so many fewer reserved."""
        return replace(self, reserved=self.reserved - quantity)

    def hand_out(self, quantity: int) -> "Stock":
        """The stock without so many units that were reserved."""
        left = None if self.units is None else max(self.units - quantity, 0)
        return Stock(left, self.reserved - quantity)


@dataclass(frozen=True, slots=True)
class Reservation:
    """Units that are put by under its holder's own reference; without `expires_at` its holder ends it. `consumed` of
    them were taken in the end."""

    reference: str
    reward_id: str
    quantity: int
    state: State
    expires_at: datetime | None
    consumed: int = 0


def consume(stock: Stock, reservation: Reservation, quantity: int) -> tuple[Stock, Reservation]:
    """Both after so many of the reserved units are gone and the others given back. One whose time ran out takes them
    anew. What was consumed already stays as it is. Raises OUT_OF_STOCK, CONFLICT, INVALID_REQUEST."""
    if quantity > reservation.quantity:
        raise invalid(quantity=f"{reservation.quantity} are reserved")
    if reservation.state is State.RELEASED:
        raise Refused(Reason.CONFLICT, "This reservation was released.")
    if reservation.state is State.CONSUMED:
        return stock, reservation
    if reservation.state is State.RESERVED:
        stock = stock.give_back(reservation.quantity - quantity)
    else:
        stock = stock.take(quantity)
    return stock.hand_out(quantity), replace(reservation, state=State.CONSUMED, consumed=quantity)


def release(stock: Stock, reservation: Reservation) -> tuple[Stock, Reservation]:
    """Both after the reserved units were given back. Raises CONFLICT."""
    if reservation.state is State.CONSUMED:
        raise Refused(Reason.CONFLICT, "This reservation was consumed.")
    if reservation.state is State.RESERVED:
        stock, reservation = stock.give_back(reservation.quantity), replace(reservation, state=State.RELEASED)
    return stock, reservation
