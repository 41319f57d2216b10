"""Pages in a program's look, each with the policy that lets nothing into it but what it has: no script, no frame, no
picture or style from elsewhere."""

import base64
import hashlib
from functools import lru_cache
from typing import Any, Final, NamedTuple

from fulfillment_svc.looks.render import render
from fulfillment_svc.looks.theme import Theme

_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; img-src data:; style-src '{}'"
)


class Page(NamedTuple):
    """HTML and its Content-Security-Policy."""

    html: str
    policy: str


def page(template: str, theme: Theme, **values: Any) -> Page:
    """The page of that name."""
    style, policy = _style(theme)
    return Page(render(f"page/{template}.html", theme, style=style, **values), policy)


@lru_cache(maxsize=64)
def _style(theme: Theme) -> tuple[str, str]:
    """The style of a program's pages, and the policy that lets in this style alone."""
    style = render("page/page.css", theme)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return style, _POLICY.format(f"sha256-{digest}")
