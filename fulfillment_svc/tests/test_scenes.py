"""The hosted pages as they are rendered: what they say, what they hold, and that nothing gets into them."""

import base64
import hashlib
import re
from html.parser import HTMLParser
from zoneinfo import ZoneInfo

import pytest
from rewards.catalog.v1.rewards_pb2 import DenominationRange
from rewards.fulfillment.v1 import claims_pb2 as pb
from rewards.fulfillment.v1.orders_pb2 import OrderClaim
from rewards.identity.v1.programs_pb2 import Branding

from fulfillment_svc.looks.pages import Page
from fulfillment_svc.looks.theme import Theme
from fulfillment_svc.pages import scenes, views
from fulfillment_svc.pages.countries import NAMES
from fulfillment_svc.pages.views import Amount, Option
from fulfillment_svc.pages.words import PROBLEMS, STANDINGS
from svckit.errors import Reason

BERLIN = ZoneInfo("Europe/Berlin")
EVIL = '"><script>alert(1)</script>'
THEME = Theme.of(Branding(display_name="Acme", logo=b"\x89PNG", support_contact="help@acme.example"))
FIXED = pb.ClaimOption(reward_id="books", name="Gift card", brand="Baltic Books", denominations=[25, 10])
RANGED = pb.ClaimOption(
    reward_id="visa", name="Card", brand="Visa", denomination_range=DenominationRange(min=5, max=25, step=2.5)
)


def answer(**more: object) -> pb.GetClaimResponse:
    given = {"value": 50.0, "remaining": 25.0, "currency": "USD", "country": "DE", "menu": [FIXED, RANGED], **more}
    return pb.GetClaimResponse(**given)  # type: ignore[arg-type]


def choice(of: pb.GetClaimResponse, reward_id: str = "", wanted: str = "", problem: str = "") -> Page:
    menu = views.options(of.menu, of.currency, reward_id, wanted)
    return scenes.choice(THEME, pb.GetClaimRequest(token="T/1"), of, views.claim(of, BERLIN), menu, problem)


def option(one: pb.ClaimOption, wanted: str = "") -> Option:
    (found,) = views.options([one], "USD", one.reward_id, wanted)
    return found


