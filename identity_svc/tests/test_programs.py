"""Programs: validated, versioned, and known to every service before the answer."""

import asyncio

import pytest
from rewards.identity.v1 import programs_pb2 as pb
from rewards.identity.v1.programs_pb2_grpc import ProgramsServiceStub
from sqlalchemy import select, text

from identity_svc import tables
from identity_svc.programs import rules
from identity_svc.programs.rules import Program
from identity_svc.tests.running import PROGRAM, WRITER, Running, reason, refusal
from svckit.errors import Refused

ACME = Program("acme", "Acme", "SANDBOX", "Europe/Berlin", "USD", "PTS", 80, 0)


def put(**changes: object) -> pb.PutProgramRequest:
    program = pb.Program()
    program.CopyFrom(PROGRAM)
    for name, value in changes.items():
        setattr(program, name, value)
    return pb.PutProgramRequest(program=program)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"time_zone": "Berlin"}, "timeZone"),
        ({"time_zone": "+01:00"}, "timeZone"),
        ({"time_zone": "../../etc/passwd"}, "timeZone"),
        ({"mode": "LIVE", "clock_offset_s": 60}, "clockOffsetS"),
        ({"clock_offset_s": 10**12}, "clockOffsetS"),
    ],
)
def test_settings_that_are_not_usable_are_refused_by_name(changes: dict[str, object], field: str) -> None:
    values = {name: changes.get(name, getattr(ACME, name)) for name in ACME.__slots__}
    with pytest.raises(Refused, match=field):
        rules.check(Program(**values))  # type: ignore[arg-type]


def test_revise_counts_changes_only() -> None:
    assert rules.revise(ACME, ACME) is ACME
    changed = Program("acme", "Acme", "SANDBOX", "Asia/Tokyo", "USD", "PTS", 80, 0)
    assert rules.revise(ACME, changed).version == 2
    with pytest.raises(Refused, match="mode"):
        rules.revise(ACME, Program("acme", "Acme", "LIVE", "Europe/Berlin", "USD", "PTS", 80, 0))


async def test_put_program_tells_every_service_before_it_answers(bare: Running) -> None:
    answer = await bare.operate("PutProgram", put())
    assert answer.program.version == 1
    for neighbour in bare.neighbours.values():
        assert neighbour.programs == [answer.program]


async def test_put_program_again_changes_nothing_and_a_change_counts(bare: Running) -> None:
    await bare.operate("PutProgram", put())
    assert (await bare.operate("PutProgram", put(version=9))).program.version == 1
    changed = (await bare.operate("PutProgram", put(points_per_unit=100))).program
    assert (changed.version, changed.points_per_unit) == (2, 100)
    async with bare.db.read() as tx:
        actions = (await tx.scalars(select(tables.audit.c.action).order_by(tables.audit.c.audit_id))).all()
    assert actions == ["program.created", "program.changed"]


async def test_a_retry_completes_what_a_service_missed(bare: Running) -> None:
    late = bare.neighbours["fulfillment_svc"]
    late.down = True
    assert await reason(bare.operate("PutProgram", put())) == "UNAVAILABLE"
    late.down = False
    await bare.operate("PutProgram", put())
    assert [program.version for program in late.programs] == [1]


async def test_the_mode_never_changes(bare: Running) -> None:
    await bare.operate("PutProgram", put())
    refused = await refusal(bare.operate("PutProgram", put(mode=pb.Program.LIVE)))
    assert "mode" in refused.message
    assert all(len(neighbour.programs) == 1 for neighbour in bare.neighbours.values())


async def test_two_operators_at_once_make_one_program_and_both_changes_count(bare: Running) -> None:
    answers = await asyncio.gather(*(bare.operate("PutProgram", put(points_per_unit=n)) for n in range(1, 7)))
    assert sorted(answer.program.version for answer in answers) == [1, 2, 3, 4, 5, 6]


async def test_only_operators_put_programs(bare: Running) -> None:
    assert await reason(bare.call(ProgramsServiceStub, "PutProgram", put(), WRITER)) == "PERMISSION_DENIED"


async def test_the_runtime_role_cannot_rewrite_the_audit_trail(identity: Running) -> None:
    for statement in ("UPDATE audit SET actor = 'x'", "DELETE FROM audit"):
        async with identity.db.read() as tx:
            with pytest.raises(Exception, match="permission denied"):
                await tx.execute(text(statement))
