"""What a run used: CPU of processes, memory, disk."""

import os
from collections.abc import Iterable
from pathlib import Path

import psycopg

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and of its children, those that ended and those that run."""
    return sum(_ticks(fields) for fields in _family(pid)) / _TICKS_PER_S


def resident_mib(pid: int) -> float:
    """The resident memory of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE / 2**20


async def disk_bytes(dsn: str) -> int:
    """Bytes of all tables of a database with all their indexes, vacuumed. `dsn` is the owner's."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("VACUUM ANALYZE")
        cursor = await connection.execute(
            "SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class"
            " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
        row = await cursor.fetchone()
        return int(row[0]) if row else 0


def _family(pid: int) -> Iterable[list[str]]:
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # The name may hold blanks; what follows its bracket does not.
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(process.name) == pid or int(fields[1]) == pid:
            yield fields


def _ticks(fields: list[str]) -> int:
    """User and system time, of its own and of the children it has waited for."""
    return sum(int(field) for field in fields[11:15])
