"""What would become of a batch if it were committed now. Nothing is stored or held."""

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from rewards.fulfillment.v1.orders_pb2 import CreateOrderRequest
from rewards.ledger.v1.journal_pb2 import GetAvailableFundingRequest

from fulfillment_svc.batches import rules, store
from fulfillment_svc.batches.values import Batch, Findings, Item, Needed, Shortage
from fulfillment_svc.codes import Vault
from fulfillment_svc.orders import assembly as orders
from fulfillment_svc.orders.intake import Checked, Intake
from fulfillment_svc.redemptions.rules import definite
from fulfillment_svc.tables import programs
from svckit.clients import invoke
from svckit.db import Database
from svckit.errors import Refused
from svckit.programs import Program

if TYPE_CHECKING:
    from rewards.ledger.v1.journal_pb2_grpc import JournalServiceAsyncStub

# How many items are read, and so how many questions may be with the catalog, at once.
_PAGE: Final = 100


class Preflight:
    """Checks batches by the same intake that takes their items in, and asks the catalog the same only once a check."""

    def __init__(self, db: Database, vault: Vault, ordered: orders.Room, journal: "JournalServiceAsyncStub") -> None:
        self._db = db
        self._vault = vault
        self._ordered = ordered
        self._journal = journal

    async def check(self, batch: Batch) -> Findings:
        """What would become of the items that a commit would order. Raises UNAVAILABLE, TIMEOUT."""
        intake = self._ordered.intake.remembering()
        program = await programs.read(self._db, batch.program_id)
        good: list[tuple[Item, Checked]] = []
        refused: list[tuple[Item, Refused]] = []
        after = 0
        while items := await self._page(batch, after):
            for item, found in zip(items, await self._judge(intake, program, batch, items), strict=True):
                if isinstance(found, Refused):
                    refused.append((item, found))
                else:
                    good.append((item, found))
            after = items[-1].number
        return Findings(len(good) + len(refused), refused, await self._funding(program, good))

    async def _page(self, batch: Batch, after: int) -> list[Item]:
        async with self._db.read() as tx:
            return await store.to_order(tx, batch, after, _PAGE)

    async def _judge(
        self, intake: Intake, program: Program, batch: Batch, items: Sequence[Item]
    ) -> list[Checked | Refused]:
        async def one(item: Item) -> Checked | Refused:
            request = CreateOrderRequest.FromString(self._vault.open(item.sealed, store.place(batch, item.number)))
            try:
                return await intake.check(request, program)
            except Refused as refusal:
                if not definite(refusal):
                    raise
                return refusal

        return await asyncio.gather(*map(one, items))

    async def _funding(self, program: Program, good: Sequence[tuple[Item, Checked]]) -> list[Shortage]:
        needed: list[Needed] = []
        for currency in {checked.currency for _, checked in good}:
            of_one = [(item, checked.value_minor) for item, checked in good if checked.currency == currency]
            values_minor = [value_minor for _, value_minor in of_one]
            fees = await self._ordered.parts.menus.fees(program.program_id, currency, values_minor)
            needed += [Needed(item, currency, value, fee) for (item, value), fee in zip(of_one, fees, strict=True)]
        asked = GetAvailableFundingRequest(program_id=program.program_id)
        return rules.shortages(needed, (await invoke(self._journal.GetAvailableFunding, asked)).available)
