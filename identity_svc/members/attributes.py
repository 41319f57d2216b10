"""AttributesService: what a program's attributes are."""

from typing import Any

from rewards.identity.v1 import attributes_pb2 as pb
from rewards.identity.v1.attributes_pb2_grpc import AttributesServiceServicer

from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.members import attribute_store, wire
from svckit import call
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused
from svckit.idempotency import Idempotency


class AttributesServicer(AttributesServiceServicer):
    """Reads and replaces the definitions of the caller's program."""

    def __init__(self, db: Database, idempotency: Idempotency) -> None:
        self._db = db
        self._idempotency = idempotency

    async def GetAttributeDefinitions(
        self, request: pb.GetAttributeDefinitionsRequest, context: Any
    ) -> pb.GetAttributeDefinitionsResponse:
        """Reads the definitions."""
        async with self._db.read() as tx:
            schema = await attribute_store.schema(tx, call.current().program_id)
        return pb.GetAttributeDefinitionsResponse(attribute_definitions=wire.defined(schema.definitions.values()))

    async def PutAttributeDefinitions(
        self, request: pb.PutAttributeDefinitionsRequest, context: Any
    ) -> pb.PutAttributeDefinitionsResponse:
        """Replaces the definitions."""
        program_id, actor = call.current().program_id, Actor.caller()
        wanted = wire.definitions(request)

        answer = pb.PutAttributeDefinitionsResponse(attribute_definitions=wire.defined(wanted.values()))

        async def work(tx: Tx) -> pb.PutAttributeDefinitionsResponse:
            stored = await attribute_store.lock_schema(tx, program_id)
            if stored.definitions == wanted:
                return answer
            for name in stored.definitions.keys() | wanted.keys():
                unique = name in wanted and wanted[name].unique
                if unique == stored.unique(name):
                    continue
                if not await attribute_store.set_unique(tx, program_id, name, unique=unique):
                    raise Refused(Reason.ATTRIBUTE_TAKEN, f"Two members have the same value of {name}.")
            await attribute_store.replace_definitions(tx, program_id, wanted.values())
            await audit.append(tx, actor, "attributes.defined", program_id, program_id)
            return answer

        return await self._idempotency.once(request, pb.PutAttributeDefinitionsResponse, work)
