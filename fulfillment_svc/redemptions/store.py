"""Every SQL statement about redemptions. A write needs the fencing token of the present claim."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Final, NamedTuple
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, case, delete, extract, func, insert, null, or_, select, update

from fulfillment_svc.leases_store import from_now
from fulfillment_svc.redemptions.states import ASKING, Answer, State
from fulfillment_svc.redemptions.tables import edges, items, redemptions
from fulfillment_svc.redemptions.values import Choice, Redemption, Reply, Unit
from fulfillment_svc.tables import keys
from svckit.db import Tx
from svckit.errors import Reason, Refused
from svckit.idempotency import Claim
from svckit.idempotency import State as KeyState

_R: Final = redemptions.c


class LeaseLost(Refused):
    """Another worker has claimed the redemption, or the order, since; nothing was written."""

    def __init__(self) -> None:
        super().__init__(Reason.CONFLICT, "It is being worked on elsewhere.")


class Then(NamedTuple):
    """When a redemption may next be taken, None for never; and whether whoever writes this keeps it until then."""

    due_in_s: float | None
    leased: bool


async def insert_redemption(tx: Tx, new: Redemption, lease_s: float) -> None:
    """Stores a new redemption with its items, claimed for `lease_s`; free for a worker at once if that is nothing."""
    row = {
        "program_id": new.program_id,
        "redemption_id": new.redemption_id,
        "member_id": new.member_id,
        **asdict(new.choice),
        "country": new.country,
        "idempotency_key": new.idempotency_key,
        "created_at": new.created_at,
        "traceparent": new.traceparent,
        "fencing_token": new.fencing_token,
        "order_id": new.order_id,
        "payee": new.payee,
        **_progress(new),
        "due_at": from_now(lease_s),
        "leased": lease_s > 0,
    }
    await tx.execute(insert(redemptions).values(row))
    numbers = range(1, new.choice.quantity + 1)
    await tx.execute(insert(items), [{**_key(new), "number": number, "code_masked": ""} for number in numbers])
    await _insert_edge(tx, new, None, "")


async def update_redemption(tx: Tx, before: Redemption, after: Redemption, reply: Reply, then: Then) -> None:
    """Stores what a reply made of a redemption, and its edge if it has moved.

    Raises LeaseLost if the redemption has been claimed by another since.
    """
    changed: dict[str, Any] = {
        **_progress(after),
        "due_at": _due_at(after, then),
        "leased": then.leased,
        "parked_at": func.coalesce(_R.parked_at, func.now()) if after.parked else None,
    }
    if reply.answer is Answer.SENT:
        changed["sent_at"] = func.now()
    await _update_claimed(tx, before, changed)
    if after.version != before.version:
        await _insert_edge(tx, after, reply.answer, reply.reason)
    if after.units != before.units:
        for number, unit in enumerate(after.units, 1):
            known = update(items).where(_is(items.c, after), items.c.number == number)
            await tx.execute(known.values(issued=unit.issued, code_masked=unit.masked))


async def claim_due(tx: Tx, program_id: str, lease_s: float) -> Redemption | None:
    """Claims a redemption of a program whose time has come or whose lease has run out, for `lease_s`."""
    due = selection().where(_R.program_id == program_id, _R.due_at <= func.now()).order_by(_R.due_at).limit(1)
    row = (await tx.execute(due.with_for_update(skip_locked=True))).one_or_none()
    if row is None:
        return None
    found = parse(row)
    claimed = replace(found, attempts=found.attempts + 1)
    taken: dict[str, Any] = {"attempts": claimed.attempts, "due_at": from_now(lease_s), "leased": True}
    if found.state in ASKING:
        # What the provider has called about is asked now; in any other state the call stays to be answered.
        taken["called"] = False
    return await _claim(tx, claimed, taken)


async def claim(tx: Tx, program_id: str, redemption_id: UUID, lease_s: float) -> Redemption | None:
    """Claims this redemption for somebody who is no worker, whether it is due or not; None if there is none.

    Raises LeaseLost if a worker has it: what it has sent out is not to be decided over.
    """
    found = await lock(tx, program_id, redemption_id)
    if found is None:
        return None
    free = select(_free()).where(_is(_R, found))
    if not await tx.scalar(free):
        raise LeaseLost
    return await _claim(tx, found, {"due_at": from_now(lease_s), "leased": True})


async def overtake(tx: Tx, redemption: Redemption) -> Redemption:
    """Claims a locked redemption from whoever has it, whose next write fails then."""
    return await _claim(tx, redemption, {})


async def make_due(tx: Tx, provider: str, redemption_id: UUID) -> bool:
    """Makes a redemption due at once if its provider may know more of it than we do, or as soon as whoever has it now
    leaves it in such a state; True if it is due now."""
    named = _R.redemption_id == redemption_id, _R.provider == provider
    now = and_(_R.state.in_(ASKING), _free())
    told = {"called": True, "due_at": case((now, func.now()), else_=_R.due_at)}
    rows = await tx.execute(update(redemptions).where(*named).values(told).returning(_R.due_at <= func.now()))
    return any(due for (due,) in rows)


async def lock(tx: Tx, program_id: str, redemption_id: UUID) -> Redemption | None:
    """A program's redemption, which nobody else changes before this transaction ends."""
    named = selection().where(_R.program_id == program_id, _R.redemption_id == redemption_id)
    row = (await tx.execute(named.with_for_update())).one_or_none()
    return None if row is None else parse(row)


