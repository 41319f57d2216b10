"""Batches to and from protobuf."""

from collections.abc import Sequence
from typing import Final

from rewards.ledger.v1 import batches_pb2 as pb
from rewards.ledger.v1 import journal_pb2, points_pb2

from ledger_svc.bulk.rules import Found, ItemStatus, Kept, Tally
from ledger_svc.journal.wire import timestamp
from svckit import paging
from svckit.errors import invalid

_STATUSES: Final = {"event": ItemStatus.SUCCEEDED, "refusal": ItemStatus.FAILED, "skipped": ItemStatus.SKIPPED}
# As the proto has it.
_ITEMS_MAX: Final = 1_000


def item(sent: pb.BatchTransaction) -> journal_pb2.PostBatchItem:
    """A transaction as PostBatch takes it. Its fields have the numbers that they have in the single call, so that the
    event is the single call's request, byte for byte, and has its fingerprint."""
    bare = pb.BatchTransaction()
    bare.CopyFrom(sent)
    bare.ClearField("idempotency_key")
    event = points_pb2.InsertTransactionDataRequest.FromString(bare.SerializeToString())
    return journal_pb2.PostBatchItem(idempotency_key=sent.idempotency_key, event=event)


def kept(sent: journal_pb2.PostBatchItem, result: journal_pb2.PostBatchResult) -> Kept:
    """What is kept of what became of an item."""
    refusal = result.refusal.SerializeToString() if result.HasField("refusal") else None
    return Kept(sent.idempotency_key, _STATUSES[result.WhichOneof("outcome") or ""], result.replayed, refusal)


def before(request: pb.GetBatchStatusRequest) -> int:
    """How many items are before the page. Raises INVALID_REQUEST for a token that somebody else made."""
    found = paging.place(request, 1)
    if found is None:
        return 0
    count = int(found[0]) if found[0].isdecimal() else -1
    if not 0 <= count <= _ITEMS_MAX:
        raise invalid(pageToken="is not a token of this list")
    return count


def status(
    request: pb.GetBatchStatusRequest, tally: Tally, start: int, page: Sequence[Found]
) -> pb.GetBatchStatusResponse:
    """A batch in figures, with a page of its items, which `start` others come before."""
    end = start + len(page)
    return pb.GetBatchStatusResponse(
        batch_id=request.batch_id,
        status=pb.GetBatchStatusResponse.Status.ValueType(tally.status),
        mode=journal_pb2.PostBatchRequest.Mode.ValueType(tally.mode),
        created_at=timestamp(tally.created_at),
        total=tally.total,
        succeeded=tally.succeeded,
        failed=tally.failed,
        skipped=tally.skipped,
        first_failed=tally.first_failed,
        results=[_result(start + place, found) for place, found in enumerate(page)],
        next_page_token=paging.token(request, str(end)) if end < tally.total else "",
    )


def _result(index: int, found: Found) -> pb.BatchResult:
    key, became, replayed, refusal = found.kept
    made = pb.BatchResult(
        index=index, idempotency_key=key, status=pb.BatchResult.Status.ValueType(became), replayed=replayed
    )
    if found.answer is not None:
        made.transaction.MergeFromString(found.answer)
    if refusal is not None:
        made.refusal.MergeFromString(refusal)
    return made
