"""How clients and API keys come into being, whoever asks for them."""

from identity_svc.audit import store as audit
from identity_svc.audit.actor import Actor
from identity_svc.credentials import keys, levels_store, store
from identity_svc.credentials.keys import Hasher, Issued, Veil
from identity_svc.credentials.rules import Credential, Kind, State, Wanted
from svckit.db import Tx
from svckit.errors import Reason, Refused


class Issuer:
    """A secret leaves in the answer that makes it. What is kept is its HMAC and, for as long as that answer may be
    replayed, the secret under a veil: what these methods return is veiled, and `shown` lifts it."""

    def __init__(self, hasher: Hasher, veil: Veil) -> None:
        self._hasher = hasher
        self._veil = veil

    async def client(self, tx: Tx, actor: Actor, wanted: Wanted) -> Issued:
        """Adds an OAuth client, without a secret if it has keys of its own. Raises NOT_FOUND, or CONFLICT if its
        program or partner is revoked."""
        await levels_store.hold(tx, wanted.program_id, wanted.partner_id)
        return await self._add(tx, actor, Kind.CLIENT, wanted, keys.new_client())

    async def api_key(self, tx: Tx, actor: Actor, wanted: Wanted) -> Issued:
        """Adds an API key, whose prefix tells a sandbox program's from a live one's. Raises as `client`."""
        mode = await levels_store.hold(tx, wanted.program_id, wanted.partner_id)
        return await self._add(tx, actor, Kind.API_KEY, wanted, keys.new_key(keys.PREFIXES[mode]))

    def secret(self, client: State) -> tuple[bytes, Issued]:
        """A new secret for a client: what is kept of it, and the secret."""
        issued = keys.new_secret(client.credential_id)
        return self._hasher.mac(issued.credential_id, issued.secret), self._veiled(issued)

    def shown(self, issued: Issued) -> str:
        """The secret as its holder must show it."""
        return self._veil.lift(issued.credential_id, issued.secret)

    async def _add(self, tx: Tx, actor: Actor, kind: Kind, wanted: Wanted, issued: Issued) -> Issued:
        if not await store.has_plan(tx, wanted.plan_id):
            raise Refused(Reason.NOT_FOUND, "There is no such plan.")
        credential = Credential(
            program_id=wanted.program_id,
            credential_id=issued.credential_id,
            kind=kind,
            name=wanted.name,
            secret_mac=None if wanted.public_keys else self._hasher.mac(issued.credential_id, issued.secret),
            scopes=wanted.scopes,
            plan_id=wanted.plan_id,
            expires_at=wanted.expires_at,
            partner_id=wanted.partner_id,
            public_keys=wanted.public_keys,
        )
        await store.add_credential(tx, credential)
        await audit.append(tx, actor, "credential.created", wanted.program_id, issued.credential_id)
        return Issued(issued.credential_id, "") if wanted.public_keys else self._veiled(issued)

    def _veiled(self, issued: Issued) -> Issued:
        return Issued(issued.credential_id, self._veil.hide(issued))
