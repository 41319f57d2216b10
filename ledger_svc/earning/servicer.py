"""Events in, points out."""

from datetime import datetime
from fractions import Fraction
from typing import Any

from rewards.ledger.v1 import earning_pb2
from rewards.ledger.v1 import points_pb2 as pb
from rewards.ledger.v1.earning_pb2_grpc import EarningRulesServiceServicer

from ledger_svc.earning import store
from ledger_svc.earning.rules import Award, Rule, awards
from ledger_svc.journal import wire
from ledger_svc.journal.book import Event, Posted
from ledger_svc.journal.postings import Earn, or_refusal
from ledger_svc.parts import Rpcs
from ledger_svc.tables import programs
from svckit import money
from svckit.clock import new_id
from svckit.db import Database, Tx
from svckit.programs import Program


class EarningRpcs(Rpcs):
    """The PointsService RPC that takes events."""

    async def InsertTransactionData(
        self, request: pb.InsertTransactionDataRequest, context: Any
    ) -> pb.InsertTransactionDataResponse:
        """Records an event and awards what the program's rules give for it."""
        program, now = await self.program()
        key = wire.member_key(program, request.member_id, request.asset)
        async with self.db.read() as tx:
            rules = await store.rules_in_force(tx, program.program_id)
        amount = _amount(program, request)
        given: list[Award] = []

        def earned() -> Earn:
            given.extend(awards(rules, request.type, amount))
            return Earn(key, now, _event(program, request, now, sum(award.points for award in given)))

        return await self.post(
            request,
            program,
            or_refusal(earned),
            pb.InsertTransactionDataResponse,
            lambda posted: _response(posted, given),
        )


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


def _amount(program: Program, request: pb.InsertTransactionDataRequest) -> Fraction | None:
    """The event's amount in major units; None without one, or in a currency that no rule has a rate for."""
    if not request.HasField("amount"):
        return None
    currency = request.currency or program.currency
    amount_minor = money.minor(request.amount, currency, "amount")
    if currency != program.currency:
        return None
    return Fraction(amount_minor, 10 ** money.exponent(currency))


def _event(program: Program, request: pb.InsertTransactionDataRequest, now: datetime, points: int) -> Event:
    transaction_id = new_id()
    currency = request.currency or program.currency
    has_amount = request.HasField("amount")
    return Event(
        event_id=request.event_id or str(transaction_id),
        transaction_id=transaction_id,
        member_id=request.member_id,
        type=request.type,
        amount_minor=money.minor(request.amount, currency, "amount") if has_amount else None,
        currency=currency,
        occurred_at=wire.instant(request.occurred_at, "occurredAt") if request.HasField("occurred_at") else now,
        received_at=now,
        points=points,
    )


def _response(posted: Posted, given: list[Award]) -> pb.InsertTransactionDataResponse:
    return pb.InsertTransactionDataResponse(
        transaction_id=str(posted.transaction_id),
        points_awarded=posted.amount,
        balance=posted.balance,
        awards=[
            pb.Award(
                rule_id=award.rule_id,
                rule_version=award.rule_version,
                points=award.points,
                explanation=award.explanation,
            )
            for award in given
        ],
    )
