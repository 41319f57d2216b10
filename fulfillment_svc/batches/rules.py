"""What appending makes of a batch. Pure."""

from collections.abc import Mapping, Sequence

from fulfillment_svc.batches.values import ITEMS_MAX, Batch, State, Wanted
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
