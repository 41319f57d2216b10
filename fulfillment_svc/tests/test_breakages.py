"""A guard that no test misses is none: each breakage is one line, put into a copy of the code, whose tests go red."""

from pathlib import Path
from typing import Final

import pytest

from tests.breakages import TIMES, TORTURE, Breakage, check, planted

CODE: Final = ("fulfillment_svc",)
TESTS: Final = "fulfillment_svc/tests"
# So many of the first are tried by every run, and all of them by the torture: each costs seconds.
ALWAYS: Final = 3

BREAKAGES: Final = (
    Breakage(
        "a refund on timeout",
        "fulfillment_svc/redemptions/states.py",
        "    (State.ORDERING, Answer.UNKNOWN): State.UNKNOWN,\n",
        "    (State.ORDERING, Answer.UNKNOWN): State.RELEASING_POINTS,\n",
        f"{TESTS}/test_saga.py::test_a_lost_answer_parks_and_is_asked_for[timeout_then_success]",
        "assert 6 == 3",
    ),
    Breakage(
        "a new reference on retry",
        "fulfillment_svc/redemptions/steps.py",
        "        reference=str(redemption.redemption_id),\n",
        '        reference=f"{redemption.redemption_id}/{redemption.attempts}",\n',
        f"{TESTS}/test_saga.py::test_an_order_that_does_not_show_goes_out_again_under_its_reference",
        "AssertionError",
    ),
    Breakage(
        "a lease without fencing",
        "fulfillment_svc/redemptions/store.py",
        "held = _R.fencing_token == redemption.fencing_token",
        "held = _R.fencing_token >= redemption.fencing_token",
        f"{TESTS}/test_redemption_store.py::test_a_claim_under_an_old_token_writes_nothing",
        "DID NOT RAISE",
    ),
    Breakage(
        "an unknown outcome that is routed anew",
        "fulfillment_svc/redemptions/steps.py",
        "        if isinstance(found, NotSent) and redemption.state is State.ORDERING:\n",
        "        if isinstance(found, Unknown) and redemption.state is State.ORDERING:\n",
        f"{TESTS}/test_payouts.py::test_an_unknown_outcome_is_never_routed_anew[error_after_accept]",
        "second: SERVES",
    ),
    Breakage(
        "a second try that is taken for a first",
        "fulfillment_svc/redemptions/rules.py",
        "    provider, route = (edge and reply.route) or (before.provider, before.route)\n",
        "    provider, route = reply.route or (before.provider, before.route)\n",
        f"{TESTS}/test_routing.py::test_an_order_that_cannot_go_out_again_stays_with_whom_the_first_may_have_reached",
        "'next'",
    ),
    Breakage(
        "a live provider in a sandbox's line",
        "fulfillment_svc/providers/assembly.py",
        "    return Router([ledger, Place(",
        "    return Router([ledger, *live, Place(",
        f"{TESTS}/test_payouts.py::test_a_sandbox_program_stays_in_the_sandbox_whatever_is_configured",
        "real: SERVES",
    ),
    Breakage(
        "cashback under a key of its own each time",
        "fulfillment_svc/providers/cashback.py",
        "request, key=order.reference)",
        'request, key=f"{order.reference}/{id(request)}")',
        f"{TESTS}/test_payouts.py::test_cashback_is_paid_once_wherever_it_is_interrupted[order.after]",
        "AssertionError",
    ),
    Breakage(
        "a refund that does not ask before",
        "fulfillment_svc/review/desk.py",
        "            if found.answer in _ISSUED:\n",
        "            if False:\n",
        f"{TESTS}/test_review.py::test_nothing_is_refunded_that_the_provider_has_issued",
        "DID NOT RAISE",
    ),
    Breakage(
        "a callback that anybody may sign",
        "fulfillment_svc/providers/callbacks.py",
        "    except (WebhookVerificationError, ValueError):\n        return False\n",
        "    except (WebhookVerificationError, ValueError):\n        return True\n",
        f"{TESTS}/test_callbacks.py::test_only_who_has_the_secret_is_heard",
        "'UNAUTHENTICATED'",
    ),
    Breakage(
        "a part that is captured as a whole",
        "fulfillment_svc/redemptions/steps.py",
        "            request.amount = part\n",
        "            pass\n",
        f"{TESTS}/test_parts_and_cancelling.py::test_what_was_not_issued_is_given_back_item_by_item",
        "assert await tenant.points() == Funds(before.balance - points, 0)",
    ),
    Breakage(
        "a unit that nobody gives back",
        "fulfillment_svc/redemptions/states.py",
        "    (State.RELEASING_FUNDING, Answer.DONE): State.RELEASING_STOCK,\n",
        "    (State.RELEASING_FUNDING, Answer.DONE): State.FAILED,\n",
        f"{TESTS}/test_stock.py::test_a_failed_and_a_cancelled_redemption_give_their_units_back",
        "Stock(2, 0, 0)",
    ),
    Breakage(
        "a limit that two slip under",
        "fulfillment_svc/compliance/store.py",
        ".filter_by(**of).with_for_update()",
        ".filter_by(**of)",
        f"{TESTS}/test_compliance.py::test_checks_at_one_instant_never_pass_a_limit_together[0]",
        "REFUSE'>: 8}",
    ),
    Breakage(
        "codes shown as often as asked for",
        "fulfillment_svc/redemptions/revealing.py",
        "            if count >= REVEALS_MAX:\n",
        "            if False:\n",
        f"{TESTS}/test_revealing.py::test_even_at_once_codes_are_shown_only_so_often_an_hour",
        "assert 15 == 10",
    ),
    Breakage(
        "claims that do not wait for each other",
        "fulfillment_svc/orders/store.py",
        "    return _one(await tx.execute(named.with_for_update()))\n",
        "    return _one(await tx.execute(named))\n",
        f"{TESTS}/test_claims.py::test_fifty_claims_of_the_whole_have_one_winner",
        "AssertionError",
    ),
    Breakage(
        "a rest that goes back under a claim",
        "fulfillment_svc/orders/steps.py",
        "            if await store.under_way(tx, order):\n",
        "            if False:\n",
        f"{TESTS}/test_order_ends.py::test_a_claim_under_way_is_waited_for[]",
        "held: 0 != 2500",
    ),
    Breakage(
        "a claim after the end",
        "fulfillment_svc/orders/values.py",
        " and not self.expired(now)\n",
        "\n",
        f"{TESTS}/test_order_ends.py::test_what_is_left_goes_back_when_the_time_is_over",
        "DID NOT RAISE",
    ),
)


@pytest.mark.timeout(1_200 * TIMES)
async def test_every_breakage_is_found(tmp_path: Path) -> None:
    await check(tmp_path, CODE, BREAKAGES if TORTURE else BREAKAGES[:ALWAYS])


def test_every_breakage_can_be_planted() -> None:
    assert all(planted(breakage) for breakage in BREAKAGES)
