"""How the service is put together: every part by hand, top to bottom."""

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc
from envoy_min import authz_pb2, authz_pb2_grpc
from google.protobuf.descriptor import FileDescriptor
from rewards.fulfillment.v1.messages_pb2_grpc import MessagesServiceStub
from rewards.fulfillment.v1.webhooks_pb2_grpc import EventsServiceStub
from rewards.identity.v1 import (
    attributes_pb2,
    attributes_pb2_grpc,
    credentials_pb2,
    credentials_pb2_grpc,
    members_pb2,
    members_pb2_grpc,
    merges_pb2,
    merges_pb2_grpc,
    privacy_pb2,
    privacy_pb2_grpc,
    programs_pb2,
    programs_pb2_grpc,
    signin_pb2,
    signin_pb2_grpc,
    tokens_pb2,
    tokens_pb2_grpc,
)
from rewards.ledger.v1.directory_pb2_grpc import MemberDirectoryServiceStub

from identity_svc import tables
from identity_svc.credentials import store as credentials
from identity_svc.credentials.access_tokens import Audience
from identity_svc.credentials.keys import Hasher, Veil
from identity_svc.credentials.servicer import CredentialsServicer
from identity_svc.credentials.signing import Keyring
from identity_svc.credentials.tokens import TokenServicer
from identity_svc.gatekeeper import usage
from identity_svc.gatekeeper.gate import Gate
from identity_svc.gatekeeper.servicer import Gatekeeper
from identity_svc.gatekeeper.states import States
from identity_svc.gatekeeper.usage import Usage
from identity_svc.members.answers import Answers
from identity_svc.members.attributes import AttributesServicer
from identity_svc.members.directory import Directory
from identity_svc.members.merge_servicer import MergesServicer
from identity_svc.members.merges import Merges
from identity_svc.members.privacy import Privacy
from identity_svc.members.privacy_servicer import PrivacyServicer
from identity_svc.members.registry import Registry
from identity_svc.members.servicer import MembersServicer
from identity_svc.members.vault import Vault
from identity_svc.pepper import Pepper
from identity_svc.programs.servicer import ProgramsServicer
from identity_svc.signin import store as signin
from identity_svc.signin.codes import Codes
from identity_svc.signin.letters import Letters
from identity_svc.signin.logins import Logins
from identity_svc.signin.passwords import Passwords
from identity_svc.signin.servicer import SignInServicer
from identity_svc.signin.tokens import MemberTokens
from identity_svc.surface import METHODS
from svckit.clock import Clock, system_clock
from svckit.db import Database
from svckit.idempotency import Idempotency
from svckit.server import Served, Worker

# The services that keep a copy of the programs.
PROGRAM_KEEPERS = ("ledger_svc", "catalog_svc", "fulfillment_svc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What this service alone is told. `public_url` is where partners reach the gateway: the tokens' issuer."""

    pepper: Pepper
    fingerprint_key: bytes
    public_url: str


class Service:
    """The servicers and the workers. `channels` lead to the other services, by name.

    `gate_db` is the same database through connections of its own: a burst of other work must not keep the
    gatekeeper waiting, or the whole mesh would wait.
    """

    def __init__(
        self,
        db: Database,
        gate_db: Database,
        settings: Settings,
        channels: Mapping[str, grpc.aio.Channel],
        *,
        clock: Clock = system_clock,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        hasher, idempotency = Hasher(settings.pepper), Idempotency(db, tables.keys, settings.fingerprint_key)
        audience, keyring = Audience.of(settings.public_url), Keyring(gate_db, settings.pepper, monotonic)
        uses, gate = Usage(db), Gate(States(gate_db, monotonic), hasher, keyring, audience, clock)
        directory = Directory(db, MemberDirectoryServiceStub(channels["ledger_svc"]))
        keepers = [programs_pb2_grpc.ProgramDirectoryServiceStub(channels[name]) for name in PROGRAM_KEEPERS]
        events = EventsServiceStub(channels["fulfillment_svc"])
        registry, veil = Registry(Vault(settings.pepper)), Veil(settings.pepper)
        answers, passwords = Answers(db, registry, directory), Passwords()
        letters = Letters(db, settings.pepper, MessagesServiceStub(channels["fulfillment_svc"]), clock)
        post = Worker("signin.letters", letters.send)
        sign_in = SignInServicer(
            Codes(db, settings.pepper, registry, letters, clock),
            Logins(db, settings.pepper, registry, passwords, clock),
            MemberTokens(db, registry, keyring, audience, clock),
            post.wake,
        )
        self.served = [
            _served(programs_pb2, programs_pb2_grpc, "ProgramsService", ProgramsServicer(db, keepers)),
            _served(
                credentials_pb2,
                credentials_pb2_grpc,
                "CredentialsService",
                CredentialsServicer(db, idempotency, hasher, veil),
            ),
            _served(tokens_pb2, tokens_pb2_grpc, "TokenService", TokenServicer(db, hasher, keyring, audience, clock)),
            _served(
                members_pb2,
                members_pb2_grpc,
                "MembersService",
                MembersServicer(db, idempotency, registry, passwords, answers, clock),
            ),
            _served(
                merges_pb2,
                merges_pb2_grpc,
                "MergesService",
                MergesServicer(db, idempotency, Merges(registry), answers, clock),
            ),
            _served(attributes_pb2, attributes_pb2_grpc, "AttributesService", AttributesServicer(db, idempotency)),
            _served(
                privacy_pb2,
                privacy_pb2_grpc,
                "PrivacyService",
                PrivacyServicer(db, idempotency, Privacy(registry), directory, clock),
            ),
            _served(signin_pb2, signin_pb2_grpc, "SignInService", sign_in),
            _served(authz_pb2, authz_pb2_grpc, "Authorization", Gatekeeper(METHODS, gate, uses, clock)),
        ]
        self.workers = [
            Worker("members.sync", directory.sync_leftovers),
            Worker("outbox.relay", functools.partial(tables.outbox.relay, db, events)),
            post,
            Worker("signin.sweep", lambda: db.transact(signin.sweep), interval_s=3600),
            Worker("credentials.usage", uses.write, usage.INTERVAL_S),
            Worker("tokens.sweep", lambda: db.transact(credentials.sweep_tokens), interval_s=3600),
            Worker("idempotency.wipe", idempotency.wipe, interval_s=30),
        ]


def _served(messages: Any, services: Any, name: str, servicer: object) -> Served:
    file: FileDescriptor = messages.DESCRIPTOR
    return Served(file.services_by_name[name], getattr(services, f"add_{name}Servicer_to_server"), servicer)
