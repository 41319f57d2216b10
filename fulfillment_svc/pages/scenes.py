"""The pages, of what there is to show on them. Pure."""

from urllib.parse import quote, urlencode

from rewards.fulfillment.v1 import claims_pb2
from rewards.fulfillment.v1.orders_pb2 import OrderClaim

from fulfillment_svc.looks.pages import Page, page
from fulfillment_svc.looks.theme import Theme
from fulfillment_svc.pages import views
from fulfillment_svc.pages.countries import COUNTRIES, NAMES
from fulfillment_svc.pages.views import Amount, Claim, Option
from fulfillment_svc.pages.words import ISSUED, PROBLEMS, STANDINGS


def address(token: str, claim_id: str = "", **query: str) -> str:
    """The path of a link's page, or of the page of what was claimed with it."""
    path = "/".join(("/claim", quote(token, safe=""), *((claim_id,) if claim_id else ())))
    given = {name: value for name, value in query.items() if value}
    return f"{path}?{urlencode(given)}" if given else path


def choice(
    theme: Theme,
    asked: claims_pb2.GetClaimRequest,
    answer: claims_pb2.GetClaimResponse,
    seen: Claim,
    menu: list[Option],
    problem: str,
) -> Page:
    """What the link is worth and what may be chosen, under the words for `problem`."""
    more = answer.next_page_token
    return page(
        "choose",
        theme,
        here=address(asked.token),
        claim=seen,
        menu=menu,
        problem=PROBLEMS.get(problem),
        page_token=asked.page_token,
        countries=[one for one in COUNTRIES if not answer.countries or one.code in answer.countries],
        more=address(asked.token, country=seen.country, pageToken=more) if more else "",
    )


def question(theme: Theme, token: str, seen: Claim, chosen: Option, amount: Amount, key: str) -> Page:
    """Whether the choice is the right one; the form claims it under `key`."""
    return page(
        "confirm",
        theme,
        here=address(token),
        back=address(token, country=seen.country),
        claim=seen,
        option=chosen,
        amount=amount,
        country=NAMES.get(seen.country, seen.country),
        rest=Amount(seen.remaining.minor - amount.minor, seen.currency).text,
        key=key,
    )


def standing(theme: Theme, token: str, claim: OrderClaim, worth: Amount, rest: Amount | None, code: str = "") -> Page:
    """What became of a claim; with its `code` in full, or masked. `rest` may still be claimed."""
    words = ISSUED if claim.code_masked else STANDINGS[claim.status]
    return page(
        "claimed",
        theme,
        here=address(token, claim.claim_id),
        choose=address(token),
        title=words.title,
        text=words.text,
        refresh_s=words.refresh_s,
        lost=claim.status == OrderClaim.FAILED,
        brand=views.brand(claim.brand),
        worth=worth.text,
        rest=rest.text if rest else "",
        code=code,
        code_masked=views.masked(claim.code_masked),
    )
