"""The checks of lots, of what was drawn from them, and of holds (L5)."""

from typing import Final

from ledger_svc.verify.check import ACCOUNT, ENTRY, HOLD, LOT, TRANSACTION, Check

LOTS: Final = (
    Check(
        "L5",
        "what remains of a lot is within what it was",
        "lots",
        """
SELECT program_id, account_id, lot_id, original, remaining, open FROM lots
WHERE remaining < 0 OR remaining > original OR open <> (remaining > 0)""",
        LOT + "of {original} there remain {remaining}, and open is {open}",
    ),
    Check(
        "L5",
        "points are in open lots or held",
        "accounts",
        """
SELECT program_id, account_id, a.posted, a.held, coalesce(l.remaining, 0) AS remaining FROM accounts a FULL JOIN (
    SELECT program_id, account_id, sum(remaining) AS remaining FROM lots GROUP BY program_id, account_id
    ) l USING (program_id, account_id)
WHERE CASE a.owner_kind WHEN %(member)s THEN greatest(a.posted::numeric - a.held, 0) ELSE 0 END
    <> coalesce(l.remaining, 0) OR a.posted IS NULL""",
        ACCOUNT + "posted {posted}, held {held}, but its lots hold {remaining}",
    ),
    Check(
        "L5",
        "a lot lacks exactly what was drawn from it",
        "lots",
        # A hold that ended and wrote nothing gave everything back, unless a debt took it.
        """
WITH debtors AS (SELECT DISTINCT program_id, account_id FROM entries
    WHERE amount < 0 AND (kind = %(reverse)s OR (kind = %(transfer)s AND category = %(merging)s))),
silent AS (
    SELECT h.program_id, h.hold_id AS transaction_id, d.account_id IS NOT NULL AS indebted
    FROM holds h LEFT JOIN debtors d USING (program_id, account_id)
    WHERE h.state NOT IN (%(active)s, %(captured)s) AND NOT EXISTS (SELECT FROM lot_uses u
        WHERE u.program_id = h.program_id AND u.transaction_id = h.hold_id AND u.amount < 0)),
drawn AS (
    SELECT u.program_id, u.lot_id, sum(CASE WHEN s.indebted IS NULL THEN u.amount ELSE 0 END) AS least,
        sum(CASE WHEN s.indebted IS FALSE THEN 0 ELSE u.amount END) AS most
    FROM lot_uses u LEFT JOIN silent s USING (program_id, transaction_id) GROUP BY u.program_id, u.lot_id)
SELECT program_id, l.account_id, lot_id, coalesce(l.original::numeric - l.remaining, 0) AS gone,
    coalesce(d.most, 0) AS drawn
FROM lots l FULL JOIN drawn d USING (program_id, lot_id)
WHERE coalesce(l.original::numeric - l.remaining, 0) NOT BETWEEN coalesce(d.least, 0) AND coalesce(d.most, 0)""",
        LOT + "it lacks {gone}, {drawn} were drawn from it",
    ),
    Check(
        "L5",
        "what ran out of a lot is what its expiries took",
        "lots",
        """
SELECT program_id, account_id, lot_id, l.lapsed, coalesce(x.taken, 0) AS taken FROM lots l LEFT JOIN (
    SELECT u.program_id, u.lot_id, sum(u.amount) AS taken
    FROM lot_uses u JOIN entries e USING (program_id, transaction_id)
    WHERE e.kind = %(expire)s GROUP BY u.program_id, u.lot_id) x USING (program_id, lot_id)
WHERE l.lapsed <> coalesce(x.taken, 0)""",
        LOT + "{lapsed} are said to have run out, its expiries took {taken}",
    ),
    Check(
        "L5",
        "a debit draws what it takes, a reversal gives back what it returns",
        "lot_uses",
        # Where an earning was taken back, there may have been a debt: a clawback draws what is still there, what
        # comes in fills the debt first, and of what comes back the debt takes its part (G11). A merge hands debts on,
        # and where it is undone gives lots back (G44).
        """
WITH debtors AS (SELECT DISTINCT program_id, account_id FROM entries
    WHERE amount < 0 AND (kind = %(reverse)s OR (kind = %(transfer)s AND category = %(merging)s))),
asked AS (
    SELECT e.program_id, e.transaction_id,
        CASE WHEN e.kind = %(transfer)s AND e.category = %(merging)s THEN 0
            WHEN (e.amount > 0) = (e.kind = %(reverse)s) THEN -e.amount ELSE 0 END AS least,
        CASE WHEN d.account_id IS NULL THEN -e.amount WHEN e.amount < 0 THEN coalesce(h.amount, -e.amount)
            WHEN e.kind = %(reverse)s THEN 0 ELSE e.amount END AS most, 0 AS drawn
    FROM entries e JOIN accounts a USING (program_id, account_id)
    LEFT JOIN debtors d USING (program_id, account_id)
    LEFT JOIN holds h ON h.program_id = e.program_id AND h.hold_id = e.transaction_id
    WHERE a.owner_kind = %(member)s AND (e.amount < 0 OR e.kind = %(reverse)s OR d.account_id IS NOT NULL)
    UNION ALL
    SELECT h.program_id, h.hold_id, CASE h.state WHEN %(active)s THEN h.amount ELSE 0 END, h.amount, 0
    FROM holds h JOIN accounts a USING (program_id, account_id)
    WHERE a.owner_kind = %(member)s AND h.state <> %(captured)s
    UNION ALL
    SELECT program_id, transaction_id, 0, 0, amount FROM lot_uses)
SELECT program_id, transaction_id, sum(least) AS least, sum(most) AS most, sum(drawn) AS drawn FROM asked
GROUP BY program_id, transaction_id HAVING sum(drawn) NOT BETWEEN sum(least) AND sum(most)""",
        TRANSACTION + "{least} to {most} were to be drawn from lots, {drawn} were",
    ),
    Check(
        "L5",
        "a transaction draws from its own account's lots",
        "lot_uses",
        """
SELECT u.program_id, u.transaction_id, u.lot_id FROM lot_uses u JOIN (
    SELECT program_id, transaction_id, account_id FROM entries
    UNION ALL SELECT program_id, hold_id, account_id FROM holds) t USING (program_id, transaction_id)
LEFT JOIN lots l ON l.program_id = u.program_id AND l.account_id = t.account_id AND l.lot_id = u.lot_id
GROUP BY u.program_id, u.transaction_id, u.position, u.lot_id HAVING count(l.lot_id) = 0""",
        TRANSACTION + "lot {lot_id} is not one of its account",
    ),
    Check(
        "L5",
        "first to expire goes first within a debit",
        "lot_uses",
        # A clawback starts with the lot of its own earning, so it is left out.
        """
SELECT program_id, transaction_id, lot_id FROM (
    SELECT u.program_id, u.transaction_id, u.lot_id, place, lag(place) OVER (
        PARTITION BY u.program_id, u.transaction_id, l.account_id ORDER BY u.position) AS before
    FROM lot_uses u JOIN (
        SELECT program_id, account_id, lot_id, ROW(coalesce(expires_at, 'infinity'), earned_at, lot_id) AS place
        FROM lots) l USING (program_id, lot_id)
    WHERE u.amount > 0
        AND (u.program_id, u.transaction_id) IN (SELECT program_id, transaction_id FROM lot_uses WHERE position > 0)
        AND NOT EXISTS (SELECT FROM entries e WHERE e.reverses IS NOT NULL
            AND e.program_id = u.program_id AND e.transaction_id = u.transaction_id)) used
WHERE place < before""",
        TRANSACTION + "it drew lot {lot_id} after one that expires later",
    ),
)

