"""An operator's commands: `python -m identity_svc <noun> <verb> --option value`.

Each is one RPC of the running mesh, called at its door (REWARDS_GRPC, with REWARDS_ADMIN_TOKEN as the operator's
key), so that a person passes the same checks, leaves the same traces in the audit trail and reaches every service
like any other operator. The options are the request's fields, read off the proto, but for those that it says are for
answers only.
"""

import argparse
import base64
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import grpc
from google.api.field_behavior_pb2 import OUTPUT_ONLY, field_behavior
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.json_format import MessageToJson, ParseDict, ParseError
from google.protobuf.message import Message
from rewards.identity.v1 import access_pb2, programs_pb2
from rewards.identity.v1 import credentials_pb2 as pb
from rewards.identity.v1.access_pb2_grpc import AccessServiceStub
from rewards.identity.v1.credentials_pb2_grpc import CredentialsServiceStub
from rewards.identity.v1.programs_pb2_grpc import ProgramsServiceStub

from svckit.clients import door
from svckit.clock import new_id
from svckit.config import required

_TIMEOUT_S: Final = 10.0
_TIMESTAMP: Final = "google.protobuf.Timestamp"


@dataclass(frozen=True, slots=True)
class Command:
    """An RPC. `wraps` is the field of the request whose own fields are options in its place, if there is one;
    `needs` are the options that this command has and cannot do without: all that the proto has, if there are none."""

    stub: Callable[[grpc.aio.Channel], Any]
    rpc: str
    request: type[Message]
    help: str
    wraps: str = ""
    needs: tuple[str, ...] = ()


_PROGRAM, _PARTNER, _CREDENTIAL = ("program_id",), ("program_id", "partner_id"), ("program_id", "credential_id")

COMMANDS: Final = {
    ("program", "put"): Command(
        ProgramsServiceStub, "PutProgram", programs_pb2.PutProgramRequest, "create or change one", "program"
    ),
    ("program", "brand"): Command(
        ProgramsServiceStub, "BrandProgram", programs_pb2.BrandProgramRequest, "replace how it shows itself", "branding"
    ),
    ("program", "list"): Command(ProgramsServiceStub, "ListPrograms", programs_pb2.ListProgramsRequest, "list all"),
    ("program", "revoke"): Command(
        CredentialsServiceStub, "RevokeAccess", pb.RevokeAccessRequest, "refuse all its credentials", needs=_PROGRAM
    ),
    ("program", "restore"): Command(
        CredentialsServiceStub, "RestoreAccess", pb.RestoreAccessRequest, "take that back", needs=_PROGRAM
    ),
    ("partner", "put"): Command(
        CredentialsServiceStub, "PutPartner", pb.PutPartnerRequest, "create or rename one", "partner"
    ),
    ("partner", "list"): Command(CredentialsServiceStub, "ListPartners", pb.ListPartnersRequest, "list a program's"),
    ("partner", "revoke"): Command(
        CredentialsServiceStub, "RevokeAccess", pb.RevokeAccessRequest, "refuse all its credentials", needs=_PARTNER
    ),
    ("partner", "restore"): Command(
        CredentialsServiceStub, "RestoreAccess", pb.RestoreAccessRequest, "take that back", needs=_PARTNER
    ),
    ("plan", "put"): Command(CredentialsServiceStub, "PutPlan", pb.PutPlanRequest, "create or change one", "plan"),
    ("plan", "list"): Command(CredentialsServiceStub, "ListPlans", pb.ListPlansRequest, "list all"),
    ("client", "create"): Command(
        CredentialsServiceStub, "CreateClient", pb.CreateClientRequest, "make one; its secret is shown once"
    ),
    ("client", "rotate"): Command(
        AccessServiceStub, "RotateCredentials", access_pb2.RotateCredentialsRequest, "give it a new secret or new keys"
    ),
    ("client", "revoke"): Command(
        CredentialsServiceStub, "RevokeAccess", pb.RevokeAccessRequest, "refuse it for good", needs=_CREDENTIAL
    ),
    ("key", "create"): Command(
        CredentialsServiceStub, "CreateApiKey", pb.CreateApiKeyRequest, "make one; it is shown once"
    ),
    ("key", "revoke"): Command(
        CredentialsServiceStub, "RevokeAccess", pb.RevokeAccessRequest, "refuse it for good", needs=_CREDENTIAL
    ),
    ("operator", "revoke"): Command(
        CredentialsServiceStub, "RevokeAccess", pb.RevokeAccessRequest, "refuse it for good", needs=("credential_id",)
    ),
    ("signing-key", "rotate"): Command(
        CredentialsServiceStub, "RotateSigningKey", pb.RotateSigningKeyRequest, "make a new one for access tokens"
    ),
    ("credential", "list"): Command(
        CredentialsServiceStub, "ListProgramCredentials", pb.ListProgramCredentialsRequest, "list clients and keys"
    ),
}


