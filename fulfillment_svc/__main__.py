"""`python -m fulfillment_svc` serves; `migrate` brings the database up to date; `rewrap` puts what is
sealed under the current master key (see `rotation`); `review` is an operator's commands to a running mesh (see
`review.commands`), for example `review list`."""

import argparse
import json
import os
import sys
from pathlib import Path

from rewards.catalog.v1.rewards_pb2_grpc import CatalogServiceStub
from rewards.catalog.v1.stock_pb2_grpc import StockServiceStub
from rewards.ledger.v1.books_pb2_grpc import BooksServiceStub
from rewards.ledger.v1.cashback_pb2_grpc import CashbackServiceStub
from rewards.ledger.v1.journal_pb2_grpc import JournalServiceStub

from fulfillment_svc import rotation
from fulfillment_svc.batches import assembly as batches
from fulfillment_svc.codes import Vault
from fulfillment_svc.compliance.by_rules import ByRules
from fulfillment_svc.config import Settings
from fulfillment_svc.messages.servicer import MessagesServicer
from fulfillment_svc.orders import assembly as orders
from fulfillment_svc.orders.invitations import Invitations
from fulfillment_svc.orders.purse import Purses
from fulfillment_svc.payouts.servicer import PayoutsServicer
from fulfillment_svc.providers import assembly as providers
from fulfillment_svc.providers.callbacks import CallbacksServicer
from fulfillment_svc.providers.cashback import Cashback
from fulfillment_svc.providers.over_http import HttpProvider
from fulfillment_svc.providers.transport import open_session
from fulfillment_svc.redemptions import failpoints
from fulfillment_svc.redemptions.assembly import assemble
from fulfillment_svc.redemptions.mail import Mailer
from fulfillment_svc.redemptions.steps import Outside
from fulfillment_svc.reports.books import Books
from fulfillment_svc.reports.servicer import ReportsServicer
from fulfillment_svc.review import commands
from fulfillment_svc.review.servicer import ReviewServicer
from fulfillment_svc.tables import keys, programs
from fulfillment_svc.webhooks import ingest_store as events
from fulfillment_svc.webhooks.sealer import Sealer
from fulfillment_svc.webhooks.servicer import EventsServicer, WebhooksServicer
from fulfillment_svc.webhooks.ssrf import Guard
from fulfillment_svc.webhooks.worker import DeliveriesWorker
from svckit import clients, migrate, server, telemetry
from svckit.clock import system_clock
from svckit.config import Config, required, secret
from svckit.db import Database
from svckit.idempotency import Idempotency
from svckit.programs import ProgramDirectoryServicer
from svckit.server import Worker


async def serve() -> None:
    """Builds the service from its configuration and serves."""
    config, settings = Config.from_env(), Settings.from_env()
    failpoints.load(os.environ.get("FAILPOINTS", ""))
    telemetry.start("fulfillment_svc", config.environment, config.metrics_listen)
    db = Database(settings.database_url)
    idempotent = Idempotency(db, keys, settings.fingerprint_key)
    sealer, guard = Sealer.from_base64(settings.code_keys), Guard(allow_loopback=settings.webhook_allow_loopback)
    deliveries = DeliveriesWorker(db, sealer, guard)
    wiping = Worker("idempotency-wipe", idempotent.wipe, interval_s=60)
    async with open_session() as session:
        # What the sandbox provider promises: a reference is one order, and an order shows at once or soon.
        sandbox = HttpProvider(session, settings.provider_url, idempotent=True, visibility_s=3, timeout_s=4)
        catalog, ledger = clients.channel(config, "catalog_svc"), clients.channel(config, "ledger_svc")
        journal = JournalServiceStub(ledger)
        outside = Outside(
            catalog=CatalogServiceStub(catalog),
            stock=StockServiceStub(catalog),
            journal=journal,
            compliance=ByRules(db, settings.fingerprint_key, system_clock),
            router=providers.assemble(sandbox, Cashback(CashbackServiceStub(ledger)), settings.providers, guard),
            mailer=Mailer(*settings.smtp, settings.mail_sender),
            purse=Purses(db, journal, system_clock),
        )
        vault = Vault.from_base64(settings.code_keys)
        room = assemble(db, idempotent, vault, outside, events.ingest, system_clock)
        invitations = Invitations(vault, settings.site, settings.fingerprint_key)
        ordered = orders.assemble(db, idempotent, invitations, outside, system_clock, room)
        batched = batches.assemble(db, idempotent, vault, ordered, journal, system_clock)
        directory = ProgramDirectoryServicer(db, programs)
        secrets = {one.name: one.callback_secrets for one in settings.providers}
        callbacks = CallbacksServicer({providers.SANDBOX: settings.provider_secrets, **secrets}, room.look_again)
        desk = ReviewServicer(db, idempotent, room, ordered)
        books = Books(BooksServiceStub(ledger))
        reports = ReportsServicer(db, books, room.saga, system_clock)
        servicers = [
            room.servicer,
            ordered.orders,
            batched.servicer,
            ordered.claims,
            ordered.pages,
            desk,
            reports,
            callbacks,
            PayoutsServicer(db, outside.catalog, outside.router),
            WebhooksServicer(db, idempotent, sealer, guard),
            EventsServicer(db, deliveries.wake),
            MessagesServicer(db, outside.mailer),
            directory,
        ]
        await server.serve(config, servicers, [*room.workers, *ordered.workers, *batched.workers, deliveries, wiping])
    await db.close()


async def rewrap() -> int:
    """Brings everything under the current master key and prints what is left; the exit code."""
    db, keys = Database(required("REWARDS_DATABASE_URL"), pool_size=1), secret("REWARDS_CODE_KEY_FILE")
    vault, sealer = Vault.from_base64(keys), Sealer.from_base64(keys)
    done = await rotation.rewrap(db, vault, sealer)
    left = await rotation.left(db, vault, sealer)
    print(json.dumps({"rewrapped": done, "left": left}))  # noqa: T201 - the command's whole output
    await db.close()
    return 1 if left else 0


def main() -> None:
    """Does what the arguments say."""
    parser = argparse.ArgumentParser(prog="fulfillment_svc", description=__doc__)
    parsers = parser.add_subparsers(dest="command")
    parsers.add_parser("migrate")
    parsers.add_parser("rewrap")
    commands.add_to(parsers)
    asked = parser.parse_args()
    match asked.command:
        case "migrate":
            migrate.upgrade(Path(__file__).parent / "migrations", required("REWARDS_MIGRATION_URL"))
        case "rewrap":
            sys.exit(server.run(rewrap()))
        case "review":
            sys.exit(server.run(commands.run(asked)))
        case _:
            server.run(serve())


if __name__ == "__main__":
    main()
