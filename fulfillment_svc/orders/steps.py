"""The steps of an order: what each does outside this process. Every call carries a key made of the order and the step,
so taking a step again finds out what it did the first time."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING
from uuid import UUID

from rewards.ledger.v1.journal_pb2 import AccountRef, PlaceHoldRequest, VoidHoldRequest

from fulfillment_svc.looks.theme import Theme
from fulfillment_svc.orders import mail, store
from fulfillment_svc.orders.invitations import Invitations
from fulfillment_svc.orders.states import Step
from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions.mail import Mailer
from fulfillment_svc.redemptions.rules import definite
from fulfillment_svc.redemptions.states import Answer
from fulfillment_svc.redemptions.values import Reply
from fulfillment_svc.tables import programs
from svckit.clients import invoke
from svckit.clock import Clock
from svckit.db import Database
from svckit.errors import Reason, Refused

if TYPE_CHECKING:
    from rewards.ledger.v1.journal_pb2_grpc import JournalServiceAsyncStub


class Steps:
    """Takes steps. Nothing of the order is changed here: the caller stores what comes back."""

    def __init__(
        self,
        db: Database,
        journal: "JournalServiceAsyncStub",
        mailer: Mailer,
        invitations: Invitations,
        clock: Clock,
    ) -> None:
        self._db = db
        self._journal = journal
        self._mailer = mailer
        self._invitations = invitations
        self._clock = clock
        self._takes: dict[Step, Callable[[Order], Awaitable[Reply]]] = {
            Step.FUND: self._fund,
            Step.INVITE: self._invite,
            Step.GIVE_BACK: self._give_back,
        }

    async def take(self, step: Step, order: Order) -> Reply:
        """Takes the step and tells what came back. A refusal that is not definite is UNKNOWN."""
        try:
            return await self._takes[step](order)
        except Refused as refusal:
            answer = Answer.REFUSED if definite(refusal) else Answer.UNKNOWN
            return Reply(answer, Reason.Name(refusal.reason), refusal=refusal.status().SerializeToString())

    async def _fund(self, order: Order) -> Reply:
        account = AccountRef(funding_currency=order.currency)
        amount = order.value_minor + order.fee_minor
        request = PlaceHoldRequest(program_id=order.program_id, account=account, amount=amount)
        held = await invoke(self._journal.PlaceHold, request, key=f"{order.order_id}:{Step.FUND}")
        return Reply(Answer.DONE, hold_id=UUID(held.hold_id))

    async def _invite(self, order: Order) -> Reply:
        async with self._db.read() as tx:
            program = await programs.get(tx, order.program_id)
            invitation = await self._invitations.of(tx, order)
        theme, link = Theme.of(program.branding), self._invitations.link(invitation)
        message = mail.compose(order, invitation, theme, program.zone, link, self._clock())
        # The same Message-ID again after a lost answer, so that it is the same mail.
        return await self._mailer.send(message, theme, invitation.recipient.address(), str(order.order_id))

    async def _give_back(self, order: Order) -> Reply:
        """Voids what is left of the hold. No new claim can begin, so once none is under way what is read is the end."""
        async with self._db.read() as tx:
            if await store.under_way(tx, order):
                return Reply(Answer.UNKNOWN, "CLAIM_UNDER_WAY")
            last = await store.find(tx, order.program_id, order.order_id)
        if last is not None and last.hold_id is not None:
            request = VoidHoldRequest(program_id=order.program_id, hold_id=str(last.hold_id))
            await invoke(self._journal.VoidHold, request, key=f"{order.order_id}:{Step.GIVE_BACK}")
        return Reply(Answer.DONE)
