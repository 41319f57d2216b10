"""Finds out which client it is that shows its secret, or an assertion that it has signed."""

from datetime import datetime
from typing import NamedTuple

from identity_svc.credentials import assertions, oauth, oauth_store, store
from identity_svc.credentials.access_tokens import Audience
from identity_svc.credentials.keys import Hasher
from identity_svc.credentials.oauth import Proof
from identity_svc.credentials.pace import Pace
from identity_svc.credentials.rules import Kind, State
from svckit.db import Tx
from svckit.errors import Reason, Refused


class Proven(NamedTuple):
    """A client, and the epoch of the tokens that its proof is worth: that of before, if its secret is."""

    client: State
    epoch: int


class Proofs:
    """Asks the database each time, so that a secret is refused from the moment at which it is replaced."""

    def __init__(self, hasher: Hasher, audience: Audience, pace: Pace) -> None:
        self._hasher = hasher
        self._audience = audience
        self._pace = pace

    async def client(self, tx: Tx, proof: Proof, now: datetime) -> Proven:
        """The client. Raises a refusal with invalid_client, and RATE_LIMITED if the client asks too often."""
        self._pace.check(proof.client_id)
        found = await store.state(tx, proof.client_id)
        client = found if found is not None and found.kind is Kind.CLIENT else None
        if proof.assertion:
            proven = await self._by_assertion(tx, client, proof.assertion, now)
        else:
            proven = self._by_secret(client, proof, now)
        self._pace.count(proof.client_id)
        return proven

    def _by_secret(self, client: State | None, proof: Proof, now: datetime) -> Proven:
        # An unknown client and a wrong secret cost the same and are told apart by nobody.
        current, previous = (None, None) if client is None else (client.secret_mac, client.previous_mac)
        is_current = self._hasher.matches(proof.client_id, proof.secret, current)
        is_previous = self._hasher.matches(proof.client_id, proof.secret, previous)
        if client is not None and not client.ended(now):
            if is_current:
                return Proven(client, client.epoch)
            if is_previous and client.overlaps(now):
                return Proven(client, client.epoch - 1)
        raise oauth.refused("invalid_client", "The client is unknown, or its secret is wrong.")

    async def _by_assertion(self, tx: Tx, client: State | None, text: str, now: datetime) -> Proven:
        jwks = None if client is None else await oauth_store.public_keys(tx, client)
        if client is None or jwks is None or client.ended(now):
            raise assertions.refused("is not signed with a key of the client")
        # By the real clock: a client signs by its own, also where its program's has been moved.
        assertion = assertions.read(text, jwks, client.credential_id, self._audience.server, now)
        if not await oauth_store.use_assertion(tx, client, assertion):
            # The proof was good once, so it is the request that is wrong.
            again = oauth.refused("invalid_client", "The assertion was used before; its jti is good once.")
            raise Refused(Reason.INVALID_REQUEST, again.message, detail=again.detail)
        return Proven(client, client.epoch)
