"""The checks of lots, of what was drawn from them, and of holds (L5)."""

from typing import Final

from ledger_svc.verify.check import ACCOUNT, HOLD, LOT, TRANSACTION, Check

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
        # A lot that came into a debt filled it first: its own entry tells how much (G11).
        """
SELECT program_id, account_id, lot_id, coalesce(g.points, 0) AS gone, coalesce(d.points, 0) AS drawn FROM (
    SELECT l.program_id, min(l.account_id) AS account_id, l.lot_id, sum(l.original::numeric - l.remaining
        - least(l.original, coalesce(e.amount::numeric - e.balance_after, 0))) AS points
    FROM lots l LEFT JOIN entries e ON e.program_id = l.program_id AND e.transaction_id = l.lot_id
        AND e.account_id = l.account_id AND e.balance_after < e.amount
    GROUP BY l.program_id, l.lot_id) g
FULL JOIN (
    SELECT u.program_id, u.lot_id, sum(u.amount) AS points FROM lot_uses u
    WHERE NOT EXISTS (SELECT FROM holds h
        WHERE h.program_id = u.program_id AND h.hold_id = u.transaction_id AND h.state = %(voided)s)
    GROUP BY u.program_id, u.lot_id) d USING (program_id, lot_id)
WHERE coalesce(g.points, 0) <> coalesce(d.points, 0)""",
        LOT + "it lacks {gone}, {drawn} were drawn from it",
    ),
    Check(
        "L5",
        "a debit draws what it takes, a reversal gives back what it returns",
        "lot_uses",
        # A clawback draws what is still there; the rest is a debt (G11).
        """
SELECT program_id, transaction_id, coalesce(t.at_most, 0) AS wanted, coalesce(u.points, 0) AS drawn FROM (
    SELECT program_id, transaction_id, sum(points) AS at_most, sum(CASE clawback WHEN true THEN 0 ELSE points END)
        AS at_least
    FROM (
        SELECT e.program_id, e.transaction_id, -e.amount::numeric AS points,
            e.kind = %(reverse)s AND e.amount < 0 AS clawback
        FROM entries e JOIN accounts a USING (program_id, account_id)
        WHERE a.owner_kind = %(member)s AND (e.amount < 0 OR e.kind = %(reverse)s)
        UNION ALL
        SELECT h.program_id, h.hold_id, h.amount, false FROM holds h JOIN accounts a USING (program_id, account_id)
        WHERE a.owner_kind = %(member)s AND h.state <> %(captured)s) asked
    GROUP BY program_id, transaction_id) t
FULL JOIN (
    SELECT program_id, transaction_id, sum(amount) AS points FROM lot_uses GROUP BY program_id, transaction_id
    ) u USING (program_id, transaction_id)
WHERE coalesce(u.points, 0) NOT BETWEEN coalesce(t.at_least, 0) AND coalesce(t.at_most, 0)""",
        TRANSACTION + "{wanted} were to be drawn from lots, {drawn} were",
    ),
    Check(
        "L5",
        "a transaction draws from its own account's lots",
        "lot_uses",
        """
SELECT u.program_id, u.transaction_id, u.lot_id FROM lot_uses u WHERE NOT EXISTS (
    SELECT FROM lots l JOIN (
        SELECT program_id, transaction_id, account_id FROM entries
        UNION ALL SELECT program_id, hold_id, account_id FROM holds) t USING (program_id, account_id)
    WHERE l.program_id = u.program_id AND l.lot_id = u.lot_id AND t.transaction_id = u.transaction_id)""",
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
        PARTITION BY u.program_id, u.transaction_id ORDER BY u.position) AS before
    FROM lot_uses u JOIN (
        SELECT program_id, lot_id, ROW(coalesce(expires_at, 'infinity'), earned_at, lot_id) AS place FROM lots
        ) l USING (program_id, lot_id)
    WHERE u.amount > 0 AND NOT EXISTS (SELECT FROM entries e WHERE e.reverses IS NOT NULL
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
)
