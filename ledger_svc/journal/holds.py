"""Holds: value set aside for a saga, then captured or voided, exactly one of them (G5 to G7)."""

from datetime import datetime
from typing import Any
from uuid import UUID

from rewards.errors.v1.errors_pb2 import Shortfall
from rewards.ledger.v1 import journal_pb2 as pb
from rewards.ledger.v1.journal_pb2_grpc import JournalServiceServicer

from ledger_svc.journal import store, wire
from ledger_svc.journal.account import Account, Category, Draft, Kind, Owner, Use
from ledger_svc.journal.servicer import tell
from ledger_svc.journal.store import Hold, HoldState
from ledger_svc.parts import Rpcs
from ledger_svc.tables import programs
from svckit.clock import new_id
from svckit.db import Tx
from svckit.errors import Reason, Refused


class JournalServicer(Rpcs, JournalServiceServicer):
    """The RPCs that fulfillment_svc's sagas call."""

    async def PlaceHold(self, request: pb.PlaceHoldRequest, context: Any) -> pb.PlaceHoldResponse:
        """Sets value aside."""

        async def work(tx: Tx) -> pb.PlaceHoldResponse:
            program = await programs.get(tx, request.program_id)
            now = program.now(self.clock)
            key = wire.account_key(program, request.account)
            if key.owner_kind is Owner.MEMBER:
                await store.require_active(tx, key.program_id, key.owner)
            account = await store.lock(tx, key, now)
            uses = account.hold(now, request.amount)
            expires_at = wire.instant(request.expires_at, "expiresAt") if request.HasField("expires_at") else None
            hold_id = new_id()
            await store.write(tx, account)
            await store.insert_hold(tx, account, hold_id, request.amount, now, expires_at)
            await store.write_uses(tx, key.program_id, hold_id, uses)
            return pb.PlaceHoldResponse(hold_id=str(hold_id))

        return await self.idempotency.once(request, pb.PlaceHoldResponse, work)

    async def CaptureHold(self, request: pb.CaptureHoldRequest, context: Any) -> pb.CaptureHoldResponse:
        """Posts all or part of a hold; the posted transaction has the hold's id."""

        async def work(tx: Tx) -> pb.CaptureHoldResponse:
            hold, account, uses, now = await self._locked(tx, request.program_id, request.hold_id)
            amount = request.amount if request.HasField("amount") else hold.amount
            if amount > hold.amount:
                detail = Shortfall(available=hold.amount, requested=amount)
                raise Refused(Reason.REVERSAL_EXCEEDS, "The hold is smaller than that.", detail=detail)
            await store.end_hold(tx, request.program_id, hold.hold_id, HoldState.CAPTURED)
            entry = account.capture(_capture_draft(hold, account, now), uses, amount, hold.amount)
            await store.write(tx, account)
            if account.has_lots:
                await tell(tx, "points.redeemed", account, entry, amount)
            return pb.CaptureHoldResponse(transaction_id=str(entry.transaction_id), balance=account.posted)

        return await self.idempotency.once(request, pb.CaptureHoldResponse, work)

    async def VoidHold(self, request: pb.VoidHoldRequest, context: Any) -> pb.VoidHoldResponse:
        """Releases a hold."""

        async def work(tx: Tx) -> pb.VoidHoldResponse:
            hold, account, uses, now = await self._locked(tx, request.program_id, request.hold_id)
            await store.end_hold(tx, request.program_id, hold.hold_id, HoldState.VOIDED)
            account.release(uses, hold.amount)
            account.sweep(now)
            await store.write(tx, account)
            return pb.VoidHoldResponse(available=account.available(now))

        return await self.idempotency.once(request, pb.VoidHoldResponse, work)

    async def _locked(self, tx: Tx, program_id: str, hold_id: str) -> tuple[Hold, Account, list[Use], datetime]:
        program = await programs.get(tx, program_id)
        now = program.now(self.clock)
        seen = await store.find_hold(tx, program_id, UUID(hold_id))
        if seen is None:
            raise wire.transaction_not_found()
        uses = await store.read_uses(tx, program_id, seen.hold_id)
        account = await store.lock_by_id(tx, program_id, seen.account_id, now, [use.lot_id for use in uses])
        hold = await store.find_hold(tx, program_id, seen.hold_id)
        if hold is None or hold.state is not HoldState.ACTIVE:
            raise Refused(Reason.HOLD_NOT_ACTIVE, "The hold has been captured or voided.")
        return hold, account, uses, now


def _capture_draft(hold: Hold, account: Account, now: datetime) -> Draft:
    if account.has_lots:
        return Draft(hold.hold_id, Kind.CAPTURE, Category.REDEEM, now)
    return Draft(hold.hold_id, Kind.SETTLE, Category.SPEND, now)
