"""Events in, points out."""

from typing import Any

from rewards.ledger.v1 import earning_pb2
from rewards.ledger.v1 import points_pb2 as pb
from rewards.ledger.v1.earning_pb2_grpc import EarningRulesServiceServicer

from ledger_svc.earning import store
from ledger_svc.earning.rules import Rule
from ledger_svc.journal import requests
from ledger_svc.parts import Rpcs
from ledger_svc.tables import programs
from svckit.db import Database, Tx


class EarningRpcs(Rpcs):
    """The PointsService RPC that takes events."""

    async def InsertTransactionData(
        self, request: pb.InsertTransactionDataRequest, context: Any
    ) -> pb.InsertTransactionDataResponse:
        """Records an event and awards what the program's rules give for it."""
        program, now = await self.program()
        async with self.db.read() as tx:
            in_force = await store.rules_in_force(tx, program.program_id)
        return await self.post(request, program, requests.event(request, program, now, in_force))


class EarningRulesServicer(EarningRulesServiceServicer):
    """Rules, for operators."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def PutRule(self, request: earning_pb2.PutRuleRequest, context: Any) -> earning_pb2.PutRuleResponse:
        """Stores a version of a rule."""
        sent = request.rule
        rule = Rule(sent.rule_id, sent.version, sent.event_type, sent.points_numerator, sent.points_denominator)

        async def work(tx: Tx) -> None:
            await programs.get(tx, request.program_id)
            await store.put_rule(tx, request.program_id, rule)

        await self._db.transact(work)
        return earning_pb2.PutRuleResponse()
