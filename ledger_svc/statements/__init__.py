"""Balances and histories as partners and members read them."""
