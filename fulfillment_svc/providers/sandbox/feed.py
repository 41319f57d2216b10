"""What the sandbox provider sells, as a JSON feed: `catalog.json`, until `PUT /catalog` puts another in its place."""

from pathlib import Path
from typing import Final

from aiohttp import web

_OURS: Final = Path(__file__).with_name("catalog.json")


class Feed:
    """Answers with whatever it was given, like a provider who makes mistakes."""

    def __init__(self) -> None:
        self._body = _OURS.read_bytes()

    def routes(self) -> list[web.RouteDef]:
        """`GET /catalog` reads the feed, `PUT /catalog` replaces it."""
        return [web.get("/catalog", self._read), web.put("/catalog", self._replace)]

    async def _read(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=self._body, content_type="application/json")

    async def _replace(self, request: web.Request) -> web.StreamResponse:
        self._body = await request.read()
        return web.json_response({})
