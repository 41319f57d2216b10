"""Reports of closed periods: rows of our own, beside what the ledger's journal has of the same."""
