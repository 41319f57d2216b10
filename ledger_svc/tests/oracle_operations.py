"""The operations of the oracle: what each checks, in which order, what it moves, and what it answers.

`name` is what the ledger called the effect; it is empty where the ledger refused, which the oracle then must do too.
"""

from datetime import datetime
from fractions import Fraction
from typing import NamedTuple

from ledger_svc.tests.oracle import FUNDING, Account, Adjustment, Drawn, Fields, Hold, No, Oracle, Owner, Posted


def standing(oracle: Oracle, *owners: Owner) -> None:
    """The owners may earn and redeem."""
    for member, _ in owners:
        if member != FUNDING and member not in oracle.members:
            raise No("MEMBER_NOT_FOUND")
        if member != FUNDING and not oracle.members[member]:
            raise No("MEMBER_NOT_ACTIVE")


def known(oracle: Oracle, asset: str, until: datetime | None = None) -> None:
    """The program has such an asset, and what a request names as an end has not passed yet."""
    if asset not in oracle.policy.assets or (until is not None and until <= oracle.now):
        raise No("INVALID_REQUEST")


def credit(
    oracle: Oracle, name: str, owner: Owner, points: int, category: str, expires_at: datetime | None = None
) -> Fields:
    """Points outright, or a deposit of funding. Without an expiry of its own the program's policy decides."""
    if owner[0] != FUNDING:
        known(oracle, owner[1], expires_at)
    standing(oracle, owner)
    kind = "FUND" if owner[0] == FUNDING else "EARN"
    until = expires_at or (None if kind == "FUND" else oracle.policy.runs_out(oracle.now))
    come_in(oracle, name, Posted(kind, category, owner, points, []), until)
    return {"transaction_id": name, "balance": oracle.account(owner).balance(oracle.now)}


def come_in(
    oracle: Oracle, name: str, posted: Posted, until: datetime | None, occurred_at: datetime | None = None
) -> None:
    """A new lot, of which a debt takes its part at once (G11)."""
    account = oracle.account(posted.owner)
    account.check_room(oracle.now, posted.amount)
    oracle.noted["came into a debt"] += account.debt > 0
    posted.lot = oracle.lot(posted.owner, posted.amount, account.fill(posted.amount), until, oracle.now)
    posted.lot.name = name
    oracle.post(name, posted, occurred_at)


class Event(NamedTuple):
    """Something a member did; `amount` is in major units of the program's currency."""

    type: str
    event_id: str
    amount: Fraction | None
    occurred_at: datetime | None


def event(oracle: Oracle, name: str, owner: Owner, did: Event) -> Fields:
    """What a member did; the same event is never recorded twice."""
    known(oracle, owner[1])
    points = oracle.policy.earns(did.type, did.amount)
    standing(oracle, owner)
    if did.event_id in oracle.books.events:
        raise No("CONFLICT")
    if points:
        until = oracle.policy.runs_out(oracle.now)
        come_in(oracle, name, Posted("EARN", "SPEND", owner, points, []), until, did.occurred_at or oracle.now)
    if did.event_id:
        oracle.books.events.add(did.event_id)
    balance = oracle.account(owner).balance(oracle.now)
    return {"transaction_id": name, "points_awarded": points, "balance": balance}


def redeem(oracle: Oracle, name: str, owner: Owner, points: int, worth_minor: int | None = None) -> Fields:
    """All of it or nothing (G15); an amount that is named must be what the points are worth (G26)."""
    known(oracle, owner[1])
    if worth_minor is not None and worth_minor != points * 100 // oracle.policy.points_per_unit:
        raise No("AMOUNT_MISMATCH")
    standing(oracle, owner)
    account = oracle.account(owner)
    account.check_enough(oracle.now, points, "INSUFFICIENT_POINTS")
    oracle.post(name, Posted("REDEEM", "REDEEM", owner, -points, account.draw(oracle.now, points)))
    return {"transaction_id": name, "points_redeemed": points, "balance": account.balance(oracle.now)}


def undo(oracle: Oracle, transaction: str, kind: str, asked: int | None) -> tuple[Posted, int]:
    """The transaction that a reversal is about, and how much of it (G9, G10)."""
    original = oracle.books.posted.get(transaction)
    if original is None:
        raise No("TRANSACTION_NOT_FOUND")
    if original.kind != kind:
        raise No("WRONG_TRANSACTION_KIND")
    left = abs(original.amount) - original.undone
    if left == 0:
        raise No("DUPLICATE_REVERSAL")
    if asked is not None and asked > left:
        raise No("REVERSAL_EXCEEDS")
    return original, asked or left


