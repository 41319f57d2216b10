"""How the state machine sends a batch twice at once, and tells which of the two was first."""

import asyncio
from collections.abc import Callable
from typing import Final

from rewards.ledger.v1 import journal_pb2

from ledger_svc.tests.machine_driver import Driver, Way
from ledger_svc.tests.machine_world import Call, Seen
from ledger_svc.tests.oracle import BINDING, Outcome

ITEMS: Final = {
    "CreateCredit": "credit",
    "RedeemPoints": "redeem",
    "ReversalPoints": "reversal",
    "InsertTransactionData": "event",
}


class Batches(Driver):
    """Batches, in which keys may stand twice, and old ones."""

    def send_batch(self, way: Way, mode: str, items: list[tuple[Call | None, int]]) -> None:
        """Sends a batch twice at once; the second one perhaps reversed, but not where it stops on an error: then the
        two may have no item in common, and nothing tells which was first."""
        mine = self.new_key()
        old = [one for one in self.sent if one[0].rpc in ITEMS and (one[0].rpc, one[1]) in self.oracle.books.keys]
        asked: list[tuple[Call, str]] = []
        for call, slot in items:
            if call is not None:
                asked.append((call, f"{mine}-{slot}" if slot < 3 else self.new_key()))
            elif old:
                asked.append(old[slot * 7 % len(old)])
        if not asked:
            return
        self.tick()
        twins = [asked, asked[::-1] if way.other and mode != "STOP_ON_ERROR" else asked]
        seen = self.world.run(self._both_batches(way, mode, twins))
        (one, other) = zip(twins, seen, strict=True)
        for sent, results in (other, one) if _is_first(other, one) else (one, other):
            self.agree_batch(mode, sent, results)
        self.sent += asked

    async def _both_batches(self, way: Way, mode: str, twins: list[list[tuple[Call, str]]]) -> list[list[Seen | None]]:
        sent = []
        for server, asked in zip(way.servers, twins, strict=True):
            items = [journal_pb2.PostBatchItem(idempotency_key=key, **{ITEMS[c.rpc]: c.request}) for c, key in asked]  # type: ignore[arg-type]
            request = journal_pb2.PostBatchRequest(mode=mode, items=items)  # type: ignore[arg-type]
            sent.append(self.world.ask_batch(server, self.program_id, request))
        return await asyncio.gather(*sent)

    def agree_batch(self, mode: str, sent: list[tuple[Call, str]], results: list[Seen | None]) -> None:
        def item(place: int, call: Call, key: str) -> Callable[[], Outcome]:
            # What an atomic batch takes back has no name that the ledger would tell.
            got = results[place] or Seen("", {"transaction_id": f"item {place} of {self.oracle.now}"})
            return lambda: self.act(call, key, got)

        outcomes = self.oracle.batch(mode, [item(i, *one) for i, one in enumerate(sent)])
        assert [None if one is None else one.reason for one in outcomes] == [
            None if one is None else one.reason for one in results
        ]
        for outcome, got in zip(outcomes, results, strict=True):
            self.counted["skipped" if got is None else f"item {got.reason or 'done'}"] += 1
            if outcome is not None and got is not None:
                self.agree(outcome, got)


Batch = tuple[list[tuple[Call, str]], list[Seen | None]]


def _is_first(one: Batch, other: Batch) -> bool:
    """Whether a batch was before its twin, which met the keys that were fresh in it; or it was in vain, and the twin
    in its other order was not."""
    if _keys(other)[0] & _keys(one)[1]:
        return False
    return bool(_keys(one)[0] & _keys(other)[1]) or not any(got and got.fields for got in one[1])


def _keys(batch: Batch) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """The keys that a batch was the first to use, and those that it met."""
    asked = [((call.rpc, key), got) for (call, key), got in zip(*batch, strict=True) if got]
    fresh = {key for key, got in asked if got.reason in {"", *BINDING} and not got.replayed}
    return fresh, {key for key, got in asked if got.replayed or got.reason == "IDEMPOTENCY_KEY_REUSED"} - fresh
