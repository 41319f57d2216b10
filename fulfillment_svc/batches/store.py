"""Every SQL statement about batches. Who appends or commits holds the row's lock; a worker's write needs the fencing
token of its claim."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement, and_, func, insert, null, or_, select, update

from fulfillment_svc.batches.tables import batches, items
from fulfillment_svc.batches.values import Batch, Item, ItemState, State, Wanted
from fulfillment_svc.codes import Place, Sealed, Vault
from fulfillment_svc.leases_store import from_now
from fulfillment_svc.redemptions.store import LeaseLost
from svckit.db import Tx
from svckit.errors import Reason

_B: Final = batches.c
_I: Final = items.c


async def insert_batch(tx: Tx, new: Batch) -> None:
    """Stores a new batch."""
    await tx.execute(insert(batches).values(asdict(new)))


async def find(tx: Tx, program_id: str, batch_id: UUID) -> Batch | None:
    """A program's batch."""
    return _one(await tx.execute(_named(program_id, batch_id)))


async def lock(tx: Tx, program_id: str, batch_id: UUID) -> Batch | None:
    """A program's batch, which nobody else changes before this transaction ends."""
    return _one(await tx.execute(_named(program_id, batch_id).with_for_update()))


async def fingerprints(tx: Tx, batch: Batch, keys: Iterable[str]) -> dict[str, bytes]:
    """The fingerprints of those items that have one of these keys."""
    some = select(_I.item_key, _I.fingerprint).where(_of(_I, batch), _I.item_key.in_(list(keys)))
    return {row.item_key: bytes(row.fingerprint) for row in await tx.execute(some)}


async def append(tx: Tx, batch: Batch, new: Sequence[Wanted], vault: Vault) -> Batch:
    """Adds items to a locked batch, sealed each at its place; the batch with them."""
    if not new:
        return batch
    rows = [
        {
            **_key(batch),
            **asdict(vault.seal(one.request, place(batch, number))),
            "number": number,
            "item_key": one.key,
            "fingerprint": one.fingerprint,
            "state": ItemState.PENDING,
            "round": 0,
            "attempts": 0,
            "reason": "",
        }
        for number, one in enumerate(new, batch.size + 1)
    ]
    await tx.execute(insert(items), rows)
    after = replace(batch, size=batch.size + len(new))
    await tx.execute(update(batches).where(_of(_B, batch)).values(size=after.size))
    return after


async def change(tx: Tx, after: Batch) -> None:
    """Stores what a commit made of a locked batch, and makes it due at once."""
    await tx.execute(update(batches).where(_of(_B, after)).values(**_progress(after), due_at=func.now()))


async def take_up_again(tx: Tx, batch: Batch) -> int:
    """Has the items of a locked batch that ran dry tried in another round; how many there were."""
    refused = _of(_I, batch), _ran_dry()
    anew = {"state": ItemState.PENDING, "round": _I.round + 1, "attempts": 0, "reason": "", "refusal": null()}
    return (await tx.execute(update(items).where(*refused).values(anew))).rowcount


async def claim_due(tx: Tx, program_id: str, lease_s: float, size: int) -> tuple[Batch, list[Item]] | None:
    """Claims a batch of a program whose time has come or whose lease has run out, for `lease_s`; with at most `size` of
    its items that are not decided, those first that were tried least."""
    due = select(batches).where(_B.program_id == program_id, _B.due_at <= func.now()).order_by(_B.due_at).limit(1)
    found = _one(await tx.execute(due.with_for_update(skip_locked=True)))
    if found is None:
        return None
    claimed = replace(found, fencing_token=found.fencing_token + 1)
    taken = {"fencing_token": claimed.fencing_token, "due_at": from_now(lease_s)}
    await tx.execute(update(batches).where(_of(_B, found)).values(taken))
    waiting = select(items).where(_of(_I, found), _I.state == ItemState.PENDING)
    rows = await tx.execute(waiting.order_by(_I.attempts, _I.number).limit(size))
    return claimed, [_item(row) for row in rows]


