"""The sandbox provider as a real process, with each of its faults, seen through the adapter."""

import signal
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from fulfillment_svc.providers import Issued, Item, NotSeen, NotSent, Order, Pending, Provider, Rejected, Unknown
from fulfillment_svc.providers.mapped.adapter import MappedProvider
from fulfillment_svc.providers.over_http import HttpProvider
from fulfillment_svc.providers.transport import open_session
from fulfillment_svc.tests import mapped
from fulfillment_svc.tests.outside import SandboxProvider
from fulfillment_svc.webhooks.ssrf import Guard

ITEMS = Item(1, "Kaffa", 1000, "USD"), Item(2, "Kaffa", 1000, "USD")


@pytest.fixture
def reference() -> str:
    return str(uuid.uuid4())


@pytest.fixture
def other() -> str:
    return str(uuid.uuid4())


@pytest.fixture(params=["written", "mapped"])
async def adapter(provider: SandboxProvider, request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Provider]:
    """Both adapters see the same: the one that is written for the provider, and one that a file describes."""
    if request.param == "mapped":
        (one,) = mapped.configured(tmp_path, mapped.provider(provider.url))
        assert one.described is not None
        yield MappedProvider(one.described, Guard(allow_loopback=True))
        return
    async with open_session() as session:
        yield HttpProvider(session, provider.url, idempotent=True, visibility_s=1, timeout_s=1)


def ordered(reference: str, *items: Item) -> Order:
    return Order(reference, "acme", "m_1", "DE", "CLOSED_LOOP", items or ITEMS)


def decided(entries: list[dict[str, Any]]) -> int:
    return sum(entry["event"] == "DECIDED" for entry in entries)


async def test_an_order_is_issued_once_a_reference(
    provider: SandboxProvider, adapter: Provider, reference: str, other: str
) -> None:
    first = await adapter.order(ordered(reference))
    assert isinstance(first, Issued)
    assert len(set(first.codes)) == 2
    assert await adapter.order(ordered(reference)) == first == await adapter.query(ordered(reference))
    assert await adapter.order(ordered(other)) != first
    assert decided(await provider.journal(reference)) == 1
    assert not any(str(code) in repr(first) for code in first.codes)


async def test_a_reference_is_of_one_order_only(provider: SandboxProvider, adapter: Provider, reference: str) -> None:
    await adapter.order(ordered(reference))
    assert await adapter.order(ordered(reference, *ITEMS[:1])) == Unknown("HTTP_409")


async def test_an_order_that_never_came_is_not_seen(adapter: Provider, reference: str) -> None:
    assert await adapter.query(ordered(reference)) == NotSeen()


async def test_the_journal_survives_a_kill(
    provider: SandboxProvider, adapter: Provider, reference: str, other: str
) -> None:
    issued = await adapter.order(ordered(reference))
    await provider.stop(signal.SIGKILL)
    with (provider.folder / "journal.jsonl").open("a") as journal:
        journal.write('{"event": "DECIDED", "refer')
    await provider.start()
    assert await adapter.query(ordered(reference)) == issued
    await adapter.order(ordered(other))
    assert [entry["reference"] for entry in await provider.journal()][-2:] == [reference, other]


async def test_to_a_provider_that_is_down_nothing_goes_out(
    provider: SandboxProvider, adapter: Provider, reference: str
) -> None:
    await provider.stop()
    unsent = NotSent("UNREACHABLE")
    assert await adapter.order(ordered(reference)) == unsent == await adapter.query(ordered(reference))


async def test_reject_is_definite_and_stays(provider: SandboxProvider, adapter: Provider, reference: str) -> None:
    await provider.fault("reject")
    rejected = Rejected("OUT_OF_STOCK")
    assert await adapter.order(ordered(reference)) == rejected
    assert await adapter.order(ordered(reference)) == rejected == await adapter.query(ordered(reference))


async def test_slow_is_only_slow(provider: SandboxProvider, adapter: Provider, reference: str) -> None:
    await provider.fault("slow", next=1, delayMs=50)
    assert isinstance(await adapter.order(ordered(reference)), Issued)


