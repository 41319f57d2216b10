"""The trace receiver takes real OTLP exports, keeps a bounded file, and draws a trace."""

import functools
import stat
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Tracer

from devmesh.layout import ROOT
from devmesh.process import Child, Command, Part, run_once, until_ready
from devmesh.readiness import accepts_connections
from devmesh.sockets import LOOPBACK, choose_port
from devmesh.spans import Span, SpanFile, draw, read_trace

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest_asyncio.fixture
async def receiver(tmp_path: Path) -> AsyncIterator[int]:
    """The port of a receiver that writes to <tmp_path>/traces.jsonl."""
    port = choose_port()
    options = ["--port", str(port), "--file", str(tmp_path / "traces.jsonl")]
    argv = [sys.executable, "-m", "devmesh.traces", "serve", *options]
    command = Command(name="traces", argv=argv, log=tmp_path / "log", cwd=ROOT)
    child = Child(command)
    await until_ready(child, Part(command=command, ready=functools.partial(accepts_connections, port)))
    yield port
    await child.stop()
    assert await child.exited() == 0


@pytest.fixture
def tracer(receiver: int) -> Iterator[Callable[[str], Tracer]]:
    """A tracer of a service that exports each span as it ends."""
    providers = []

    def of(service: str) -> Tracer:
        provider = TracerProvider(resource=Resource.create({"service.name": service}))
        exporter = OTLPSpanExporter(endpoint=f"http://{LOOPBACK}:{receiver}", insecure=True)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        providers.append(provider)
        return provider.get_tracer("test")

    yield of
    for provider in providers:
        provider.shutdown()


async def test_exported_spans_are_received_and_drawn(tracer: Callable[[str], Tracer], tmp_path: Path) -> None:
    gateway, ledger = tracer("gateway"), tracer("ledger_svc")
    with (
        gateway.start_as_current_span("POST /v1/RedeemPoints") as root,
        ledger.start_as_current_span("Redeem", attributes={"rpc.attempt": 1, "points.ok": True}),
        pytest.raises(ValueError, match="lost race"),
        ledger.start_as_current_span("transact"),
    ):
        raise ValueError("lost race")
    trace = f"{root.get_span_context().trace_id:032x}"
    spans = {span.name: span for span in read_trace(tmp_path / "traces.jsonl", trace)}
    assert set(spans) == {"POST /v1/RedeemPoints", "Redeem", "transact"}
    assert spans["Redeem"].attributes == {"rpc.attempt": 1, "points.ok": True}
    assert spans["Redeem"].parent == spans["POST /v1/RedeemPoints"].span
    assert spans["transact"].error == "ValueError: lost race"
    assert spans["transact"].events[0]["exception.message"] == "lost race"
    drawn = draw(list(spans.values())).splitlines()
    assert drawn[0].startswith(f"trace {trace}: 3 spans of 2 services, ")
    assert [line.split("  ")[0] for line in drawn[1:]] == ["POST /v1/RedeemPoints", "└─ Redeem", ""]
    assert drawn[3].startswith("   └─ transact")
    assert drawn[3].endswith("! ValueError: lost race")
    assert stat.S_IMODE((tmp_path / "traces.jsonl").stat().st_mode) == 0o600


async def test_the_command_line_shows_a_trace(tmp_path: Path) -> None:
    file = SpanFile(tmp_path / "traces.jsonl")
    file.append([_span("a", "", 0, 5)])
    file.close()
    argv = [sys.executable, "-m", "devmesh.traces", "show", TRACE.upper()]
    env = {"MESH_HOME": str(tmp_path)}
    shown = await run_once(Command(name="show", argv=argv, log=tmp_path / "log", cwd=ROOT, env=env))
    assert shown.startswith(f"trace {TRACE}: 1 spans of 1 services, 5.0 ms\na ")


def _span(span: str, parent: str, start_ms: int, end_ms: int, trace: str = TRACE) -> Span:
    start_ns, end_ns = start_ms * 1_000_000, end_ms * 1_000_000
    return Span(trace=trace, span=span, parent=parent, service="s", name=span, start_ns=start_ns, end_ns=end_ns)


def test_a_tree_is_drawn_in_the_order_of_time() -> None:
    spans = [_span("late", "root", 6, 9), _span("leaf", "early", 2, 3), _span("early", "root", 1, 4)]
    spans.append(_span("root", "", 0, 9))
    labels = [line.split("  s ")[0].rstrip() for line in draw(spans).splitlines()[1:]]
    assert labels == ["root", "├─ early", "│  └─ leaf", "└─ late"]


def test_a_span_whose_parent_was_not_received_stands_at_the_top() -> None:
    labels = [line.split()[0] for line in draw([_span("a", "elsewhere", 0, 1), _span("b", "", 2, 3)]).splitlines()[1:]]
    assert labels == ["a", "b"]


def test_a_trace_that_is_not_kept_says_so(tmp_path: Path) -> None:
    assert draw(read_trace(tmp_path / "traces.jsonl", TRACE)) == "no spans"


def test_only_the_asked_trace_is_read(tmp_path: Path) -> None:
    file = SpanFile(tmp_path / "traces.jsonl")
    file.append([_span("mine", "", 0, 1), _span("other", "", 0, 1, trace="f" * 32)])
    file.close()
    assert [span.name for span in read_trace(tmp_path / "traces.jsonl", TRACE)] == ["mine"]


def test_the_file_is_bounded_and_the_newest_spans_stay(tmp_path: Path) -> None:
    path, max_bytes = tmp_path / "traces.jsonl", 2_000
    file = SpanFile(path, max_bytes)
    for number in range(100):
        file.append([_span(f"span-{number}", "", number, number + 1)])
    file.close()
    assert sum(part.stat().st_size for part in tmp_path.iterdir()) < 2 * max_bytes + 1_000
    kept = [span.name for span in read_trace(path, TRACE)]
    assert len(kept) >= max_bytes // 250
    assert kept == [f"span-{number}" for number in range(100 - len(kept), 100)]
