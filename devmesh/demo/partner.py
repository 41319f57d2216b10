"""A partner's HTTP client that shows each call and checks what comes back."""

import json
import sys
from dataclasses import dataclass, field
from typing import Any

import aiohttp

_WIDTH_MAX = 300


class Screen:
    """Where the demo is shown: colours on a terminal, plain text elsewhere; counts what was expected and failed."""

    def __init__(self) -> None:
        self._colours = sys.stdout.isatty()
        self.held = 0
        self.failed: list[str] = []

    def heading(self, text: str) -> None:
        """A part of the story."""
        self._print(f"\n{self._paint(text, '1;36')}")

    def line(self, text: str) -> None:
        """A line of text."""
        self._print(text)

    def expect(self, what: str, *, held: bool) -> None:
        """Says whether an expectation held, and remembers it if it did not."""
        mark = self._paint("✓", "32") if held else self._paint("✗", "31")
        self._print(f"  {mark} {what}")
        self.held += held
        if not held:
            self.failed.append(what)

    def exchange(self, request: str, sent: object, status: int, answer: object) -> None:
        """One call: its request and its answer, each on a line."""
        self._print(f"{self._paint(request, '1')}  {_short(sent)}")
        self._print(f"  {self._paint(str(status), '33')} {_short(answer)}")

    def _paint(self, text: str, colour: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._colours else text

    def _print(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


@dataclass(frozen=True)
class Answer:
    """What came back: the status, the headers, and the body as JSON."""

    status: int
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def code(self) -> int:
        """The envelope's ErrorCode."""
        return int(self.body["ErrorCode"])

    @property
    def result(self) -> dict[str, Any]:
        """The envelope's ReturnObject."""
        return dict(self.body["ReturnObject"] or {})


@dataclass
class Partner:
    """Calls the REST surface with a bearer token. `last` is the answer before."""

    http: aiohttp.ClientSession
    screen: Screen
    token: str = ""
    last: Answer = field(default_factory=lambda: Answer(0, {}, {}))

    async def call(
        self, method: str, path: str, body: dict[str, Any] | None = None, *, key: str = "", quiet: bool = False
    ) -> Answer:
        """One call, shown unless `quiet`; `key` is the Idempotency-Key."""
        headers = {"authorization": f"Bearer {self.token}"} if self.token else {}
        if key:
            headers["idempotency-key"] = key
        async with self.http.request(method, path, json=body, headers=headers) as response:
            lowered = {name.lower(): value for name, value in response.headers.items()}
            answer = Answer(response.status, lowered, await response.json())
        if not quiet:
            shown = f"{method} {path}" + (f"  Idempotency-Key: {key}" if key else "")
            self.screen.exchange(shown, _hide(body), answer.status, _hide(answer.body))
        self.last = answer
        return answer

    def expect(self, what: str, status: int, code: int = 0, /, **members: object) -> None:
        """Checks the last answer: HTTP status, ErrorCode, and members of ReturnObject."""
        wrong = [name for name, value in members.items() if self.last.result.get(name) != value]
        envelope = self.last.body.get("IsSucessful") is (code == 0) and self.last.code == code
        self.screen.expect(what, held=self.last.status == status and envelope and not wrong)


def _hide(body: dict[str, Any] | None) -> object:
    """The body with secrets cut short: a screen is a log too."""
    secret = {"access_token", "client_secret", "redemptionUrl", "secret"}
    if isinstance(body, dict):
        return {name: f"{str(value)[:6]}…" if name in secret else _hide(value) for name, value in body.items()}
    return body


def _short(value: object) -> str:
    text = "" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _WIDTH_MAX else f"{text[:_WIDTH_MAX]}…"