def add_to(nouns: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the commands to a parser's; what they parse has `command` and `call`."""
    verbs: dict[str, argparse._SubParsersAction[argparse.ArgumentParser]] = {}
    for (noun, verb), command in COMMANDS.items():
        if noun not in verbs:
            verbs[noun] = nouns.add_parser(noun, help=f"{noun}s").add_subparsers(required=True, dest="verb")
        parser = verbs[noun].add_parser(verb, help=command.help)
        parser.set_defaults(call=command)
        if verb in {"create", "rotate"}:
            parser.add_argument("--idempotency-key", default=str(new_id()), help="for a safe second try")
        for field in _options(command):
            if not command.needs or field.name in command.needs:
                _add_option(parser, field, needed=field.name in command.needs)


async def run(asked: argparse.Namespace) -> int:
    """Calls what was asked for and prints the answer as JSON; the exit code."""
    command: Command = asked.call
    try:
        request = ParseDict(_sent(command, asked), command.request())
        async with door() as channel:
            rpc = getattr(command.stub(channel), command.rpc)
            answer = await rpc(request, timeout=_TIMEOUT_S, metadata=_metadata(asked))
    except ParseError as error:
        print(error, file=sys.stderr)  # noqa: T201 - told to the person who typed it
        return 2
    except grpc.aio.AioRpcError as error:
        print(f"{error.code().name}: {error.details()}", file=sys.stderr)  # noqa: T201 - likewise
        return 1
    print(MessageToJson(answer, indent=2))  # noqa: T201 - the command's whole output
    return 0


def _metadata(asked: argparse.Namespace) -> tuple[tuple[str, str], ...]:
    bearer = ("authorization", f"Bearer {required('REWARDS_ADMIN_TOKEN')}")
    key = getattr(asked, "idempotency_key", None)
    return (bearer, ("idempotency-key", key)) if key else (bearer,)


def _options(command: Command) -> list[FieldDescriptor]:
    """The fields that are options: the request's own, but in place of what it wraps that one's."""
    request: Any = command.request.DESCRIPTOR
    wrapped = [inner for field in request.fields if field.name == command.wraps for inner in field.message_type.fields]
    found = [*(field for field in request.fields if field.name != command.wraps), *wrapped]
    return [field for field in found if OUTPUT_ONLY not in field.GetOptions().Extensions[field_behavior]]


def _sent(command: Command, asked: argparse.Namespace) -> dict[str, Any]:
    """What was given for the options, as the request's JSON."""
    own = command.request.DESCRIPTOR.fields_by_name
    given = {field.name: getattr(asked, field.name, None) for field in _options(command)}
    sent = {name: value for name, value in given.items() if value is not None}
    request = {name: value for name, value in sent.items() if name in own}
    if command.wraps:
        request[command.wraps] = {name: value for name, value in sent.items() if name not in own}
    return request


def _add_option(parser: argparse.ArgumentParser, field: FieldDescriptor, *, needed: bool) -> None:
    option, message = f"--{field.name.replace('_', '-')}", field.message_type
    if message is not None and message.full_name != _TIMESTAMP:
        parser.add_argument(option, type=json.loads, metavar="JSON", help="as JSON")
    elif field.type == FieldDescriptor.TYPE_BYTES:
        parser.add_argument(option, type=_content, metavar="FILE", help="the file with it")
    elif field.is_repeated:
        parser.add_argument(option, nargs="+", required=needed)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        parser.add_argument(option, action="store_true")
    elif field.enum_type is not None:
        parser.add_argument(option, type=str.upper, choices=[value.name for value in field.enum_type.values[1:]])
    else:
        number = field.cpp_type in {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}
        parser.add_argument(option, type=int if number else str, required=needed)


def _content(path: str) -> str:
    """A file's bytes in JSON's form of them. Raises ArgumentTypeError if it cannot be read."""
    try:
        return base64.b64encode(Path(path).read_bytes()).decode()
    except OSError as error:
        raise argparse.ArgumentTypeError(error.strerror) from None
