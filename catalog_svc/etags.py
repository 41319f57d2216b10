"""ETags (RFC 9110). That of a listing changes with the catalog, the program's rate and the question, so it is told
without the listing; that of a few rewards is of their own answer.

They are weak, because the gateway may compress an answer on its way, which a strong one forbids.
"""

import hashlib

from catalog_svc.rules import Rate


def etag(revision: int, rate: Rate, question: bytes) -> str:
    """The ETag of the answer to `question` from the catalog at `revision`."""
    return of_answer(f"{revision}|{rate.points_per_unit}|{rate.currency}|".encode() + question)


def of_answer(answer: bytes) -> str:
    """The ETag of an answer that there is already."""
    return f'W/"{hashlib.sha256(answer).hexdigest()[:32]}"'


def matches(if_none_match: str, current: str) -> bool:
    """True if the header names the current ETag, in RFC 9110's weak comparison, or is "*"."""
    named = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return "*" in named or current.removeprefix("W/") in named
