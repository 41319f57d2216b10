"""What became of a call, by its key."""

from typing import Any, Final

from rewards.ledger.v1 import outcomes_pb2 as pb
from rewards.ledger.v1.outcomes_pb2_grpc import OutcomesServiceServicer

from ledger_svc.journal import wire
from ledger_svc.parts import Rpcs
from svckit import call
from svckit.errors import invalid
from svckit.idempotency import Claim, State

# By operation: the field that has its answer.
_FIELDS: Final = {
    field.message_type.name.removesuffix("Response"): field.name
    for field in pb.GetOutcomeResponse.DESCRIPTOR.oneofs_by_name["result"].fields
    if field.message_type is not None
}


class OutcomesServicer(Rpcs, OutcomesServiceServicer):
    """Looks keys up."""

    async def GetOutcome(self, request: pb.GetOutcomeRequest, context: Any) -> pb.GetOutcomeResponse:
        """What is kept of a key's first call."""
        field = _FIELDS.get(request.operation)
        if field is None:
            raise invalid(operation="is not one that keeps its outcomes here")
        claim = Claim(call.current().program_id, request.operation, request.idempotency_key, b"")
        async with self.db.read() as tx:
            kept = await self.idempotency.find(tx, claim)
        if kept is None:
            return pb.GetOutcomeResponse(status=pb.GetOutcomeResponse.NOT_SEEN)
        if kept.state is State.IN_PROGRESS:
            return pb.GetOutcomeResponse(status=pb.GetOutcomeResponse.IN_PROGRESS)
        if kept.state is State.REFUSED:
            return pb.GetOutcomeResponse(status=pb.GetOutcomeResponse.REFUSED, refusal=wire.refusal(kept.body))
        answer = pb.GetOutcomeResponse(status=pb.GetOutcomeResponse.DONE)
        getattr(answer, field).MergeFromString(kept.body)
        # An answer of defaults only is one all the same.
        getattr(answer, field).SetInParent()
        return answer
