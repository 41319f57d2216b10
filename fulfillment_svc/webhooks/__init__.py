"""What partners are told: events, each with its member's sequence number, and their signed deliveries.

An event is kept for ever, rendered once as the bytes that are signed and sent. A delivery is one event on
its way to one endpoint, at least once, always under the event's id (Standard Webhooks, G66).
"""
