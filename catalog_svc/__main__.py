"""`python -m catalog_svc` serves, `python -m catalog_svc migrate` brings the database up to date."""

import sys
from pathlib import Path

from rewards.catalog.v1 import rewards_pb2, rewards_pb2_grpc, stock_pb2, stock_pb2_grpc
from rewards.identity.v1 import programs_pb2, programs_pb2_grpc

from catalog_svc.kept import Standings
from catalog_svc.servicer import CatalogServicer, RewardsServicer
from catalog_svc.stock.servicer import StockServicer
from catalog_svc.tables import programs
from svckit import migrate, server, telemetry
from svckit.clock import system_clock
from svckit.config import Config, required
from svckit.db import Database
from svckit.programs import ProgramDirectoryServicer
from svckit.server import Served, Worker


def build(db: Database) -> tuple[list[Served], list[Worker]]:
    """Every servicer of the catalog on `db`, and its workers."""
    standings = Standings(db)
    stock = StockServicer(db, programs, standings, system_clock)
    served = [
        Served(
            rewards_pb2.DESCRIPTOR.services_by_name["RewardsService"],
            rewards_pb2_grpc.add_RewardsServiceServicer_to_server,
            RewardsServicer(db, programs, standings),
        ),
        Served(
            rewards_pb2.DESCRIPTOR.services_by_name["CatalogService"],
            rewards_pb2_grpc.add_CatalogServiceServicer_to_server,
            CatalogServicer(db, programs, standings),
        ),
        Served(
            stock_pb2.DESCRIPTOR.services_by_name["StockService"],
            stock_pb2_grpc.add_StockServiceServicer_to_server,
            stock,
        ),
        Served(
            programs_pb2.DESCRIPTOR.services_by_name["ProgramDirectoryService"],
            programs_pb2_grpc.add_ProgramDirectoryServiceServicer_to_server,
            ProgramDirectoryServicer(db, programs),
        ),
    ]
    return served, [Worker("stock-sweep", stock.sweep, interval_s=5.0)]


async def main() -> None:
    """Builds the service from the environment and serves until it is told to stop."""
    config = Config.from_env()
    telemetry.start("catalog_svc", config.environment, config.metrics_listen)
    db = Database(required("REWARDS_DATABASE_URL"))
    await server.serve(config, *build(db))
    await db.close()


if __name__ == "__main__":
    if sys.argv[1:] == ["migrate"]:
        migrate.upgrade(Path(__file__).parent / "migrations", required("REWARDS_MIGRATION_URL"))
    else:
        server.run(main())
