"""A service's own copy of the programs' settings, pushed by identity_svc, so that no call has to ask."""

import asyncio
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from rewards.identity.v1 import programs_pb2 as pb
from rewards.identity.v1.programs_pb2_grpc import ProgramDirectoryServiceServicer
from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, Table, Text, select
from sqlalchemy.dialects.postgresql import insert

from svckit.clock import Clock, system_clock
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused

MAX_AGE_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Program:
    """A tenant's settings. `points_per_unit` is the price of one major unit of `currency` in points."""

    program_id: str
    sandbox: bool
    zone: ZoneInfo
    currency: str
    asset: str
    points_per_unit: int
    clock_offset: timedelta
    policy: pb.Policy = field(default_factory=pb.Policy)
    branding: pb.Branding = field(default_factory=pb.Branding)

    def now(self, clock: Clock = system_clock) -> datetime:
        """The program's time (UTC): real time, or moved where a sandbox has moved it (design decision 12)."""
        return clock() + self.clock_offset


class Programs:
    """The copy: its table, and reads that are at most MAX_AGE_S old."""

    def __init__(self, metadata: MetaData) -> None:
        self._table = Table(
            "programs",
            metadata,
            Column("program_id", Text, primary_key=True),
            Column("version", BigInteger, nullable=False),
            Column("settings", LargeBinary, nullable=False, comment="rewards.identity.v1.Program"),
        )
        self._read: dict[str, tuple[float, Program]] = {}
        self._reading: dict[str, asyncio.Task[Program]] = {}

    async def get(self, tx: Tx, program_id: str) -> Program:
        """The program's settings. Raises NOT_FOUND if it is unknown here."""
        if (known := self._known(program_id)) is not None:
            return known
        settings = await tx.scalar(select(self._table.c.settings).where(self._table.c.program_id == program_id))
        if settings is None:
            raise Refused(Reason.NOT_FOUND, "There is no such program.")
        self._read[program_id] = (time.monotonic(), _program(pb.Program.FromString(settings)))
        return self._read[program_id][1]

    async def read(self, db: Database, program_id: str) -> Program:
        """As `get`, on a connection of its own where the cache is too old."""
        if (known := self._known(program_id)) is not None:
            return known
        # One read for all who wait: else every call under way asks at once, each second.
        if (reading := self._reading.get(program_id)) is None:
            reading = self._reading[program_id] = asyncio.create_task(self._fresh(db, program_id))
            reading.add_done_callback(lambda _: self._reading.pop(program_id))
        return await asyncio.shield(reading)

    async def _fresh(self, db: Database, program_id: str) -> Program:
        async with db.read() as tx:
            return await self.get(tx, program_id)

    def _known(self, program_id: str) -> Program | None:
        read_at_s, program = self._read.get(program_id, (0.0, None))
        return program if time.monotonic() - read_at_s < MAX_AGE_S else None

    async def ids(self, tx: Tx) -> list[str]:
        """The programs there are, for workers."""
        return [row.program_id for row in await tx.execute(select(self._table.c.program_id))]

    async def store(self, tx: Tx, program: pb.Program) -> None:
        """Stores the settings unless a later version is there."""
        row = {"program_id": program.program_id, "version": program.version, "settings": program.SerializeToString()}
        statement = insert(self._table).values(row)
        newer = self._table.c.version < statement.excluded.version
        await tx.execute(statement.on_conflict_do_update(index_elements=["program_id"], set_=row, where=newer))
        self._read.pop(program.program_id, None)


class ProgramDirectoryServicer(ProgramDirectoryServiceServicer):
    """Takes the settings from identity_svc."""

    def __init__(self, db: Database, programs: Programs) -> None:
        self._db = db
        self._programs = programs

    async def StoreProgram(self, request: pb.StoreProgramRequest, context: Any) -> pb.StoreProgramResponse:
        """Stores a program's settings; idempotent."""
        await self._db.transact(lambda tx: self._programs.store(tx, request.program))
        return pb.StoreProgramResponse()


def _program(of: pb.Program) -> Program:
    sandbox, tz, skew = of.mode == pb.Program.SANDBOX, ZoneInfo(of.time_zone), timedelta(seconds=of.clock_offset_s)
    return Program(of.program_id, sandbox, tz, of.currency, of.asset, of.points_per_unit, skew, of.policy, of.branding)
