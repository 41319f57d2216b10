"""Who gets an order: the first in line that serves it and answers, and why it is that one."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewards.identity.v1.programs_pb2 import Policy

from fulfillment_svc.providers import Issued, NotSeen, NotSent, Order, Pending, Rejected, Unknown
from fulfillment_svc.providers.by_hand import ByHand
from fulfillment_svc.providers.health import FAILURES_MAX, REST_S
from fulfillment_svc.providers.routing import Place, Router
from fulfillment_svc.providers.serving import Route, Served, Wanted, by_cashback
from fulfillment_svc.redemptions import rules
from fulfillment_svc.redemptions.states import Answer, State, Status
from fulfillment_svc.redemptions.values import Reply
from fulfillment_svc.tests.test_provider_answers import ORDER
from fulfillment_svc.tests.test_redemption_rules import new
from svckit.errors import Reason, Refused
from svckit.programs import Program

LIVE: Final[dict[str, Any]] = {
    "sandbox": False,
    "zone": ZoneInfo("UTC"),
    "currency": "EUR",
    "asset": "PTS",
    "points_per_unit": 80,
    "clock_offset": None,
    "policy": Policy(more_assets=["EUR"]),
}
YES: Final = Issued(("A", "B"))
GERMAN: Final = Served(countries=frozenset({"DE"}))


class Scripted:
    """A provider outside, by the answers that it gives."""

    idempotent, visibility_s, pending_s = True, 0.0, 0.0

    def __init__(self, *answers: Issued | Rejected | Pending | Unknown) -> None:
        self._answers: Iterator[Issued | Rejected | Pending | Unknown] = iter(answers)

    async def order(self, order: Order) -> Issued | Rejected | Pending | Unknown:
        return next(self._answers)

    async def query(self, order: Order) -> NotSeen:
        return NotSeen()


class Clock:
    """A clock that stands until it is told."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def wanted(**changes: Any) -> Wanted:
    program = Program("acme", **LIVE | {"sandbox": changes.pop("sandbox", False)})
    usual: dict[str, Any] = {
        "member": True,
        "country": "DE",
        "currency": "EUR",
        "brand": "Kaffa",
        "kind": "CLOSED_LOOP",
    }
    return Wanted(program, **usual | changes)


def place(name: str, served: Served | None = None, *answers: Any) -> Place:
    return Place(name, Scripted(*answers), (served or Served()).objection)


def refused(router: Router, looked_for: Wanted) -> str:
    with pytest.raises(Refused) as caught:
        router.choose(looked_for)
    return Reason.Name(caught.value.reason)


@pytest.mark.parametrize(
    ("served", "changes", "objection"),
    [
        (Served(kinds=frozenset({"OPEN_LOOP"})), {}, "KIND"),
        (Served(brands=frozenset({"Other"})), {}, "BRAND"),
        (Served(currencies=frozenset({"USD"})), {}, "CURRENCY"),
        (Served(items_max=1), {"quantity": 2}, "QUANTITY"),
        (Served(countries=frozenset({"US"})), {}, "COUNTRY"),
        (Served(countries=frozenset({"US"}), kinds=frozenset({"OPEN_LOOP"})), {}, "KIND"),
        (Served(countries=frozenset({"DE", "US"})), {"quantity": 100}, ""),
    ],
)
def test_what_a_provider_does_not_serve_it_is_not_given(
    served: Served, changes: dict[str, Any], objection: str
) -> None:
    assert served.objection(wanted(**changes)) == objection
    router = Router([], [place("alpha", served), place("beta")])
    why = "alpha: SERVES" if not objection else f"alpha: {objection}, beta: SERVES"
    assert router.choose(wanted(**changes)) == Route("beta" if objection else "alpha", why)


def test_cashback_is_for_members_in_a_currency_that_the_program_has() -> None:
    assert by_cashback(wanted(kind="CASHBACK")) == ""
    assert by_cashback(wanted()) == "KIND"
    assert by_cashback(wanted(kind="CASHBACK", member=False)) == "MEMBER"
    assert by_cashback(wanted(kind="CASHBACK", currency="USD")) == "CURRENCY"


def test_no_method_left_is_told_and_why() -> None:
    router = Router([], [place("alpha", GERMAN), place("beta", Served(brands=frozenset({"Other"})))])
    assert refused(router, wanted(country="FR")) == "COUNTRY_NOT_SERVED"
    assert not router.serves(wanted(country="FR"))
    assert router.serves(wanted())
    assert refused(Router([], []), wanted()) == "REWARD_UNAVAILABLE"


