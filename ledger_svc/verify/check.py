"""What an invariant is to the auditor. Pure."""

from typing import Final, LiteralString, NamedTuple


class Check(NamedTuple):
    """An invariant: its law on the reliability page, its name, what is looked at, and the query for broken rows.

    `says` puts a broken row's columns into words. The queries share nothing with the journal's own statements but the
    numbers of kinds and states, which come as named parameters. Where a sum could overflow by a tampered amount, it is
    numeric.
    """

    law: str
    name: str
    of: LiteralString
    broken: LiteralString
    says: str


TRANSACTION: Final = "program {program_id}, transaction {transaction_id}: "
ACCOUNT: Final = "program {program_id}, account {account_id}: "
ENTRY: Final = "program {program_id}, account {account_id}, transaction {transaction_id}: "
LOT: Final = "program {program_id}, account {account_id}, lot {lot_id}: "
HOLD: Final = "program {program_id}, account {account_id}, hold {hold_id}: "
