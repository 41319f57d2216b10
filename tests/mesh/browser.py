"""A real Chromium for tests of pages: what it loads, what it can be done with, and whether everybody can use it."""

import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

PROBLEMS, FOCUS = (Path(__file__).with_name(name).read_text() for name in ("problems.js", "focus.js"))
SHOTS = Path(__file__).parents[2] / ".screenshots"
PHONE = {"width": 390, "height": 844}
TINY = {"width": 320, "height": 640}
DESKTOP = {"width": 1280, "height": 900}
# For what comes within a second or two where nobody else needs the machine.
PATIENCE_MS = 60_000
_APART = re.compile(r"[^a-z0-9-]+")


def chromium() -> str:
    """The browser's path. A test that has none fails: nobody should take it for one that has passed."""
    found = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if found is None:
        pytest.fail("This test drives Chromium: `make browser` installs it.")
    return found


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """A headless browser. Chromium has no sandbox for root; it sees nothing but our own pages."""
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


@dataclass
class Visit:
    """A page in a window of its own. `loaded` are the addresses that it has asked for, `said` what the console says."""

    page: Page
    name: str
    loaded: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    async def shot(self, step: str) -> None:
        """Keeps what it looks like."""
        SHOTS.mkdir(exist_ok=True)
        await self.page.screenshot(path=SHOTS / f"{_APART.sub('-', f'{self.name}-{step}')}.png", full_page=True)

    async def problems(self) -> list[Any]:
        """What would keep somebody from using the page as it is now (WCAG 2.2)."""
        found: list[Any] = await self.page.evaluate(PROBLEMS)
        return found

    async def text(self) -> str:
        """What can be read of it."""
        return await self.page.inner_text("main")

    async def tab_to(self, selector: str) -> None:
        """Presses the tab key until `selector` has the focus, which everything on the way must show."""
        for _ in range(200):
            await self.page.keyboard.press("Tab")
            assert await self.page.evaluate(FOCUS), await self.page.evaluate("document.activeElement.outerHTML")
            if await self.page.evaluate("s => document.activeElement?.matches(s) ?? false", selector):
                return
        raise AssertionError(f"{selector} cannot be reached by keyboard")

    def strangers(self, url: str) -> list[str]:
        """What it has asked for elsewhere than at `url`."""
        home = urlsplit(url).netloc
        return [one for one in self.loaded if not one.startswith("data:") and urlsplit(one).netloc != home]


@asynccontextmanager
async def visiting(browser: Browser, name: str, size: dict[str, int], **how: Any) -> AsyncIterator[Visit]:
    """A window of that size; `how` are the settings of a browser's context."""
    context = await browser.new_context(viewport=size, reduced_motion="reduce", **how)  # type: ignore[arg-type]
    context.set_default_timeout(PATIENCE_MS)
    visit = Visit(await context.new_page(), name)
    visit.page.on("request", lambda request: visit.loaded.append(request.url))
    visit.page.on("console", lambda message: visit.said.append(message.text))
    visit.page.on("pageerror", lambda error: visit.said.append(str(error)))
    try:
        yield visit
    finally:
        await context.close()
