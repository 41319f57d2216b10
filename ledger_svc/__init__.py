"""ledger_svc owns every movement of value: accounts, the journal, lots, holds and idempotency outcomes.

Invariants: entries are append-only and each has its counter-entry in the system account of its kind; a
balance is the sum of its entries and of its lots; no debit takes more than is available, and none takes
a part. It calls fulfillment_svc only, to hand over its outbox.
"""
