"""What a program's rules say of a recipient. Pure values and functions."""

import hashlib
import hmac
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

from fulfillment_svc.compliance import Effect, Subject, Verdict


@dataclass(frozen=True, slots=True)
class Limit:
    """One recipient gets `value_minor` of a currency in any so many days; over it stands what becomes of the rest."""

    currency: str
    value_minor: int
    days: int
    over: Effect


@dataclass(frozen=True, slots=True)
class Rules:
    """A program's rules. Without `allowed` every country is that is not `blocked`."""

    allowed: frozenset[str] = frozenset()
    blocked: frozenset[str] = frozenset()
    limits: tuple[Limit, ...] = ()

    def of(self, currency: str) -> tuple[Limit, ...]:
        """The limits that count in this currency."""
        return tuple(limit for limit in self.limits if limit.currency == currency)


def decide(rules: Rules, subject: Subject, spent: Mapping[int, int]) -> Verdict:
    """The verdict, where `spent` is what the recipient has got in the currency in so many days, or may still get of
    what is under way. A refusal goes before a hold."""
    if subject.country in rules.blocked:
        return Verdict(Effect.REFUSE, "COUNTRY_BLOCKED")
    if rules.allowed and subject.country not in rules.allowed:
        return Verdict(Effect.REFUSE, "COUNTRY_NOT_ALLOWED")
    limits = rules.of(subject.currency)
    over = {limit.over for limit in limits if spent[limit.days] + subject.value_minor > limit.value_minor}
    for effect in (Effect.REFUSE, Effect.HOLD):
        if effect in over:
            return Verdict(effect, "RECIPIENT_LIMIT")
    return Verdict(Effect.ALLOW)


def recipient(key: bytes, program_id: str, email: str) -> bytes:
    """What a recipient is known by: a MAC of the mail address, which is not kept itself. One mailbox is one recipient
    however it is written: in any case, and with anything behind a "+"."""
    local, _, domain = unicodedata.normalize("NFKC", email).casefold().strip().rpartition("@")
    mailbox = f"{local.partition('+')[0]}@{domain}"
    return hmac.digest(key, f"recipient\0{program_id}\0{mailbox}".encode(), hashlib.sha256)
