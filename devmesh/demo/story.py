"""The main job as a partner sees it, step by step, then the refusals, then where everything went."""

import asyncio
import time
from typing import Any

import aiohttp

from devmesh.demo.partner import Partner, Screen
from devmesh.demo.sink import Sink, listening
from devmesh.mailbox import messages
from devmesh.mesh import Mesh
from devmesh.spans import draw, read_trace

_TERMINAL = {"FULFILLED", "PARTIALLY_FULFILLED", "FAILED", "CANCELLED"}
_RECIPIENT = {"email": "ada@example.com", "name": "Ada", "country": "US"}


async def tell(mesh: Mesh, screen: Screen) -> None:
    """Tells the story on a mesh that serves; `screen` knows afterwards whether every expectation held."""
    async with aiohttp.ClientSession(base_url=mesh.url) as http, listening() as sink:
        partner = Partner(http, screen)
        await _sign_in(partner, mesh.env["REWARDS_CLIENT_ID"], mesh.env["REWARDS_CLIENT_SECRET"])
        await _enrol(partner, sink)
        await _earn(partner)
        await _redeem_points(partner)
        redeemed = await _redeem_reward(partner)
        await _order(partner)
        await _refusals(partner)
        await _rate_limit(Partner(http, screen), mesh)
        await _where_it_went(mesh, screen, sink, redeemed)


async def _sign_in(partner: Partner, client_id: str, client_secret: str) -> None:
    partner.screen.heading("A partner gets a token (OAuth 2.0 client credentials)")
    form = {"grant_type": "client_credentials", "client_id": client_id, "client_secret": client_secret}
    answer = await partner.call("POST", "/oauth/Auth/Token", form)
    partner.token = str(answer.body.get("access_token", ""))
    held = answer.status == 200 and answer.body.get("token_type") == "Bearer"  # noqa: PLR2004
    partner.screen.expect("a bearer token", held=held and answer.body.get("IsSucessful") is True)


async def _enrol(partner: Partner, sink: Sink) -> None:
    partner.screen.heading("enrols a member, links an identity, and registers a webhook")
    member = {"memberId": "m_ada", "attributes": {"firstName": "Ada", "interests": ["chess"]}}
    await partner.call("POST", "/v1/CreateProfileWithAttributes", member, key="demo-enrol")
    partner.expect("the member exists", 200, memberId="m_ada", status="ACTIVE")
    link = {"memberId": "m_ada", "type": "crm", "value": "crm-0042"}
    await partner.call("POST", "/v1/LinkSubRelation", link, key="demo-link")
    partner.expect("her CRM id is linked", 200, relations=[{"type": "crm", "value": "crm-0042"}])
    await partner.call("POST", "/v1/GetProfile", {"memberId": "m_ada"})
    partner.expect("her profile has both", 200, attributes=member["attributes"])
    answer = await partner.call("POST", "/v1/webhookEndpoints", {"url": sink.url, "eventTypes": []}, key="demo-hook")
    sink.secret = str(answer.result.get("secret", ""))
    partner.expect("the endpoint is registered", 200)


async def _earn(partner: Partner) -> None:
    partner.screen.heading("reports a purchase; the program's rules award points")
    event = {"memberId": "m_ada", "type": "purchase", "eventId": "order-77", "amount": 1250.75, "currency": "USD"}
    await partner.call("POST", "/v1/InsertTransactionData", event, key="demo-earn")
    partner.expect("one point per dollar, rounded down", 200, pointsAwarded=1250, balance=1250)
    await partner.call("POST", "/v1/GetBalance", {"memberId": "m_ada"})
    partner.expect("the balance shows it at once", 200, balance=1250, available=1250, held=0)


async def _redeem_points(partner: Partner) -> None:
    partner.screen.heading("redeems points, gives them back, and asks whether it happened")
    await partner.call("POST", "/v1/CheckAvailability", {"memberId": "m_ada", "points": 1000})
    partner.expect("1,000 points could be redeemed", 200, available=True)
    redeem = {"memberId": "m_ada", "points": 1000, "amount": 12.50}
    answer = await partner.call("POST", "/v1/RedeemPoints", redeem, key="demo-redeem")
    partner.expect("1,000 points are 12.50 dollars", 200, pointsRedeemed=1000, balance=250)
    redemption = {"transactionId": answer.result.get("transactionId")}
    await partner.call("POST", "/v1/ReversalPoints", redemption, key="demo-reverse")
    partner.expect("all of it came back", 200, restored=1000, expired=0, balance=1250)
    await partner.call("POST", "/v1/GetRedemption", {"idempotencyKey": "demo-redeem"})
    partner.expect("it happened", 200, status="DONE")
    await partner.call("POST", "/v1/GetTransactionHistory", {"memberId": "m_ada"})
    kinds = [row["kind"] for row in partner.last.result.get("transactions", [])]
    partner.screen.expect(f"the history is {kinds}", held=kinds == ["REVERSE", "REDEEM", "EARN"])
    await partner.call("POST", "/v1/ReversalPoints", redemption, key="demo-reverse-2")
    partner.expect("a second reversal is a duplicate", 409, 4002)


