"""The ledger as a provider: cashback is credited to a member's account in the reward's currency."""

from typing import TYPE_CHECKING, Final

from rewards.ledger.v1.cashback_pb2 import GetCashbackRequest, PayCashbackRequest

from fulfillment_svc.providers import Issued, NotSeen, Order, Rejected, Unknown
from svckit.clients import invoke
from svckit.errors import Reason, Refused

if TYPE_CHECKING:
    from rewards.ledger.v1.cashback_pb2_grpc import CashbackServiceAsyncStub

NAME: Final = "cashback"


class Cashback:
    """Pays through `ledger`, under our reference as the key. All items are one posting, whose id is each item's code.

    What is not seen may still be on its way, for no longer than a call may run.
    """

    idempotent: Final = True
    visibility_s: Final = 10.0
    pending_s: Final = 0.0

    def __init__(self, ledger: "CashbackServiceAsyncStub") -> None:
        self._ledger = ledger

    async def order(self, order: Order) -> Issued | Rejected | Unknown:
        """Credits the face value of all items. Only a refusal that the ledger keeps is definite."""
        request = PayCashbackRequest(
            program_id=order.program_id,
            member_id=order.member_id,
            currency=order.items[0].currency,
            amount_minor=sum(item.value_minor for item in order.items),
        )
        try:
            paid = await invoke(self._ledger.PayCashback, request, key=order.reference)
        except Refused as refusal:
            why = Reason.Name(refusal.reason)
            return Rejected(why) if refusal.binds else Unknown(why)
        return _issued(paid.transaction_id, order)

    async def query(self, order: Order) -> Issued | Rejected | NotSeen | Unknown:
        """Looks the key up."""
        request = GetCashbackRequest(program_id=order.program_id, idempotency_key=order.reference)
        try:
            found = await invoke(self._ledger.GetCashback, request)
        except Refused as refusal:
            return Unknown(Reason.Name(refusal.reason))
        match found.WhichOneof("outcome"):
            case "paid":
                return _issued(found.paid.transaction_id, order)
            case "refusal":
                return Rejected(found.refusal.reason)
        return NotSeen()


def _issued(transaction_id: str, order: Order) -> Issued:
    return Issued((transaction_id,) * len(order.items))
