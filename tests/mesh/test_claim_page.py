"""The hosted page in a real browser, through the gateway: choose, claim, see the code masked and then in full."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest
from playwright.async_api import Browser, expect

from devmesh.mesh import Mesh
from svckit.clock import new_id
from tests.mesh.browser import DESKTOP, PHONE, TINY, Visit, browsing, visiting
from tests.mesh.conftest import Api

# A window for each test, beside the whole mesh.
pytestmark = pytest.mark.timeout(300)
# Brands of which no other test puts anything into the catalog, so that the menu is one short page.
BRANDS = ["Amberline Books", "Basil Street Kitchen", "Northwind Outfitters", "Skylark Travel"]
WIDE = [{"type": "CLOSED_LOOP", "brands": BRANDS}, {"type": "OPEN_LOOP"}]
LOOKS_OF_ACME = [
    pytest.param("acme", PHONE, "light", id="acme-phone"),
    pytest.param("acme", PHONE, "dark", id="acme-phone in the dark"),
    pytest.param("acme", TINY, "light", id="acme-tiny"),
    pytest.param("acme", DESKTOP, "light", id="acme-desktop"),
    pytest.param("acme", DESKTOP, "dark", id="acme-desktop in the dark"),
]
# Other colours and another logo; what differs by size is in acme's.
LOOKS_OF_GLOBEX = [
    pytest.param("globex", PHONE, "light", id="globex-phone"),
    pytest.param("globex", DESKTOP, "dark", id="globex-desktop in the dark"),
]


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with browsing() as one:
        yield one


async def ordered(api: Api, **changes: Any) -> Any:
    """An order by link of 50 US dollars for somebody in the United States."""
    recipient = {"name": "Ada Lovelace", "country": "US"}
    order = {"value": 50, "currency": "USD", "options": WIDE, "recipient": recipient, "delivery": "LINK", **changes}
    answer = await api.call("POST", "/v1/orders", order)
    assert answer.status == 200, answer
    return answer.result


async def choose(visit: Visit, brand: str, amount: str) -> None:
    """Opens a brand and takes one of its denominations, up to the question."""
    await visit.page.locator(".option > summary").filter(has_text=brand).click()
    await visit.page.locator(".option[open]").get_by_label(amount, exact=True).check()
    await visit.page.get_by_role("button", name=f"Continue with {brand}").click()
    await expect(visit.page.get_by_role("heading", level=1)).to_have_text("Is this right?")


async def test_a_reward_is_claimed_on_a_phone_without_scripts(browser: Browser, api: Api, mesh: Mesh) -> None:
    order = await ordered(api, expiresAt="2036-12-31")
    async with visiting(browser, "journey", PHONE, java_script_enabled=False, is_mobile=True, has_touch=True) as visit:
        response = await visit.page.goto(order["redemptionUrl"])
        assert response is not None
        policy = (await response.all_headers())["content-security-policy"]
        assert "script-src" not in policy
        assert "default-src 'none'" in policy
        await expect(visit.page.get_by_role("heading", level=1)).to_have_text("Ada Lovelace, choose your reward")
        for said in ("50.00 USD", "good until 31 December 2036", "Acme Rewards"):
            assert said in await visit.text()
        await visit.shot("1-choice")
        await choose(visit, "Skylark Travel", "10 USD")
        await visit.shot("2-question")
        await visit.page.get_by_role("button", name="Claim 10.00 USD").click()
        # Nothing is pressed here: while the provider works the page looks again by itself.
        reveal = visit.page.get_by_role("button", name="Reveal the code")
        await expect(reveal).to_be_visible()
        masked = await visit.page.locator("p.code").inner_text()
        await visit.shot("3-masked")
        await reveal.click()
        code = await visit.page.get_by_label("Your code").input_value()
        await visit.shot("4-code")
        assert masked.endswith(f"•••• {code[-4:]}")
        assert len(code) > 4
        shown = await api.call("POST", f"/v1/orders/{order['orderId']}:reveal", {})
        assert [claim["code"] for claim in shown.result["claims"]] == [code]
        await visit.page.get_by_role("link", name="Use the other 40.00 USD").click()
        await expect(visit.page.locator(".worth")).to_have_text("40.00 USD")
        await expect(visit.page.locator(".made")).to_contain_text("Skylark Travel")
        await visit.shot("5-rest")
        assert visit.strangers(mesh.url) == []
        assert visit.said == []
        assert await visit.page.context.cookies() == []


async def test_a_reward_is_claimed_by_keyboard_alone(browser: Browser, api: Api) -> None:
    order = await ordered(api)
    async with visiting(browser, "keyboard", DESKTOP) as visit:
        keys = visit.page.keyboard
        await visit.page.goto(order["redemptionUrl"])
        await visit.tab_to("summary:has(.range)")
        while "Meridian Prepaid" not in await visit.page.evaluate("document.activeElement.textContent"):
            await visit.tab_to("summary:has(.range)")
        await keys.press("Enter")
        await visit.tab_to("input[name=amount]")
        await keys.type("15")
        await visit.shot("1-amount")
        await visit.tab_to("button")
        await keys.press("Enter")
        await expect(visit.page.get_by_role("heading", level=1)).to_have_text("Is this right?")
        await visit.tab_to("form button")
        await visit.shot("2-question")
        await keys.press("Space")
        await expect(visit.page.get_by_role("button", name="Reveal the code")).to_be_visible()
        await visit.tab_to("form button")
        await keys.press("Enter")
        # The code has the focus already: to copy it is two keys.
        await expect(visit.page.get_by_label("Your code")).to_be_focused()
        await keys.press("Control+a")
        selected = "(e => e.value.slice(e.selectionStart, e.selectionEnd))(document.activeElement)"
        assert await visit.page.evaluate(selected) == await visit.page.get_by_label("Your code").input_value()
        await visit.shot("3-code")


@pytest.mark.parametrize(("program", "size", "scheme"), [*LOOKS_OF_ACME, *LOOKS_OF_GLOBEX])
async def test_everybody_can_use_it(
    browser: Browser, api: Api, tireless: Api, program: str, size: dict[str, int], scheme: str
) -> None:
    partner = api if program == "acme" else tireless
    await partner.call("POST", "/v1/funding/deposits", {"amount": 50, "currency": "USD"})
    order = await ordered(partner)
    name = f"{program}-{size['width']}-{scheme}"
    async with visiting(browser, name, size, color_scheme=scheme) as visit:
        await visit.page.goto(order["redemptionUrl"])
        await visit.page.locator(".option > summary").filter(has_text="Amberline Books").click()
        await visit.shot("choice")
        assert await visit.problems() == []
        await visit.page.goto(f"{order['redemptionUrl']}?country=US&rewardId=amberline-books-us&amount=7")
        assert await visit.page.get_by_role("alert").inner_text()
        assert await visit.problems() == []
        await visit.page.goto(order["redemptionUrl"])
        await choose(visit, "Amberline Books", "25 USD")
        assert await visit.problems() == []
        await visit.page.get_by_role("button", name="Claim 25.00 USD").click()
        await expect(visit.page.get_by_role("button", name="Reveal the code")).to_be_visible()
        assert await visit.problems() == []
        await visit.page.get_by_role("button", name="Reveal the code").click()
        await visit.shot("code")
        assert await visit.problems() == []
        gone = await visit.page.goto(order["redemptionUrl"][:-1] + "?")
        assert gone is not None
        assert gone.status == 410
        await visit.shot("gone")
        assert await visit.problems() == []


async def test_links_that_are_no_good_look_alike(api: Api, http: aiohttp.ClientSession) -> None:
    used, called_off = await ordered(api, value=10), await ordered(api)
    chosen = {"rewardId": "skylark-travel-us", "amount": "10", "country": "US", "key": str(new_id())}
    claimed = await submit(http, used["redemptionUrl"], chosen)
    assert claimed.startswith(f"{urlsplit(used['redemptionUrl']).path}/")
    cancelled = await api.call("POST", f"/v1/orders/{called_off['orderId']}:cancel", {})
    assert cancelled.status == 200, cancelled
    links = [used["redemptionUrl"], called_off["redemptionUrl"], f"{used['redemptionUrl'][:-5]}AAAAA", "/claim/x"]
    paths = [urlsplit(link).path for link in links]
    answers = [await page(http, path) for path in [*paths, f"{paths[0]}/{new_id()}", f"{paths[1]}/{claimed[-36:]}"]]
    assert {answer[0] for answer in answers} == {410}
    assert len({answer[1] for answer in answers}) == 1
    assert {answer[2] for answer in answers} == {"no-store"}
    status, shown, _ = await page(http, claimed)
    assert (status, "Skylark Travel" in shown) == (200, True)


async def test_looking_claims_nothing_and_one_form_claims_once(api: Api, http: aiohttp.ClientSession) -> None:
    order = await ordered(api, value=20)
    path = urlsplit(order["redemptionUrl"]).path
    question = f"{path}?country=US&rewardId=skylark-travel-us&amount=10"
    _, html, _ = await page(http, question)
    form = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))
    assert form.keys() == {"rewardId", "amount", "country", "key"}
    assert (await state(api, order))["claims"] == []
    # A second click while the first is under way, and a reload after it.
    ends = await asyncio.gather(*(submit(http, path, form) for _ in range(3)))
    ends.append(await submit(http, path, form))
    assert len(set(ends)) == 1, ends
    assert len((await state(api, order))["claims"]) == 1
    _, again, _ = await page(http, question)
    another = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', again))
    assert another["key"] != form["key"]
    other = await submit(http, path, {**form, "amount": "5"})
    assert "problem=IDEMPOTENCY_KEY_REUSED" in other


async def test_what_cannot_be_had_leads_back_to_the_choice(api: Api, http: aiohttp.ClientSession) -> None:
    order = await ordered(api)
    path = urlsplit(order["redemptionUrl"]).path
    chosen = {"rewardId": "skylark-travel-us", "amount": "10", "country": "US"}
    for changes, reason, words in (
        ({"amount": "7"}, "DENOMINATION_INVALID", "does not come in this amount"),
        ({"rewardId": "nothing"}, "REWARD_NOT_FOUND", "not to be had any more"),
        ({"country": "JP"}, "COUNTRY_NOT_SERVED", "cannot be sent to this country"),
    ):
        leads_to = await submit(http, path, {**chosen, **changes, "key": str(new_id())})
        assert f"problem={reason}" in leads_to
        status, html, _ = await page(http, leads_to)
        assert (status, words in html) == (200, True), reason
    for broken in ({}, chosen, {**chosen, "key": "mine"}, {**chosen, "amount": "ten", "key": str(new_id())}):
        async with http.post(path, data=broken, allow_redirects=False) as response:
            assert (response.status, response.content_type) == (400, "text/html")


async def submit(http: aiohttp.ClientSession, address: str, form: dict[str, str]) -> str:
    """Where the form leads."""
    async with http.post(urlsplit(address).path, data=form, allow_redirects=False) as response:
        assert response.status == 303, await response.text()
        return str(response.headers["location"])


async def page(http: aiohttp.ClientSession, path: str) -> tuple[int, str, str]:
    """Status, HTML and Cache-Control of a page."""
    async with http.get(path) as response:
        assert response.headers["content-type"] == "text/html; charset=utf-8"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "set-cookie" not in response.headers
        return response.status, await response.text(), response.headers["cache-control"]


async def state(api: Api, order: Any) -> Any:
    """The order as its partner sees it."""
    return (await api.call("GET", f"/v1/orders/{order['orderId']}")).result
