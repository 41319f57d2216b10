"""What a person may do about a redemption, and the reply that the saga takes it for."""

from enum import StrEnum
from typing import Final

from fulfillment_svc.redemptions.rules import REFUNDED_BY_OPERATOR, ended
from fulfillment_svc.redemptions.states import Answer, State
from fulfillment_svc.redemptions.values import Redemption, Reply


class Kind(StrEnum):
    """Why a redemption needs a person; the names of the proto's enum."""

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


ACTIONS: Final = {
    # Whether it is issued only the provider knows, or a person who has it from there.
    Kind.UNKNOWN_OUTCOME: (Action.QUERY, Action.ISSUE, Action.REFUND),
    # Either it was not issued, and goes back by itself, or it was, and must not.
    Kind.STEP_REFUSED: (Action.QUERY, Action.RELEASE),
    Kind.ISSUED_AFTER_END: (Action.RELEASE,),
    Kind.COMPLIANCE_HOLD: (Action.RELEASE, Action.REFUSE),
}

REPLIES: Final = {
    Action.QUERY: Reply(Answer.UNKNOWN),
    Action.REFUND: Reply(Answer.REFUSED, REFUNDED_BY_OPERATOR),
    Action.REFUSE: Reply(Answer.REFUSED, "REFUSED_BY_OPERATOR"),
    Action.RELEASE: Reply(Answer.RELEASED, "RELEASED_BY_OPERATOR"),
}

_KINDS: Final = {State.UNKNOWN: Kind.UNKNOWN_OUTCOME, State.HELD: Kind.COMPLIANCE_HOLD}


def kind(redemption: Redemption) -> Kind | None:
    """Why it needs a person; None if it does not."""
    if not redemption.parked:
        return None
    if ended(redemption):
        return Kind.ISSUED_AFTER_END
    return _KINDS.get(redemption.state, Kind.STEP_REFUSED)


def allowed(redemption: Redemption) -> tuple[Action, ...]:
    """What a person may do."""
    why = kind(redemption)
    return () if why is None else ACTIONS[why]
