"""Colours that can be read, as WCAG 2.2 measures it (1.4.3 and 1.4.11): ratios of 4.5 for text, 3 for what is not."""

from typing import Final, TypeAlias

Rgb: TypeAlias = tuple[int, int, int]

TEXT: Final = 4.5
SHAPE: Final = 3.0
BLACK: Final = "#000000"
WHITE: Final = "#ffffff"
_STEPS: Final = 100
_LINEAR_UP_TO: Final = 0.04045


def contrast(one: str, other: str) -> float:
    """The contrast ratio of two colours of the form "#1f3a5f": 1 to 21."""
    darker, lighter = sorted((_luminance(_rgb(one)), _luminance(_rgb(other))))
    return (lighter + 0.05) / (darker + 0.05)


def ink(background: str) -> str:
    """Black or white, whichever can be read better on `background`; the ratio is always enough for text."""
    return max((WHITE, BLACK), key=lambda colour: contrast(colour, background))


def readable(colour: str, background: str, ratio: float = TEXT) -> str:
    """`colour`, made darker or lighter as little as it takes to have `ratio` on `background`."""
    towards = ink(background)
    for step in range(_STEPS):
        mixed = _mixed(colour, towards, step / _STEPS)
        if contrast(mixed, background) >= ratio:
            return mixed
    return towards


def _mixed(colour: str, other: str, share: float) -> str:
    pairs = zip(_rgb(colour), _rgb(other), strict=True)
    return "#" + "".join(f"{round(one + (two - one) * share):02x}" for one, two in pairs)


def _rgb(colour: str) -> Rgb:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _luminance(rgb: Rgb) -> float:
    red, green, blue = (_linear(part / 255) for part in rgb)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= _LINEAR_UP_TO else ((part + 0.055) / 1.055) ** 2.4
