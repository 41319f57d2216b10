"""SQL of rules."""

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import distinct_on, insert

from ledger_svc.earning.rules import Rule
from ledger_svc.tables import rules
from svckit.db import Tx
from svckit.errors import Reason, Refused


async def rules_in_force(tx: Tx, program_id: str) -> list[Rule]:
    """The highest version of each of the program's rules, in order of their ids."""
    found = await tx.execute(
        select(rules)
        .where(rules.c.program_id == program_id)
        .ext(distinct_on(rules.c.rule_id))
        .order_by(rules.c.rule_id, rules.c.version.desc())
    )
    return [Rule(r.rule_id, r.version, r.event_type, r.points_numerator, r.points_denominator) for r in found]


async def put_rule(tx: Tx, program_id: str, rule: Rule) -> None:
    """Stores a rule's version. Raises CONFLICT if that version is another rule already (G42)."""
    names = Rule.__slots__
    row = {"program_id": program_id} | {name: getattr(rule, name) for name in names}
    await tx.execute(insert(rules).values(row).on_conflict_do_nothing())
    stored = (
        await tx.execute(
            select(rules).where(
                rules.c.program_id == program_id, rules.c.rule_id == rule.rule_id, rules.c.version == rule.version
            )
        )
    ).one()
    if Rule(**{name: getattr(stored, name) for name in names}) != rule:
        raise Refused(Reason.CONFLICT, "This version of the rule exists and is another one.")
