"""Migrations: Alembic, one folder a service, run by `python -m <service> migrate` as the owner role."""

from pathlib import Path

from alembic import command, context
from alembic.config import Config
from sqlalchemy import create_engine, make_url


def upgrade(folder: Path, url: str) -> None:
    """Brings the database at `url` (owner role) to the newest migration in `folder`."""
    config = Config(attributes={"url": url})
    config.set_main_option("script_location", str(folder))
    command.upgrade(config, "head")


def run() -> None:
    """Called by a service's `migrations/env.py`: runs what Alembic asks for in one transaction. A migration never
    waits long for a lock, so that it cannot queue up the traffic behind it."""
    url = make_url(context.config.attributes["url"]).set(drivername="postgresql+psycopg")
    engine = create_engine(url, connect_args={"options": "-c lock_timeout=1s -c timezone=UTC"})
    with engine.begin() as connection:
        context.configure(connection=connection)
        context.run_migrations()
    engine.dispose()
