"""Checks of passwords: counted before they are made, and told to nobody who does not know the password."""

from rewards.identity.v1 import signin_pb2 as pb

from identity_svc.members.registry import Opened, Registry
from identity_svc.members.rules import Relation
from identity_svc.members.vault import PASSWORD
from identity_svc.pepper import Pepper, mac
from identity_svc.programs import store as programs
from identity_svc.signin import rules, store
from identity_svc.signin.passwords import Passwords
from svckit.clock import Clock, system_clock
from svckit.db import Database, Tx
from svckit.errors import Reason, Refused


class Logins:
    """A member that does not exist has a wrong password, and takes as long to find out."""

    def __init__(
        self, db: Database, pepper: Pepper, registry: Registry, passwords: Passwords, clock: Clock = system_clock
    ) -> None:
        self._db = db
        self._key = pepper.key("relations that sign in")
        self._registry = registry
        self._passwords = passwords
        self._clock = clock

    async def check(self, program_id: str, request: pb.CheckCredentialsRequest) -> Opened:
        """The member whose password it is. Raises CREDENTIALS_INVALID, RATE_LIMITED."""
        subject, opened = await self._db.transact(lambda tx: self._asked(tx, program_id, request))
        async with self._db.read() as tx:
            sealed = await store.password(tx, program_id, subject)
        stored = None if opened is None or sealed is None else opened.box.open(PASSWORD, sealed).decode()
        if not await self._passwords.matches(request.password, stored) or opened is None:
            raise Refused(Reason.CREDENTIALS_INVALID, "The member or the password is wrong.")
        await self._db.transact(lambda tx: store.forgive(tx, program_id, [rules.PASSWORDS.kind], subject))
        return opened

    async def _asked(self, tx: Tx, program_id: str, request: pb.CheckCredentialsRequest) -> tuple[str, Opened | None]:
        """Whose password it is said to be, after the try is counted. Raises RATE_LIMITED."""
        at = (await programs.get(tx, program_id)).at(self._clock())
        subject = member_id = request.member_id
        if request.WhichOneof("who") == "relation":
            relation = Relation(request.relation.type, request.relation.value)
            subject = "=" + mac(self._key, relation.type, relation.value).hex()
            member_id = await self._registry.owner(tx, program_id, relation) or ""
        opened = await self._registry.look_up(tx, program_id, member_id)
        if opened is not None:
            subject = opened.member.member_id
        wait_s = await store.spend(tx, program_id, rules.PASSWORDS, subject, at)
        if wait_s is not None:
            raise Refused(Reason.RATE_LIMITED, "Too many wrong passwords.", retry_after_s=wait_s)
        return subject, opened
