"""The steps of a redemption: what each does outside this process, and how its answer is read.

Every call carries a key or reference made of the redemption and the step, so taking a step again finds out
what it did the first time.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final, NamedTuple
from uuid import UUID

from rewards.ledger.v1.journal_pb2 import AccountRef, CaptureHoldRequest, PlaceHoldRequest, VoidHoldRequest

from fulfillment_svc.codes import RECIPIENT, SealBrokenError, Vault
from fulfillment_svc.looks.theme import Theme
from fulfillment_svc.providers import Issued, Item, NotSeen, Provider, Rejected, Unknown
from fulfillment_svc.redemptions import secrets_store
from fulfillment_svc.redemptions.mail import Mailer, Recipient, compose
from fulfillment_svc.redemptions.purses import Purse
from fulfillment_svc.redemptions.rules import completed, definite
from fulfillment_svc.redemptions.states import Answer, Step
from fulfillment_svc.redemptions.values import Conduct, Redemption, Reply
from fulfillment_svc.tables import programs
from svckit.clients import invoke
from svckit.clock import Clock
from svckit.db import Database
from svckit.errors import Reason, Refused

if TYPE_CHECKING:
    from rewards.catalog.v1.rewards_pb2_grpc import CatalogServiceAsyncStub
    from rewards.ledger.v1.journal_pb2_grpc import JournalServiceAsyncStub

_FUNDS_TEXT: Final = "The account's prepaid balance does not cover this reward."


class Outside(NamedTuple):
    """Whom redemptions talk to."""

    catalog: "CatalogServiceAsyncStub"
    journal: "JournalServiceAsyncStub"
    providers: Mapping[str, Provider]
    mailer: Mailer
    purse: Purse


class Steps:
    """Takes steps. Nothing of the redemption is changed here: the caller stores what comes back. `purse` pays for
    claims."""

    def __init__(self, db: Database, outside: Outside, vault: Vault, clock: Clock) -> None:
        self._db = db
        self._journal = outside.journal
        self._providers = outside.providers
        self._mailer = outside.mailer
        self.purse = outside.purse
        self._vault = vault
        self._clock = clock
        self._takes: dict[Step, Callable[[Redemption], Awaitable[Reply]]] = {
            Step.HOLD_POINTS: self._hold_points,
            Step.HOLD_FUNDING: self._hold_funding,
            Step.ORDER: self._order,
            Step.QUERY: self._query,
            Step.CAPTURE_POINTS: self._capture_points,
            Step.CAPTURE_FUNDING: self._capture_funding,
            Step.DELIVER: self._deliver,
            Step.VOID_POINTS: lambda one: self._void(one, Step.VOID_POINTS, one.points_hold_id),
            Step.VOID_FUNDING: lambda one: self._void(one, Step.VOID_FUNDING, one.funding_hold_id),
        }
        # A claim has no holds of its own.
        idle = (Step.HOLD_POINTS, Step.HOLD_FUNDING, Step.CAPTURE_POINTS, Step.VOID_POINTS, Step.VOID_FUNDING)
        self._takes_of_claims = self._takes | dict.fromkeys(idle, _nothing) | {Step.CAPTURE_FUNDING: self.purse.capture}

    def conduct(self, redemption: Redemption) -> Conduct:
        """What the redemption's provider promises."""
        provider = self._providers[redemption.provider]
        return Conduct(provider.idempotent, provider.visibility_s)

    async def take(self, step: Step, redemption: Redemption) -> Reply:
        """Takes the step and tells what came back. A refusal that is not definite is UNKNOWN."""
        try:
            takes = self._takes if redemption.order_id is None else self._takes_of_claims
            return await takes[step](redemption)
        except Refused as refusal:
            answer = Answer.REFUSED if definite(refusal) else Answer.UNKNOWN
            return Reply(answer, Reason.Name(refusal.reason), refusal=refusal.status().SerializeToString())

    async def _hold_points(self, redemption: Redemption) -> Reply:
        account = AccountRef(member_id=redemption.member_id)
        return await self._hold(redemption, Step.HOLD_POINTS, account, redemption.choice.points)

    async def _hold_funding(self, redemption: Redemption) -> Reply:
        account = AccountRef(funding_currency=redemption.choice.currency)
        try:
            return await self._hold(redemption, Step.HOLD_FUNDING, account, redemption.choice.value_minor)
        except Refused as refusal:
            if refusal.reason != Reason.INSUFFICIENT_FUNDS:
                raise
            # The ledger says how much the account holds, which is not for whoever may redeem points.
            raise Refused(Reason.INSUFFICIENT_FUNDS, _FUNDS_TEXT) from refusal

    async def _hold(self, redemption: Redemption, step: Step, account: AccountRef, amount: int) -> Reply:
        request = PlaceHoldRequest(program_id=redemption.program_id, account=account, amount=amount)
        held = await invoke(self._journal.PlaceHold, request, key=_key(redemption, step))
        return Reply(Answer.DONE, hold_id=UUID(held.hold_id))

    async def _capture_points(self, redemption: Redemption) -> Reply:
        if redemption.in_part and not redemption.issued_points:
            # Of three points for ten items most shares are nothing, and nothing cannot be captured.
            return await self._void(redemption, Step.CAPTURE_POINTS, redemption.points_hold_id)
        return await self._capture(redemption, Step.CAPTURE_POINTS, redemption.points_hold_id, redemption.issued_points)

    async def _capture_funding(self, redemption: Redemption) -> Reply:
        return await self._capture(
            redemption, Step.CAPTURE_FUNDING, redemption.funding_hold_id, redemption.issued_minor
        )

    async def _capture(self, redemption: Redemption, step: Step, hold_id: UUID | None, part: int) -> Reply:
        """Captures the part of a hold that pays for the issued items, which gives the others' part back (G72)."""
        request = CaptureHoldRequest(program_id=redemption.program_id, hold_id=str(hold_id))
        if redemption.in_part:
            request.amount = part
        await invoke(self._journal.CaptureHold, request, key=_key(redemption, step))
        return Reply(Answer.DONE)

    async def _void(self, redemption: Redemption, step: Step, hold_id: UUID | None) -> Reply:
        request = VoidHoldRequest(program_id=redemption.program_id, hold_id=str(hold_id))
        await invoke(self._journal.VoidHold, request, key=_key(redemption, step))
        return Reply(Answer.DONE)

    async def _order(self, redemption: Redemption) -> Reply:
        provider = self._providers[redemption.provider]
        return _reply(await provider.order(str(redemption.redemption_id), _items(redemption)))

    async def _query(self, redemption: Redemption) -> Reply:
        provider = self._providers[redemption.provider]
        return _reply(await provider.query(str(redemption.redemption_id), _items(redemption)))

    async def _deliver(self, redemption: Redemption) -> Reply:
        async with self._db.read() as tx:
            sealed = await secrets_store.secrets(tx, redemption)
            theme = Theme.of((await programs.get(tx, redemption.program_id)).branding)
        try:
            opened = {place.number: self._vault.open(one, place) for place, one in sealed.items()}
        except SealBrokenError:
            return Reply(Answer.REFUSED, "CODE_UNREADABLE")
        recipient = Recipient.from_bytes(opened.pop(RECIPIENT))
        if not recipient.email:
            # Whoever has claimed it by a link looks at the code there.
            return Reply(completed(redemption))
        codes = [code.decode() for code in opened.values()]
        mail = compose(theme, redemption, codes, self._clock())
        reply = await self._mailer.send(mail, theme, recipient.address(), str(redemption.redemption_id))
        return replace(reply, answer=completed(redemption)) if reply.answer is Answer.DONE else reply


async def _nothing(_: Redemption) -> Reply:
    return Reply(Answer.DONE)


def _reply(found: Issued | Rejected | NotSeen | Unknown) -> Reply:
    match found:
        case Issued(codes, reason):
            return Reply.issued(codes, f"PROVIDER_{reason}" if reason else "")
        case Rejected(reason):
            return Reply(Answer.REFUSED, f"PROVIDER_{reason}")
        case NotSeen():
            return Reply(Answer.NOT_SEEN, "PROVIDER_NOT_SEEN")
        case Unknown(reason):
            return Reply(Answer.UNKNOWN, f"PROVIDER_{reason}")


def _items(redemption: Redemption) -> list[Item]:
    choice = redemption.choice
    return [
        Item(number, choice.brand, choice.denomination_minor, choice.currency)
        for number in range(1, choice.quantity + 1)
    ]


def _key(redemption: Redemption, step: Step) -> str:
    return f"{redemption.redemption_id}:{step}"
