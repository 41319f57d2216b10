"""Both sides of every entry, for auditors to sum: the counter-entry that the kind implies is written out.

It stands in a schema of its own, so that an auditor's role can be let in to read without entering the tables.
"""

from alembic import op

revision = "0004"
down_revision = "0003"

# A transfer's two sides are entries both. A reversal goes back where the reversed came from: a redemption given
# back is positive, an earning taken back is negative. A kind that no account stands for has no other side here,
# so that it does not sum to zero and is found.
_VIEW = """
CREATE VIEW audit.postings AS
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
    END AS system FROM entries
) e JOIN accounts a ON a.program_id = e.program_id AND a.account_id = e.account_id
WHERE e.system IS NOT NULL
"""


def upgrade() -> None:
    op.execute("CREATE SCHEMA audit")
    op.execute(_VIEW)
    op.execute("GRANT USAGE ON SCHEMA audit TO ledger_runtime")
    op.execute("GRANT SELECT ON audit.postings TO ledger_runtime")
