"""The steps of a redemption: what each does outside this process, and how its answer is read.

Every call carries a key or reference made of the redemption and the step, so taking a step again finds out
what it did the first time.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from uuid import UUID

from rewards.catalog.v1.stock_pb2 import ConsumeStockRequest, ReleaseStockRequest, ReserveStockRequest
from rewards.ledger.v1.journal_pb2 import AccountRef, CaptureHoldRequest, PlaceHoldRequest, VoidHoldRequest

from fulfillment_svc.codes import RECIPIENT, SealBrokenError, Vault
from fulfillment_svc.compliance import Compliance, Effect, Subject
from fulfillment_svc.looks.theme import Theme
from fulfillment_svc.providers import Issued, Item, NotSeen, NotSent, Order, Pending, Rejected, Unknown
from fulfillment_svc.providers.routing import Router
from fulfillment_svc.providers.serving import Route
from fulfillment_svc.redemptions import secrets_store
from fulfillment_svc.redemptions.mail import Mailer, Recipient, compose
from fulfillment_svc.redemptions.purses import Purse
from fulfillment_svc.redemptions.rules import completed, definite
from fulfillment_svc.redemptions.states import Answer, State, Step
from fulfillment_svc.redemptions.values import Conduct, Redemption, Reply
from fulfillment_svc.tables import programs
from svckit.clients import invoke
from svckit.clock import Clock
from svckit.db import Database
from svckit.errors import Reason, Refused

if TYPE_CHECKING:
    from rewards.catalog.v1.rewards_pb2_grpc import CatalogServiceAsyncStub
    from rewards.catalog.v1.stock_pb2_grpc import StockServiceAsyncStub
    from rewards.ledger.v1.journal_pb2_grpc import JournalServiceAsyncStub

_COMPLIANCE_TEXT: Final = "This reward cannot be sent to this recipient."
_FUNDS_TEXT: Final = "The account's prepaid balance does not cover this reward."


class Outside(NamedTuple):
    """Whom redemptions talk to."""

    catalog: "CatalogServiceAsyncStub"
    stock: "StockServiceAsyncStub"
    journal: "JournalServiceAsyncStub"
    compliance: Compliance
    router: Router
    mailer: Mailer
    purse: Purse


class Steps:
    """Takes steps. Nothing of the redemption is changed here: the caller stores what comes back. `purse` pays for
    claims."""

    def __init__(self, db: Database, outside: Outside, vault: Vault, clock: Clock) -> None:
        self._db = db
        self._stock = outside.stock
        self._journal = outside.journal
        self._compliance = outside.compliance
        self._router = outside.router
        self._mailer = outside.mailer
        self.purse = outside.purse
        self._vault = vault
        self._clock = clock
        self._takes: dict[Step, Callable[[Redemption], Awaitable[Reply]]] = {
            Step.RESERVE_STOCK: self._reserve,
            Step.HOLD_POINTS: self._hold_points,
            Step.HOLD_FUNDING: self._hold_funding,
            Step.SCREEN: self._screen,
            Step.ORDER: self._order,
            Step.QUERY: self._query,
            Step.CAPTURE_POINTS: self._capture_points,
            Step.CAPTURE_FUNDING: self._capture_funding,
            Step.CONSUME_STOCK: self._consume,
            Step.DELIVER: self._deliver,
            Step.VOID_POINTS: lambda one: self._void(one, Step.VOID_POINTS, one.points_hold_id),
            Step.VOID_FUNDING: lambda one: self._void(one, Step.VOID_FUNDING, one.funding_hold_id),
            Step.RELEASE_STOCK: self._release,
        }
        self._takes_of_claims = self._takes | {Step.CAPTURE_FUNDING: self.purse.capture}

    def conduct(self, redemption: Redemption) -> Conduct:
        """What the redemption's provider promises."""
        provider = self._router.provider(redemption.provider)
        return Conduct(provider.idempotent, provider.visibility_s)

    async def take(self, step: Step, redemption: Redemption) -> Reply:
        """Takes the step and tells what came back. A refusal that is not definite is UNKNOWN."""
        try:
            takes = self._takes if redemption.order_id is None else self._takes_of_claims
            return await takes[step](redemption)
        except Refused as refusal:
            answer = Answer.REFUSED if definite(refusal) else Answer.UNKNOWN
            return Reply(answer, Reason.Name(refusal.reason), refusal=refusal.status().SerializeToString())

    async def _reserve(self, redemption: Redemption) -> Reply:
        choice, reference = redemption.choice, str(redemption.redemption_id)
        # Without a time limit: a redemption that waits, for example for a person, keeps what it has put by.
        request = ReserveStockRequest(
            program_id=redemption.program_id, reference=reference, reward_id=choice.reward_id, quantity=choice.quantity
        )
        await invoke(self._stock.ReserveStock, request)
        return Reply(Answer.DONE)

    async def _consume(self, redemption: Redemption) -> Reply:
        request = ConsumeStockRequest(program_id=redemption.program_id, reference=str(redemption.redemption_id))
        if redemption.in_part:
            request.quantity = redemption.issued_items
        return await _settle(self._stock.ConsumeStock, request)

    async def _release(self, redemption: Redemption) -> Reply:
        request = ReleaseStockRequest(program_id=redemption.program_id, reference=str(redemption.redemption_id))
        return await _settle(self._stock.ReleaseStock, request)

    async def _hold_points(self, redemption: Redemption) -> Reply:
        account = AccountRef(member_id=redemption.member_id)
        return await self._hold(redemption, Step.HOLD_POINTS, account, redemption.choice.points)

    async def _hold_funding(self, redemption: Redemption) -> Reply:
        account = AccountRef(funding_currency=redemption.choice.currency)
        try:
            return await self._hold(redemption, Step.HOLD_FUNDING, account, redemption.choice.funding_minor)
        except Refused as refusal:
            if refusal.reason != Reason.INSUFFICIENT_FUNDS:
                raise
            # The ledger says how much the account holds, which is not for whoever may redeem points.
            raise Refused(Reason.INSUFFICIENT_FUNDS, _FUNDS_TEXT) from refusal

    async def _hold(self, redemption: Redemption, step: Step, account: AccountRef, amount: int) -> Reply:
        request = PlaceHoldRequest(program_id=redemption.program_id, account=account, amount=amount)
        held = await invoke(self._journal.PlaceHold, request, key=_key(redemption, step))
        return Reply(Answer.DONE, hold_id=UUID(held.hold_id))

    async def _screen(self, redemption: Redemption) -> Reply:
        try:
            email = Recipient.from_bytes((await self._opened(redemption))[RECIPIENT]).email
            choice, named = redemption.choice, (redemption.program_id, redemption.redemption_id)
            # Of whoever has only a link no more is known than that all of an order's claims are the same person's.
            who = email or f"order {redemption.order_id}"
            subject = Subject(*named, who, redemption.country, choice.currency, choice.value_minor)
            verdict = await self._compliance.check(subject)
        except SealBrokenError:
            return Reply(Answer.HELD, "RECIPIENT_UNREADABLE")
        except Refused as refusal:
            # Whoever has no verdict has not allowed anything, and not refused it either.
            return Reply(Answer.UNKNOWN, Reason.Name(refusal.reason))
        if verdict.effect is not Effect.REFUSE:
            return Reply(Answer.HELD if verdict.effect is Effect.HOLD else Answer.DONE, verdict.reason)
        told = Refused(Reason.COMPLIANCE_REFUSED, _COMPLIANCE_TEXT).status()
        return Reply(Answer.REFUSED, verdict.reason, refusal=told.SerializeToString())

    async def _capture_points(self, redemption: Redemption) -> Reply:
        if redemption.in_part and not redemption.issued_points:
            # Of three points for ten items most shares are nothing, and nothing cannot be captured.
            return await self._void(redemption, Step.CAPTURE_POINTS, redemption.points_hold_id)
        return await self._capture(redemption, Step.CAPTURE_POINTS, redemption.points_hold_id, redemption.issued_points)

    async def _capture_funding(self, redemption: Redemption) -> Reply:
        fees_minor = redemption.issued_fees_minor
        part, hold_id = redemption.issued_minor + fees_minor, redemption.funding_hold_id
        return await self._capture(redemption, Step.CAPTURE_FUNDING, hold_id, part, fees_minor)

    async def _capture(
        self, redemption: Redemption, step: Step, hold_id: UUID | None, part: int, fee: int = 0
    ) -> Reply:
        """Captures the part of a hold that pays for the issued items, which gives the others' part back (G72)."""
        request = CaptureHoldRequest(program_id=redemption.program_id, hold_id=str(hold_id), fee=fee)
        if redemption.in_part:
            request.amount = part
        captured = await invoke(self._journal.CaptureHold, request, key=_key(redemption, step))
        # A capture from before the ledger told when it was has no instant.
        booked_at = captured.recorded_at.ToDatetime(UTC) if captured.HasField("recorded_at") else None
        return Reply(Answer.DONE, booked_at=booked_at)

    async def _void(self, redemption: Redemption, step: Step, hold_id: UUID | None) -> Reply:
        request = VoidHoldRequest(program_id=redemption.program_id, hold_id=str(hold_id))
        await invoke(self._journal.VoidHold, request, key=_key(redemption, step))
        return Reply(Answer.DONE)

    async def _order(self, redemption: Redemption) -> Reply:
        found = await self._router.order(redemption.provider, _ordered(redemption))
        if isinstance(found, NotSent) and redemption.state is State.ORDERING:
            # Only a first order is in this state when it goes out: one that goes out again may have got through before.
            route = await self._onward(redemption, found.reason)
            if route is not None:
                return Reply(Answer.NOT_SENT, f"PROVIDER_{found.reason}", route=route)
        return _reply(found, overdue=self._router.provider(redemption.provider).pending_s <= 0)

    async def _onward(self, redemption: Redemption, reason: str) -> Route | None:
        program = await programs.read(self._db, redemption.program_id)
        wanted = redemption.choice.wanted(program, redemption.member_id, redemption.country)
        return self._router.onward(wanted, Route(redemption.provider, redemption.route), reason)

    async def _query(self, redemption: Redemption) -> Reply:
        provider = self._router.provider(redemption.provider)
        overdue = redemption.state is State.ORDERING and redemption.sent_s_ago >= provider.pending_s
        return _reply(await provider.query(_ordered(redemption)), overdue=overdue)

    async def _deliver(self, redemption: Redemption) -> Reply:
        try:
            opened = await self._opened(redemption)
        except SealBrokenError:
            return Reply(Answer.REFUSED, "CODE_UNREADABLE")
        theme = Theme.of((await programs.read(self._db, redemption.program_id)).branding)
        recipient = Recipient.from_bytes(opened.pop(RECIPIENT))
        if not recipient.email:
            # Whoever has claimed it by a link looks at the code there.
            return Reply(completed(redemption))
        codes = [code.decode() for code in opened.values()]
        mail = compose(theme, redemption, codes, self._clock())
        reply = await self._mailer.send(mail, theme, recipient.address(), str(redemption.redemption_id))
        return replace(reply, answer=completed(redemption)) if reply.answer is Answer.DONE else reply

    async def _opened(self, redemption: Redemption) -> dict[int, bytes]:
        async with self._db.read() as tx:
            sealed = await secrets_store.secrets(tx, redemption)
        return {place.number: self._vault.open(one, place) for place, one in sealed.items()}


