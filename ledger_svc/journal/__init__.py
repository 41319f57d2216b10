"""Postings: credits, redemptions, reversals, holds, and the lots they draw from."""