async def _redeem_reward(partner: Partner) -> dict[str, Any]:
    partner.screen.heading("shows the catalog and redeems a reward")
    await partner.call("GET", "/v1/rewards?country=US&category=food&pageSize=2")
    rewards = partner.last.result.get("rewards", [])
    partner.screen.expect("two rewards that go to the US", held=len(rewards) == 2)  # noqa: PLR2004
    order = {"memberId": "m_ada", "rewardId": "copperleaf-coffee-us", "denomination": 10, "recipient": _RECIPIENT}
    answer = await partner.call("POST", "/v1/redemptions", order, key="demo-reward")
    partner.expect("the points are set aside and the order runs", 200, points=800)
    redemption = await _until_terminal(partner, str(answer.result.get("redemptionId")))
    partner.expect("the provider issued it and the mail is out", 200, status="FULFILLED")
    await partner.call("POST", "/v1/GetBalance", {"memberId": "m_ada"})
    partner.expect("800 points are gone, none is held", 200, balance=450, available=450, held=0)
    return {**redemption, "traceId": answer.headers.get("x-trace-id", "")}


async def _order(partner: Partner) -> None:
    partner.screen.heading("rewards somebody who is no member: a value, a menu, and a link to choose by")
    menu = [{"type": "closed_loop", "brands": ["copperleaf coffee", "amberline books"]}]
    order = {"value": 20, "currency": "USD", "options": menu, "delivery": "link"}
    ordered = await partner.call("POST", "/v1/orders", order, key="demo-order")
    partner.expect("the whole value is held, and nobody else knows the link", 200, status="PENDING", remaining=20)
    link = f"/v1/claims/{str(ordered.result.get('redemptionUrl')).rpartition('/')[2]}"
    recipient = Partner(partner.http, partner.screen)
    await recipient.call("GET", f"{link}?country=US", quiet=True)
    choices = [one["rewardId"] for one in recipient.last.result.get("menu", [])]
    shown = {"amberline-books-us", "copperleaf-coffee-us"} <= set(choices)
    partner.screen.expect(f"the recipient, without any credential, may choose from {choices}", held=shown)
    part = {"rewardId": "copperleaf-coffee-us", "denomination": 10, "country": "US"}
    claimed = await recipient.call("POST", f"{link}:claim", part, key="demo-claim", quiet=True)
    recipient.expect("a part of the value is claimed", 200, denomination=10)
    await _until_claimed(partner, str(ordered.result.get("orderId")))
    partner.expect("the rest stays to be claimed", 200, status="PARTIALLY_REDEEMED", remaining=10)
    seen = {"claimId": claimed.result.get("claimId")}
    await recipient.call("POST", f"{link}:reveal", seen, quiet=True)
    partner.screen.expect("whoever has claimed it sees the code", held=bool(recipient.last.result.get("code")))


async def _until_claimed(partner: Partner, order_id: str, within_s: float = 15.0) -> None:
    deadline_s = time.monotonic() + within_s
    while (await partner.call("GET", f"/v1/orders/{order_id}", quiet=True)).result.get("status") == "PENDING":
        if time.monotonic() > deadline_s:
            break
        await asyncio.sleep(0.1)
    await partner.call("GET", f"/v1/orders/{order_id}")


async def _until_terminal(partner: Partner, redemption_id: str, within_s: float = 15.0) -> dict[str, Any]:
    deadline_s = time.monotonic() + within_s
    path = f"/v1/redemptions/{redemption_id}"
    while (await partner.call("GET", path, quiet=True)).result.get("status") not in _TERMINAL:
        if time.monotonic() > deadline_s:
            break
        await asyncio.sleep(0.1)
    return (await partner.call("GET", path)).result


