"""How the service is put together: every part by hand, top to bottom."""

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import grpc
from rewards.fulfillment.v1.webhooks_pb2_grpc import EventsServiceStub
from rewards.identity.v1 import (
    programs_pb2_grpc,
)

from identity_svc import tables
from identity_svc.credentials import oauth_store
from identity_svc.credentials import store as credentials
from identity_svc.credentials.access import AccessServicer
from identity_svc.credentials.access_tokens import Audience
from identity_svc.credentials.issuing import Issuer
from identity_svc.credentials.keys import Hasher, Veil
from identity_svc.credentials.pace import Pace
from identity_svc.credentials.proofs import Proofs
from identity_svc.credentials.revocation import Pause
from identity_svc.credentials.servicer import CredentialsServicer
from identity_svc.credentials.signing import Keyring
from identity_svc.credentials.tokens import TokenServicer
from identity_svc.gatekeeper import usage
from identity_svc.gatekeeper.gate import Gate
from identity_svc.gatekeeper.servicer import Gatekeeper
from identity_svc.gatekeeper.states import States
from identity_svc.gatekeeper.usage import Usage
from identity_svc.limits import leases
from identity_svc.limits.buckets import Limiter, OwnBuckets, RedisBuckets
from identity_svc.limits.meter import Meter
from identity_svc.limits.quotas import Quotas
from identity_svc.limits.servicer import LimitsServicer
from identity_svc.people import People
from identity_svc.pepper import Pepper
from identity_svc.programs.servicer import ProgramsServicer
from identity_svc.surface import METHODS
from svckit.clock import Clock, system_clock
from svckit.db import Database
from svckit.idempotency import Idempotency
from svckit.server import Worker

# The services that keep a copy of the programs.
PROGRAM_KEEPERS = ("ledger_svc", "catalog_svc", "fulfillment_svc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What this service alone is told. `public_url` is where partners reach the gateway: the tokens' issuer. Limits are
    counted in the Redis at `redis_url`."""

    pepper: Pepper
    fingerprint_key: bytes
    public_url: str
    redis_url: str


# A token lives for half an hour and the same one comes back: who asks this often does not keep it.
TOKENS_PER_S, TOKENS_BURST = 20, 200

# Linux's CLOCK_MONOTONIC stands still while the machine sleeps; elsewhere there is no other.
_elapsed_s: Final = functools.partial(time.clock_gettime, getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass(frozen=True, slots=True, kw_only=True)
class Time:
    """What time it is, what ages the caches, and how to wait.

    The caches age also while the machine sleeps: one that wakes up must not pass what was revoked meanwhile.
    """

    clock: Clock = system_clock
    monotonic: Callable[[], float] = _elapsed_s
    pause: Pause = asyncio.sleep


SYSTEM_TIME: Final = Time()


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
        times: Time = SYSTEM_TIME,
    ) -> None:
        clock, monotonic, pause = times.clock, times.monotonic, times.pause
        hasher, idempotency = Hasher(settings.pepper), Idempotency(db, tables.keys, settings.fingerprint_key)
        audience, keyring = Audience.of(settings.public_url), Keyring(gate_db, settings.pepper, monotonic)
        proofs = Proofs(hasher, audience, Pace(monotonic, per_second=TOKENS_PER_S, burst=TOKENS_BURST))
        uses, gate = Usage(db), Gate(States(gate_db, monotonic), hasher, keyring, audience, clock)
        self.limiter = Limiter(OwnBuckets(monotonic), RedisBuckets(settings.redis_url))
        meter = Meter(self.limiter, Quotas(functools.partial(leases.lease, gate_db), monotonic))
        keepers = [programs_pb2_grpc.ProgramDirectoryServiceStub(channels[name]) for name in PROGRAM_KEEPERS]
        events = EventsServiceStub(channels["fulfillment_svc"])
        issuer = Issuer(hasher, Veil(settings.pepper))
        people = People(db, idempotency, settings, channels, keyring, times)
        self.servicers = [
            ProgramsServicer(db, keepers),
            CredentialsServicer(db, idempotency, issuer, keyring, pause),
            AccessServicer(db, idempotency, issuer, clock, pause),
            TokenServicer(db, proofs, keyring, audience, clock, pause),
            LimitsServicer(),
            *people.servicers,
            Gatekeeper(METHODS, gate, meter, uses, clock),
        ]
        self.workers = [
            *people.workers,
            Worker("outbox.relay", functools.partial(tables.outbox.relay, db, events)),
            Worker("credentials.usage", uses.write, usage.INTERVAL_S),
            Worker("tokens.sweep", lambda: db.transact(credentials.sweep_tokens), interval_s=3600),
            Worker("oauth.sweep", lambda: db.transact(oauth_store.sweep), interval_s=3600),
            Worker("signing.rotate", keyring.rotate_if_old, interval_s=3600),
            Worker("idempotency.wipe", idempotency.wipe, interval_s=30),
        ]
