"""A program's look, worked out of its branding."""

import base64
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, Self

from rewards.identity.v1.programs_pb2 import Branding

from fulfillment_svc.looks import colours

_NAME: Final = "Rewards"
_PRIMARY: Final = "#1f3a5f"
_ACCENT: Final = "#9a3412"


class Ground(NamedTuple):
    """The colours of what lies under everything, and of the text on it. They can be read by themselves."""

    page: str
    card: str
    well: str
    ink: str
    quiet: str
    line: str
    edge: str


LIGHT: Final = Ground("#f5f5f2", "#ffffff", "#f0f0ec", "#1b1c1a", "#595d56", "#dcddd6", "#858980")
DARK: Final = Ground("#111311", "#1c1f1c", "#262a26", "#f1f2ef", "#b3b8b0", "#363b36", "#7d837a")


@dataclass(frozen=True)
class Theme:
    """What templates show of a program. `logo` is a PNG, or empty; `contact` a mail address, an https address, or
    empty."""

    name: str
    primary: str
    accent: str
    logo: bytes = b""
    contact: str = ""

    @classmethod
    def of(cls, branding: Branding) -> Self:
        """The look of a program, in our own colours where it has none."""
        primary = branding.primary_colour.lower() or _PRIMARY
        accent = branding.accent_colour.lower() or branding.primary_colour.lower() or _ACCENT
        name = " ".join("".join(c if c.isprintable() else " " for c in branding.display_name).split())
        return cls(name or _NAME, primary, accent, branding.logo, branding.support_contact)

    @cached_property
    def on_primary(self) -> str:
        """The colour of text on the program's own."""
        return colours.ink(self.primary)

    def text(self, ground: Ground) -> str:
        """The accent as far as it can be read on every part of `ground`."""
        return _on_all(self.accent, ground, colours.TEXT)

    def shape(self, ground: Ground) -> str:
        """The program's own colour as far as it stands out from every part of `ground`."""
        return _on_all(self.primary, ground, colours.SHAPE)

    @cached_property
    def logo_source(self) -> str:
        """The logo as the address of an image; empty without one."""
        return f"data:image/png;base64,{base64.b64encode(self.logo).decode()}" if self.logo else ""

    @property
    def contact_address(self) -> str:
        """Where a link to the contact leads; empty without one."""
        return f"mailto:{self.contact}" if self.contact and not self.contact.startswith("https://") else self.contact


def _on_all(colour: str, ground: Ground, ratio: float) -> str:
    for background in (ground.page, ground.card, ground.well):
        colour = colours.readable(colour, background, ratio)
    return colour
