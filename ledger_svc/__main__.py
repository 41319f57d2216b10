"""`python -m ledger_svc` serves; `migrate` brings the database up to date, `verify` audits it."""

import gc
import os
import sys
from pathlib import Path
from typing import Final

from rewards.fulfillment.v1.webhooks_pb2_grpc import EventsServiceStub
from rewards.identity.v1 import programs_pb2, programs_pb2_grpc
from rewards.ledger.v1 import (
    adjustments_pb2,
    adjustments_pb2_grpc,
    batches_pb2,
    batches_pb2_grpc,
    books_pb2,
    books_pb2_grpc,
    cashback_pb2,
    cashback_pb2_grpc,
    directory_pb2,
    directory_pb2_grpc,
    earning_pb2,
    earning_pb2_grpc,
    funding_pb2,
    funding_pb2_grpc,
    journal_pb2,
    journal_pb2_grpc,
    movements_pb2,
    movements_pb2_grpc,
    outcomes_pb2,
    outcomes_pb2_grpc,
    points_pb2,
    points_pb2_grpc,
)

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
from svckit.server import Served, Worker

GARBAGE_MAX: Final = 50_000


def served(db: Database, journal: Journal, fingerprint_key: bytes) -> list[Served]:
    """Every servicer of the ledger on `db`, posting through `journal`."""
    parts = (db, journal, Idempotency(db, keys, fingerprint_key), system_clock)
    return [
        Served(
            points_pb2.DESCRIPTOR.services_by_name["PointsService"],
            points_pb2_grpc.add_PointsServiceServicer_to_server,
            PointsServicer(*parts),
        ),
        Served(
            journal_pb2.DESCRIPTOR.services_by_name["JournalService"],
            journal_pb2_grpc.add_JournalServiceServicer_to_server,
            JournalServicer(*parts),
        ),
        Served(
            movements_pb2.DESCRIPTOR.services_by_name["MovementsService"],
            movements_pb2_grpc.add_MovementsServiceServicer_to_server,
            MovementsServicer(*parts),
        ),
        Served(
            adjustments_pb2.DESCRIPTOR.services_by_name["AdjustmentsService"],
            adjustments_pb2_grpc.add_AdjustmentsServiceServicer_to_server,
            AdjustmentsServicer(*parts),
        ),
        Served(
            batches_pb2.DESCRIPTOR.services_by_name["TransactionBatchesService"],
            batches_pb2_grpc.add_TransactionBatchesServiceServicer_to_server,
            TransactionBatchesServicer(*parts),
        ),
        Served(
            outcomes_pb2.DESCRIPTOR.services_by_name["OutcomesService"],
            outcomes_pb2_grpc.add_OutcomesServiceServicer_to_server,
            OutcomesServicer(*parts),
        ),
        Served(
            funding_pb2.DESCRIPTOR.services_by_name["FundingService"],
            funding_pb2_grpc.add_FundingServiceServicer_to_server,
            FundingServicer(*parts),
        ),
        Served(
            books_pb2.DESCRIPTOR.services_by_name["BooksService"],
            books_pb2_grpc.add_BooksServiceServicer_to_server,
            BooksServicer(*parts),
        ),
        Served(
            cashback_pb2.DESCRIPTOR.services_by_name["CashbackService"],
            cashback_pb2_grpc.add_CashbackServiceServicer_to_server,
            CashbackServicer(*parts),
        ),
        Served(
            earning_pb2.DESCRIPTOR.services_by_name["EarningRulesService"],
            earning_pb2_grpc.add_EarningRulesServiceServicer_to_server,
            EarningRulesServicer(db),
        ),
        Served(
            directory_pb2.DESCRIPTOR.services_by_name["MemberDirectoryService"],
            directory_pb2_grpc.add_MemberDirectoryServiceServicer_to_server,
            MemberDirectoryServicer(*parts),
        ),
        Served(
            programs_pb2.DESCRIPTOR.services_by_name["ProgramDirectoryService"],
            programs_pb2_grpc.add_ProgramDirectoryServiceServicer_to_server,
            ProgramDirectoryServicer(db, programs),
        ),
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
    await server.serve(config, served(db, journal, secret("REWARDS_FINGERPRINT_KEY_FILE")), workers)
    await db.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["migrate"]:
        migrate.upgrade(Path(__file__).parent / "migrations", required("REWARDS_MIGRATION_URL"))
    elif sys.argv[1:2] == ["verify"]:
        sys.exit(verify(*sys.argv[2:3] or [required("REWARDS_DATABASE_URL")]))
    else:
        server.run(main())
