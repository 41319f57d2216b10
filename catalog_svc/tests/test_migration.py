"""A catalog that was there before its places and trigrams were is listed and found like any other."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from sqlalchemy import make_url

import catalog_svc
from catalog_svc import browse_store
from catalog_svc.rules import Filters
from devmesh.postgres import PostgresServer
from svckit import migrate
from svckit.db import Database

MIGRATIONS = Path(catalog_svc.__file__).parent / "migrations"
NAME = "catalog_before"
OLD = """
INSERT INTO reward_versions SELECT 'p', id, 1, 'Straße card', '', 'Baltic Books', 'retail', 'CLOSED_LOOP', countries,
    'USD', '{1000}', NULL, NULL, NULL, '{}', '{}', '{}', availability, ''
FROM (VALUES ('a', '{DE,US}'::text[], 'AVAILABLE'), ('b', '{US}', 'WITHDRAWN')) old (id, countries, availability);
INSERT INTO rewards SELECT program_id, reward_id, version, name, description, brand, category, kind, countries,
    currency, denominations_minor, range_min_minor, range_max_minor, range_step_minor, price_denominations_minor,
    price_points, images, availability, terms FROM reward_versions;
"""


async def test_what_was_there_is_listed_and_found(
    postgres: PostgresServer, migrated: Callable[[str], Awaitable[str]]
) -> None:
    await migrated("catalog_svc")
    await postgres.create_database(NAME)
    url = postgres.dsn(NAME, "owner")
    config = Config(attributes={"url": url})
    config.set_main_option("script_location", str(MIGRATIONS))
    command.upgrade(config, "0001")
    with psycopg.connect(url) as owner:
        owner.execute(OLD)
    migrate.upgrade(MIGRATIONS, url)
    db = Database(make_url(url).render_as_string(hide_password=False))
    async with db.read() as tx:
        for filters, ids in (
            (Filters(), ["a", "b"]),
            (Filters(country="DE"), ["a"]),
            (Filters(country="US", brand="Baltic Books", currency="USD"), ["a", "b"]),
            (Filters(text="STRASSE c"), ["a", "b"]),
        ):
            assert [one.reward_id for one in await browse_store.page(tx, "p", filters, "", 10)] == ids
        assert await browse_store.values(tx, "p", "brand", "US", "", 10) == [("Baltic Books", 1)]
    await db.close()
    await postgres.drop_database(NAME)
