"""Checks on a live database that the ledger is right: an auditor that shares no code with what wrote it."""
