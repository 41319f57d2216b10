"""The checks of entries, the balances they make, and reversals (L1 to L4)."""

from typing import Final

from ledger_svc.verify.check import ACCOUNT, ENTRY, TRANSACTION, Check

ENTRIES: Final = (
    Check(
        "L1",
        "every transaction sums to zero, both sides shown",
        "audit.postings",
        """
SELECT program_id, transaction_id, asset, sum(amount) AS total FROM audit.postings
GROUP BY program_id, transaction_id, asset HAVING sum(amount) <> 0""",
        TRANSACTION + "its postings in {asset} sum to {total}",
    ),
    Check(
        "L1",
        "every kind sums to zero",
        "audit.postings",
        """
SELECT program_id, asset, kind, sum(amount) AS total FROM audit.postings
GROUP BY program_id, asset, kind HAVING sum(amount) <> 0""",
        "program {program_id}: the postings of kind {kind} in {asset} sum to {total}",
    ),
    Check(
        "L1",
        "a transfer has two entries, all else one",
        "entries",
        """
SELECT program_id, transaction_id, count(*) AS found, CASE min(kind) WHEN %(transfer)s THEN 2 ELSE 1 END AS wanted
FROM entries GROUP BY program_id, transaction_id
HAVING count(*) <> CASE min(kind) WHEN %(transfer)s THEN 2 ELSE 1 END OR min(kind) <> max(kind)""",
        TRANSACTION + "it has {found} entries where its kind has {wanted}",
    ),
    Check(
        "L1",
        "an entry has the sign of its kind",
        "entries",
        """
SELECT program_id, account_id, transaction_id, kind, amount FROM entries WHERE NOT CASE
    WHEN kind IN (%(earn)s, %(fund)s) THEN amount > 0
    WHEN kind IN (%(redeem)s, %(expire)s, %(capture)s, %(settle)s, %(fee)s) THEN amount < 0
    ELSE kind IN (%(reverse)s, %(adjust)s, %(transfer)s) AND amount <> 0 END""",
        ENTRY + "an entry of kind {kind} cannot be {amount}",
    ),
    Check(
        "L2",
        "versions count up as time goes on",
        "entries",
        """
SELECT program_id, account_id, transaction_id, version, number FROM (
    SELECT *, row_number() OVER w AS number, lag(recorded_at) OVER w AS before FROM entries
    WINDOW w AS (PARTITION BY program_id, account_id ORDER BY recorded_at, version)) e
WHERE version <> number OR recorded_at <= before""",
        ENTRY + "entry {number} in the order of recording has version {version}, or the time of the one before",
    ),
    Check(
        "L2",
        "the balance runs on from entry to entry",
        "entries",
        """
SELECT program_id, account_id, transaction_id, balance_after, before + amount AS wanted FROM (
    SELECT *, lag(balance_after::numeric, 1, 0) OVER w AS before FROM entries
    WINDOW w AS (PARTITION BY program_id, account_id ORDER BY recorded_at, version)) e
WHERE balance_after <> before + amount""",
        ENTRY + "the balance after it is {balance_after}, where {wanted} was to come",
    ),
    Check(
        "L2",
        "an account is the sum of its entries",
        "accounts",
        """
SELECT program_id, account_id, a.posted, a.version, a.last_at, e.posted AS sum, e.version AS count
FROM accounts a FULL JOIN (
    SELECT program_id, account_id, sum(amount) AS posted, count(*) AS version, max(recorded_at) AS last_at
    FROM entries GROUP BY program_id, account_id) e USING (program_id, account_id)
WHERE a.posted IS DISTINCT FROM coalesce(e.posted, 0) OR a.version IS DISTINCT FROM coalesce(e.version, 0)
    OR e.last_at > coalesce(a.last_at, '-infinity')""",
        ACCOUNT + "posted {posted}, version {version}, last at {last_at}; its {count} entries sum to {sum}",
    ),
    Check(
        "L2",
        "held is the sum of the active holds",
        "accounts",
        """
SELECT program_id, account_id, a.held, coalesce(h.held, 0) AS sum FROM accounts a FULL JOIN (
    SELECT program_id, account_id, sum(amount) AS held FROM holds WHERE state = %(active)s
    GROUP BY program_id, account_id) h USING (program_id, account_id)
WHERE a.held IS DISTINCT FROM coalesce(h.held, 0)""",
        ACCOUNT + "held is {held}, its active holds sum to {sum}",
    ),
    Check(
        "L2",
        "funding is low where too little of it is available",
        "low_balances",
        # Between the threshold and a tenth over it, it depends on from where it came.
        """
SELECT l.program_id, a.account_id, a.posted - a.held::numeric AS available, l.threshold_minor, l.low
FROM low_balances l LEFT JOIN accounts a ON a.program_id = l.program_id AND a.owner_kind = %(funding)s
    AND a.asset = l.currency
WHERE a.account_id IS NULL OR CASE
    WHEN l.low THEN l.threshold_minor = 0 OR a.posted - a.held::numeric > l.threshold_minor + l.threshold_minor / 10
    ELSE a.posted - a.held::numeric < l.threshold_minor END""",
        ACCOUNT + "{available} are available, under {threshold_minor} is low, and low is {low}",
    ),
    Check(
        "L3",
        "nothing is held or owed beyond the balance, except a debt by a clawback",
        "accounts",
        """
SELECT program_id, account_id, posted, held FROM accounts a WHERE posted < held AND (
    owner_kind <> %(member)s
    OR EXISTS (SELECT FROM lots l WHERE l.program_id = a.program_id AND l.account_id = a.account_id AND l.remaining > 0)
    OR NOT EXISTS (SELECT FROM entries e WHERE e.program_id = a.program_id AND e.account_id = a.account_id
        AND e.amount < 0 AND (e.kind = %(reverse)s OR (e.kind = %(transfer)s AND e.category = %(merging)s))))""",
        ACCOUNT + "posted {posted} is less than held {held}",
    ),
    Check(
        "L3",
        "no spend ever took a balance below zero",
        "entries",
        # A merge hands a debt on, which the survivor may not be able to pay either.
        """
SELECT program_id, account_id, transaction_id, balance_after FROM entries
WHERE kind IN (%(redeem)s, %(transfer)s, %(settle)s, %(fee)s) AND amount < 0 AND balance_after < 0
    AND NOT (kind = %(transfer)s AND category = %(merging)s)""",
        ENTRY + "it left {balance_after}",
    ),
    Check(
        "L4",
        "a reversal names a transaction of its account",
        "entries",
        """
SELECT e.program_id, e.account_id, e.transaction_id, e.reverses FROM entries e LEFT JOIN entries o
    ON o.program_id = e.program_id AND o.transaction_id = e.reverses AND o.account_id = e.account_id
WHERE (e.kind = %(reverse)s) <> (e.reverses IS NOT NULL) OR (e.reverses IS NOT NULL AND o.program_id IS NULL)""",
        ENTRY + "it reverses {reverses}",
    ),
    Check(
        "L4",
        "a transaction is reversed once, and never by more than its amount",
        "reversals",
        # Of an earning that is taken back a part may have run out or be written off, so that no entry has it.
        """
SELECT program_id, transaction_id, r.rows, r.reversed, abs(b.amount) AS back, abs(o.amount) AS amount FROM (
    SELECT program_id, transaction_id, count(*) AS rows, max(amount) AS amount, sum(reversed) AS reversed
    FROM reversals GROUP BY program_id, transaction_id) r
FULL JOIN (
    SELECT program_id, reverses AS transaction_id, sum(amount) AS amount
    FROM entries WHERE reverses IS NOT NULL GROUP BY program_id, reverses) b USING (program_id, transaction_id)
LEFT JOIN entries o USING (program_id, transaction_id)
WHERE r.rows IS DISTINCT FROM 1 OR r.amount IS DISTINCT FROM abs(o.amount::numeric) OR r.reversed > r.amount
    OR CASE WHEN o.amount > 0 THEN r.reversed < abs(b.amount) ELSE r.reversed IS DISTINCT FROM abs(b.amount) END
    OR sign(b.amount) = sign(o.amount)""",
        TRANSACTION + "of {amount} its {rows} rows say {reversed} is reversed, its reversals sum to {back}",
    ),
    Check(
        "L4",
        "a reversal gives back to the lots that were drawn from",
        "lot_uses",
        """
SELECT program_id, transaction_id, lot_id, b.points, coalesce(sum(d.amount), 0) AS drawn FROM (
    SELECT e.program_id, e.reverses AS transaction_id, u.lot_id, -sum(u.amount) AS points
    FROM entries e JOIN lot_uses u USING (program_id, transaction_id)
    WHERE e.reverses IS NOT NULL AND u.amount < 0 GROUP BY e.program_id, e.reverses, u.lot_id) b
LEFT JOIN lot_uses d USING (program_id, transaction_id, lot_id)
GROUP BY program_id, transaction_id, lot_id, b.points HAVING b.points > coalesce(sum(d.amount), 0)""",
        TRANSACTION + "its reversals gave {points} back to lot {lot_id}, it drew {drawn}",
    ),
    Check(
        "L4",
        "an adjustment that is posted has its entry, and an entry its adjustment",
        "adjustments",
        """
SELECT program_id, transaction_id, d.points, e.amount FROM (
    SELECT program_id, adjustment_id AS transaction_id, member_id, asset, points FROM adjustments
    WHERE state = %(posted)s) d
FULL JOIN (
    SELECT e.program_id, e.transaction_id, e.amount, a.owner, a.asset
    FROM entries e JOIN accounts a USING (program_id, account_id) WHERE e.kind = %(adjust)s
    ) e USING (program_id, transaction_id)
WHERE d.points IS DISTINCT FROM e.amount OR d.member_id IS DISTINCT FROM e.owner OR d.asset IS DISTINCT FROM e.asset""",
        TRANSACTION + "somebody adjusted {points}, its entry says {amount}",
    ),
)
