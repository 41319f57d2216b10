"""Every SQL statement about orders. A worker's write needs the fencing token of its claim; what takes value out of an
order, or puts it back, holds the row's lock."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, exists, func, insert, null, select, update

from fulfillment_svc.codes import RECIPIENT, Place, Sealed
from fulfillment_svc.leases_store import from_now
from fulfillment_svc.orders.states import CLAIMABLE, Delivery, State
from fulfillment_svc.orders.tables import history, orders, secrets
from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions.states import TERMINAL, Answer
from fulfillment_svc.redemptions.store import LeaseLost, parse, selection
from fulfillment_svc.redemptions.tables import redemptions
from fulfillment_svc.redemptions.values import Choice, Redemption, Reply
from svckit.clock import new_id
from svckit.db import Tx

_O: Final = orders.c
_R: Final = redemptions.c
# What a step of the order's own may change; the rest changes with its claims.
_OWN: Final = ("state", "reason", "refusal", "hold_id", "remaining_minor", "returned_minor", "attempts")


async def insert_order(tx: Tx, new: Order, sealed: Sealed, lease_s: float) -> None:
    """Stores a new order with its sealed invitation, claimed for `lease_s`."""
    row = {name: getattr(new, name) for name in Order.__dataclass_fields__.keys() - {"parked"}}
    choice = None if new.choice is None else asdict(new.choice)
    await tx.execute(insert(orders).values(row | {"choice": choice, "due_at": from_now(lease_s)}))
    await tx.execute(insert(secrets).values(_key(new) | asdict(sealed)))
    await _insert_edge(tx, new, None, "")


async def update_order(tx: Tx, before: Order, after: Order, reply: Reply, due_in_s: float | None) -> None:
    """Stores what a reply made of an order; free for others `due_in_s` from now, or not due at all.

    Raises LeaseLost if it was claimed by another worker since, or called off.
    """
    due_at = null() if due_in_s is None else from_now(due_in_s)
    changed = {name: getattr(after, name) for name in _OWN if getattr(after, name) != getattr(before, name)}
    ours = _is(_O, before), _O.fencing_token == before.fencing_token, _O.state == before.state
    result = await tx.execute(update(orders).where(*ours).values(**changed, due_at=due_at, parked_at=_parked_at(after)))
    if result.rowcount != 1:
        raise LeaseLost
    if (after.state, after.parked) != (before.state, before.parked):
        await _insert_edge(tx, after, reply.answer, reply.reason)


async def change(tx: Tx, before: Order, after: Order, *, due: bool) -> None:
    """Stores what something else than its own step made of a locked order, and makes it due at once if it is `due`.
    A worker that has it meanwhile cannot write any more if the state is another."""
    names = ("state", "reason", "hold_id", "remaining_minor", "redeemed_minor")
    changed: dict[str, Any] = {name: getattr(after, name) for name in names}
    if due:
        changed["due_at"] = func.now()
    elif after.state is not before.state:
        changed["due_at"] = None
    await tx.execute(update(orders).where(_is(_O, before)).values(**changed, parked_at=_parked_at(after)))
    if after.state is not before.state:
        await _insert_edge(tx, after, None, after.reason)


async def overtake(tx: Tx, locked: Order) -> Order:
    """Claims a locked order from whoever has it, whose next write fails then."""
    claimed = replace(locked, fencing_token=locked.fencing_token + 1)
    await tx.execute(update(orders).where(_is(_O, locked)).values(fencing_token=claimed.fencing_token))
    return claimed


async def snapshot(tx: Tx) -> None:
    """From here on `tx` reads everything as of one instant, so that an order and its claims agree."""
    await tx.execution_options(isolation_level="REPEATABLE READ")


async def find(tx: Tx, program_id: str, order_id: UUID) -> Order | None:
    """A program's order."""
    return _one(await tx.execute(select(orders).where(_O.program_id == program_id, _O.order_id == order_id)))


async def lock(tx: Tx, program_id: str, order_id: UUID) -> Order | None:
    """A program's order, which nobody else changes before this transaction ends."""
    named = select(orders).where(_O.program_id == program_id, _O.order_id == order_id)
    return _one(await tx.execute(named.with_for_update()))


async def by_token(tx: Tx, token_hash: bytes) -> Order | None:
    """The order whose link has the token with this hash."""
    return _one(await tx.execute(select(orders).where(_O.token_hash == token_hash)))


async def page(tx: Tx, program_id: str, after: UUID | None, size: int) -> list[Order]:
    """At most `size` orders, newest first, from the one after `after`."""
    statement = select(orders).where(_O.program_id == program_id)
    if after is not None:
        statement = statement.where(_O.order_id < after)
    return [parse_order(row) for row in await tx.execute(statement.order_by(_O.order_id.desc()).limit(size))]


async def claims(tx: Tx, program_id: str, order_ids: Iterable[UUID]) -> dict[UUID, list[Redemption]]:
    """The claims of orders, first one first."""
    found: dict[UUID, list[Redemption]] = {order_id: [] for order_id in order_ids}
    of_some = selection().where(_R.program_id == program_id, _R.order_id.in_(list(found)))
    for row in await tx.execute(of_some.order_by(_R.redemption_id)):
        found[row.order_id].append(parse(row))
    return found


async def under_way(tx: Tx, order: Order, besides: UUID | None = None) -> bool:
    """True if claims of the order have not ended, `besides` one."""
    open_ones = _R.program_id == order.program_id, _R.order_id == order.order_id, _R.state.not_in(TERMINAL)
    others = () if besides is None else (_R.redemption_id != besides,)
    return bool(await tx.scalar(select(exists().where(*open_ones, *others))))


