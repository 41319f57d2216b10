"""How the rooms of members and of their sign-in are put together."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import grpc
from rewards.fulfillment.v1.messages_pb2_grpc import MessagesServiceStub
from rewards.ledger.v1.directory_pb2_grpc import MemberDirectoryServiceStub

from identity_svc.credentials.access_tokens import Audience
from identity_svc.credentials.pace import Pace
from identity_svc.credentials.signing import Keyring
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
from identity_svc.signin import store as signin
from identity_svc.signin.codes import Codes
from identity_svc.signin.letters import Letters
from identity_svc.signin.logins import Logins
from identity_svc.signin.passwords import Passwords
from identity_svc.signin.servicer import SignInServicer
from identity_svc.signin.tokens import MemberTokens
from svckit.db import Database
from svckit.idempotency import Idempotency
from svckit.server import Worker

if TYPE_CHECKING:
    from identity_svc.service import Settings, Time

# Of one credential, at each process: a stolen one tries no more members' codes and passwords than that.
SIGN_INS_PER_S, SIGN_INS_BURST = 50, 200


class People:
    """The servicers and the workers of both rooms."""

    def __init__(
        self,
        db: Database,
        idempotency: Idempotency,
        settings: "Settings",
        channels: Mapping[str, grpc.aio.Channel],
        keyring: Keyring,
        times: "Time",
    ) -> None:
        clock = times.clock
        directory = Directory(db, MemberDirectoryServiceStub(channels["ledger_svc"]))
        registry, passwords = Registry(Vault(settings.pepper)), Passwords()
        answers = Answers(db, registry, directory)
        members = MembersServicer(db, idempotency, registry, passwords, answers, clock)
        merges = MergesServicer(db, idempotency, Merges(registry), answers, clock)
        privacy = PrivacyServicer(db, idempotency, Privacy(registry), directory, clock)
        letters = Letters(db, settings.pepper, MessagesServiceStub(channels["fulfillment_svc"]), clock)
        sign_in = SignInServicer(
            Codes(db, settings.pepper, registry, letters, clock),
            Logins(db, settings.pepper, registry, passwords, clock),
            MemberTokens(db, registry, keyring, Audience.of(settings.public_url), clock),
            Pace(times.monotonic, per_second=SIGN_INS_PER_S, burst=SIGN_INS_BURST),
        )
        self.servicers = [
            members,
            merges,
            AttributesServicer(db, idempotency),
            privacy,
            sign_in,
        ]
        self.workers = [
            Worker("members.sync", directory.sync_leftovers),
            Worker("signin.letters", letters.send),
            Worker("signin.sweep", lambda: db.transact(signin.sweep), interval_s=3600),
        ]
