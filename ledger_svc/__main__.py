"""`python -m ledger_svc` serves; `migrate` brings the database up to date, `verify` audits it."""

import gc
import os
import sys
from pathlib import Path
from typing import Final

from rewards.fulfillment.v1.webhooks_pb2_grpc import EventsServiceStub

from ledger_svc.adjustments.servicer import AdjustmentsServicer
from ledger_svc.bulk.servicer import TransactionBatchesServicer
from ledger_svc.earning.servicer import EarningRulesServicer
from ledger_svc.journal.cashback import CashbackServicer
from ledger_svc.journal.coalescer import DEFAULTS, Limits
from ledger_svc.journal.directory import MemberDirectoryServicer
from ledger_svc.journal.engine import Journal
from ledger_svc.journal.holds import JournalServicer
from ledger_svc.journal.movements import MovementsServicer
from ledger_svc.journal.outcomes import OutcomesServicer
from ledger_svc.journal.relaying import Relay
from ledger_svc.journal.sweeps import Sweeper
from ledger_svc.servicer import FundingServicer, PointsServicer
from ledger_svc.statements.books import BooksServicer
from ledger_svc.tables import keys, programs
from ledger_svc.verify.report import verify
from svckit import clients, migrate, server, telemetry
from svckit.clock import system_clock
from svckit.config import Config, required, secret
from svckit.db import Database
from svckit.idempotency import Idempotency
from svckit.programs import ProgramDirectoryServicer
from svckit.server import Worker

GARBAGE_MAX: Final = 50_000


def servicers(db: Database, journal: Journal, fingerprint_key: bytes) -> list[object]:
    """Every servicer of the ledger on `db`, posting through `journal`."""
    parts = (db, journal, Idempotency(db, keys, fingerprint_key), system_clock)
    return [
        PointsServicer(*parts),
        JournalServicer(*parts),
        MovementsServicer(*parts),
        AdjustmentsServicer(*parts),
        TransactionBatchesServicer(*parts),
        OutcomesServicer(*parts),
        FundingServicer(*parts),
        BooksServicer(*parts),
        CashbackServicer(*parts),
        EarningRulesServicer(db),
        MemberDirectoryServicer(*parts),
        ProgramDirectoryServicer(db, programs),
    ]


def limits() -> Limits:
    """REWARDS_POSTING_BATCH_MAX and REWARDS_POSTING_BATCHES_IN_FLIGHT_MAX, where they are set."""
    size, count = os.environ.get("REWARDS_POSTING_BATCH_MAX"), os.environ.get("REWARDS_POSTING_BATCHES_IN_FLIGHT_MAX")
    return Limits(int(size or DEFAULTS.batch_max), int(count or DEFAULTS.in_flight_max))


async def main() -> None:
    """Builds the service from its configuration and serves."""
    config = Config.from_env()
    telemetry.start("ledger_svc", config.environment, config.metrics_listen)
    db = Database(required("REWARDS_DATABASE_URL"))
    events = EventsServiceStub(clients.channel(config, "fulfillment_svc"))
    journal = Journal(db, limits())
    workers = [
        Worker("outbox", Relay(db, journal, events).step, interval_s=0.25),
        Worker("sweep", Sweeper(db, journal, system_clock).step, interval_s=5.0),
    ]
    # A batch makes thousands of objects and keeps none: at the default they would be walked through many times over.
    gc.set_threshold(GARBAGE_MAX)
    await server.serve(config, servicers(db, journal, secret("REWARDS_FINGERPRINT_KEY_FILE")), workers)
    await db.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["migrate"]:
        migrate.upgrade(Path(__file__).parent / "migrations", required("REWARDS_MIGRATION_URL"))
    elif sys.argv[1:2] == ["verify"]:
        sys.exit(verify(*sys.argv[2:3] or [required("REWARDS_DATABASE_URL")]))
    else:
        server.run(main())
