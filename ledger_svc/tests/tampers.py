"""What somebody with the database in his hands may do to it, and which check finds it."""

from typing import NamedTuple

# Whoever tampers does away with what stands in the way.
UNBOUND = """DO $$DECLARE bound record; BEGIN
FOR bound IN SELECT conrelid::regclass AS name, conname FROM pg_constraint
    WHERE conrelid <> 0 AND (contype = 'c' OR conname = 'reversals_pkey')
LOOP EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', bound.name, bound.conname); END LOOP; END$$"""


class Tamper(NamedTuple):
    """`check` finds what `statement` changed, and says `names`, an expression over the changed row."""

    check: str
    statement: str
    names: str
    before: str = UNBOUND

    def sql(self) -> str:
        text = f"{self.before}; {self.statement} RETURNING {self.names} AS named"
        for word, meaning in MEANINGS.items():
            text = text.replace(word, meaning)
        return text


MEANINGS = {
    ":spent": "(SELECT transaction_id FROM entries WHERE kind = 2 ORDER BY recorded_at LIMIT 1)",
    ":active": "(SELECT hold_id FROM holds WHERE state = 1)",
    ":lot": "(SELECT lot_id FROM lots WHERE remaining > 0 AND expires_at IS NULL ORDER BY 1 LIMIT 1)",
    ":m_1s": "(SELECT lot_id FROM lots JOIN accounts USING (account_id) WHERE owner = 'm_1' LIMIT 1)",
    ":batch": "(SELECT batch_id FROM transaction_batches)",
    ":untouched": "UPDATE programs SET version = version",
}
T, A, H, L = "transaction_id", "account_id", "hold_id", "lot_id"
FUNDED = "(SELECT account_id FROM accounts WHERE owner_kind = 2)"
FEE = "(SELECT transaction_id FROM entries WHERE kind = 10)"
TAMPERS = (
    Tamper("every transaction sums", "UPDATE entries SET kind = 6 WHERE transaction_id = :spent", T),
    Tamper("every kind sums", "UPDATE entries SET kind = 42 WHERE transaction_id = :spent", "'kind 42'"),
    Tamper("a transfer has two", "UPDATE entries SET kind = 6 WHERE transaction_id = :spent", T),
    Tamper("an entry has the sign", "UPDATE entries SET kind = 1 WHERE transaction_id = :spent", T),
    Tamper("versions count up", "UPDATE entries SET version = 99 WHERE transaction_id = :spent", T),
    Tamper(
        "versions count up", "UPDATE entries SET recorded_at = recorded_at + interval '1 year' WHERE version = 2", A
    ),
    Tamper("versions count up", "DELETE FROM entries WHERE transaction_id = :spent", A),
    Tamper("the balance runs on", "UPDATE entries SET balance_after = 7 WHERE transaction_id = :spent", T),
    Tamper("the balance runs on", "UPDATE entries SET amount = 9223372036854775807 WHERE kind = 8", T),
    Tamper("an account is the sum", "UPDATE accounts SET posted = posted + 1 WHERE owner = 'm_2'", A),
    Tamper("an account is the sum", "UPDATE accounts SET version = version + 1 WHERE owner = 'm_2'", A),
    Tamper("an account is the sum", "UPDATE accounts SET last_at = '2020-01-01' WHERE owner = 'm_2'", A),
    Tamper("an account is the sum", "DELETE FROM accounts WHERE owner = 'm_2'", A),
    Tamper("held is the sum", "UPDATE accounts SET held = held + 1 WHERE owner = 'm_2'", A),
    Tamper("held is the sum", "UPDATE holds SET amount = amount + 1 WHERE state = 1", A),
    Tamper("nothing is held or owed", "UPDATE accounts SET held = posted + 1 WHERE owner = 'm_2'", A),
    Tamper("nothing is held or owed", "UPDATE accounts SET posted = held - 1 WHERE owner_kind = 2", A),
    Tamper("funding is low", "UPDATE low_balances SET low = false", FUNDED),
    Tamper("funding is low", "UPDATE low_balances SET threshold_minor = 10", FUNDED),
    Tamper("funding is low", "UPDATE low_balances SET currency = 'CHF'", "program_id"),
    Tamper("no spend ever", "UPDATE entries SET balance_after = -1 WHERE transaction_id = :spent", T),
    Tamper("a reversal names", "UPDATE entries SET reverses = gen_random_uuid() WHERE amount = 150", T),
    Tamper("a reversal names", "UPDATE entries SET reverses = transaction_id WHERE transaction_id = :spent", T),
    Tamper("a transaction is reversed", "UPDATE reversals SET reversed = reversed - 1", T),
    Tamper("a transaction is reversed", "UPDATE reversals SET amount = amount + 1", T),
    Tamper("a transaction is reversed", "DELETE FROM reversals", T),
    Tamper("a transaction is reversed", "INSERT INTO reversals SELECT * FROM reversals LIMIT 1", T),
    Tamper("an adjustment that", "UPDATE entries SET kind = 1 WHERE kind = 5 AND amount = 10", T),
    Tamper("an adjustment that", "UPDATE adjustments SET state = 2 WHERE points = 12", "adjustment_id"),
    Tamper("an adjustment that", "UPDATE adjustments SET points = 13 WHERE points = 11", "adjustment_id"),
    Tamper("a reversal gives back", "UPDATE lot_uses SET lot_id = :lot WHERE amount = -50", L),
    Tamper("what remains of a lot", "UPDATE lots SET open = false WHERE lot_id = :lot", L),
    Tamper("what remains of a lot", "UPDATE lots SET remaining = original + 1 WHERE lot_id = :lot", L),
    Tamper("points are in open lots", "UPDATE lots SET remaining = remaining - 1 WHERE lot_id = :lot", A),
    Tamper("points are in open lots", "DELETE FROM lots WHERE lot_id = :lot", A),
    Tamper("a lot lacks exactly", "UPDATE lots SET remaining = remaining - 1 WHERE lot_id = :lot", L),
    Tamper("a lot lacks exactly", "UPDATE lot_uses SET amount = 71 WHERE transaction_id = :active", L),
    Tamper("what ran out", "UPDATE lots SET lapsed = lapsed + 1 WHERE lot_id = :lot", L),
    Tamper("a debit draws", "UPDATE lot_uses SET amount = amount + 1 WHERE transaction_id = :spent", T),
    Tamper("a debit draws", "DELETE FROM lot_uses WHERE transaction_id = :active", T),
    Tamper("a debit draws", "INSERT INTO lot_uses SELECT program_id, lot_id, 9, lot_id, 1 FROM lots LIMIT 1", T),
    Tamper(
        "a transaction draws",
        "UPDATE lot_uses u SET lot_id = :m_1s FROM entries e WHERE e.transaction_id = "
        "u.transaction_id AND e.amount = -5",
        "u.transaction_id",
    ),
    Tamper("first to expire", "UPDATE lot_uses SET position = 7 - position WHERE transaction_id = :spent", T),
    Tamper("a captured hold", "UPDATE holds SET state = 2 WHERE hold_id = :active", H),
    Tamper("a captured hold", "UPDATE holds SET state = 3 WHERE amount = 350", H),
    Tamper("a captured hold", "UPDATE holds SET amount = 249 WHERE amount = 350", H),
    Tamper("a capture has", "DELETE FROM holds WHERE amount = 350", H),
    Tamper("a fee is on", "UPDATE entries SET reason = 'nothing' WHERE kind = 10", T),
    Tamper("a fee is on", "UPDATE entries SET amount = amount - 1 WHERE kind = 10", T),
    Tamper("a fee is on", "DELETE FROM entries WHERE kind = 9", FEE),
    Tamper("a key that is done", "UPDATE idempotency_keys SET body = '\\x0a24' WHERE key = 'deposit'", "operation"),
    Tamper("a key that is done", "DELETE FROM holds WHERE hold_id = :active", H),
    Tamper(
        "no two keys",
        "INSERT INTO idempotency_keys SELECT program_id, operation, 'again', fingerprint, state, body "
        "FROM idempotency_keys WHERE key = 'deposit'",
        "encode(substring(body FROM 3 FOR 36), 'escape')",
    ),
    Tamper("a key that is done", "DELETE FROM transaction_batches", "batch_id"),
    Tamper("a batch has a key", "DELETE FROM idempotency_keys WHERE key = 'item-1'", "key"),
    Tamper("a batch has a key", "DELETE FROM idempotency_keys WHERE key = 'batch'", ":batch"),
    Tamper("a batch has a key", "UPDATE transaction_batches SET statuses = '{1,1}'", "batch_id"),
    Tamper("history is append-only", ":untouched", "'UPDATE on entries'", "GRANT UPDATE ON entries TO ledger_runtime"),
    Tamper(
        "history is append-only", ":untouched", "'UPDATE on rules'", "GRANT UPDATE (version) ON rules TO ledger_runtime"
    ),
    Tamper("no column is an int4", ":untouched", "'holds.narrow'", "ALTER TABLE holds ADD COLUMN narrow int"),
    Tamper("what is acknowledged", ":untouched", "'synchronous_commit is off'", "SET LOCAL synchronous_commit = off"),
)
