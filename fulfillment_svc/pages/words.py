"""What the pages say of reasons and states, in words for people. Reasons without words are a page of the gateway."""

from typing import Final, NamedTuple

from rewards.fulfillment.v1.orders_pb2 import OrderClaim

from svckit.errors import Reason


class Problem(NamedTuple):
    """What a page says above the choice."""

    title: str
    text: str


class Standing(NamedTuple):
    """What a page says of a claim. It looks again after `refresh_s`, unless that is 0."""

    title: str
    text: str
    refresh_s: int = 0


ISSUED: Final = Standing("Here is your reward", "Keep the address of this page: it leads back to your code.")
STANDINGS: Final = {
    OrderClaim.PROCESSING: Standing(
        "Your reward is on its way",
        "This takes a few seconds. You may close the page: its address leads back here.",
        refresh_s=3,
    ),
    OrderClaim.REVIEW: Standing(
        "This takes longer than usual",
        "Somebody looks after it, and nothing is lost. Keep the address of this page and come back later.",
        refresh_s=30,
    ),
    OrderClaim.FULFILLED: ISSUED,
    OrderClaim.FAILED: Standing(
        "This one could not be had after all", "Nothing is lost: its value is back, and you can choose something else."
    ),
}


_SOLD_OUT: Final = Problem("This one is sold out.", "Nothing was taken. Please choose another one.")
_NOT_SOLD: Final = Problem("This one is not to be had any more.", "Nothing was taken. Please choose another one.")

PROBLEMS: Final = {
    Reason.Name(reason): problem
    for reason, problem in {
        Reason.OUT_OF_STOCK: _SOLD_OUT,
        Reason.REWARD_UNAVAILABLE: _NOT_SOLD,
        Reason.REWARD_NOT_FOUND: _NOT_SOLD,
        Reason.PRICE_CHANGED: _NOT_SOLD,
        Reason.DENOMINATION_INVALID: Problem(
            "It does not come in this amount.", "Nothing was taken. Please choose one that is shown."
        ),
        Reason.COUNTRY_NOT_SERVED: Problem(
            "It cannot be sent to this country.", "Nothing was taken. Please choose another one."
        ),
        Reason.COMPLIANCE_REFUSED: Problem(
            "This cannot be claimed by you.", "Nothing was taken. If you think that it should be, please ask us."
        ),
        Reason.IDEMPOTENCY_KEY_REUSED: Problem(
            "This form was used before.", "What was claimed with it stays claimed. Please choose again for the rest."
        ),
    }.items()
}
