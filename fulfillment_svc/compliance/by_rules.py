"""The compliance check by a program's own rules, decided under the lock of the recipient's row."""

from fulfillment_svc.compliance import Effect, Subject, Verdict, rules, store, wire
from fulfillment_svc.compliance.rules import Rules
from fulfillment_svc.tables import programs
from svckit.clock import Clock
from svckit.db import Database, Tx


class ByRules:
    """Decides by what `PutProgram` has stored as the program's rules. `key` makes the recipients' MACs."""

    def __init__(self, db: Database, key: bytes, clock: Clock) -> None:
        self._db = db
        self._key = key
        self._clock = clock

    async def check(self, subject: Subject) -> Verdict:
        """The verdict, which stands once it is given, whatever the rules become. A program without rules keeps no
        checks: what its recipients get counts from its first rules on."""
        program_id, check_id = subject.program_id, subject.check_id
        recipient = rules.recipient(self._key, program_id, subject.email)

        async def work(tx: Tx) -> Verdict:
            program = await programs.get(tx, program_id)
            ours = wire.rules(program.policy.compliance)
            if ours != Rules():
                await store.lock(tx, program_id, recipient)
            kept = await store.find(tx, program_id, check_id)
            if kept is not None or ours == Rules():
                return kept or Verdict(Effect.ALLOW)
            now = program.now(self._clock)
            days = {limit.days for limit in ours.of(subject.currency)}
            verdict = rules.decide(ours, subject, await store.spent(tx, subject, recipient, days, now))
            await store.insert_check(tx, subject, recipient, verdict, now)
            return verdict

        return await self._db.transact(work)
