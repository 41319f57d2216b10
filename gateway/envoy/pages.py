"""What people see where a page refuses: HTML for every reason, made here once and served out of Envoy's own memory.

It names no program. A link that never was and one that is used up must look alike, and of the first nobody knows
whose it would be.
"""

import base64
import hashlib
import re
from pathlib import Path
from string import Template
from typing import Final

_SOURCE: Final = Path(__file__).with_name("page.html").read_text()
_STYLE: Final = re.search(r"<style>(.*?)</style>", " ".join(_SOURCE.split()))

_TEXTS: Final = {
    "CLAIM_GONE": (
        "This link is no longer good",
        "It may have been used up, have run out or have been called off, or a part of its address is missing.",
        "What you have claimed already is in your mail and on the page that followed. Else please ask who sent it.",
    ),
    "NOT_FOUND": ("There is nothing here", "A part of the address may be missing.", "Please open the link once more."),
    "RATE_LIMITED": (
        "A little too fast",
        "This was asked for too often within a short time, so we keep it closed for a while.",
        "Nothing is lost. Please try again later.",
    ),
    "IDEMPOTENCY_IN_FLIGHT": (
        "We are still at it",
        "What you have asked for is being worked on.",
        "Please load this page again in a moment. It happens once, however often you do.",
    ),
    "UNAVAILABLE": (
        "We will be right back",
        "This page cannot be shown just now.",
        "Nothing is lost. Please try again.",
    ),
    "TIMEOUT": (
        "This takes longer than it should",
        "We do not know yet whether it has worked.",
        "Nothing is lost. Please open your link once more, which shows what became of it.",
    ),
    "INVALID_REQUEST": (
        "This did not work",
        "The page was asked in a way that it does not understand.",
        "Please open your link once more.",
    ),
    "INTERNAL": (
        "Something went wrong on our side",
        "This page cannot be shown just now.",
        "Nothing is lost. Please try again in a while.",
    ),
}


def style_source(style: str) -> str:
    """What a content security policy calls the text of a style element by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()}'"


# Of every page. The services' own pages bring their own policy, as it names their style.
HEADERS: Final = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"img-src data:; style-src {style_source(_STYLE[1] if _STYLE else '')}",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "x-robots-tag": "noindex, nofollow",
}


def refusals() -> dict[str, str]:
    """The pages by the names of reasons, each on one line. Others than these get INVALID_REQUEST's or INTERNAL's."""
    page = Template(" ".join(_SOURCE.split()))
    return {
        name: page.substitute(title=title, text=text, advice=advice) for name, (title, text, advice) in _TEXTS.items()
    }
