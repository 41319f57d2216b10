"""The SQL of menus. Each choice is a walk along the index of what it asks for; what several find is shown once."""

from typing import Any

from sqlalchemy import Select, Text, and_, func, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY

from catalog_svc import store
from catalog_svc.rules import Availability, Choice, Menu, Reward
from catalog_svc.tables import reward_places, rewards, stocks
from svckit.db import Tx


async def page(tx: Tx, program_id: str, menu: Menu, after: str, limit: int) -> list[Reward]:
    """At most `limit` rewards of the menu that can be had now, in order of their id, after the id `after`."""
    found: dict[str, Reward] = {}
    for choice in menu.choices:
        for row in await tx.execute(_chosen(program_id, menu, choice, after).limit(limit)):
            found[row.reward_id] = store.reward_of(row)
    return [found[reward_id] for reward_id in sorted(found)[:limit]]


def _chosen(program_id: str, menu: Menu, choice: Choice, after: str) -> Select[Any]:
    places = reward_places.c
    placed = select(places.reward_id).where(
        places.program_id == program_id,
        places.country == menu.country,
        places.currency == menu.currency,
        places.on_sale,
        places.reward_id > after,
    )
    if menu.reward_id:
        placed = placed.where(places.reward_id == menu.reward_id)
    if choice.brands:
        placed = placed.where(store.among(func.lower(places.brand), choice.brands))
    if choice.categories:
        placed = placed.where(store.among(places.category, choice.categories))
    near = placed.subquery()
    listed = (
        store.selected()
        .join(near, and_(rewards.c.program_id == program_id, rewards.c.reward_id == near.c.reward_id))
        .where(
            rewards.c.availability == Availability.AVAILABLE,
            or_(stocks.c.units.is_(None), stocks.c.units > stocks.c.reserved),
        )
    )
    if choice.kind:
        listed = listed.where(rewards.c.kind == choice.kind)
    if menu.countries and not menu.country:
        listed = listed.where(rewards.c.countries.op("&&")(literal(list(menu.countries), ARRAY(Text))))
    return listed.order_by(rewards.c.reward_id)
