"""What the intakes of redemptions, orders and claims keep of a request beside its effect."""

from svckit import idempotency, telemetry
from svckit.db import Database, Tx
from svckit.errors import Refused
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


def traceparent() -> str:
    """The trace of the request, for the workers who go on with it (W3C)."""
    headers: dict[str, str] = {}
    telemetry.propagator.inject(headers)
    return headers.get("traceparent", "")
