"""`python -m identity_svc` serves; `migrate` brings the database up to date; `create-operator --name NAME`
makes an operator's key and prints it, alone, on standard output; all others are an operator's commands to a
running mesh (see `commands`), for example `partner put --program-id acme --partner-id north --name North`."""

import argparse
import os
import sys
from pathlib import Path

from identity_svc import commands
from identity_svc.credentials.keys import Hasher
from identity_svc.credentials.servicer import create_operator
from identity_svc.pepper import Pepper
from identity_svc.service import PROGRAM_KEEPERS, Service, Settings
from svckit import clients, migrate, server, telemetry
from svckit.config import Config, required, secret
from svckit.db import Database


async def serve() -> None:
    """Builds the service from its configuration and serves."""
    config = Config.from_env()
    telemetry.start("identity_svc", config.environment, config.metrics_listen)
    settings = Settings(
        pepper=Pepper(secret("REWARDS_PEPPER_FILE")),
        fingerprint_key=secret("REWARDS_FINGERPRINT_KEY_FILE"),
        public_url=os.environ.get("REWARDS_PUBLIC_URL", "http://127.0.0.1:8080"),
        redis_url=required("REWARDS_REDIS_URL"),
    )
    db = Database(required("REWARDS_DATABASE_URL"))
    gate_db = Database(required("REWARDS_DATABASE_URL"), pool_size=4)
    service = Service(db, gate_db, settings, {name: clients.channel(config, name) for name in PROGRAM_KEEPERS})
    await server.serve(config, service.servicers, service.workers)
    await service.limiter.close()
    await gate_db.close()
    await db.close()


async def operator(name: str) -> None:
    """Makes an operator's key and prints it."""
    hasher = Hasher(Pepper(secret("REWARDS_PEPPER_FILE")))
    db = Database(required("REWARDS_DATABASE_URL"), pool_size=1)
    print(await create_operator(db, hasher, name))  # noqa: T201 - the command's whole output
    await db.close()


def main() -> None:
    """Does what the arguments say."""
    parser = argparse.ArgumentParser(prog="identity_svc", description=__doc__)
    parsers = parser.add_subparsers(dest="command")
    parsers.add_parser("migrate")
    parsers.add_parser("create-operator").add_argument("--name", required=True)
    commands.add_to(parsers)
    asked = parser.parse_args()
    match asked.command:
        case "migrate":
            migrate.upgrade(Path(__file__).parent / "migrations", required("REWARDS_MIGRATION_URL"))
        case "create-operator":
            server.run(operator(asked.name))
        case None:
            server.run(serve())
        case _:
            sys.exit(server.run(commands.run(asked)))


if __name__ == "__main__":
    main()