def reverse(oracle: Oracle, name: str, transaction: str, asked: int | None) -> Fields:
    """Gives back what a redemption took: what it drew last comes back first, to its own lots (G8)."""
    original, amount = undo(oracle, transaction, "REDEEM", asked)
    account = oracle.account(original.owner)
    account.check_room(oracle.now, amount)
    original.undone += amount
    original.drawn, back = cut(original.drawn, sum(n for _, n in original.drawn) - amount)
    expired = give_back(oracle, account, back)
    oracle.post(name, Posted("REVERSE", "REDEEM", original.owner, amount, []))
    balance = account.balance(oracle.now)
    return {"reversal_id": name, "restored": amount - expired, "expired": expired, "balance": balance}


def cut(drawn: Drawn, first: int) -> tuple[Drawn, Drawn]:
    """The first so many points that were drawn, and the others."""
    head: Drawn = []
    tail: Drawn = []
    for lot, amount in drawn:
        kept = min(first, amount)
        first -= kept
        head += [(lot, kept)] if kept else []
        tail += [(lot, amount - kept)] if amount > kept else []
    return head, tail


def claw_back(oracle: Oracle, name: str, transaction: str, asked: int | None) -> Fields:
    """Takes an earning back: what ran out of it is gone already; what was spent becomes debt, or is written off."""
    original, amount = undo(oracle, transaction, "EARN", asked)
    account, lot = oracle.account(original.owner), original.lot
    ran_out = 0 if lot is None or lot.live(oracle.now) else lot.left
    taken = max(0, min(amount, original.amount - ran_out - original.taken_back))
    oracle.noted["was taken back after a part ran out"] += ran_out > 0
    if oracle.policy.write_off:
        oracle.noted["was written off"] += taken > account.available(oracle.now)
        taken = min(taken, account.available(oracle.now))
    account.check_room(oracle.now, -taken)
    original.undone += amount
    original.taken_back += taken
    drawn = account.draw(oracle.now, taken, lot)
    account.debt += taken - sum(n for _, n in drawn)
    oracle.noted["went into debt"] += account.debt > 0
    if taken:
        oracle.post(name, Posted("REVERSE", original.category, original.owner, -taken, []))
    return {"reversal_id": name if taken else "", "points_reversed": taken, "balance": account.balance(oracle.now)}


def transfer(oracle: Oracle, name: str, source: Owner, target: Owner, points: int) -> Fields:
    """Moves points, each part with its lot's age and expiry (G18)."""
    if not oracle.policy.transfer_max:
        raise No("PERMISSION_DENIED")
    known(oracle, source[1])
    if source == target:
        raise No("INVALID_REQUEST")
    if points > oracle.policy.transfer_max:
        raise No("AMOUNT_OUT_OF_RANGE")
    standing(oracle, source, target)
    giver, taker = oracle.account(source), oracle.account(target)
    taker.check_room(oracle.now, points)
    giver.check_enough(oracle.now, points, "INSUFFICIENT_POINTS")
    for lot, amount in giver.draw(oracle.now, points):
        oracle.noted["was transferred with an expiry"] += lot.expires_at is not None
        oracle.lot(target, amount, taker.fill(amount), lot.expires_at, lot.earned_at).settled = True
    for owner, signed in ((source, -points), (target, points)):
        oracle.post(name, Posted("TRANSFER", "PARTNER", owner, signed, []))
    return {"transaction_id": name, "balance": giver.balance(oracle.now)}


def hold(oracle: Oracle, name: str, owner: Owner, amount: int, until: datetime | None, *, partner: bool) -> Fields:
    """Sets value aside: what is held is frozen where it was (G5, G6)."""
    if owner[0] != FUNDING:
        known(oracle, owner[1], until if partner else None)
    standing(oracle, owner)
    account = oracle.account(owner)
    account.check_enough(oracle.now, amount, "INSUFFICIENT_FUNDS" if owner[0] == FUNDING else "INSUFFICIENT_POINTS")
    assert name, "the ledger refused a hold that it should have placed"
    oracle.books.holds[name] = Hold(owner, amount, until, account.draw(oracle.now, amount), partner)
    account.held += amount
    return {"hold_id": name, "balance": account.balance(oracle.now)}


def active(oracle: Oracle, name: str, *, partner: bool) -> Hold:
    """A hold that may still be ended by a call (G7); a partner ends only partners'."""
    found = oracle.books.holds.get(name)
    if found is None or (partner and not found.partner):
        raise No("TRANSACTION_NOT_FOUND")
    if not found.active or found.due(oracle.now):
        raise No("HOLD_NOT_ACTIVE")
    return found