HOLDS: Final = (
    Check(
        "L5",
        "a captured hold has one entry, any other none",
        "holds",
        """
SELECT h.program_id, h.account_id, h.hold_id, h.state, h.amount, count(e.amount) AS found, min(e.amount) AS taken
FROM holds h LEFT JOIN entries e ON e.program_id = h.program_id AND e.transaction_id = h.hold_id
GROUP BY h.program_id, h.account_id, h.hold_id, h.state, h.amount
HAVING count(e.amount) <> CASE h.state WHEN %(captured)s THEN 1 ELSE 0 END
    OR NOT bool_and(e.account_id = h.account_id AND e.kind IN (%(capture)s, %(settle)s)
        AND e.amount BETWEEN -h.amount AND -1)""",
        HOLD + "in state {state} over {amount} it has {found} entries of its account, the least over {taken}",
    ),
    Check(
        "L5",
        "a capture has its hold",
        "entries",
        """
SELECT e.program_id, e.account_id, e.transaction_id AS hold_id FROM entries e
WHERE e.kind = %(capture)s AND NOT EXISTS (
    SELECT FROM holds h WHERE h.program_id = e.program_id AND h.hold_id = e.transaction_id)""",
        HOLD + "it was captured and does not exist",
    ),
    Check(
        "L5",
        "a fee is on one settlement, and both are within the hold",
        "entries",
        """
SELECT f.program_id, f.account_id, f.transaction_id, f.amount, f.number, s.amount AS settled, h.amount AS held
FROM (SELECT *, row_number() OVER (PARTITION BY program_id, reason ORDER BY recorded_at) AS number
    FROM entries WHERE kind = %(fee)s) f
LEFT JOIN entries s ON s.program_id = f.program_id AND s.account_id = f.account_id AND s.kind = %(settle)s
    AND s.transaction_id::text = f.reason
LEFT JOIN holds h ON h.program_id = s.program_id AND h.hold_id = s.transaction_id
WHERE f.number > 1 OR h.amount IS NULL OR s.amount::numeric + f.amount < -h.amount""",
        ENTRY + "fee {number}, {amount}, on a settlement of {settled} out of a hold of {held}",
    ),
)
