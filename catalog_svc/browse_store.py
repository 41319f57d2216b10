"""The SQL of listings. Each is a walk along one index in the order of what it lists, from the place where the page
before ended; the index is that of what it is filtered by."""

from collections.abc import Sequence
from functools import cache
from typing import Any, Final, Literal

from sqlalchemy import BigInteger, ColumnElement, Select, TextClause, and_, bindparam, select, text
from sqlalchemy.dialects.postgresql import ARRAY

from catalog_svc import store
from catalog_svc.rules import Filters, Reward
from catalog_svc.search import folded, grams
from catalog_svc.tables import reward_places, rewards
from svckit.db import Tx

# What is often found is found here soon; only what is not needs the trigrams, whose answer has no order.
_WINDOW: Final = 500
_ESCAPE: Final = "/"

# One step in the index a value, however many rewards each has.
_VALUES: Final = """
WITH RECURSIVE found AS (
    (SELECT {column} AS value FROM reward_places
     WHERE program_id = :program_id AND country = :country AND {column} > :after AND on_sale ORDER BY {column} LIMIT 1)
    UNION ALL
    SELECT next.value FROM found CROSS JOIN LATERAL (
        SELECT {column} AS value FROM reward_places
        WHERE program_id = :program_id AND country = :country AND {column} > found.value AND on_sale
        ORDER BY {column} LIMIT 1) next)
SELECT value, (SELECT count(*) FROM reward_places
    WHERE program_id = :program_id AND country = :country AND {column} = value AND on_sale) AS rewards
FROM found LIMIT :limit"""
_OFFERS: Final = text("""
SELECT kind, p.currency, p.brand, min(coalesce(range_min_minor, denominations_minor[1])) AS min_minor,
    max(coalesce(range_max_minor, denominations_minor[cardinality(denominations_minor)])) AS max_minor
FROM reward_places p JOIN rewards r ON r.program_id = p.program_id AND r.reward_id = p.reward_id
WHERE p.program_id = :program_id AND p.country = :country AND p.on_sale
GROUP BY kind, p.currency, p.brand ORDER BY kind, p.currency, p.brand""")
_STATEMENTS: Final[dict[str, TextClause]] = {
    column: text(_VALUES.format(column=column)) for column in ("brand", "category")
}


async def page(tx: Tx, program_id: str, filters: Filters, after: str, limit: int) -> list[Reward]:
    """At most `limit` rewards that pass the filters, in order of their id, after the id `after`."""
    words = folded(filters.text)
    looked_for = grams(program_id, words)
    asked = tuple(name for name in ("brand", "category", "currency") if getattr(filters, name))
    values = {name: getattr(filters, name) for name in ("country", *asked)}
    values |= {"program_id": program_id, "after": after, "limit": limit}
    if not words:
        return await _read(tx, _walk(asked, searching=False), values)
    values["pattern"] = _pattern(words)
    found = await _read(tx, _walk(asked, searching=True), {**values, "window": _WINDOW if looked_for else None})
    if len(found) == limit or not looked_for:
        return found
    return await _read(tx, _search(asked), {**values, "grams": looked_for})


async def values(
    tx: Tx, program_id: str, column: Literal["brand", "category"], country: str, after: str, limit: int
) -> list[tuple[str, int]]:
    """At most `limit` brands or categories of what is on sale in a country, or anywhere, in order, after the one
    `after`; each with how many rewards it has there."""
    asked = {"program_id": program_id, "country": country, "after": after, "limit": limit}
    return [(row.value, row.rewards) for row in await tx.execute(_STATEMENTS[column], asked)]


async def offers(tx: Tx, program_id: str, country: str) -> Sequence[Any]:
    """What is on sale in a country, by kind, currency and brand, with its least and greatest denominations."""
    return (await tx.execute(_OFFERS, {"program_id": program_id, "country": country})).all()


async def _read(tx: Tx, statement: Select[Any], values: dict[str, Any]) -> list[Reward]:
    return [store.reward_of(row) for row in await tx.execute(statement, values)]


@cache
def _walk(asked: tuple[str, ...], *, searching: bool) -> Select[Any]:
    """Along the places in order, as far as the window where something is searched for."""
    places = reward_places.c
    along = select(places.program_id, places.reward_id).where(
        places.program_id == bindparam("program_id"), places.reward_id > bindparam("after"), *_placed(asked)
    )
    along = along.order_by(places.reward_id)
    near = along.limit(bindparam("window" if searching else "limit", type_=BigInteger)).subquery()
    listed = store.selected().join(
        near, and_(near.c.program_id == rewards.c.program_id, near.c.reward_id == rewards.c.reward_id)
    )
    if searching:
        listed = listed.where(_contains())
    return listed.order_by(near.c.reward_id).limit(bindparam("limit", type_=BigInteger))


@cache
def _search(asked: tuple[str, ...]) -> Select[Any]:
    """By trigrams first, and then sorted out and into order."""
    places = reward_places.c
    placed = select(places.reward_id).where(
        places.program_id == rewards.c.program_id, places.reward_id == rewards.c.reward_id, *_placed(asked)
    )
    listed = store.selected().where(
        rewards.c.grams.contains(bindparam("grams", type_=ARRAY(BigInteger))),
        _contains(),
        rewards.c.program_id == bindparam("program_id"),
        rewards.c.reward_id > bindparam("after"),
        placed.exists(),
    )
    return listed.order_by(rewards.c.reward_id).limit(bindparam("limit", type_=BigInteger))


def _placed(asked: tuple[str, ...]) -> list[ColumnElement[bool]]:
    return [reward_places.c[name] == bindparam(name) for name in ("country", *asked)]


def _contains() -> ColumnElement[bool]:
    return rewards.c.search_text.like(bindparam("pattern"), escape=_ESCAPE)


def _pattern(words: str) -> str:
    for special in (_ESCAPE, "%", "_"):
        words = words.replace(special, _ESCAPE + special)
    return f"%{words}%"
