"""Programs to and from protobuf."""

from google.protobuf.message import Message
from rewards.identity.v1 import programs_pb2 as pb

from identity_svc.programs.rules import Program


def program(sent: pb.Program) -> Program:
    """The program that a request wants; its version and its branding are ignored."""
    return Program(
        program_id=sent.program_id,
        name=sent.name,
        mode=pb.Program.Mode.Name(sent.mode),
        time_zone=sent.time_zone,
        currency=sent.currency,
        asset=sent.asset,
        points_per_unit=sent.points_per_unit,
        clock_offset_s=sent.clock_offset_s,
        policy=stored(sent.policy),
    )


def stored(settings: Message) -> bytes:
    """A part of the settings as it is kept."""
    return settings.SerializeToString(deterministic=True)


def message(program: Program) -> pb.Program:
    """The program as it leaves the process, under the name that it shows."""
    branding = pb.Branding.FromString(program.branding)
    branding.display_name = branding.display_name or program.name[:60]
    return pb.Program(
        program_id=program.program_id,
        name=program.name,
        mode=pb.Program.Mode.Value(program.mode),
        time_zone=program.time_zone,
        currency=program.currency,
        asset=program.asset,
        points_per_unit=program.points_per_unit,
        clock_offset_s=program.clock_offset_s,
        policy=pb.Policy.FromString(program.policy),
        version=program.version,
        branding=branding,
    )


def listed(program: Program) -> pb.Program:
    """The program among many, whose logos would be too much for one answer."""
    found = message(program)
    found.branding.ClearField("logo")
    return found