class Parts(HTMLParser):
    """Every tag with its attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def inputs(self) -> dict[str | None, str | None]:
        return {attrs.get("name"): attrs.get("value") for tag, attrs in self.tags if tag == "input"}


@pytest.mark.parametrize(
    ("wanted", "minor"),
    [
        ("10", 1000),
        ("25.00", 2500),
        ("25.001", None),
        ("15", None),
        ("", None),
        ("ten", None),
        ("nan", None),
        ("-10", None),
    ],
)
def test_a_denomination_is_one_of_those_there_are(wanted: str, minor: int | None) -> None:
    amount = option(FIXED, wanted).amount()
    assert (amount and amount.minor) == minor


@pytest.mark.parametrize(
    ("wanted", "minor"),
    [("5", 500), ("7.5", 750), ("25", 2500), ("6", None), ("4.99", None), ("27.5", None), ("inf", None), ("1e1", 1000)],
)
def test_an_amount_is_on_a_step_of_its_range(wanted: str, minor: int | None) -> None:
    amount = option(RANGED, wanted).amount()
    assert (amount and amount.minor) == minor


def test_what_a_reward_comes_in_is_said_in_words() -> None:
    assert option(FIXED).range == "10 to 25 USD"
    assert option(RANGED).words == "Any amount from 5.00 to 25.00 USD, in steps of 2.50 USD."
    cents = pb.ClaimOption(denomination_range=DenominationRange(min=5, max=25, step=0.01))
    assert option(cents).words == "Any amount from 5.00 to 25.00 USD."


@pytest.mark.parametrize(
    ("name", "letters"),
    [("Baltic Books", "BB"), ("Kaffa", "KA"), ("Marks & Spencer", "MS"), ("7-Eleven", "7E"), ("Ø", "Ø"), ("&", "")],
)
def test_letters_stand_for_a_brand(name: str, letters: str) -> None:
    assert views.brand(name).letters == letters


def test_a_country_has_the_name_that_people_know() -> None:
    assert len(NAMES) == 249
    assert NAMES["DE"] == "Germany"


def test_the_choice_says_what_is_left_and_what_there_is() -> None:
    of = answer(
        recipient_name="Ada",
        claims=[pb.ClaimMade(status=OrderClaim.FULFILLED, brand="Kaffa", denomination=25.0, code_masked="****1234")],
    )
    text = Parts(choice(of).html).text
    for said in (
        "Ada, choose",
        "25.00 USD",
        "left of 50.00 USD",
        "does not run out",
        "Baltic Books",
        "•••• 1234",
        "Visa",
    ):
        assert said in text


def test_without_a_country_it_asks_for_one_first() -> None:
    page = choice(answer(country="", countries=["NO", "DE"]))
    codes = [attrs["value"] for tag, attrs in Parts(page.html).tags if tag == "option"]
    assert codes == ["", "DE", "NO"]
    assert "Baltic Books" not in page.html


def test_what_was_wanted_wrongly_stands_open_with_what_is_wrong() -> None:
    page = choice(answer(), "visa", "6", "DENOMINATION_INVALID")
    parts = Parts(page.html)
    assert [attrs for tag, attrs in parts.tags if tag == "details" and "open" in attrs]
    assert parts.inputs()["amount"] == "6"
    assert PROBLEMS["DENOMINATION_INVALID"].title in parts.text


def test_the_question_has_a_form_that_posts_all_of_it() -> None:
    seen, chosen = views.claim(answer(), BERLIN), option(FIXED, "10")
    page = scenes.question(THEME, "T/1", seen, chosen, Amount(1000, "USD"), "key-1")
    parts = Parts(page.html)
    (form,) = [attrs for tag, attrs in parts.tags if tag == "form"]
    assert form == {"method": "post", "action": "/claim/T%2F1"}
    assert parts.inputs() == {"rewardId": "books", "amount": "10.00", "country": "DE", "key": "key-1"}
    for said in ("10.00 USD", "Germany", "15.00 USD"):
        assert said in parts.text


@pytest.mark.parametrize("status", STANDINGS)
def test_a_claim_under_way_looks_again_by_itself(status: OrderClaim.Status.ValueType) -> None:
    claim = OrderClaim(claim_id="c", status=status, brand="Kaffa")
    tags = Parts(scenes.standing(THEME, "T", claim, Amount(1, "USD"), None).html).tags
    refreshing = [attrs for tag, attrs in tags if attrs.get("http-equiv") == "refresh"]
    assert bool(refreshing) == (status in {OrderClaim.PROCESSING, OrderClaim.REVIEW})
    assert all("url" not in str(attrs["content"]) for attrs in refreshing)


def test_a_code_is_shown_where_it_is_given_alone() -> None:
    claim = OrderClaim(claim_id="c", status=OrderClaim.PROCESSING, brand="Kaffa", code_masked="****1234")
    masked = scenes.standing(THEME, "T", claim, Amount(1, "USD"), Amount(5, "USD")).html
    assert "•••• 1234" in masked
    assert 'method="post" action="/claim/T/c"' in masked
    assert "refresh" not in masked
    full = scenes.standing(THEME, "T", claim, Amount(1, "USD"), None, "KAFFA-1234").html
    assert ">KAFFA-1234</textarea>" in full
    assert "•••• 1234" not in full


def pages() -> list[Page]:
    evil = pb.ClaimOption(reward_id=EVIL, name=EVIL, brand=EVIL, description=EVIL, terms=EVIL, denominations=[10])
    of = answer(
        recipient_name=EVIL,
        menu=[evil, RANGED],
        next_page_token=EVIL,
        claims=[pb.ClaimMade(brand=EVIL, code_masked=EVIL)],
    )
    theme = Theme.of(Branding(display_name=EVIL[:60], logo=b"\x89PNG", support_contact="https://a.example/?" + EVIL))
    seen, claim = (
        views.claim(of, BERLIN),
        OrderClaim(claim_id="c", brand=EVIL, code_masked=EVIL, status=OrderClaim.FULFILLED),
    )
    menu = views.options(of.menu, "USD", "visa", EVIL)
    asked = pb.GetClaimRequest(token=EVIL, page_token=EVIL)
    return [
        scenes.choice(theme, asked, of, seen, menu, EVIL),
        scenes.question(theme, EVIL, seen, menu[0], Amount(1, "USD"), EVIL),
        scenes.standing(theme, EVIL, claim, Amount(1, "USD"), Amount(1, "USD")),
        scenes.standing(theme, EVIL, claim, Amount(1, "USD"), None, EVIL),
    ]


@pytest.mark.parametrize("number", range(4))
def test_what_others_have_written_is_text_and_no_page_loads_anything(number: int) -> None:
    page = pages()[number]
    parts = Parts(page.html)
    assert "alert(1)" in page.html
    assert not {tag for tag, _ in parts.tags} & {"script", "iframe", "object", "base"}
    for tag, attrs in parts.tags:
        assert not [name for name in attrs if name.startswith("on") or name == "style"], tag
        assert (attrs.get("src") or "data:").startswith("data:")
        assert (attrs.get("action") or "/claim/%22").startswith("/claim/%22")
    (style,) = re.findall(r"<style>(.*?)</style>", page.html, re.DOTALL)
    assert "url(" not in style
    assert "@import" not in style
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in page.policy
    for rule in ("default-src 'none'", "frame-ancestors 'none'", "form-action 'self'", "base-uri 'none'"):
        assert rule in page.policy
    assert "unsafe" not in page.policy


def test_words_are_of_reasons_that_there_are() -> None:
    assert set(PROBLEMS) <= set(Reason.keys())
