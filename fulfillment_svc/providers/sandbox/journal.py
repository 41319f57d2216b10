"""What the sandbox provider has decided: one JSON line a decision, on disk before anybody is told."""

import asyncio
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

Entry = dict[str, Any]

_REASON: Final = "OUT_OF_STOCK"
_ALPHABET: Final = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


class Journal:
    """An append-only file, read back when it is opened. The first decision about a reference stands for ever, unless a
    fault makes the provider contradict itself."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._deciding = asyncio.Lock()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        whole = path.read_bytes()
        kept = whole[: whole.rfind(b"\n") + 1]
        # A kill in the middle of a write leaves half a line, which nobody was told of.
        os.ftruncate(self._descriptor, len(kept))
        self.entries: list[Entry] = [json.loads(line) for line in kept.splitlines()]
        self._decided: dict[str, Entry] = {
            entry["reference"]: entry for entry in self.entries if entry["event"] == "DECIDED"
        }

    def find(self, reference: str) -> Entry | None:
        """The decision about an order."""
        return self._decided.get(reference)

    async def decide(self, reference: str, items: Sequence[Mapping[str, Any]], *, issue: int) -> Entry:
        """Issues the first `issue` items of an order and rejects the others; one that was decided before is answered as
        it was, and noted."""
        async with self._deciding:
            decided = self.find(reference)
            if decided is not None:
                await self._append({"event": "REPEATED", "reference": reference})
                return decided
            return await self._record(reference, items, issue)

    async def overturn(self, reference: str) -> Entry:
        """Issues an order that was rejected: what no provider should do."""
        async with self._deciding:
            items = self._decided[reference]["items"]
            return await self._record(reference, items, len(items))

    async def _record(self, reference: str, items: Sequence[Mapping[str, Any]], issue: int) -> Entry:
        entry: Entry = {"event": "DECIDED", "reference": reference, "status": "REJECTED", "items": list(items)}
        if issue:
            entry["status"] = "ISSUED"
            issued = [{**item, "code": _code()} for item in items[:issue]]
            entry["items"] = issued + [{**item, "rejected": _REASON} for item in items[issue:]]
        else:
            entry["reason"] = _REASON
        await self._append(entry)
        self._decided[reference] = entry
        return entry

    async def _append(self, entry: Entry) -> None:
        await asyncio.to_thread(self._write, json.dumps(entry).encode() + b"\n")
        self.entries.append(entry)

    def _write(self, line: bytes) -> None:
        os.write(self._descriptor, line)
        os.fsync(self._descriptor)


def _code() -> str:
    letters = "".join(secrets.choice(_ALPHABET) for _ in range(16))
    return "-".join(letters[start : start + 4] for start in range(0, 16, 4))
