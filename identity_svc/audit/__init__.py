"""The audit trail: who did what to what, written in the transaction that does it and never changed.

It holds ids only. A member's id carries no personal data by contract, and secrets have no place here.
"""
