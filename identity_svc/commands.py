"""An operator's commands: `python -m identity_svc <noun> <verb> --option value`.

Each is one RPC of the running mesh, called at its door (REWARDS_GRPC, with REWARDS_ADMIN_TOKEN as the operator's
key), so that a person passes the same checks, leaves the same traces in the audit trail and reaches every service
like any other operator. The options are the request's fields, read off the proto.
"""

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.json_format import MessageToJson, ParseDict, ParseError
from google.protobuf.message import Message
from rewards.identity.v1 import access_pb2, programs_pb2
from rewards.identity.v1 import credentials_pb2 as pb
from rewards.identity.v1.access_pb2_grpc import AccessServiceStub
from rewards.identity.v1.credentials_pb2_grpc import CredentialsServiceStub
from rewards.identity.v1.programs_pb2_grpc import ProgramsServiceStub

from svckit.clock import new_id
from svckit.config import required

_TLS: Final = "https://"
_TIMEOUT_S: Final = 10.0
_TIMESTAMP: Final = "google.protobuf.Timestamp"


@dataclass(frozen=True, slots=True)
class Command:
    """An RPC. `wraps` is the field of the request that holds what the options fill, if it is not the request itself;
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
        for field in _filled(command).fields:
            if not command.needs or field.name in command.needs:
                _add_option(parser, field, needed=field.name in command.needs)


async def run(asked: argparse.Namespace) -> int:
    """Calls what was asked for and prints the answer as JSON; the exit code."""
    command: Command = asked.call
    given = {field.name: getattr(asked, field.name, None) for field in _filled(command).fields}
    sent: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        request = ParseDict({command.wraps: sent} if command.wraps else sent, command.request())
        async with _door() as channel:
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


def _door() -> grpc.aio.Channel:
    address = required("REWARDS_GRPC")
    if address.startswith(_TLS):
        return grpc.aio.secure_channel(address.removeprefix(_TLS), grpc.ssl_channel_credentials())
    return grpc.aio.insecure_channel(address)


def _filled(command: Command) -> Descriptor:
    request: Any = command.request.DESCRIPTOR
    filled: Descriptor = request.fields_by_name[command.wraps].message_type if command.wraps else request
    return filled


def _add_option(parser: argparse.ArgumentParser, field: FieldDescriptor, *, needed: bool) -> None:
    option, message = f"--{field.name.replace('_', '-')}", field.message_type
    if message is not None and message.full_name != _TIMESTAMP:
        parser.add_argument(option, type=json.loads, metavar="JSON", help="as JSON")
    elif field.is_repeated:
        parser.add_argument(option, nargs="+", required=needed)
    elif field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        parser.add_argument(option, action="store_true")
    elif field.enum_type is not None:
        parser.add_argument(option, type=str.upper, choices=[value.name for value in field.enum_type.values[1:]])
    else:
        number = field.cpp_type in {FieldDescriptor.CPPTYPE_INT32, FieldDescriptor.CPPTYPE_INT64}
        parser.add_argument(option, type=int if number else str, required=needed)
