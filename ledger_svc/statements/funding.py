"""The statement of a program's prepaid funding."""

from typing import Any

from rewards.ledger.v1 import funding_pb2 as pb

from ledger_svc.journal.wire import funding_key
from ledger_svc.parts import Rpcs
from ledger_svc.statements import rules, store, wire
from svckit import paging


class FundingStatementRpcs(Rpcs):
    """The FundingService RPC that tells what moved."""

    async def GetFundingStatement(
        self, request: pb.GetFundingStatementRequest, context: Any
    ) -> pb.GetFundingStatementResponse:
        """Sums up a period and shows its movements, newest first; all of it is one snapshot."""
        period, size = wire.period(request), paging.size(request.page_size)
        place = paging.place(request, 1)
        program, _ = await self.program()
        key = funding_key(program.program_id, request.currency or program.currency)
        async with self.db.read() as tx:
            await store.one_snapshot(tx)
            found = await store.statement(tx, key, period)
            reserved = await store.held_as_of(tx, key, period.end)
            shown = period if place is None else period.before(wire.place(place[0]))
            rows = await store.history(tx, key, shown, (), size + 1)
        more = paging.token(request, rows[size - 1].recorded_at.isoformat()) if len(rows) > size else ""
        lines = rules.funding_lines(found.movements)
        return wire.funding_statement(key.asset, found, lines, reserved, rows[:size], more)
