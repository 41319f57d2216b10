"""What redemptions, orders and claims keep of a request beside its effect, and how it is answered."""

from google.protobuf.message import Message
from google.rpc.status_pb2 import Status

from fulfillment_svc.redemptions.store import free_key
from svckit import idempotency, telemetry
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused, from_status
from svckit.idempotency import Claim, Idempotency, Outcome


async def keep_refusal(db: Database, idempotent: Idempotency, claim: Claim, refusal: Refused) -> Outcome:
    """Keeps a refusal that binds; or gives what a twin has kept. Raises a refusal that does not bind."""
    if not refusal.binds:
        raise refusal
    outcome = idempotency.refused(claim, refusal)

    async def work(tx: Tx) -> Outcome | None:
        recorded = await idempotent.record(tx, claim, outcome)
        return None if recorded else await idempotent.find(tx, claim)

    kept = await db.transact(work)
    if kept is None:
        raise refusal
    return kept


async def keep_decision(tx: Tx, idempotent: Idempotency, claim: Claim, answer: Message | Refused) -> None:
    """Keeps what a request was decided to under its key, for whoever asks with it again; a refusal that does not bind
    frees the key."""
    if not isinstance(answer, Refused):
        await idempotent.finish(tx, claim, idempotency.done(claim, answer))
    elif answer.binds:
        await idempotent.finish(tx, claim, idempotency.refused(claim, answer))
    else:
        await free_key(tx, claim)


def refusal(stored: bytes | None) -> Refused | None:
    """The refusal that a caller gets, of a stored `google.rpc.Status`; None if there is none."""
    return None if stored is None else from_status(Status.FromString(stored))


def check(what: str, stored: bytes | None, *, decided: bool) -> None:
    """Raises the refusal that the caller of `what` gets, or UNAVAILABLE while it is not decided."""
    if not decided:
        text = f"The {what} is being worked on; the same key tells its outcome."
        raise Refused(Reason.UNAVAILABLE, text, retry_after_s=1)
    if refused := refusal(stored):
        raise refused


def traceparent() -> str:
    """The trace of the request, for the workers who go on with it (W3C)."""
    headers: dict[str, str] = {}
    telemetry.propagator.inject(headers)
    return headers.get("traceparent", "")
