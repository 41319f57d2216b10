"""Every SQL statement of the review desk."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Numeric,
    cast,
    func,
    insert,
    literal,
    literal_column,
    null,
    select,
    tuple_,
    union_all,
)

from fulfillment_svc.orders import tables as of_orders
from fulfillment_svc.orders.store import parse_order
from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions.store import parse, selection
from fulfillment_svc.redemptions.tables import edges, redemptions
from fulfillment_svc.redemptions.values import Redemption
from fulfillment_svc.review.rules import Action
from fulfillment_svc.review.tables import actions
from svckit.clock import new_id
from svckit.db import Tx
from svckit.errors import Reason, Refused

_R: Final = redemptions.c
_O: Final = of_orders.orders.c
_H: Final = of_orders.history.c


class NotThere(Refused):
    """The program has no such redemption or order."""

    def __init__(self) -> None:
        super().__init__(Reason.ORDER_NOT_FOUND, "There is no such redemption or order.")


class Parked(NamedTuple):
    """A redemption or an order at the desk, `reason` being that of the last answer that moved it. `parked_at` is None
    if it needs nobody."""

    subject: Redemption | Order
    reason: str
    parked_at: datetime | None
    age_s: int
    due_at: datetime | None

    @property
    def id(self) -> UUID:
        """The redemption's, or the order's."""
        return self.subject.order_id if isinstance(self.subject, Order) else self.subject.redemption_id


class Stake(NamedTuple):
    """What is at stake in a program and currency."""

    program_id: str
    currency: str
    reviews: int
    points: int
    value_minor: int
    oldest_at: datetime


class Entry(NamedTuple):
    """Something that happened to a redemption or an order; an action, where it has an actor."""

    at: datetime
    state: str | None
    answer: str | None
    reason: str | None
    action: str | None
    actor: str | None
    evidence: str | None


async def page(tx: Tx, program_id: str, after: tuple[datetime, UUID] | None, size: int) -> list[Parked]:
    """At most `size` that need a person, longest waiting first; of all programs if `program_id` is empty."""
    found: list[Parked] = []
    for statement, columns, its_id in ((_redemptions(), _R, _R.redemption_id), (_orders(), _O, _O.order_id)):
        some = statement.where(_of(columns, program_id)).order_by(columns.parked_at, its_id).limit(size)
        if after is not None:
            some = some.where(tuple_(columns.parked_at, its_id) > after)
        found += [_read(row) for row in await tx.execute(some)]
    return sorted(found, key=lambda one: (one.parked_at, one.id))[:size]


async def stakes(tx: Tx, program_id: str) -> list[Stake]:
    """What is at stake in all that needs a person."""
    value = _R.denomination_minor * _R.quantity + _R.fees_minor
    made = select(_R.program_id, _R.currency, _R.points, cast(value, Numeric).label("value"), _R.parked_at)
    # As `Order.stake_minor`; a product of two amounts may be more than a bigint holds.
    fee = func.div(cast(_O.fee_minor, Numeric) * _O.remaining_minor, _O.value_minor)
    ordered = select(_O.program_id, _O.currency, literal(0), _O.remaining_minor + fee, _O.parked_at)
    both = union_all(made.where(_of(_R, program_id)), ordered.where(_of(_O, program_id))).subquery().c
    sums = func.count(), func.sum(both.points), func.sum(both.value), func.min(both.parked_at)
    grouped = select(both.program_id, both.currency, *sums).group_by(both.program_id, both.currency)
    return [
        Stake(program, currency, count, int(points), int(minor), oldest)
        for program, currency, count, points, minor, oldest in await tx.execute(grouped.order_by(both.program_id))
    ]


async def get(tx: Tx, program_id: str, kind: type[Redemption | Order], subject_id: UUID) -> Parked:
    """A redemption or an order, whether it needs a person or not. Raises NotThere."""
    if kind is Order:
        named = _orders().where(_O.program_id == program_id, _O.order_id == subject_id)
    else:
        named = _redemptions().where(_R.program_id == program_id, _R.redemption_id == subject_id)
    row = (await tx.execute(named)).one_or_none()
    if row is None:
        raise NotThere
    return _read(row)


async def history(tx: Tx, parked: Parked) -> Sequence[Entry]:
    """What happened to a redemption or an order, oldest first."""
    if isinstance(parked.subject, Order):
        told = select(*(getattr(_H, name) for name in Entry._fields)).where(
            _H.program_id == parked.subject.program_id, _H.order_id == parked.id
        )
        return [Entry(*row) for row in await tx.execute(told.order_by(_H.at, _H.entry_id))]
    program_id, redemption_id = parked.subject.program_id, parked.id
    edge, act = edges.c, actions.c
    moved = select(edge.at, edge.state, edge.answer, edge.reason, *(null() for _ in range(3)), edge.version).where(
        edge.program_id == program_id, edge.redemption_id == redemption_id
    )
    acted = select(act.at, *(null() for _ in range(3)), act.action, act.actor, act.evidence, act.version).where(
        act.program_id == program_id, act.redemption_id == redemption_id
    )
    # An action and the edge that it made are of one instant.
    rows = await tx.execute(union_all(moved, acted).order_by(literal_column("1"), literal_column("8")))
    return [Entry(*row[:7]) for row in rows]


async def insert_action(tx: Tx, redemption: Redemption, action: Action, actor: str, evidence: str) -> None:
    """Keeps an action, `redemption` being as it left it."""
    row = {
        "program_id": redemption.program_id,
        "redemption_id": redemption.redemption_id,
        "action_id": new_id(),
        "action": action,
        "actor": actor,
        "evidence": evidence,
        "version": redemption.version,
    }
    await tx.execute(insert(actions).values(row))


async def insert_order_action(tx: Tx, order: Order, action: Action, actor: str, evidence: str) -> None:
    """Keeps an action on an order, among what happened to it."""
    row = {
        "program_id": order.program_id,
        "order_id": order.order_id,
        "entry_id": new_id(),
        "action": action,
        "actor": actor,
        "evidence": evidence,
    }
    await tx.execute(insert(of_orders.history).values(row))


def _of(columns: Any, program_id: str) -> ColumnElement[bool]:
    parked: ColumnElement[bool] = columns.parked_at.is_not(None)
    return parked & (columns.program_id == program_id) if program_id else parked


def _redemptions() -> Any:
    edge = edges.c
    reason = select(edge.reason).where(
        edge.program_id == _R.program_id, edge.redemption_id == _R.redemption_id, edge.version == _R.version
    )
    return selection().add_columns(reason.scalar_subquery().label("last_reason"), _age_s(_R))


def _orders() -> Any:
    moved = _H.program_id == _O.program_id, _H.order_id == _O.order_id, _H.state.is_not(None)
    reason = select(_H.reason).where(*moved).order_by(_H.at.desc()).limit(1)
    return select(of_orders.orders, reason.scalar_subquery().label("last_reason"), _age_s(_O))


def _age_s(columns: Any) -> ColumnElement[Any]:
    return func.coalesce(func.extract("epoch", func.now() - columns.parked_at), 0).label("age_s")


def _read(row: Any) -> Parked:
    subject = parse(row) if "redemption_id" in row._fields else parse_order(row)
    return Parked(subject, row.last_reason, row.parked_at, int(row.age_s), row.due_at)