@given(st.booleans(), st.sampled_from(["DE", "FR"]), st.integers(0, 2))
def test_no_sandbox_program_reaches_a_live_provider_and_no_live_one_the_sandbox(
    sandbox: bool,  # noqa: FBT001
    country: str,
    fallen: int,
) -> None:
    router = Router([place("sandbox")], [place("alpha", GERMAN), place("beta"), place("gamma")])
    looked_for = wanted(sandbox=sandbox, country=country)
    route: Route | None = router.choose(looked_for)
    for _ in range(fallen):
        if route is not None:
            assert (route.name == "sandbox") is sandbox
            route = router.onward(looked_for, route, "UNREACHABLE")
    assert route is None or (route.name == "sandbox") is sandbox


def test_a_line_is_walked_once() -> None:
    router = Router([], [place("alpha"), place("beta", Served(items_max=1)), place("gamma")])
    first = router.choose(wanted(quantity=2))
    second = router.onward(wanted(quantity=2), first, "UNREACHABLE")
    assert second == Route("gamma", "alpha: SERVES, alpha: UNREACHABLE, beta: QUANTITY, gamma: SERVES")
    assert router.onward(wanted(quantity=2), second, "UNREACHABLE") is None
    assert router.onward(wanted(), Route("gone", ""), "NOT_CONFIGURED") is None


@pytest.mark.parametrize("failure", [Unknown("TIMEOUT"), NotSent("UNREACHABLE"), Unknown("HTTP_503")])
async def test_who_does_not_answer_rests_and_is_tried_now_and_then(failure: Unknown) -> None:
    clock = Clock()
    router = Router([], [place("alpha", None, *[failure] * (FAILURES_MAX + 1), YES), place("beta")], clock)
    for _ in range(FAILURES_MAX):
        assert router.choose(wanted()).name == "alpha"
        await router.order("alpha", ORDER)
    passed_over = Route("beta", "alpha: UNHEALTHY, beta: SERVES")
    assert router.choose(wanted()) == passed_over
    clock.now_s += REST_S
    assert [router.choose(wanted()).name for _ in range(3)] == ["alpha", "beta", "beta"], "one tries"
    await router.order("alpha", ORDER)
    assert router.choose(wanted()) == passed_over
    clock.now_s += REST_S
    assert [router.choose(wanted()).name for _ in range(2)] == ["alpha", "beta"]
    await router.order("alpha", ORDER)
    assert [router.choose(wanted()).name for _ in range(2)] == ["alpha", "alpha"], "it answers again"


@pytest.mark.parametrize("answer", [YES, Rejected("OUT_OF_STOCK"), Pending()])
async def test_whatever_is_definite_is_healthy(answer: Issued | Rejected | Pending) -> None:
    answers = [*[Unknown("TIMEOUT")] * (FAILURES_MAX - 1), answer] * 3
    router = Router([], [place("alpha", None, *answers), place("beta")], Clock())
    for _ in answers:
        await router.order("alpha", ORDER)
        assert router.choose(wanted()).name == "alpha"


async def test_where_nobody_is_healthy_the_first_gets_it_all_the_same() -> None:
    down = [Unknown("TIMEOUT")] * FAILURES_MAX
    french = Served(countries=frozenset({"FR"}))
    places = place("alpha", french, *down), place("beta", None, *down), place("gamma", None, *down)
    router = Router([], places, Clock())
    for name in ("alpha", "beta", "gamma"):
        for _ in down:
            await router.order(name, ORDER)
    why = "alpha: COUNTRY, beta: UNHEALTHY, gamma: UNHEALTHY, beta: NONE_HEALTHY"
    assert router.choose(wanted()) == Route("beta", why)
    assert router.onward(wanted(), Route("beta", why), "UNREACHABLE") is None, "nobody there to go to"


async def test_a_provider_that_is_gone_leaves_its_orders_to_a_person() -> None:
    gone = Router([], []).provider("gone")
    assert await gone.order(ORDER) == NotSent("NOT_CONFIGURED")
    assert await gone.query(ORDER) == Unknown("NOT_CONFIGURED")
    assert not gone.idempotent


async def test_a_person_is_always_healthy() -> None:
    router = Router([], [Place("desk", ByHand(), Served().objection)])
    for _ in range(FAILURES_MAX * 2):
        assert await router.order("desk", ORDER) == Pending("BY_HAND")
    assert router.choose(wanted()).why == "desk: SERVES"


def test_an_order_that_cannot_go_out_again_stays_with_whom_the_first_may_have_reached() -> None:
    unsent = Reply(Answer.NOT_SENT, "PROVIDER_UNREACHABLE", route=Route("next", "sandbox: UNREACHABLE, next: SERVES"))
    first = rules.settle(replace(new(), state=State.ORDERING), unsent)
    assert (first.state, first.provider) == (State.ACCEPTED, "next")
    again = rules.settle(replace(new(), state=State.UNKNOWN, answer=Answer.NOT_SEEN), unsent)
    assert (again.state, again.provider, again.status) == (State.UNKNOWN, "sandbox", Status.REVIEW)
