"""ProgramsService: settings are stored here first, then handed to every service that keeps a copy."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rewards.identity.v1 import programs_pb2 as pb
from rewards.identity.v1.programs_pb2_grpc import ProgramsServiceServicer

from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.programs import branding, rules, store, wire
from identity_svc.programs.rules import Program
from svckit import paging
from svckit.clients import invoke
from svckit.db import Database, Tx

if TYPE_CHECKING:
    from rewards.identity.v1.programs_pb2_grpc import ProgramDirectoryServiceAsyncStub


class ProgramsServicer(ProgramsServiceServicer):
    """`directories` are the services that keep a copy."""

    def __init__(self, db: Database, directories: "Sequence[ProgramDirectoryServiceAsyncStub]") -> None:
        self._db = db
        self._directories = directories

    async def PutProgram(self, request: pb.PutProgramRequest, context: Any) -> pb.PutProgramResponse:
        """Stores a program and tells every service.

        Nothing changed or not, everybody is told: so a retry completes what a service that was down has
        missed, and versions keep a slow hand-over from undoing a later one.
        """
        wanted = wire.program(request.program)
        rules.check(wanted)
        actor = Actor.caller()
        program = await self._db.transact(lambda tx: _put(tx, wanted, actor))
        return pb.PutProgramResponse(program=await self._told(program))

    async def BrandProgram(self, request: pb.BrandProgramRequest, context: Any) -> pb.BrandProgramResponse:
        """Stores a program's branding and tells every service, as above."""
        branding.check(request.branding)
        wanted, actor = wire.stored(request.branding), Actor.caller()
        program = await self._db.transact(lambda tx: _brand(tx, request.program_id, wanted, actor))
        return pb.BrandProgramResponse(program=await self._told(program))

    async def ListPrograms(self, request: pb.ListProgramsRequest, context: Any) -> pb.ListProgramsResponse:
        """Lists the programs."""
        size, place = paging.size(request.page_size), paging.place(request, 1)
        async with self._db.read() as tx:
            found = await store.page(tx, place[0] if place else "", size + 1)
        token = paging.token(request, found[size - 1].program_id) if len(found) > size else ""
        return pb.ListProgramsResponse(programs=map(wire.listed, found[:size]), next_page_token=token)

    async def _told(self, program: Program) -> pb.Program:
        """The program, once every service has been told of it."""
        message = wire.message(program)
        for directory in self._directories:
            await invoke(directory.StoreProgram, pb.StoreProgramRequest(program=message))
        return message


async def _put(tx: Tx, wanted: Program, actor: Actor) -> Program:
    if await store.add(tx, wanted):
        await audit.append(tx, actor, "program.created", wanted.program_id, wanted.program_id)
        return wanted
    stored = await store.lock(tx, wanted.program_id)
    program = rules.revise(stored, wanted)
    if program is not stored:
        await store.replace(tx, program)
        await audit.append(tx, actor, "program.changed", wanted.program_id, wanted.program_id)
    return program


async def _brand(tx: Tx, program_id: str, wanted: bytes, actor: Actor) -> Program:
    stored = await store.lock(tx, program_id)
    program = rules.rebrand(stored, wanted)
    if program is not stored:
        await store.replace(tx, program)
        await audit.append(tx, actor, "program.branded", program_id, program_id)
    return program
