"""The rules of the state machine that read, the sweeps, and what is compared after each step and at the end."""

import asyncio
from bisect import bisect_right
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from google.protobuf.message import Message
from hypothesis import strategies as st
from hypothesis.stateful import invariant
from rewards.ledger.v1 import funding_pb2, movements_pb2, outcomes_pb2, points_pb2

from ledger_svc.journal.values import Owner as OwnerKind
from ledger_svc.tests.machine_batches import Batches
from ledger_svc.tests.machine_calls import CATEGORIES, stamp
from ledger_svc.tests.machine_driver import NOBODY, Way, move
from ledger_svc.tests.machine_world import SCOPES, Call, answer, fields
from ledger_svc.tests.oracle import FUNDING, Account, Entry, Fields, No, Oracle, Owner
from ledger_svc.tests.oracle_operations import time_out
from ledger_svc.verify.report import faults, findings
from svckit.testing import headers, partner

# No call's entries are later than this after its instant.
A_LITTLE: Final = timedelta(microseconds=900)
OWNERS = st.tuples(st.sampled_from(("ann", "ann", "bob", "cyd")), st.sampled_from(("PTS", "PTS", "STARS")))
WAYS = st.builds(
    Way,
    servers=st.sampled_from(((0, 0), (0, 1), (1, 0))),
    other=st.sampled_from((False,) * 4 + (True,)),
    sweeping=st.sampled_from((False,) * 6 + (True,)),
)
LINES: Final = {
    "EARN": "earned",
    "REDEEM": "redeemed",
    "CAPTURE": "redeemed",
    "REVERSE": "reversed",
    "ADJUST": "adjusted",
}


