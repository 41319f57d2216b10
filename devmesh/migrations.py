"""Runs the services' migrations, and remembers which ones a database has had, so that a later start need not ask."""

import asyncio
import hashlib
from pathlib import Path

from devmesh.process import Command, run_once


def fingerprint(migrations: Path) -> str:
    """A hash of a migrations folder: of the names and contents of its source files."""
    digest = hashlib.sha256()
    for path in sorted(migrations.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            content = path.read_bytes()
            digest.update(f"{path.relative_to(migrations)}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()


async def migrate(command: Command, migrations: Path, remembered: Path) -> bool:
    """Run `command` unless `remembered` says that it succeeded with these `migrations`; whether it ran.

    Raises ProcessFailedError when it fails. `remembered` belongs to the database: who makes a new one removes it.
    """
    now = fingerprint(migrations)
    if now == _read(remembered):
        return False
    await run_once(command)
    await asyncio.to_thread(remembered.write_text, now)
    return True


def _read(remembered: Path) -> str | None:
    return remembered.read_text() if remembered.exists() else None
