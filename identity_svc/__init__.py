"""Who is who: programs and their settings, partners' credentials and tokens, the gatekeeper that Envoy asks
about every request, members and what is known of them, how they sign in, and the audit trail of all of these.

Invariants: a secret is stored only as an HMAC under the pepper; personal data only under its member's key;
a relation has one member; what a credential may do is never answered from a state older than half a second.
No more of a credential's daily quota is handed out than there is.
Calls ledger_svc, catalog_svc and fulfillment_svc to hand on programs, ledger_svc to hand on members,
fulfillment_svc to hand on events and the codes that it mails.
"""
