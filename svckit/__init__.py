"""Mechanism that every service uses: the server and its interceptors, errors, database, clients,
idempotency, outbox, clock, configuration, telemetry.

Admission: three users or it stays home, no domain word inside, imports no service."""
