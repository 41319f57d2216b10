"""How a program looks: readable whatever its colours are, and mails that load nothing and leave nothing open."""

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rewards.identity.v1.programs_pb2 import Branding

from fulfillment_svc.looks import colours
from fulfillment_svc.looks.letters import letter
from fulfillment_svc.looks.theme import DARK, LIGHT, Ground, Theme
from fulfillment_svc.looks.words import amount, day

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
LOGO = b"\x89PNG\r\n\x1a\n..."
PLAIN = Theme.of(Branding())
COLOURS = st.from_regex(r"#[0-9a-f]{6}", fullmatch=True)
GROUNDS = pytest.mark.parametrize("ground", [LIGHT, DARK], ids=["light", "dark"])
MAILS: dict[str, dict[str, Any]] = {
    "code": {"purpose": "sign in", "code": "004711", "until": "2026-03-01 12:10"},
    "reward": {
        "name": "Gift card",
        "brand": "Kaffa",
        "points": "800",
        "codes": ["KAFFA-1", "KAFFA-2"],
        "worth": "10.00 USD",
        "reference": "r",
    },
    "cashback": {"name": "Cash Home", "brand": "Acme", "points": "800", "credited": "10.00 USD", "reference": "r"},
    "claim": {
        "recipient": "Ada",
        "worth": "25.00 USD",
        "until": "31 December 2026",
        "url": "https://go.example/claim/T",
        "reference": "r",
    },
}


def test_contrast_is_what_wcag_says() -> None:
    assert colours.contrast("#000000", "#ffffff") == pytest.approx(21)
    assert colours.contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)
    assert colours.contrast("#ffffff", "#777777") == colours.contrast("#777777", "#ffffff")


@GROUNDS
@given(primary=COLOURS, accent=COLOURS)
def test_every_colour_of_a_program_can_be_read(ground: Ground, primary: str, accent: str) -> None:
    theme = Theme("Acme", primary, accent)
    assert colours.contrast(theme.on_primary, theme.primary) >= colours.TEXT
    for background in (ground.page, ground.card, ground.well):
        assert colours.contrast(theme.text(ground), background) >= colours.TEXT
        assert colours.contrast(theme.shape(ground), background) >= colours.SHAPE


@GROUNDS
def test_what_lies_under_it_can_be_read_too(ground: Ground) -> None:
    for background in (ground.page, ground.card, ground.well):
        assert colours.contrast(ground.ink, background) >= 7
        assert colours.contrast(ground.quiet, background) >= colours.TEXT
        assert colours.contrast(ground.edge, background) >= colours.SHAPE


def test_a_colour_that_can_be_read_stays_as_it_is() -> None:
    assert Theme("Acme", "#14532d", "#9a3412").text(LIGHT) == "#9a3412"


@pytest.mark.parametrize(
    ("contact", "address"),
    [("", ""), ("a@b.example", "mailto:a@b.example"), ("https://b.example", "https://b.example")],
)
def test_a_contact_is_a_link(contact: str, address: str) -> None:
    assert Theme.of(Branding(support_contact=contact)).contact_address == address


def test_a_name_is_one_line() -> None:
    assert Theme.of(Branding(display_name=" Acme\r\nBcc: x ")).name == "Acme Bcc: x"


def test_amounts_have_all_their_decimals() -> None:
    assert [amount(125_000, "USD"), amount(1_250, "JPY"), amount(1, "KWD")] == [
        "1,250.00 USD",
        "1,250 JPY",
        "0.001 KWD",
    ]


class _Sources(HTMLParser):
    """Where a document loads something from."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.loaded += [value or "" for name, value in attrs if name in {"src", "srcset", "background"}]


@pytest.mark.parametrize("name", MAILS)
@pytest.mark.parametrize("logo", [b"", LOGO], ids=["plain", "with a logo"])
def test_a_mail_brings_all_that_it_shows(name: str, logo: bytes) -> None:
    theme = Theme.of(Branding(display_name="Acme", logo=logo, support_contact="help@acme.example"))
    mail = letter(name, theme, "Hello\r\nthere", AT, **MAILS[name])
    text, html = (mail.get_body((kind,)) for kind in ("plain", "html"))
    assert text is not None
    assert html is not None
    assert mail["Subject"] == "Hello there"
    sources = _Sources()
    sources.feed(html.get_content())
    assert sources.loaded == (["cid:logo"] if logo else [])
    assert not sources.tags & {"script", "link", "iframe", "form", "object"}
    assert "url(" not in html.get_content()
    images = [part for part in mail.walk() if part.get_content_type() == "image/png"]
    assert [(image["Content-ID"], image.get_content()) for image in images] == ([("<logo>", LOGO)] if logo else [])
    for body in (text.get_content(), html.get_content()):
        assert "Acme" in body
        assert "help@acme.example" in body
        assert all(code in body for code in MAILS[name].get("codes", []))


def test_what_is_put_into_a_mail_is_text_there() -> None:
    html = letter("reward", PLAIN, "x", AT, **{**MAILS["reward"], "brand": "<img src=//x>", "codes": ["<b>1"]})
    body = html.get_body(("html",))
    assert body is not None
    assert "<img" not in body.get_content()
    assert "&lt;b&gt;1" in body.get_content()


def test_a_mail_leaves_no_line_of_blanks_and_no_gap() -> None:
    for name, values in MAILS.items():
        body = letter(name, PLAIN, "x", AT, **values).get_body(("plain",))
        assert body is not None
        assert not re.search(r"\n{3}|[ \t]\n|\A\n", body.get_content())


@pytest.mark.parametrize(
    ("end", "text"),
    [
        (datetime(2026, 12, 31, 23, 0, tzinfo=UTC), "31 December 2026"),
        (datetime(2026, 12, 31, 22, 59, 59, tzinfo=UTC), "31 December 2026"),
        (datetime(2026, 7, 1, 10, 30, tzinfo=UTC), "1 July 2026, 12:30 (Europe/Berlin)"),
    ],
)
def test_the_last_day_is_the_programs(end: datetime, text: str) -> None:
    assert day(end, ZoneInfo("Europe/Berlin")) == text
