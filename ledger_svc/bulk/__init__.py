"""Batches of events: each posted as its single call would be, and what became of it kept for ever."""