def capture(oracle: Oracle, on: str, held: str, asked: int | None, *, partner: bool, keeps: bool = False) -> Fields:
    """Posts a hold or a part of it; the rest goes back, or is kept under the name `on`."""
    found = active(oracle, held, partner=partner)
    amount = found.amount if asked is None else asked
    if amount > found.amount:
        raise No("REVERSAL_EXCEEDS")
    taken, rest = cut(found.drawn, amount)
    end(oracle, found, [] if keeps else rest)
    if left := (found.amount - amount) * keeps:
        assert on, "the ledger did not keep what it should have kept"
        oracle.noted["held on"] += 1
        oracle.books.holds[on] = Hold(found.owner, left, found.until, rest, found.partner)
        oracle.account(found.owner).held += left
    points = found.owner[0] != FUNDING
    kind, category = ("CAPTURE", "REDEEM") if points else ("SETTLE", "SPEND")
    oracle.post(held, Posted(kind, category, found.owner, -amount, taken))
    balance = oracle.account(found.owner).balance(oracle.now)
    return {"transaction_id": held, "balance": balance, "rest_hold_id": on if left else ""}


def void(oracle: Oracle, held: str, *, partner: bool) -> Fields:
    """Ends a hold and gives everything back."""
    found = active(oracle, held, partner=partner)
    expired = end(oracle, found, found.drawn)
    return {"available": oracle.account(found.owner).available(oracle.now), "expired": expired}


def end(oracle: Oracle, found: Hold, back: Drawn) -> int:
    """Ends a hold; how much of what goes back has run out meanwhile (G5)."""
    account = oracle.account(found.owner)
    found.active = False
    account.held -= found.amount
    return give_back(oracle, account, back)


def give_back(oracle: Oracle, account: Account, back: Drawn) -> int:
    """Returns points to their lots; how many expired at once."""
    debt, expired = account.debt, account.give_back(oracle.now, back)
    oracle.noted["came back too late"] += expired > 0
    oracle.noted["came back into a debt"] += account.debt < debt
    return expired


def time_out(oracle: Oracle) -> int:
    """Ends what has run out, the oldest first; how many there were."""
    due = [found for found in oracle.books.holds.values() if found.active and found.due(oracle.now)]
    for found in sorted(due, key=lambda found: found.until or oracle.now):
        end(oracle, found, found.drawn)
    oracle.noted["timed out"] += len(due)
    return len(due)


def adjust(
    oracle: Oracle, name: str, owner: Owner, points: int, since: datetime | None, until: datetime | None
) -> Fields:
    """A correction; over what a credential may do alone it waits for a second one (G19)."""
    known(oracle, owner[1], until)
    if (until is not None and points < 0) or (since is not None and since > oracle.now):
        raise No("INVALID_REQUEST")
    if owner[0] not in oracle.members:
        raise No("MEMBER_NOT_FOUND")
    asked = Adjustment(owner, points, since, until or (oracle.policy.runs_out(oracle.now) if points > 0 else None))
    if abs(points) > oracle.policy.adjust_alone_max:
        assert name, "the ledger refused an adjustment that waits"
        oracle.books.adjustments[name] = asked
        return {"adjustment_id": name, "status": "PENDING"}
    answer = correct(oracle, name, asked)
    oracle.books.adjustments[name] = asked
    return answer


def correct(oracle: Oracle, name: str, asked: Adjustment) -> Fields:
    """Posts a correction, whatever the member's status, and never takes more than is available."""
    account = oracle.account(asked.owner)
    posted = Posted("ADJUST", "ADJUST", asked.owner, asked.points, [])
    if asked.points > 0:
        come_in(oracle, name, posted, asked.until, asked.since)
    else:
        account.check_enough(oracle.now, -asked.points, "INSUFFICIENT_POINTS")
        posted.drawn = account.draw(oracle.now, -asked.points)
        oracle.post(name, posted, asked.since)
    asked.status = "POSTED"
    return {"adjustment_id": name, "status": "POSTED", "balance": account.balance(oracle.now)}


def pending(oracle: Oracle, name: str) -> Adjustment:
    """An adjustment on which nobody has decided."""
    if name not in oracle.books.adjustments:
        raise No("NOT_FOUND")
    if oracle.books.adjustments[name].status != "PENDING":
        raise No("CONFLICT")
    return oracle.books.adjustments[name]


def approve(oracle: Oracle, name: str, credential: str) -> Fields:
    """Posts what another credential asked for; all of them are asked for by one."""
    asked = pending(oracle, name)
    if credential == "one":
        raise No("PERMISSION_DENIED")
    return correct(oracle, name, asked)


def reject(oracle: Oracle, name: str) -> Fields:
    pending(oracle, name).status = "REJECTED"
    return {"adjustment_id": name, "status": "REJECTED"}