async def update_claimed(tx: Tx, after: Batch, tried: Sequence[Item], due_in_s: float | None) -> None:
    """Stores what became of items of a claimed batch, and of the batch by it; free for others `due_in_s` from now, or
    not due at all. Raises LeaseLost if it was claimed by another worker since."""
    due_at = null() if due_in_s is None else from_now(due_in_s)
    ours = _of(_B, after), _B.fencing_token == after.fencing_token
    if (await tx.execute(update(batches).where(*ours).values(**_progress(after), due_at=due_at))).rowcount != 1:
        raise LeaseLost
    for item in tried:
        decided = {name: getattr(item, name) for name in ("state", "attempts", "order_id", "reason", "refusal")}
        await tx.execute(update(items).where(_of(_I, after), _I.number == item.number).values(decided))


async def page(tx: Tx, batch: Batch, after: int, size: int) -> list[Item]:
    """At most `size` items in the order of their numbers, from the one after `after`."""
    statement = select(items).where(_of(_I, batch), _I.number > after).order_by(_I.number).limit(size)
    return [_item(row) for row in await tx.execute(statement)]


async def to_order(tx: Tx, batch: Batch, after: int, size: int) -> list[Item]:
    """As `page`, of those items only that a commit would order."""
    some = _of(_I, batch), _I.number > after, or_(_I.state == ItemState.PENDING, _ran_dry())
    rows = await tx.execute(select(items).where(*some).order_by(_I.number).limit(size))
    return [_item(row) for row in rows]


async def rewrapping(tx: Tx, old_key_ids: Sequence[str], size: int) -> dict[Place, Sealed]:
    """At most `size` sealed items of one program under old master keys, which nobody else is rewrapping."""
    old = _I.key_id.in_(old_key_ids)
    program_id = await tx.scalar(select(_I.program_id).where(old).limit(1))
    some = select(items).where(_I.program_id == program_id, old).limit(size).with_for_update(skip_locked=True)
    return {
        Place(row.program_id, row.batch_id, row.number): Sealed(row.key_id, row.wrapped_key, row.ciphertext)
        for row in await tx.execute(some)
    }


async def update_keys(tx: Tx, rewrapped: Mapping[Place, Sealed]) -> None:
    """Stores data keys that were wrapped anew."""
    for at, one in rewrapped.items():
        named = _I.program_id == at.program_id, _I.batch_id == at.redemption_id, _I.number == at.number
        await tx.execute(update(items).where(*named).values(key_id=one.key_id, wrapped_key=one.wrapped_key))


async def count_under_others(tx: Tx, key_id: str) -> int:
    """How many sealed items are under other master keys than this."""
    return int(await tx.scalar(select(func.count()).where(_I.key_id != key_id)) or 0)


def place(batch: Batch, number: int) -> Place:
    """Where an item of a batch opens."""
    return Place(batch.program_id, batch.batch_id, number)


def _named(program_id: str, batch_id: UUID) -> Any:
    return select(batches).where(_B.program_id == program_id, _B.batch_id == batch_id)


def _one(rows: Any) -> Batch | None:
    row = rows.one_or_none()
    return None if row is None else _batch(row)


def _batch(row: Any) -> Batch:
    names = Batch.__dataclass_fields__.keys() - {"state"}
    return Batch(state=State(row.state), **{name: getattr(row, name) for name in names})


def _item(row: Any) -> Item:
    names = Item.__dataclass_fields__.keys() - {"key", "state", "sealed"}
    return Item(
        key=row.item_key,
        state=ItemState(row.state),
        sealed=Sealed(row.key_id, row.wrapped_key, row.ciphertext),
        **{name: getattr(row, name) for name in names},
    )


def _ran_dry() -> ColumnElement[bool]:
    """There was no money for the item; a key is refused with that for ever, so it takes another one."""
    return and_(_I.state == ItemState.FAILED, _I.reason == Reason.Name(Reason.INSUFFICIENT_FUNDS))


def _progress(batch: Batch) -> dict[str, Any]:
    names = "state", "succeeded", "failed", "committed_at", "completed_at", "traceparent", "attempts"
    return {name: getattr(batch, name) for name in names}


def _key(batch: Batch) -> dict[str, Any]:
    return {"program_id": batch.program_id, "batch_id": batch.batch_id}


def _of(columns: Any, batch: Batch) -> ColumnElement[bool]:
    return and_(columns.program_id == batch.program_id, columns.batch_id == batch.batch_id)
