"""Below what a program's funding is low, and whether it is; and fees, which have an account of their own to go to."""

from alembic import op

revision = "0011"
down_revision = "0010"

_TABLE = """
CREATE TABLE low_balances (
    program_id text NOT NULL,
    currency text NOT NULL,
    threshold_minor bigint NOT NULL,
    low boolean NOT NULL,
    PRIMARY KEY (program_id, currency),
    CONSTRAINT low_balances_threshold_not_negative CHECK (threshold_minor >= 0)
)
"""

_VIEW = """
CREATE OR REPLACE VIEW audit.postings AS
SELECT e.program_id, a.asset, e.transaction_id, e.kind, e.recorded_at, e.effective_at,
    CASE a.owner_kind WHEN 1 THEN 'member' ELSE 'funding' END AS account, a.owner, e.amount
FROM entries e JOIN accounts a ON a.program_id = e.program_id AND a.account_id = e.account_id
UNION ALL
SELECT e.program_id, a.asset, e.transaction_id, e.kind, e.recorded_at, e.effective_at,
    e.system AS account, '' AS owner, -e.amount AS amount
FROM (
    SELECT *, CASE kind
        WHEN 1 THEN 'issuance'
        WHEN 2 THEN 'redemption'
        WHEN 3 THEN CASE WHEN amount > 0 THEN 'redemption' ELSE 'issuance' END
        WHEN 4 THEN 'breakage'
        WHEN 5 THEN 'adjustment'
        WHEN 7 THEN 'redemption'
        WHEN 8 THEN 'cash'
        WHEN 9 THEN 'settlement'
        WHEN 10 THEN 'fees'
    END AS system FROM entries
) e JOIN accounts a ON a.program_id = e.program_id AND a.account_id = e.account_id
WHERE e.system IS NOT NULL
"""


def upgrade() -> None:
    op.execute(_TABLE)
    op.execute("GRANT SELECT, INSERT, UPDATE ON low_balances TO ledger_runtime")
    op.execute(_VIEW)
