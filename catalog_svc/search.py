"""How rewards are found by a part of their name or brand: PostgreSQL's own GIN index over their trigrams.

The trigrams are made here, as hashes that have the program in them, because the server may have no extension for it;
so one index serves all programs, and what a hash finds by chance the text itself sorts out.
"""

import hashlib
import unicodedata
from collections.abc import Iterable
from typing import Final

# Stands between the texts, so that nothing is found that begins in one and ends in the next.
_BETWEEN: Final = "\x1f"
_GRAM: Final = 3


def searchable(texts: Iterable[str]) -> str:
    """All of the texts as one that `folded` words are looked for in."""
    return _BETWEEN.join(sorted({folded(text) for text in texts}))


def folded(text: str) -> str:
    """The text without what case and the ways of writing a letter make of it."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())


def grams(program_id: str, text: str) -> list[int]:
    """Hashes of the text's trigrams, in order, each once; none where it is too short."""
    found = {text[start : start + _GRAM] for start in range(len(text) - _GRAM + 1)}
    return sorted(_hash(program_id, gram) for gram in found if _BETWEEN not in gram)


def _hash(program_id: str, gram: str) -> int:
    digest = hashlib.blake2b(gram.encode(), key=program_id.encode()[:64], digest_size=8).digest()
    return int.from_bytes(digest, signed=True)