async def claim_due(tx: Tx, program_id: str, lease_s: float) -> Order | None:
    """Claims an order of a program whose time has come or whose lease has run out, for `lease_s`."""
    due = select(orders).where(_O.program_id == program_id, _O.due_at <= func.now()).order_by(_O.due_at).limit(1)
    found = _one(await tx.execute(due.with_for_update(skip_locked=True)))
    if found is None:
        return None
    claimed = replace(found, attempts=found.attempts + 1, fencing_token=found.fencing_token + 1)
    taken = {"attempts": claimed.attempts, "fencing_token": claimed.fencing_token, "due_at": from_now(lease_s)}
    await tx.execute(update(orders).where(_is(_O, found)).values(**taken))
    return claimed


async def expire(tx: Tx, program_id: str, now: datetime, size: int) -> int:
    """Closes at most `size` orders of which something is left and whose time has run out; how many there were."""
    over = _O.expires_at <= now, _O.state.in_(CLAIMABLE), _O.remaining_minor > 0
    some = select(_O.order_id).where(_O.program_id == program_id, *over).order_by(_O.expires_at).limit(size)
    locked = (await tx.execute(some.with_for_update(skip_locked=True))).scalars().all()
    of_these = update(orders).where(_O.program_id == program_id, _O.order_id.in_(locked))
    await tx.execute(of_these.values(state=State.EXPIRING, reason="", parked_at=None, attempts=0, due_at=func.now()))
    of_each = {"program_id": program_id, "state": State.EXPIRING, "reason": ""}
    if locked:
        await tx.execute(insert(history), [of_each | {"order_id": one, "entry_id": new_id()} for one in locked])
    return len(locked)


async def secret(tx: Tx, order: Order) -> Sealed:
    """The sealed invitation of an order."""
    row = (await tx.execute(select(secrets).where(_is(secrets.c, order)))).one()
    return Sealed(row.key_id, row.wrapped_key, row.ciphertext)


async def with_secrets(tx: Tx, program_id: str, order_ids: Iterable[UUID]) -> list[tuple[Order, Sealed]]:
    """Those orders with their sealed invitations."""
    kept = secrets.c.key_id, secrets.c.wrapped_key, secrets.c.ciphertext
    both = select(orders, *kept).join_from(orders, secrets)
    rows = await tx.execute(both.where(_O.program_id == program_id, _O.order_id.in_(list(order_ids))))
    return [(parse_order(row), Sealed(row.key_id, row.wrapped_key, row.ciphertext)) for row in rows]


async def rewrapping(tx: Tx, old_key_ids: Sequence[str], size: int) -> dict[Place, Sealed]:
    """At most `size` sealed invitations of one program under old master keys, which nobody else is rewrapping."""
    old = secrets.c.key_id.in_(old_key_ids)
    program_id = await tx.scalar(select(secrets.c.program_id).where(old).limit(1))
    batch = select(secrets).where(secrets.c.program_id == program_id, old).limit(size)
    rows = await tx.execute(batch.with_for_update(skip_locked=True))
    return {place(row.program_id, row.order_id): Sealed(row.key_id, row.wrapped_key, row.ciphertext) for row in rows}


async def update_secret(tx: Tx, order: Order, sealed: Sealed) -> None:
    """Stores the invitation of an order anew."""
    await tx.execute(update(secrets).where(_is(secrets.c, order)).values(asdict(sealed)))


async def update_keys(tx: Tx, rewrapped: Mapping[Place, Sealed]) -> None:
    """Stores data keys that were wrapped anew."""
    for at, one in rewrapped.items():
        named = secrets.c.program_id == at.program_id, secrets.c.order_id == at.redemption_id
        await tx.execute(update(secrets).where(*named).values(key_id=one.key_id, wrapped_key=one.wrapped_key))


async def count_under_others(tx: Tx, key_id: str) -> int:
    """How many sealed invitations are under other master keys than this."""
    return int(await tx.scalar(select(func.count()).where(secrets.c.key_id != key_id)) or 0)


def place(program_id: str, order_id: UUID) -> Place:
    """Where the invitation of an order opens."""
    return Place(program_id, order_id, RECIPIENT)


def parse_order(row: Any) -> Order:
    """The order of a row of its table."""
    names = Order.__dataclass_fields__.keys() - {"choice", "state", "delivery", "parked"}
    return Order(
        choice=None if row.choice is None else Choice(**row.choice),
        state=State(row.state),
        delivery=Delivery(row.delivery),
        parked=row.parked_at is not None,
        **{name: getattr(row, name) for name in names},
    )


def _one(rows: Any) -> Order | None:
    row = rows.one_or_none()
    return None if row is None else parse_order(row)


async def _insert_edge(tx: Tx, order: Order, answer: Answer | None, reason: str) -> None:
    edge = {"entry_id": new_id(), "state": order.state, "answer": answer, "reason": reason}
    await tx.execute(insert(history).values(_key(order) | edge))


def _parked_at(after: Order) -> Any:
    return func.coalesce(_O.parked_at, func.now()) if after.parked else null()


def _key(order: Order) -> dict[str, Any]:
    return {"program_id": order.program_id, "order_id": order.order_id}


def _is(columns: Any, order: Order) -> ColumnElement[bool]:
    return and_(columns.program_id == order.program_id, columns.order_id == order.order_id)