class Reads(Batches):
    """What is read must be what the oracle knows or remembers."""

    def read(self, rpc: str, request: Message) -> Any:
        """Asks the first server."""
        self.tick()
        self.counted[rpc] += 1
        call = self.world.servers[0].rpcs[rpc](request, timeout=10, metadata=headers(partner(self.program_id, *SCOPES)))
        return self.world.run(answer(call))

    def settled(self, at: datetime) -> datetime:
        """An instant at which no call was half recorded: `at`, or a little later."""
        place = bisect_right(self.instants, at)
        return max(at, self.instants[place - 1] + A_LITTLE) if place else at

    def instant(self, which: int) -> datetime:
        """A past instant: right after a call, or when something ran out."""
        ends = [lot.expires_at for account in self.oracle.books.accounts.values() for lot in account.lots]
        found = sorted({*self.instants, *(at for at in ends if at is not None and at < self.oracle.now)})
        return self.settled(found[which % len(found)]) if found else self.oracle.now

    @move(owner=OWNERS, points=st.integers(1, 300))
    def look(self, owner: Owner, points: int) -> None:
        member_id, asset = owner
        found = self.read("GetBalance", points_pb2.GetBalanceRequest(member_id=member_id, asset=asset))
        account, now = self.oracle.account(owner), self.oracle.now
        standing = (account.balance(now), account.available(now), account.held)
        assert (found.balance, found.available, found.held) == standing
        request = points_pb2.CheckAvailabilityRequest(member_id=member_id, asset=asset, points=points)
        can = self.read("CheckAvailability", request)
        account, now = self.oracle.account(owner), self.oracle.now
        assert can.available == (self.oracle.members[member_id] and points <= account.available(now))
        assert (can.balance, can.available_points) == (account.balance(now), account.available(now))
        schedule = self.read("GetExpirySchedule", points_pb2.GetExpiryScheduleRequest(member_id=member_id, asset=asset))
        rows = [(row.expires_at.ToDatetime(tzinfo=UTC), row.points) for row in schedule.rows]
        assert rows == self.oracle.schedule(owner)
        now_lots = self.read("GetLots", points_pb2.GetLotsRequest(member_id=member_id, asset=asset, page_size=500))
        assert lots(now_lots) == self.oracle.account(owner).view().free(self.oracle.now)

    @move(weight=4, owner=OWNERS, which=st.integers(0, 400))
    def as_it_was(self, owner: Owner, which: int) -> None:
        at = self.instant(which)
        request = points_pb2.GetBalanceRequest(member_id=owner[0], asset=owner[1], as_of=stamp(at))
        found = self.read("GetBalance", request)
        view = self.oracle.view_as_of(owner, at)
        assert (found.balance, found.available, found.held) == view.standing(at)
        request_lots = points_pb2.GetLotsRequest(member_id=owner[0], asset=owner[1], as_of=stamp(at), page_size=500)
        assert lots(self.read("GetLots", request_lots)) == view.free(at)

    @move(weight=2, owner=OWNERS, first=st.integers(0, 400), last=st.integers(0, 400))
    def statement(self, owner: Owner, first: int, last: int) -> None:
        """A period's lines are the journal's; what ran out in it is what is missing to the closing balance."""
        start, end = sorted((self.instant(first), self.instant(last)))
        request = points_pb2.GetStatementSummaryRequest(
            member_id=owner[0], asset=owner[1], from_time=stamp(start), to_time=stamp(end)
        )
        summary = self.read("GetStatementSummary", request)
        lines, categories = sums([e for e in self.oracle.books.journal.get(owner, []) if start <= e.at < end])
        for line in (*LINES.values(), "transferred_in", "transferred_out"):
            assert getattr(summary, line) == lines[line]
        assert summary.closing == summary.opening + summary.expired + sum(lines.values())
        assert summary.expired <= 0
        # Posted points are at least those that have not run out.
        assert summary.opening >= self.oracle.view_as_of(owner, start).balance(start)
        assert summary.closing >= self.oracle.view_as_of(owner, end).balance(end)
        by_category = points_pb2.GetStatementByCategoryRequest(
            member_id=owner[0], asset=owner[1], from_time=stamp(start), to_time=stamp(end)
        )
        rows = {row.category: row.points for row in self.read("GetStatementByCategory", by_category).rows}
        assert rows.pop(CATEGORIES["EXPIRED"]) == summary.expired
        assert +Counter(rows) | -Counter(rows) == categories
        self.closed.setdefault(request.SerializeToString(), summary)

    @move(which=st.integers(0, 50))
    def statement_again(self, which: int) -> None:
        """A closed period reads the same for ever."""
        if self.closed:
            sent = list(self.closed)[which % len(self.closed)]
            again = self.read("GetStatementSummary", points_pb2.GetStatementSummaryRequest.FromString(sent))
            assert again == self.closed[sent]

    @move(which=st.integers(0, 200))
    def redemption(self, which: int) -> None:
        """ "Did it happen?" is answered by the key and by the transaction."""
        redeemed = [one for one in self.sent if one[0].rpc == "RedeemPoints"]
        if not redeemed:
            return
        _, key = redeemed[which % len(redeemed)]
        found = self.read("GetRedemption", points_pb2.GetRedemptionRequest(idempotency_key=key))
        kept = self.oracle.books.keys.get(("RedeemPoints", key))
        if kept is None:
            assert found == points_pb2.GetRedemptionResponse(status=points_pb2.GetRedemptionResponse.NOT_SEEN)
        elif kept[1].reason:
            assert (found.status, found.refusal.reason) == (found.REFUSED, kept[1].reason)
        else:
            name = (kept[1].fields or {})["transaction_id"]
            posted = self.oracle.books.posted[name]
            told = found.redemption
            assert (told.transaction_id, told.points_redeemed, told.points_reversed) == (
                name,
                -posted.amount,
                posted.undone,
            )
            assert self.read("GetRedemption", points_pb2.GetRedemptionRequest(transaction_id=name)) == found

    @move(weight=2, which=st.integers(0, 200))
    def outcome(self, which: int) -> None:
        """A key tells what came of it, for ever."""
        public = [one for one in self.sent if one[0].rpc not in {"PlaceHold", "CaptureHold", "VoidHold"}]
        if not public:
            return
        call, key = public[which % len(public)]
        found = self.read("GetOutcome", outcomes_pb2.GetOutcomeRequest(operation=call.rpc, idempotency_key=key))
        kept = self.oracle.books.keys.get((call.rpc, key))
        told, of = type(found).Status.Name(found.status), found.WhichOneof("result")
        if kept is None:
            assert (told, of) == ("NOT_SEEN", None)
        elif kept[1].reason:
            assert (told, found.refusal.reason, of) == ("REFUSED", kept[1].reason, None)
        else:
            said, known = fields(getattr(found, of)), kept[1].fields or {}
            assert (told, said) == ("DONE", {name: known[name] for name in said})

    @move()
    def funding(self) -> None:
        found = self.read("GetFunding", funding_pb2.GetFundingRequest())
        account = self.oracle.account((FUNDING, "USD"))
        balance, held = account.balance(self.oracle.now), account.held
        rows = [(row.currency, row.balance, row.reserved, row.available) for row in found.balances]
        assert rows in ([], [("USD", balance / 100, held / 100, (balance - held) / 100)])
        assert rows or not balance

    @move(weight=2)
    def sweep(self) -> None:
        """Both workers post at once what is due."""
        self.tick()
        self.world.run(self._sweep())
        time_out(self.oracle)
        self.swept = True

    async def _sweep(self) -> None:
        workers = [server.sweeper for server in self.world.servers]
        now = self.oracle.now
        await asyncio.gather(*(w.time_out(self.program_id, now) for w in workers))
        await asyncio.gather(*(w.expire(self.program_id, now) for w in workers))

    @move(member=st.sampled_from(("", "", "ann", "bob", NOBODY)), way=WAYS)
    def expirations(self, member: str, way: Way) -> None:
        """How many it posts depends on what was posted before, which nobody can see; but not more than is due."""

        def effect(oracle: Oracle, name: str) -> Fields:
            if member and member not in oracle.members:
                raise No("MEMBER_NOT_FOUND")
            due = [sum(oracle.lapsed(owner, oracle.now).values()) for owner in oracle.books.accounts]
            assert 0 <= self.got.fields["expired"] <= sum(due)
            return self.got.fields

        call = Call("CreateExpirations", movements_pb2.CreateExpirationsRequest(member_id=member), effect)
        self.send(way, lambda _: call)

    @invariant()
    def accounts_and_lots_are_the_oracle_s(self) -> None:
        found: dict[Owner, list[Any]] = {}
        for row in self.world.run(self.world.lots(self.program_id)):
            found.setdefault((row.owner if row.owner_kind == OwnerKind.MEMBER else FUNDING, row.asset), []).append(row)
        nothing = self.oracle.account((NOBODY, "PTS"))
        for owner in {*found, *self.oracle.books.accounts}:
            self.compare(self.oracle.books.accounts.get(owner, nothing), found.get(owner, []))
        self.swept = False
        self.oracle.remember()
        self.counted["steps"] += self.began
        self.sound = self.began = True

    def compare(self, account: Account, rows: list[Any]) -> None:
        """An account is what the oracle has, and so is each of its lots."""
        now = self.oracle.now
        assert (rows[0].held if rows else 0) == account.held
        run_out = sum(row.remaining for row in rows if row.expires_at is not None and row.expires_at <= now)
        posted = rows[0].posted if rows else 0
        assert posted - run_out == account.balance(now), f"{posted} less {run_out}, {account}"
        assert not (self.swept and run_out)
        if not rows or rows[0].owner_kind != OwnerKind.MEMBER:
            return
        by_id = {str(row.lot_id): row for row in rows if row.lot_id is not None}
        assert len(by_id) == len(account.lots)
        own = {lot.name for lot in account.lots}
        received = (row for lot_id, row in by_id.items() if lot_id not in own)
        for lot in account.lots:
            row = by_id[lot.name] if lot.name else next(received)
            assert (row.expires_at, row.original) == (lot.expires_at, lot.original)
            assert row.remaining + row.lapsed == lot.left
            assert not row.lapsed or not lot.live(now)
            if not lot.settled:
                assert lot.earned_at <= row.earned_at < lot.earned_at + A_LITTLE
                lot.earned_at, lot.settled = row.earned_at, True
            assert row.earned_at == lot.earned_at

    def teardown(self) -> None:
        """Every account's history is the journal, with what ran out posted once; and the auditor finds nothing."""
        if not self.sound:
            return
        self.sweep()
        self.accounts_and_lots_are_the_oracle_s()
        for owner in self.oracle.books.accounts:
            if owner[0] in self.oracle.members and owner[1] in self.oracle.policy.assets:
                self.compare_history(owner)
        assert faults(self.world.run(findings(self.world.url))) == []

    def compare_history(self, owner: Owner) -> None:
        request = points_pb2.GetTransactionHistoryRequest(member_id=owner[0], asset=owner[1], page_size=500)
        history = list(reversed(self.read("GetTransactionHistory", request).transactions))
        kinds = points_pb2.Transaction.Kind
        balance, ran_out, entries = 0, Counter[datetime](), []
        for one in history:
            balance += one.points
            assert one.balance_after == balance
            occurred_at = one.occurred_at.ToDatetime(tzinfo=UTC)
            if one.kind == points_pb2.Transaction.EXPIRE:
                ran_out[occurred_at] -= one.points
            else:
                entries.append(
                    (
                        one.transaction_id,
                        kinds.Name(one.kind),
                        one.category,
                        one.points,
                        one.recorded_at,
                        one.occurred_at,
                    )
                )
        assert ran_out == self.oracle.lapsed(owner, self.oracle.now)
        for told, entry in zip(entries, self.oracle.books.journal.get(owner, []), strict=True):
            *said, recorded_at, occurred_at = told
            assert said == [entry.name, entry.kind, CATEGORIES[entry.category], entry.amount], f"{told} {entry}"
            assert entry.at <= recorded_at.ToDatetime(tzinfo=UTC) < entry.at + A_LITTLE
            assert occurred_at == (stamp(entry.occurred_at) if entry.occurred_at else recorded_at)


def lots(answer: points_pb2.GetLotsResponse) -> list[tuple[datetime | None, int]]:
    """The lots of an answer, as the oracle has them."""
    return [
        (lot.expires_at.ToDatetime(tzinfo=UTC) if lot.HasField("expires_at") else None, lot.remaining)
        for lot in answer.lots
    ]


def sums(entries: list[Entry]) -> tuple[Counter[str], Counter[int]]:
    """The lines of a statement and its categories, without what ran out."""
    lines: Counter[str] = Counter()
    categories: Counter[int] = Counter()
    for entry in entries:
        way = "transferred_in" if entry.amount > 0 else "transferred_out"
        lines[way if entry.kind == "TRANSFER" else LINES[entry.kind]] += entry.amount
        categories[CATEGORIES[entry.category]] += entry.amount
    return lines, +categories | -categories
