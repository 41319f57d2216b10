"""The migrated schema is the one that the tables describe, and the runtime role may change no history."""

import importlib
from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import MetaData, create_engine, make_url

from devmesh.postgres import PostgresServer

ROOT = Path(__file__).parents[2]
SERVICES = ("identity_svc", "ledger_svc", "catalog_svc", "fulfillment_svc")
APPEND_ONLY = {
    "identity_svc": ("audit", "erasures"),
    "ledger_svc": ("entries", "lot_uses", "events", "rules", "transaction_batches"),
    "catalog_svc": ("reward_versions", "withdrawals", "sync_changes"),
    "fulfillment_svc": ("redemption_edges", "redemption_reveals", "review_actions", "order_history", "events"),
}

COLUMNS = """
SELECT table_name, column_name, data_type, udt_name, is_nullable, column_default
FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'alembic_version' ORDER BY 1, 2
"""
CONSTRAINTS = """
SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
WHERE connamespace = 'public'::regnamespace AND conrelid::regclass::text <> 'alembic_version' AND contype <> 'n'
ORDER BY 1, 2
"""
INDEXES = """
SELECT tablename, indexname, indexdef FROM pg_indexes
WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1, 2
"""
NARROW = """
SELECT table_name, column_name FROM information_schema.columns
WHERE table_schema = 'public' AND data_type = 'integer'
"""


def metadata_of(service: str) -> MetaData:
    for tables in (ROOT / service).glob("*/tables.py"):
        importlib.import_module(f"{service}.{tables.parent.name}.tables")
    found: MetaData = importlib.import_module(f"{service}.tables").metadata
    return found


def schema(url: str) -> list[list[tuple[object, ...]]]:
    with psycopg.connect(url) as connection:
        return [connection.execute(query).fetchall() for query in (COLUMNS, CONSTRAINTS, INDEXES)]


@pytest.mark.parametrize("service", SERVICES)
async def test_migrations_equal_tables(
    service: str, postgres: PostgresServer, migrated: Callable[[str], Awaitable[str]]
) -> None:
    name = await migrated(service)
    described = f"{name}_described"
    await postgres.create_database(described)
    url = postgres.dsn(described, "owner")
    engine = create_engine(make_url(url).set(drivername="postgresql+psycopg"))
    metadata_of(service).create_all(engine)
    engine.dispose()
    for made, wanted in zip(schema(postgres.dsn(name, "owner")), schema(url), strict=True):
        assert made == wanted
    await postgres.drop_database(described)


@pytest.mark.parametrize("service", SERVICES)
async def test_no_key_can_run_out_and_history_stays(
    service: str, postgres: PostgresServer, migrated: Callable[[str], Awaitable[str]]
) -> None:
    name = await migrated(service)
    with psycopg.connect(postgres.dsn(name, "owner")) as connection:
        assert connection.execute(NARROW).fetchall() == []  # L6: no int4 anywhere
        for table in APPEND_ONLY[service]:
            for privilege in ("UPDATE", "DELETE", "TRUNCATE"):
                question = "SELECT has_table_privilege(%s, %s, %s)"
                row = connection.execute(question, (f"{name}_runtime", table, privilege)).fetchone()
                assert row == (False,), f"{table}: {privilege}"
