"""The HTTP side of the sandbox provider."""

import asyncio
import json
from collections import Counter
from typing import Any, Final

from aiohttp import web

from fulfillment_svc.providers.sandbox.callbacks import Callbacks
from fulfillment_svc.providers.sandbox.faults import Fault, Faults, On, Rule
from fulfillment_svc.providers.sandbox.feed import Feed
from fulfillment_svc.providers.sandbox.journal import Entry, Journal

HUGE_BYTES: Final = 1 << 20

_ITEM: Final = {"number": int, "brand": str, "valueMinor": int, "currency": str}


class Sandbox:
    """Answers orders and queries off its journal, disturbed by the faults that are switched on. Where it has
    `callbacks`, it also tells by itself what it has decided."""

    def __init__(self, journal: Journal, callbacks: Callbacks | None) -> None:
        self._journal = journal
        self._callbacks = callbacks
        self._faults = Faults()
        self._hidden: Counter[str] = Counter()
        self._pending: Counter[str] = Counter()
        self._changing: set[asyncio.Task[None]] = set()

    def application(self) -> web.Application:
        """The application with its routes."""
        application = web.Application()
        application.router.add_post("/orders", self._order)
        application.router.add_get("/orders", self._query)
        application.router.add_put("/faults", self._put_fault)
        application.router.add_delete("/faults", self._clear_faults)
        application.router.add_get("/journal", self._show_journal)
        application.router.add_get("/callbacks", self._show_callbacks)
        application.router.add_get("/healthz", self._say_healthy)
        application.router.add_routes(Feed().routes())
        return application

    async def _order(self, request: web.Request) -> web.StreamResponse:
        sent = await _object(request)
        reference, items = sent.get("reference"), _items(sent.get("items"))
        if not isinstance(reference, str) or not reference or not items:
            raise web.HTTPBadRequest(text="a reference and items are needed")
        brands = {item["brand"] for item in items}
        rule, calling = (self._faults.take(on, reference, brands) for on in (On.ORDER, On.CALLBACK))
        if rule is not None and rule.fault is Fault.UNAVAILABLE:
            raise web.HTTPServiceUnavailable
        if self._callbacks is not None:
            await self._callbacks.before(reference, calling)
        entry = await self._journal.decide(reference, items, issue=_issued(rule, len(items)))
        if [{name: item[name] for name in _ITEM} for item in entry["items"]] != items:
            raise web.HTTPConflict(text="this reference is another order's")
        if rule is not None and rule.fault is Fault.REJECT_THEN_ISSUE and entry["status"] == "REJECTED":
            self._change_mind(reference, rule.delay_s)
        if self._callbacks is not None:
            self._callbacks.after(entry, calling)
        return await self._answer(entry, rule)

    def _change_mind(self, reference: str, wait_s: float) -> None:
        async def later() -> None:
            await asyncio.sleep(wait_s)
            issued = await self._journal.overturn(reference)
            if self._callbacks is not None:
                self._callbacks.after(issued, None)

        task = asyncio.create_task(later())
        self._changing.add(task)
        task.add_done_callback(self._changing.discard)

    async def _answer(self, entry: Entry, rule: Rule | None) -> web.StreamResponse:
        answer = _answer(entry)
        match rule.fault if rule else None:
            case Fault.SLOW if rule:
                await asyncio.sleep(rule.delay_s)
            case Fault.UNAVAILABLE:
                raise web.HTTPServiceUnavailable
            case Fault.TIMEOUT_THEN_SUCCESS:
                await asyncio.Event().wait()
            case Fault.DELAYED_VISIBILITY if rule:
                self._hidden[entry["reference"]] = rule.queries
                raise web.HTTPInternalServerError
            case Fault.PENDING if rule:
                self._pending[entry["reference"]] = rule.queries
                return _at_it(entry["reference"])
            case Fault.ERROR_AFTER_ACCEPT:
                raise web.HTTPInternalServerError
            case Fault.MALFORMED_BODY:
                return web.Response(text=json.dumps(answer)[:-20], content_type="application/json")
            case Fault.HUGE_BODY:
                return web.json_response({**answer, "padding": "x" * HUGE_BYTES})
            case Fault.WRONG_AMOUNT:
                answer["items"] = [{**item, "valueMinor": item["valueMinor"] + 1} for item in answer["items"]]
        return web.json_response(answer, status=422 if answer["status"] == "REJECTED" else 200)

    async def _query(self, request: web.Request) -> web.StreamResponse:
        reference = request.query.get("reference", "")
        entry = self._journal.find(reference)
        hidden = self._hidden[reference] > 0
        if hidden:
            self._hidden[reference] -= 1
        if entry is None or hidden:
            return web.json_response({"reference": reference, "status": "NOT_FOUND"}, status=404)
        if self._pending[reference] > 0:
            self._pending[reference] -= 1
            return _at_it(reference)
        return await self._answer(entry, self._faults.take(On.QUERY, reference, {i["brand"] for i in entry["items"]}))

    async def _put_fault(self, request: web.Request) -> web.StreamResponse:
        try:
            self._faults.add(Rule.read(await _object(request)))
        except (ValueError, TypeError) as error:
            raise web.HTTPBadRequest(text=str(error)) from error
        return web.json_response({})

    async def _clear_faults(self, request: web.Request) -> web.StreamResponse:
        self._faults.clear()
        return web.json_response({})

    async def _show_journal(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({"entries": self._journal.entries})

    async def _show_callbacks(self, request: web.Request) -> web.StreamResponse:
        sent, under_way = (self._callbacks.sent, self._callbacks.under_way) if self._callbacks else ([], 0)
        told = [{"reference": about, "status": status} for about, status in sent]
        return web.json_response({"sent": told, "underWay": under_way + len(self._changing)})

    async def _say_healthy(self, request: web.Request) -> web.StreamResponse:
        return web.json_response({})


def _at_it(reference: str) -> web.Response:
    return web.json_response({"reference": reference, "status": "PENDING"}, status=202)


def _answer(entry: Entry) -> dict[str, Any]:
    if entry["status"] == "REJECTED":
        return {name: entry[name] for name in ("reference", "status", "reason")}
    return {name: entry[name] for name in ("reference", "status", "items")}


def _issued(rule: Rule | None, items: int) -> int:
    """How many of so many items are issued."""
    match rule.fault if rule else None:
        case Fault.REJECT | Fault.REJECT_THEN_ISSUE:
            return 0
        case Fault.PART_REJECT:
            return 1
    return items


def _items(sent: object) -> list[dict[str, Any]]:
    """The items of an order; none unless all of them are well formed."""
    if not isinstance(sent, list):
        return []
    well_formed = [
        item
        for item in sent
        if isinstance(item, dict)
        and item.keys() == _ITEM.keys()
        and all(type(item[name]) is kind for name, kind in _ITEM.items())
    ]
    return well_formed if len(well_formed) == len(sent) else []


async def _object(request: web.Request) -> dict[str, Any]:
    try:
        sent = await request.json()
    except ValueError:
        sent = None
    if not isinstance(sent, dict):
        raise web.HTTPBadRequest(text="a JSON object is needed")
    return sent
