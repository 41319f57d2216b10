"""Spans as the mesh keeps them: JSON lines in a file of bounded size, read back by trace and drawn as a tree."""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO

FILE_MAX_BYTES = 32 * 1024 * 1024
"""A file that has reached this size is moved aside, in place of the one before it: about twice as much is kept."""

Value = str | int | float | bool | None


@dataclass(frozen=True, kw_only=True)
class Span:
    """One span. Ids are lower-case hex, `parent` is empty at the root, times are unix nanoseconds, `error` is empty
    when the status is no error, and `events` are what OpenTelemetry calls so, e.g. a recorded exception."""

    trace: str
    span: str
    parent: str
    service: str
    name: str
    start_ns: int
    end_ns: int
    error: str = ""
    attributes: dict[str, Value] = field(default_factory=dict)
    events: list[dict[str, Value]] = field(default_factory=list)


class SpanFile:
    """The file being written, by one process at a time."""

    def __init__(self, path: Path, max_bytes: int = FILE_MAX_BYTES) -> None:
        self._path, self._max_bytes = path, max_bytes
        self._file = self._open()

    def append(self, spans: Sequence[Span]) -> None:
        """Write the spans out; when this returns, a reader finds them."""
        self._file.write("".join(f"{json.dumps(asdict(span), separators=(',', ':'))}\n" for span in spans))
        self._file.flush()
        if self._file.tell() >= self._max_bytes:
            self._file.close()
            self._path.replace(_older(self._path))
            self._file = self._open()

    def close(self) -> None:
        """Write no more."""
        self._file.close()

    def _open(self) -> IO[str]:
        # Spans should carry no personal data, but that is for a test to find out, not for other users of the machine.
        return os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a")


def read_trace(path: Path, trace: str) -> list[Span]:
    """The spans of one trace, in the order they were received; empty when none is (or is still) kept."""
    return list(_read(path, f'"trace":"{trace.lower()}"'))


def draw(spans: Sequence[Span]) -> str:
    """The trace as text: a line for each span, with its service, start since the first span, length and error."""
    if not spans:
        return "no spans"
    known = {span.span for span in spans}
    children: dict[str, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start_ns):
        # A span whose parent was not received (the caller's own, or sampled elsewhere) stands at the top.
        children[span.parent if span.parent in known else ""].append(span)
    began_ns = min(span.start_ns for span in spans)
    rows = [(f"{limb}{span.name}", span) for limb, span in _walk(children, "", "")]
    width = max(len(label) for label, _ in rows)
    lasted_ms = (max(span.end_ns for span in spans) - began_ns) / 1e6
    services = len({span.service for span in spans})
    heading = f"trace {spans[0].trace}: {len(spans)} spans of {services} services, {lasted_ms:.1f} ms"
    return "\n".join((heading, *(_row(label.ljust(width), span, began_ns) for label, span in rows)))


def _row(label: str, span: Span, began_ns: int) -> str:
    at_ms, took_ms = (span.start_ns - began_ns) / 1e6, (span.end_ns - span.start_ns) / 1e6
    error = f"  ! {span.error}" if span.error else ""
    return f"{label}  {span.service:<16} {at_ms:>8.1f} {took_ms:>8.1f} ms{error}"


def _walk(children: dict[str, list[Span]], parent: str, indent: str) -> Iterator[tuple[str, Span]]:
    # Taken out, so that spans that name each other as parents cannot send this round in circles.
    siblings = children.pop(parent, [])
    for span in siblings:
        last, top = span is siblings[-1], parent == ""
        yield "" if top else indent + ("└─ " if last else "├─ "), span
        yield from _walk(children, span.span, "" if top else indent + ("   " if last else "│  "))


def _read(path: Path, needle: str) -> Iterator[Span]:
    for part in (_older(path), path):
        if part.exists():
            with part.open() as lines:
                # Parsing every line of 64 MB would take seconds; the text tells which ones matter.
                yield from (Span(**json.loads(line)) for line in lines if needle in line)


def _older(path: Path) -> Path:
    return path.with_name(f"{path.stem}.1{path.suffix}")
