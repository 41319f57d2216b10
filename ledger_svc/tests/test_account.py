"""The rules of an account, as properties over any sequence of postings."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger_svc.journal.account import Account
from ledger_svc.journal.values import Category, Draft, Entry, Key, Kind, Owner, Use
from svckit.clock import new_id
from svckit.errors import Reason, Refused

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def member() -> Account:
    return Account(Key("p", Owner.MEMBER, "m", "PTS"), 1)


def draft(kind: Kind, at: datetime) -> Draft:
    return Draft(new_id(), kind, Category.BONUS, at)


operations = st.lists(
    st.one_of(
        st.tuples(st.just("credit"), st.integers(1, 1_000), st.one_of(st.none(), st.integers(1, 20))),
        st.tuples(st.sampled_from(["debit", "hold"]), st.integers(1, 1_500), st.none()),
        st.tuples(st.sampled_from(["capture", "void", "reverse", "wait", "claw"]), st.integers(1, 1_000), st.none()),
    ),
    max_size=40,
)


@settings(max_examples=300, deadline=None)
@given(operations)
def test_balance_entries_and_lots_agree_whatever_happens(  # noqa: C901 - one machine, one place
    steps: list[tuple[str, int, int | None]],
) -> None:
    account, now = member(), START
    holds: list[tuple[list[Use], int]] = []
    debits: list[tuple[Entry, list[Use]]] = []
    credits_: list[UUID] = []
    for name, number, days in steps:
        account.sweep(now)
        before = account.available(now)
        try:
            if name == "credit":
                earned = account.credit(draft(Kind.EARN, now), number, None if days is None else now + days * DAY)
                credits_.append(earned.transaction_id)
            elif name == "debit":
                entry = account.debit(draft(Kind.REDEEM, now), number)
                debits.append((entry, account.changes.uses[entry.transaction_id]))
            elif name == "hold":
                holds.append((account.hold(now, number), number))
            elif name == "capture" and holds:
                uses, total = holds.pop()
                account.capture(draft(Kind.CAPTURE, now), uses, min(number, total), total)
            elif name == "void" and holds:
                uses, total = holds.pop()
                account.release(new_id(), uses, total)
                account.sweep(now)
            elif name == "reverse" and debits:
                original, uses = debits.pop()
                restored, expired = account.reverse(draft(Kind.REVERSE, now), uses, -original.amount)
                assert restored.amount == -original.amount
                assert 0 <= expired <= restored.amount
            elif name == "claw" and credits_:
                lot_id = credits_.pop()
                taken = min(
                    number, account.unlapsed(lot_id, next(x.original for x in account.lots if x.lot_id == lot_id))
                )
                if taken:
                    account.claw_back(draft(Kind.REVERSE, now), lot_id, taken)
            elif name == "wait":
                now += (number % 7) * DAY
        except Refused as refusal:
            assert refusal.reason == Reason.INSUFFICIENT_POINTS  # noqa: PT017 - any step may be refused
            assert number > before
            assert name in {"debit", "hold"}
        entries = account.changes.entries
        assert account.posted == sum(entry.amount for entry in entries)
        assert account.held == sum(total for _, total in holds)
        assert sum(lot.remaining for lot in account.lots) == max(0, account.posted - account.held)  # L5, G11
        assert all(0 <= lot.remaining <= lot.original for lot in account.lots)
        assert [entry.version for entry in entries] == list(range(1, len(entries) + 1))
        times = [entry.recorded_at for entry in entries]
        assert times == sorted(set(times))


def test_first_to_expire_burns_first_and_never_last() -> None:  # G2
    account = member()
    never = account.credit(draft(Kind.EARN, START), 10)
    late = account.credit(draft(Kind.EARN, START), 10, START + 20 * DAY)
    soon = account.credit(draft(Kind.EARN, START), 10, START + 10 * DAY)
    uses = account.hold(START, 25)
    assert [(use.lot_id, use.amount) for use in uses] == [
        (soon.transaction_id, 10),
        (late.transaction_id, 10),
        (never.transaction_id, 5),
    ]


def test_what_has_run_out_is_gone_at_once_and_posted_once() -> None:  # G3
    account = member()
    account.credit(draft(Kind.EARN, START), 10, START + DAY)
    account.credit(draft(Kind.EARN, START), 5)
    at = START + DAY
    assert (account.balance(at), account.available(at), account.posted) == (5, 5, 15)
    with pytest.raises(Refused):
        account.debit(draft(Kind.REDEEM, at), 6)
    account.sweep(at)
    account.sweep(at)
    assert [(e.kind, e.amount) for e in account.changes.entries[2:]] == [(Kind.EXPIRE, -10)]
    assert account.changes.entries[-1].effective_at == START + DAY


def test_a_reversal_restores_the_lot_and_what_ran_out_expires() -> None:  # G8
    account = member()
    account.credit(draft(Kind.EARN, START), 10, START + DAY)
    account.credit(draft(Kind.EARN, START), 10)
    taken = account.debit(draft(Kind.REDEEM, START), 15)
    uses = account.changes.uses[taken.transaction_id]
    entry, expired = account.reverse(draft(Kind.REVERSE, START + 2 * DAY), uses, 15)
    assert (entry.amount, expired, account.posted) == (15, 10, 10)


def test_held_points_are_frozen_and_expire_when_released() -> None:  # G5
    account = member()
    account.credit(draft(Kind.EARN, START), 10, START + DAY)
    uses = account.hold(START, 10)
    later = START + 2 * DAY
    account.sweep(later)
    assert (account.posted, account.held) == (10, 10)
    account.release(new_id(), uses, 10)
    account.sweep(later)
    assert (account.posted, account.held) == (0, 0)
