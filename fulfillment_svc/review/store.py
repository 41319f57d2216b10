"""Every SQL statement of the review desk."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, func, insert, literal_column, null, select, tuple_, union_all

from fulfillment_svc.redemptions.store import parse, selection
from fulfillment_svc.redemptions.tables import edges, redemptions
from fulfillment_svc.redemptions.values import Redemption
from fulfillment_svc.review.rules import Action
from fulfillment_svc.review.tables import actions
from svckit.clock import new_id
from svckit.db import Tx
from svckit.errors import Reason, Refused

_R: Final = redemptions.c


class NotThere(Refused):
    """The program has no such redemption."""

    def __init__(self) -> None:
        super().__init__(Reason.ORDER_NOT_FOUND, "There is no such redemption.")


class Parked(NamedTuple):
    """A redemption at the desk, `reason` being that of the last answer that moved it. `parked_at` is None if it needs
    nobody."""

    redemption: Redemption
    reason: str
    parked_at: datetime | None
    age_s: int
    due_at: datetime | None


class Stake(NamedTuple):
    """What is at stake in a program and currency."""

    program_id: str
    currency: str
    reviews: int
    points: int
    value_minor: int
    oldest_at: datetime


class Entry(NamedTuple):
    """Something that happened to a redemption; an action, where it has an actor."""

    at: datetime
    state: str | None
    answer: str | None
    reason: str | None
    action: str | None
    actor: str | None
    evidence: str | None


async def page(tx: Tx, program_id: str, after: tuple[datetime, UUID] | None, size: int) -> list[Parked]:
    """At most `size` that need a person, longest waiting first; of all programs if `program_id` is empty."""
    statement = _parked().where(_of(program_id)).order_by(_R.parked_at, _R.redemption_id).limit(size)
    if after is not None:
        statement = statement.where(tuple_(_R.parked_at, _R.redemption_id) > after)
    return [_read(row) for row in await tx.execute(statement)]


async def stakes(tx: Tx, program_id: str) -> list[Stake]:
    """What is at stake in all that needs a person."""
    value = func.sum(_R.denomination_minor * _R.quantity + _R.fees_minor)
    sums = func.count(), func.sum(_R.points), value, func.min(_R.parked_at)
    statement = select(_R.program_id, _R.currency, *sums).where(_of(program_id)).group_by(_R.program_id, _R.currency)
    return [
        Stake(program, currency, count, int(points), int(minor), oldest)
        for program, currency, count, points, minor, oldest in await tx.execute(statement.order_by(_R.program_id))
    ]


async def get(tx: Tx, program_id: str, redemption_id: UUID) -> Parked:
    """A redemption, whether it needs a person or not. Raises NotThere."""
    named = _parked().where(_R.program_id == program_id, _R.redemption_id == redemption_id)
    row = (await tx.execute(named)).one_or_none()
    if row is None:
        raise NotThere
    return _read(row)


async def history(tx: Tx, program_id: str, redemption_id: UUID) -> Sequence[Entry]:
    """What happened to a redemption, oldest first."""
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


def _of(program_id: str) -> ColumnElement[bool]:
    parked = _R.parked_at.is_not(None)
    return parked & (_R.program_id == program_id) if program_id else parked


def _parked() -> Any:
    edge = edges.c
    reason = select(edge.reason).where(
        edge.program_id == _R.program_id, edge.redemption_id == _R.redemption_id, edge.version == _R.version
    )
    age_s = func.coalesce(func.extract("epoch", func.now() - _R.parked_at), 0)
    return selection().add_columns(reason.scalar_subquery().label("last_reason"), age_s.label("age_s"))


def _read(row: Any) -> Parked:
    return Parked(parse(row), row.last_reason, row.parked_at, int(row.age_s), row.due_at)