async def _refusals(partner: Partner) -> None:
    partner.screen.heading("What is refused, and how")
    much = {"memberId": "m_ada", "points": 100_000}
    await partner.call("POST", "/v1/RedeemPoints", much, key="demo-too-much")
    details = {"available": 450, "requested": 100_000}
    partner.expect("insufficient points, and it says how many", 422, 4001, details=details)
    small = {"memberId": "m_ada", "points": 50}
    first = await partner.call("POST", "/v1/RedeemPoints", small, key="demo-once")
    again = await partner.call("POST", "/v1/RedeemPoints", small, key="demo-once")
    same = again.body == first.body and again.headers.get("idempotency-replayed") == "true"
    partner.screen.expect("the same key again is the same answer, not another debit", held=same)
    await partner.call("POST", "/v1/RedeemPoints", {**small, "points": 51}, key="demo-once")
    partner.expect("the key with another request is refused", 422, 1002)
    await partner.call("POST", "/v1/RedeemPoints", {"memberId": "m_ada", "point": 50}, key="demo-typo")
    partner.expect("a misspelt field moves nothing", 400, 1000)
    await partner.call("POST", "/v1/GetBalance", {"memberId": "m_ada"})
    partner.expect("one debit of 50 in all", 200, balance=400)
    await partner.call("POST", "/v1/GetBalance", {"memberId": "g_1001"})
    partner.expect("another program's member does not exist here", 404, 3001)


async def _rate_limit(other: Partner, mesh: Mesh) -> None:
    other.screen.heading("A second partner sends too much")
    await _sign_in(other, mesh.env["REWARDS2_CLIENT_ID"], mesh.env["REWARDS2_CLIENT_SECRET"])
    calls = (other.call("POST", "/v1/GetBalance", {"memberId": "g_1001"}, quiet=True) for _ in range(80))
    answers = await asyncio.gather(*calls)
    limited = [answer for answer in answers if answer.status == 429]  # noqa: PLR2004
    passed = [answer for answer in answers if answer.status == 200]  # noqa: PLR2004
    other.screen.line(f"80 calls at once: {len(passed)} passed, {len(limited)} were limited")
    right = bool(limited) and all(answer.code == 2004 and "retry-after" in answer.headers for answer in limited)  # noqa: PLR2004
    other.screen.expect("its plan's burst of 40 passed, the rest got 429 with Retry-After", held=right)


async def _where_it_went(mesh: Mesh, screen: Screen, sink: Sink, redeemed: dict[str, Any]) -> None:
    screen.heading("Where it all went")
    mails = [mail for mail in messages(mesh.layout.mail) if mail["X-Envelope-To"] == _RECIPIENT["email"]]
    screen.line(f"mail: {mails[0]['Subject'] if mails else 'none'}  ({mesh.layout.mail})")
    screen.expect("the code went to the recipient by mail", held=len(mails) == 1)
    told = await sink.wait_until(lambda events: _is_whole(_hers(events)))
    screen.line(f"webhooks: {', '.join(f'{sequence} {name}' for sequence, name in _hers(sink.events))}")
    screen.expect("the signed webhook of the redemption came, and no event of hers is missing", held=told)
    trace_id = str(redeemed.get("traceId", ""))
    drawn = await _trace(mesh, trace_id)
    screen.line(drawn)
    names = ("gateway", "identity_svc", "fulfillment_svc", "ledger_svc", "catalog_svc")
    screen.expect("one trace through the whole mesh", held=all(name in drawn for name in names))


def _hers(events: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """Ada's events by their sequence; deliveries come in any order."""
    return sorted((event["sequence"], event["type"]) for event in events if event["memberId"] == "m_ada")


def _is_whole(hers: list[tuple[int, str]]) -> bool:
    numbers = [sequence for sequence, _ in hers]
    gap_free = numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else False
    return gap_free and "redemption.fulfilled" in {name for _, name in hers}


async def _trace(mesh: Mesh, trace_id: str, within_s: float = 10.0) -> str:
    """The trace of the redemption once all services have sent their spans."""
    deadline_s = time.monotonic() + within_s
    services: set[str] = set()
    while len(services) < 6 and time.monotonic() < deadline_s:  # noqa: PLR2004
        await asyncio.sleep(0.2)
        services = {span.service for span in read_trace(mesh.layout.traces, trace_id)}
    return draw(read_trace(mesh.layout.traces, trace_id))
