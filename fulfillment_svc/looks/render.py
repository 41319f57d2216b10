"""Templates into text. What they are given is escaped in HTML, and a name that is missing is a fault, not a gap."""

from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

from fulfillment_svc.looks.theme import DARK, LIGHT, Theme

_environment: Final = Environment(
    loader=FileSystemLoader(Path(__file__).with_name("templates")),
    autoescape=select_autoescape(["html"]),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    auto_reload=False,
)


def render(template: str, theme: Theme, **values: Any) -> str:
    """The template of that name in a program's look."""
    return _environment.get_template(template).render(theme=theme, light=LIGHT, dark=DARK, **values)