async def _settle(rpc: Any, request: ConsumeStockRequest | ReleaseStockRequest) -> Reply:
    try:
        await invoke(rpc, request)
    except Refused as refusal:
        # The reward was not limited any more when units should have been put by, so none were.
        if refusal.reason != Reason.NOT_FOUND:
            raise
    return Reply(Answer.DONE)


def _reply(found: Issued | Rejected | Pending | NotSeen | Unknown, *, overdue: bool) -> Reply:
    """`overdue` is true if an order that is pending has been so for too long."""
    match found:
        case Issued(codes, reason):
            return Reply.issued(codes, f"PROVIDER_{reason}" if reason else "")
        case Rejected(reason):
            return Reply(Answer.REFUSED, f"PROVIDER_{reason}")
        case Pending(reason):
            return Reply(Answer.UNKNOWN if overdue else Answer.PENDING, f"PROVIDER_{reason}")
        case NotSeen(reason):
            return Reply(Answer.NOT_SEEN, f"PROVIDER_{reason}")
        case Unknown(reason):
            return Reply(Answer.UNKNOWN, f"PROVIDER_{reason}")


def _ordered(redemption: Redemption) -> Order:
    choice = redemption.choice
    return Order(
        reference=str(redemption.redemption_id),
        program_id=redemption.program_id,
        member_id=redemption.member_id,
        country=redemption.country,
        kind=choice.kind,
        items=tuple(
            Item(number, choice.brand, choice.denomination_minor, choice.currency)
            for number in range(1, choice.quantity + 1)
        ),
    )


def _key(redemption: Redemption, step: Step) -> str:
    return f"{redemption.redemption_id}:{step}"
