"""`python -m catalog_svc` serves; `migrate` brings the database up to date; `sync --program-id … --provider …` is an
operator's command to a running mesh (see `catalog_svc.sync.command`)."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from catalog_svc.kept import Standings
from catalog_svc.servicer import CatalogServicer, RewardsServicer
from catalog_svc.stock.servicer import StockServicer
from catalog_svc.sync import command
from catalog_svc.sync.feeds import JsonFeed, Source
from catalog_svc.sync.servicer import SyncServicer
from catalog_svc.tables import programs
from svckit import migrate, server, telemetry
from svckit.clock import system_clock
from svckit.config import Config, required
from svckit.db import Database
from svckit.programs import ProgramDirectoryServicer
from svckit.server import Worker


def feeds(setting: str) -> dict[str, Source]:
    """The providers' adapters of REWARDS_CATALOG_FEEDS: "north=https://north.example/feed.json,south=…"."""
    pairs = (pair.partition("=") for pair in setting.split(",") if pair)
    return {name: JsonFeed(url) for name, _, url in pairs}


def build(db: Database, sources: Mapping[str, Source]) -> tuple[list[object], list[Worker]]:
    """Every servicer of the catalog on `db`, and its workers; `sources` are the providers' adapters."""
    standings = Standings(db)
    stock = StockServicer(db, programs, standings, system_clock)
    syncs = SyncServicer(db, programs, standings, sources, system_clock)
    servicers = [
        RewardsServicer(db, programs, standings),
        CatalogServicer(db, programs, standings),
        stock,
        syncs,
        ProgramDirectoryServicer(db, programs),
    ]
    return servicers, [Worker("stock-sweep", stock.sweep, interval_s=5.0), Worker("sync", syncs.run)]


async def main() -> None:
    """Builds the service from the environment and serves until it is told to stop."""
    config = Config.from_env()
    telemetry.start("catalog_svc", config.environment, config.metrics_listen)
    db = Database(required("REWARDS_DATABASE_URL"))
    await server.serve(config, *build(db, feeds(os.environ.get("REWARDS_CATALOG_FEEDS", ""))))
    await db.close()


def start() -> None:
    """Does what the arguments say."""
    parser = argparse.ArgumentParser(prog="catalog_svc", description=__doc__)
    parsers = parser.add_subparsers(dest="command")
    parsers.add_parser("migrate")
    command.add_to(parsers)
    asked = parser.parse_args()
    match asked.command:
        case "migrate":
            migrate.upgrade(Path(__file__).parent / "migrations", required("REWARDS_MIGRATION_URL"))
        case "sync":
            sys.exit(server.run(command.run(asked)))
        case _:
            server.run(main())


if __name__ == "__main__":
    start()