async def test_unavailable_does_nothing(provider: SandboxProvider, adapter: Provider, reference: str) -> None:
    await provider.fault("unavailable")
    assert await adapter.order(ordered(reference)) == Unknown("HTTP_503")
    assert await adapter.query(ordered(reference)) == NotSeen()
    assert isinstance(await adapter.order(ordered(reference)), Issued)


@pytest.mark.parametrize(
    ("fault", "seen"),
    [
        ("timeout_then_success", "TIMEOUT"),
        ("error_after_accept", "HTTP_500"),
        ("malformed_body", "MALFORMED_ANSWER"),
        ("huge_body", "MALFORMED_ANSWER"),
        ("wrong_amount", "CONTRADICTING_ANSWER"),
    ],
)
async def test_a_lost_answer_is_unknown_and_the_order_is_there(
    provider: SandboxProvider, adapter: Provider, fault: str, seen: str, reference: str
) -> None:
    await provider.fault(fault)
    assert await adapter.order(ordered(reference)) == Unknown(seen)
    assert isinstance(await adapter.query(ordered(reference)), Issued)
    assert decided(await provider.journal(reference)) == 1


async def test_delayed_visibility_hides_an_order_that_is_there(
    provider: SandboxProvider, adapter: Provider, reference: str
) -> None:
    await provider.fault("delayed_visibility", next=1, queries=2)
    assert await adapter.order(ordered(reference)) == Unknown("HTTP_500")
    assert decided(await provider.journal(reference)) == 1
    assert [await adapter.query(ordered(reference)) for _ in range(2)] == [NotSeen(), NotSeen()]
    assert isinstance(await adapter.query(ordered(reference)), Issued)


async def test_pending_is_issued_after_a_while(provider: SandboxProvider, adapter: Provider, reference: str) -> None:
    await provider.fault("pending", next=1, queries=1)
    assert await adapter.order(ordered(reference)) == Pending() == await adapter.query(ordered(reference))
    assert isinstance(await adapter.query(ordered(reference)), Issued)
    assert decided(await provider.journal(reference)) == 1


async def test_faults_strike_by_brand_by_reference_and_by_number(provider: SandboxProvider, adapter: Provider) -> None:
    async def strikes(reference: str, brand: str) -> bool:
        return await adapter.order(ordered(reference, Item(1, brand, 500, "EUR"))) == Unknown("HTTP_500")

    await provider.fault("error_after_accept", brand="Bad")
    assert [await strikes("a", "Bad"), await strikes("b", "Good"), await strikes("c", "Bad")] == [True, False, True]
    await provider.clear()
    assert not await strikes("d", "Bad")
    await provider.fault("error_after_accept", reference="e")
    assert [await strikes("f", "Good"), await strikes("e", "Good")] == [False, True]
    await provider.clear()
    await provider.fault("error_after_accept", next=2)
    assert [await strikes(name, "Good") for name in "ghi"] == [True, True, False]


async def test_a_fault_that_is_not_known_is_refused(provider: SandboxProvider) -> None:
    bad = [
        {"fault": "fire", "next": 1},
        {"fault": "slow"},
        {"fault": "slow", "next": 1, "brand": "x"},
        {"next": 1},
        {"fault": "slow", "next": 1, "delay": 5},
        {"fault": "reject", "next": 1, "on": "query"},
        {"fault": "slow", "next": 1, "on": "callback"},
        {"fault": "late_callback", "next": 1, "on": "order"},
    ]
    assert [await provider.ask("PUT", "/faults", json=sent) for sent in bad] == [400] * len(bad)


async def test_a_malformed_order_is_refused(provider: SandboxProvider, reference: str) -> None:
    item = {"number": 1, "brand": "x", "valueMinor": 1, "currency": "USD"}
    bad: list[object] = [
        [],
        {},
        {"reference": reference, "items": []},
        {"reference": "", "items": [item]},
        {"reference": reference, "items": [item | {"valueMinor": 1.5}]},
        {"reference": reference, "items": [item, {"number": 2}]},
    ]
    assert [await provider.ask("POST", "/orders", json=sent) for sent in bad] == [400] * len(bad)
    assert await provider.journal(reference) == []


async def test_it_is_healthy(provider: SandboxProvider) -> None:
    assert await provider.ask("GET", "/healthz") == 200
