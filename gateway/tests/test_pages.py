"""Pages: HTML whoever answers, with headers that let nothing in or out."""

import re
from html.parser import HTMLParser

import pytest
from google.api.httpbody_pb2 import HttpBody
from rewards.fulfillment.v1 import pages_pb2 as pb

from gateway.envoy.pages import HEADERS, refusals, style_source
from gateway.tests.gate import Gate, Reply
from gateway.tests.upstreams import Answer, refusal

SHOW = "/rewards.fulfillment.v1.ClaimPagesService/ShowClaim"
SUBMIT = "/rewards.fulfillment.v1.ClaimPagesService/SubmitClaim"
HTML = "text/html; charset=utf-8"
TOKEN = "S3cretTokenOfALink"
GONE, LIMITED, UNAVAILABLE = 5, 8, 14


def page(content: bytes = b"<p>Hello", *headers: tuple[str, str]) -> Answer:
    body = HttpBody(content_type=HTML, data=content)
    return Answer((pb.ShowClaimResponse(page=body),), headers)


def held(reply: Reply) -> None:
    """What every page has, whoever made it."""
    for name, value in HEADERS.items():
        assert reply.headers[name] == value, name
    assert reply.headers["content-type"] == HTML


async def test_a_page_is_passed_on_as_its_service_made_it(gate: Gate) -> None:
    service = gate.services["fulfillment_svc"]
    service.answers[SHOW] = page(b"<p>Hello", ("content-security-policy", "default-src 'none'"))
    reply = await gate.call("GET", f"/claim/{TOKEN}?country=DE", headers={"origin": "https://elsewhere.example"})
    assert (reply.status, reply.body) == (200, b"<p>Hello")
    assert reply.headers["content-security-policy"] == "default-src 'none'"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["cache-control"] == "no-store"
    assert "access-control-allow-origin" not in reply.headers
    (seen,) = service.calls(SHOW)
    assert pb.ShowClaimRequest.FromString(seen.request) == pb.ShowClaimRequest(token=TOKEN, country="DE")
    assert "x-envoy-original-path" not in seen.metadata


async def test_what_others_added_to_a_link_does_no_harm(gate: Gate) -> None:
    service = gate.services["fulfillment_svc"]
    service.answers[SHOW] = page()
    assert (await gate.call("GET", f"/claim/{TOKEN}?utm_source=mail&country=DE&fbclid=1%2")).status == 200
    (seen,) = service.calls(SHOW)
    assert pb.ShowClaimRequest.FromString(seen.request) == pb.ShowClaimRequest(token=TOKEN, country="DE")


async def test_a_form_comes_as_it_was_sent_and_leads_elsewhere(gate: Gate) -> None:
    service = gate.services["fulfillment_svc"]
    answer = pb.SubmitClaimResponse(page=HttpBody(content_type=HTML))
    service.answers[SUBMIT] = Answer((answer,), (("location", f"/claim/{TOKEN}/made"),))
    form, url = {"reward_id": "r", "amount": "5"}, f"http://{gate.address}/claim/{TOKEN}"
    async with gate.session.post(url, data=form, allow_redirects=False) as got:
        reply = Reply(got.status, got.headers, await got.read())
    assert (reply.status, reply.headers["location"], reply.body) == (303, f"/claim/{TOKEN}/made", b"")
    held(reply)
    (seen,) = service.calls(SUBMIT)
    assert pb.SubmitClaimRequest.FromString(seen.request).form.data == b"reward_id=r&amount=5"


@pytest.mark.parametrize(
    ("code", "reason", "status", "title"),
    [
        (GONE, "CLAIM_GONE", 410, "no longer good"),
        (LIMITED, "RATE_LIMITED", 429, "too fast"),
        (UNAVAILABLE, "UNAVAILABLE", 503, "right back"),
        (3, "INVALID_REQUEST", 400, "did not work"),
        (9, "OUT_OF_STOCK", 422, "did not work"),
        (13, "INTERNAL", 500, "on our side"),
    ],
)
async def test_a_refusal_is_a_page_of_its_status(gate: Gate, code: int, reason: str, status: int, title: str) -> None:
    gate.services["fulfillment_svc"].answers[SHOW] = refusal(code, f"{TOKEN} is no good", reason)
    reply = await gate.call("GET", f"/claim/{TOKEN}")
    assert reply.status == status
    assert title in reply.body.decode()
    assert TOKEN not in reply.body.decode()
    held(reply)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/claim/", 404),
        ("GET", "/claim/a/b/c", 404),
        ("PUT", "/claim/a", 405),
        ("OPTIONS", "/claim/a", 405),
        ("GET", "/claim/%ff", 400),
        ("POST", "/claim/a/b", 400),
    ],
)
async def test_what_the_gateway_refuses_by_itself_is_a_page_too(
    gate: Gate, method: str, path: str, status: int
) -> None:
    raw = b"something" if method == "POST" else None
    reply = await gate.call(method, path, raw=raw, headers={"origin": "https://elsewhere.example"})
    assert reply.status == status
    assert reply.body.startswith(b"<!doctype html>")
    held(reply)


class _Parts(HTMLParser):
    """Every tag with its attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))


@pytest.mark.parametrize("name", refusals())
def test_a_page_of_ours_keeps_to_its_own_policy(name: str) -> None:
    html = refusals()[name]
    parts = _Parts()
    parts.feed(html)
    assert ("html", {"lang": "en"}) in parts.tags
    assert not {tag for tag, _ in parts.tags} & {"script", "iframe", "form", "img"}
    assert not any({"style", "onclick", "onload"} & attrs.keys() for _, attrs in parts.tags)
    assert {attrs.get("href") for tag, attrs in parts.tags if tag == "link"} == {"data:,"}
    (style,) = re.findall(r"<style>(.*?)</style>", html)
    assert style_source(style) in HEADERS["content-security-policy"]
    assert "url(" not in style
