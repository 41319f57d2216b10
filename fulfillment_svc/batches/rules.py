"""What appending, committing and working make of a batch, and what it needs. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from fulfillment_svc.batches.values import ITEMS_MAX, Batch, Item, ItemState, Needed, Shortage, State, Wanted
from svckit.errors import Reason, Refused, invalid, violated


def appended(batch: Batch, known: Mapping[str, bytes], sent: Sequence[Wanted]) -> list[Wanted]:
    """What of `sent` is new to the batch, whose items' fingerprints are `known` by their keys.

    Raises CONFLICT if the batch is not open, IDEMPOTENCY_KEY_REUSED that names the items whose key is known with
    another fingerprint, INVALID_REQUEST if there is no room for them.
    """
    if batch.state is not State.OPEN:
        raise Refused(Reason.CONFLICT, "The batch was committed already.")
    new: dict[str, Wanted] = {}
    reused = []
    for place, item in enumerate(sent):
        before = known.get(item.key) or (new[item.key].fingerprint if item.key in new else None)
        if before is None:
            new[item.key] = item
        elif before != item.fingerprint:
            reused.append((f"items[{place}].itemKey", "is in the batch with other content"))
    if reused:
        told = violated(reused)
        raise Refused(Reason.IDEMPOTENCY_KEY_REUSED, told.message, detail=told.detail)
    if batch.size + len(new) > ITEMS_MAX:
        raise invalid(items=f"must leave the batch at {ITEMS_MAX} items at most; it has {batch.size}")
    return list(new.values())


def shortages(needed: Sequence[Needed], available: Mapping[str, int]) -> list[Shortage]:
    """What items need of the funding, in order of the currency; `available` is in minor units."""
    found = {of.currency: Shortage(of.currency, available.get(of.currency, 0)) for of in needed}
    for of in needed:
        found[of.currency] = _with(found[of.currency], of)
    return [found[currency] for currency in sorted(found)]


def _with(shortage: Shortage, of: Needed) -> Shortage:
    after = replace(
        shortage,
        needed_minor=shortage.needed_minor + of.value_minor + of.fee_minor,
        fees_minor=shortage.fees_minor + of.fee_minor,
    )
    first = shortage.at is None and after.short_by_minor > 0
    return replace(after, at=of.item) if first else after


def committed(batch: Batch, again: int, traceparent: str, now: datetime) -> Batch:
    """The batch once it was committed, with `again` of its items taken up again. Raises CONFLICT if it has no items."""
    if not batch.size:
        raise Refused(Reason.CONFLICT, "The batch has no items.")
    if batch.state is State.RUNNING or (batch.state is State.COMPLETED and not again):
        return batch
    return replace(
        batch,
        state=State.RUNNING,
        failed=batch.failed - again,
        committed_at=now,
        completed_at=None,
        traceparent=traceparent,
        attempts=0,
    )


def key(batch: Batch, item: Item) -> str:
    """The key under which an item is ordered in its present round. It has a space in it, so no partner can send it."""
    return f"batch {batch.batch_id} {item.number} {item.round}"


def worked(batch: Batch, tried: Sequence[Item], now: datetime) -> Batch:
    """The batch after items of it were tried."""
    states = [item.state for item in tried]
    succeeded = batch.succeeded + states.count(ItemState.SUCCEEDED)
    failed = batch.failed + states.count(ItemState.FAILED)
    if succeeded + failed == batch.size:
        return replace(batch, state=State.COMPLETED, succeeded=succeeded, failed=failed, completed_at=now)
    stuck = states.count(ItemState.PENDING) == len(states)
    return replace(batch, succeeded=succeeded, failed=failed, attempts=batch.attempts + 1 if stuck else 0)
