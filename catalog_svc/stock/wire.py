"""Reservations as protobuf."""

from rewards.catalog.v1 import stock_pb2 as pb

from catalog_svc.stock.rules import Reservation


def message(reservation: Reservation) -> pb.StockReservation:
    """A reservation as its holder sees it."""
    shown = pb.StockReservation(
        reference=reservation.reference,
        reward_id=reservation.reward_id,
        quantity=reservation.quantity,
        state=pb.StockReservation.State.Value(reservation.state),
        consumed=reservation.consumed,
    )
    if reservation.expires_at is not None:
        shown.expires_at.FromDatetime(reservation.expires_at)
    return shown
