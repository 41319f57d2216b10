"""The SQL of listings. Each is a walk along one index in the order of what it lists, from the place where the page
before ended; the index is that of what it is filtered by."""

from typing import Final, Literal

from sqlalchemy import ColumnElement, TextClause, and_, select, text

from catalog_svc import store
from catalog_svc.rules import Filters, Reward
from catalog_svc.search import folded, grams
from catalog_svc.tables import reward_places, rewards
from svckit.db import Tx

# What is often found is found here soon; only what is not needs the trigrams, whose answer has no order.
_WINDOW: Final = 500

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
_STATEMENTS: Final[dict[str, TextClause]] = {
    column: text(_VALUES.format(column=column)) for column in ("brand", "category")
}


async def page(tx: Tx, program_id: str, filters: Filters, after: str, limit: int) -> list[Reward]:
    """At most `limit` rewards that pass the filters, in order of their id, after the id `after`."""
    looked_for = grams(program_id, folded(filters.text))
    found = await _walked(tx, program_id, filters, after, limit, _WINDOW if looked_for else None)
    if len(found) < limit and looked_for:
        found = await _searched(tx, program_id, filters, after, limit, looked_for)
    return found


async def values(
    tx: Tx, program_id: str, column: Literal["brand", "category"], country: str, after: str, limit: int
) -> list[tuple[str, int]]:
    """At most `limit` brands or categories of what is on sale in a country, or anywhere, in order, after the one
    `after`; each with how many rewards it has there."""
    asked = {"program_id": program_id, "country": country, "after": after, "limit": limit}
    return [(row.value, row.rewards) for row in await tx.execute(_STATEMENTS[column], asked)]


async def _walked(
    tx: Tx, program_id: str, filters: Filters, after: str, limit: int, window: int | None
) -> list[Reward]:
    """Goes along the places in order, as far as the window if there is one."""
    places = reward_places.c
    along = select(places.program_id, places.reward_id).where(
        places.program_id == program_id, places.reward_id > after, *_placed(filters)
    )
    if not filters.text:
        window = limit
    near = along.order_by(places.reward_id).limit(window).subquery()
    listed = store.selected().join(
        near, and_(near.c.program_id == rewards.c.program_id, near.c.reward_id == rewards.c.reward_id)
    )
    if filters.text:
        listed = listed.where(_contains(filters.text))
    rows = await tx.execute(listed.order_by(near.c.reward_id).limit(limit))
    return [store.reward_of(row) for row in rows]


async def _searched(
    tx: Tx, program_id: str, filters: Filters, after: str, limit: int, looked_for: list[int]
) -> list[Reward]:
    """Finds by trigrams first, and then sorts out and into order."""
    places = reward_places.c
    placed = select(places.reward_id).where(
        places.program_id == rewards.c.program_id, places.reward_id == rewards.c.reward_id, *_placed(filters)
    )
    listed = store.selected().where(
        rewards.c.grams.contains(looked_for),
        _contains(filters.text),
        rewards.c.program_id == program_id,
        rewards.c.reward_id > after,
        placed.exists(),
    )
    rows = await tx.execute(listed.order_by(rewards.c.reward_id).limit(limit))
    return [store.reward_of(row) for row in rows]


def _placed(filters: Filters) -> list[ColumnElement[bool]]:
    places = reward_places.c
    asked = [
        (filters.brand, places.brand == filters.brand),
        (filters.category, places.category == filters.category),
        (filters.currency, places.currency == filters.currency),
    ]
    return [places.country == filters.country, *(condition for value, condition in asked if value)]


def _contains(words: str) -> ColumnElement[bool]:
    return rewards.c.search_text.contains(folded(words), autoescape=True)