async def find(tx: Tx, program_id: str, redemption_id: UUID) -> Redemption | None:
    """A program's redemption."""
    row = (
        await tx.execute(selection().where(_R.program_id == program_id, _R.redemption_id == redemption_id))
    ).one_or_none()
    return None if row is None else parse(row)


async def page(tx: Tx, program_id: str, member_id: str, after: UUID | None, size: int) -> list[Redemption]:
    """At most `size` redemptions of a member, newest first, from the one after `after`."""
    statement = selection().where(_R.program_id == program_id, _R.member_id == member_id)
    if after is not None:
        statement = statement.where(_R.redemption_id < after)
    rows = await tx.execute(statement.order_by(_R.redemption_id.desc()).limit(size))
    return [parse(row) for row in rows]


async def free_key(tx: Tx, claim: Claim) -> None:
    """Forgets a key whose first call was refused in a way that does not bind it (G58)."""
    await tx.execute(
        delete(keys).where(
            keys.c.program_id == claim.program_id,
            keys.c.operation == claim.operation,
            keys.c.key == claim.key,
            keys.c.state == KeyState.IN_PROGRESS,
        )
    )


def selection() -> Select[Any]:
    """Selects redemptions as `parse` reads them."""
    sent_s_ago = func.coalesce(extract("epoch", func.now() - _R.sent_at), 0)
    issued, masked = _of_items(items.c.issued), _of_items(items.c.code_masked)
    return select(redemptions, issued.label("issued"), masked.label("masked"), sent_s_ago.label("sent_s_ago"))


def parse(row: Any) -> Redemption:
    """The redemption of a row of `selection`."""
    choice = Choice(**{name: getattr(row, name) for name in Choice.__dataclass_fields__})
    names = Redemption.__dataclass_fields__.keys() - {"choice", "state", "answer", "units", "sent_s_ago"}
    same = {name: getattr(row, name) for name in names}
    return Redemption(
        choice=choice,
        state=State(row.state),
        answer=None if row.answer is None else Answer(row.answer),
        units=tuple(Unit(*unit) for unit in zip(row.issued, row.masked, strict=True)),
        sent_s_ago=float(row.sent_s_ago),
        **same,
    )


async def _claim(tx: Tx, redemption: Redemption, changed: Mapping[str, Any]) -> Redemption:
    claimed = replace(redemption, fencing_token=redemption.fencing_token + 1)
    await _update_claimed(tx, redemption, {**changed, "fencing_token": claimed.fencing_token})
    return claimed


def _due_at(after: Redemption, then: Then) -> Any:
    due_at = null() if then.due_in_s is None else from_now(then.due_in_s)
    asking = after.state in ASKING and not then.leased
    return case((_R.called, func.now()), else_=due_at) if asking else due_at


def _free() -> ColumnElement[bool]:
    """Nobody has the redemption: it waits, or has ended, or the lease of whoever had it is over."""
    return or_(~_R.leased, _R.due_at <= func.now())


async def _update_claimed(tx: Tx, redemption: Redemption, changed: Mapping[str, Any]) -> None:
    held = _R.fencing_token == redemption.fencing_token
    result = await tx.execute(update(redemptions).where(_is(_R, redemption), held).values(**changed))
    if result.rowcount != 1:
        raise LeaseLost


async def _insert_edge(tx: Tx, redemption: Redemption, answer: Answer | None, reason: str) -> None:
    edge = {"version": redemption.version, "state": redemption.state, "status": redemption.status}
    await tx.execute(insert(edges).values(**_key(redemption), **edge, answer=answer, reason=reason))


def _of_items(column: Any) -> ColumnElement[Any]:
    of_one = items.c.program_id == _R.program_id, items.c.redemption_id == _R.redemption_id
    return func.array(select(column).where(*of_one).order_by(items.c.number).scalar_subquery())


def _progress(redemption: Redemption) -> dict[str, Any]:
    """The columns that change on the way."""
    names = "state", "answer", "version", "reason", "refusal", "points_hold_id", "funding_hold_id", "cancel_key"
    chosen, booked = ("provider", "route"), ("points_booked_at", "funding_booked_at")
    same = {name: getattr(redemption, name) for name in (*names, *chosen, *booked, "attempts")}
    return {**same, "fees_minor": redemption.choice.fees_minor}


def _key(redemption: Redemption) -> dict[str, Any]:
    return {"program_id": redemption.program_id, "redemption_id": redemption.redemption_id}


def _is(columns: Any, redemption: Redemption) -> ColumnElement[bool]:
    return and_(columns.program_id == redemption.program_id, columns.redemption_id == redemption.redemption_id)
