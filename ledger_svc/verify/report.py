"""`python -m ledger_svc verify`: the findings as a table, and whether the ledger is sound."""

import asyncio
from collections.abc import Iterable
from typing import Final

from ledger_svc.verify.store import Finding, UnreachableError, judge

SOUND: Final = 0
BROKEN: Final = 1
UNKNOWN: Final = 2


async def findings(url: str) -> list[Finding]:
    """What every check finds in the ledger at `url`, as of now. Raises UnreachableError."""
    return [finding async for finding in judge(url)]


def faults(found: Iterable[Finding]) -> list[str]:
    """Each broken invariant with the first row that breaks it, in words without personal data."""
    return [
        f"{one.check.law} broken: {one.check.name}: {one.broken} of {one.looked_at}. First: {one.first}"
        for one in found
        if one.broken
    ]


def table(found: Iterable[Finding]) -> str:
    """What was checked: the law, the invariant, the rows looked at, the verdict and the seconds it took."""
    wide = max(len(check.name) for check in (one.check for one in found))
    lines = [f"{'law':4} {'invariant':{wide}} {'looked at':>27} {'broken':>9} {'s':>6}"]
    for one in found:
        rows = f"{one.looked_at:,} {one.check.of.split()[0]}"
        lines.append(
            f"{one.check.law:4} {one.check.name:{wide}} {rows:>27} {one.broken or 'none':>9} {one.took_s:6.2f}"
        )
    return "\n".join(lines)


def verify(url: str) -> int:
    """Prints the table and what is broken. The exit status: 0 sound, 1 broken, 2 nothing is known."""
    try:
        found = asyncio.run(findings(url))
    except UnreachableError as error:
        print(f"the ledger cannot be asked: {error}")  # noqa: T201 - a command's answer
        return UNKNOWN
    broken = faults(found)
    print("\n".join([table(found), "", *(broken or ["the ledger is sound"])]))  # noqa: T201 - a command's answer
    return BROKEN if broken else SOUND
