"""Providers that are configured and not programmed: what is sent is a template of ours, and what comes back is read by
rules. See `configuration` for the file."""
