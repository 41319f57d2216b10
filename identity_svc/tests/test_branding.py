"""A program's branding: checked, apart from the other settings, and known to every service before the answer."""

import struct
import zlib

import pytest
from rewards.identity.v1 import programs_pb2 as pb
from rewards.identity.v1.programs_pb2_grpc import ProgramsServiceStub
from sqlalchemy import select

from identity_svc import tables
from identity_svc.programs import branding
from identity_svc.tests.running import OPERATOR, PROGRAM, WRITER, Running, reason, refusal
from svckit.errors import Refused


def chunk(name: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int = 64, height: int = 64, *more: bytes) -> bytes:
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    lines = zlib.compress((b"\0" + b"\x80" * width) * height)
    chunks = (chunk(b"IHDR", head), *more, chunk(b"IDAT", lines), chunk(b"IEND"))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


BRANDING = pb.Branding(
    display_name="Acme Rewards",
    logo=png(),
    primary_colour="#14532d",
    accent_colour="#b45309",
    support_contact="help@acme.example",
)


def brand(of: pb.Branding = BRANDING, program_id: str = "acme") -> pb.BrandProgramRequest:
    return pb.BrandProgramRequest(program_id=program_id, branding=of)


@pytest.mark.parametrize(
    "logo",
    [
        b"GIF89a" + b"\0" * 60,
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        png()[:-1],
        png() + b"<script>",
        png().replace(b"IDAT", b"IDOT"),
        png()[:40] + b"\x01" + png()[41:],
        png(64, 64, chunk(b"acTL", b"\0" * 8)),
        png(64, 64, chunk(b"IEND")),
        png(31, 64),
        png(64, 513),
        b"\x89PNG\r\n\x1a\n",
        b"\x89PNG\r\n\x1a\n" + chunk(b"IEND"),
    ],
    ids=[
        "gif",
        "svg",
        "cut",
        "more",
        "unnamed",
        "damaged",
        "moving",
        "two ends",
        "small",
        "large",
        "empty",
        "end only",
    ],
)
def test_a_logo_is_a_whole_png_of_our_size(logo: bytes) -> None:
    with pytest.raises(Refused, match=r"branding\.logo"):
        branding.check(pb.Branding(logo=logo))


@pytest.mark.parametrize("side", [32, 512])
def test_a_logo_of_our_size_is_taken(side: int) -> None:
    branding.check(pb.Branding(logo=png(side, side, chunk(b"tEXt", b"Title\0Acme"))))


@pytest.mark.parametrize(
    "contact",
    ["javascript:alert(1)", "http://acme.example", "https://", "https://acme.example/ x", "help", "a@b", "a@b.c\n"],
)
def test_a_contact_is_a_mail_address_or_an_https_address(contact: str) -> None:
    with pytest.raises(Refused, match=r"branding\.supportContact"):
        branding.check(pb.Branding(support_contact=contact))


@pytest.mark.parametrize("contact", ["", "help+eu@acme.co.uk", "https://acme.example/help?from=mail"])
def test_a_contact_that_can_be_reached_is_taken(contact: str) -> None:
    branding.check(pb.Branding(support_contact=contact))


async def test_every_service_knows_the_branding_before_the_answer(bare: Running) -> None:
    await bare.operate("PutProgram", pb.PutProgramRequest(program=PROGRAM))
    answer = await bare.operate("BrandProgram", brand())
    assert (answer.program.branding, answer.program.version) == (BRANDING, 2)
    assert all(neighbour.programs[-1] == answer.program for neighbour in bare.neighbours.values())
    assert (await bare.operate("BrandProgram", brand())).program.version == 2
    async with bare.db.read() as tx:
        actions = (await tx.scalars(select(tables.audit.c.action).order_by(tables.audit.c.audit_id))).all()
    assert actions == ["program.created", "program.branded"]


async def test_other_settings_leave_the_branding_alone(bare: Running) -> None:
    await bare.operate("PutProgram", pb.PutProgramRequest(program=PROGRAM))
    await bare.operate("BrandProgram", brand())
    changed = pb.Program()
    changed.CopyFrom(PROGRAM)
    changed.points_per_unit = 100
    changed.branding.primary_colour = "#ff0000"
    put = (await bare.operate("PutProgram", pb.PutProgramRequest(program=changed))).program
    assert (put.branding, put.points_per_unit, put.version) == (BRANDING, 100, 3)


async def test_without_a_name_of_its_own_the_branding_shows_the_programs(bare: Running) -> None:
    put = await bare.operate("PutProgram", pb.PutProgramRequest(program=PROGRAM))
    assert put.program.branding == pb.Branding(display_name="Acme Points")


async def test_a_list_is_without_logos(bare: Running) -> None:
    await bare.operate("PutProgram", pb.PutProgramRequest(program=PROGRAM))
    await bare.operate("BrandProgram", brand())
    listed = await bare.call(ProgramsServiceStub, "ListPrograms", pb.ListProgramsRequest(), OPERATOR)
    (found,) = listed.programs
    assert (found.branding.display_name, found.branding.logo) == ("Acme Rewards", b"")


@pytest.mark.parametrize("colour", ["red", "#fff", "#12345g", "#1234567", "url(//x)", "#123456;color:red"])
async def test_a_colour_is_six_digits(bare: Running, colour: str) -> None:
    await bare.operate("PutProgram", pb.PutProgramRequest(program=PROGRAM))
    for wrong, named in (
        (pb.Branding(primary_colour=colour), "primary"),
        (pb.Branding(accent_colour=colour), "accent"),
    ):
        refused = await refusal(bare.operate("BrandProgram", brand(wrong)))
        assert named in refused.message


async def test_who_may_brand_and_what(bare: Running) -> None:
    assert await reason(bare.operate("BrandProgram", brand(program_id="nowhere"))) == "NOT_FOUND"
    await bare.operate("PutProgram", pb.PutProgramRequest(program=PROGRAM))
    assert await reason(bare.call(ProgramsServiceStub, "BrandProgram", brand(), WRITER)) == "PERMISSION_DENIED"
    assert (
        await reason(bare.operate("BrandProgram", brand(pb.Branding(logo=png() + b" " * 16384)))) == "INVALID_REQUEST"
    )
