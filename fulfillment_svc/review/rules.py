"""What a person may do about a redemption or an order, and the reply that its saga takes it for."""

from enum import StrEnum
from typing import Final

from fulfillment_svc.orders import states as of_orders
from fulfillment_svc.orders.values import Order
from fulfillment_svc.redemptions.rules import REFUNDED_BY_OPERATOR, ended
from fulfillment_svc.redemptions.states import Answer, State
from fulfillment_svc.redemptions.values import Redemption, Reply


class Kind(StrEnum):
    """Why something needs a person; the names of the proto's enum."""

    UNKNOWN_OUTCOME = "UNKNOWN_OUTCOME"
    STEP_REFUSED = "STEP_REFUSED"
    ISSUED_AFTER_END = "ISSUED_AFTER_END"
    COMPLIANCE_HOLD = "COMPLIANCE_HOLD"


class Action(StrEnum):
    """What a person may do; the names of the proto's enum."""

    QUERY = "QUERY"
    ISSUE = "ISSUE"
    REFUND = "REFUND"
    RELEASE = "RELEASE"
    REFUSE = "REFUSE"
    READDRESS = "READDRESS"


ACTIONS: Final = {
    # Whether it is issued only the provider knows, or a person who has it from there.
    Kind.UNKNOWN_OUTCOME: (Action.QUERY, Action.ISSUE, Action.REFUND),
    # Either it was not issued, and goes back by itself, or it was, and must not.
    Kind.STEP_REFUSED: (Action.QUERY, Action.RELEASE),
    Kind.ISSUED_AFTER_END: (Action.RELEASE,),
    Kind.COMPLIANCE_HOLD: (Action.RELEASE, Action.REFUSE),
}

# Nobody can be asked whether a mail is wanted after all: it goes elsewhere, or is done without, or there is no order.
_OF_MAIL: Final = (Action.QUERY, Action.READDRESS, Action.RELEASE)

REPLIES: Final = {
    Action.QUERY: Reply(Answer.UNKNOWN),
    Action.REFUND: Reply(Answer.REFUSED, REFUNDED_BY_OPERATOR),
    Action.REFUSE: Reply(Answer.REFUSED, "REFUSED_BY_OPERATOR"),
    Action.RELEASE: Reply(Answer.RELEASED, "RELEASED_BY_OPERATOR"),
}

_KINDS: Final = {State.UNKNOWN: Kind.UNKNOWN_OUTCOME, State.HELD: Kind.COMPLIANCE_HOLD}


def kind(one: Redemption | Order) -> Kind | None:
    """Why it needs a person; None if it does not."""
    if not one.parked:
        return None
    if isinstance(one, Order):
        return Kind.STEP_REFUSED
    if ended(one):
        return Kind.ISSUED_AFTER_END
    return _KINDS.get(one.state, Kind.STEP_REFUSED)


def allowed(one: Redemption | Order) -> tuple[Action, ...]:
    """What a person may do."""
    why = kind(one)
    if why is None:
        return ()
    if isinstance(one, Order) and one.state is of_orders.State.INVITING:
        # Where all is being claimed, nothing is left that could be called off.
        return (*_OF_MAIL, Action.REFUND) if one.remaining_minor else _OF_MAIL
    return ACTIONS[why]
