"""All SQL of the catalog."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from catalog_svc.rules import Availability, Filters, Price, Range, Reward
from catalog_svc.tables import catalogs, reward_versions, rewards
from svckit.db import Tx


async def revision(tx: Tx, program_id: str) -> int:
    """How often the program's rewards have changed."""
    found = await tx.scalar(select(catalogs.c.revision).where(catalogs.c.program_id == program_id))
    return found or 0


async def find(tx: Tx, program_id: str, reward_id: str) -> Reward | None:
    """The reward's present version."""
    one = select(rewards).where(rewards.c.program_id == program_id, rewards.c.reward_id == reward_id)
    row = (await tx.execute(one)).one_or_none()
    return _reward(row) if row is not None else None


async def page(tx: Tx, program_id: str, filters: Filters, after: str | None, limit: int) -> list[Reward]:
    """At most `limit` rewards that pass the filters, in order of their id, after the id `after`."""
    listed = select(rewards).where(rewards.c.program_id == program_id, *_conditions(filters))
    if after is not None:
        listed = listed.where(rewards.c.reward_id > after)
    rows = await tx.execute(listed.order_by(rewards.c.reward_id).limit(limit))
    return [_reward(row) for row in rows]


def _conditions(filters: Filters) -> list[ColumnElement[bool]]:
    column, text = rewards.c, filters.text
    conditions = [
        (filters.country, column.countries.contains([filters.country])),
        (filters.category, column.category == filters.category),
        (filters.brand, column.brand == filters.brand),
        (filters.currency, column.currency == filters.currency),
        (text, or_(column.name.icontains(text, autoescape=True), column.brand.icontains(text, autoescape=True))),
    ]
    return [condition for asked, condition in conditions if asked]


async def put(tx: Tx, program_id: str, wanted: Sequence[Reward]) -> int:
    """Stores what is new or changed as one more version each; how many there were.

    The catalog's row is locked first, so changes of a program come one after another and each listing's
    revision tells them apart.
    """
    await tx.execute(upsert(catalogs).values(program_id=program_id, revision=0).on_conflict_do_nothing())
    await tx.execute(select(catalogs.c.revision).where(catalogs.c.program_id == program_id).with_for_update())
    names = [reward.reward_id for reward in wanted]
    stored = select(rewards).where(rewards.c.program_id == program_id, rewards.c.reward_id.in_(names))
    present = {row.reward_id: _reward(row) for row in await tx.execute(stored)}
    changed = [
        _row(program_id, reward, version=present[reward.reward_id].version + 1 if reward.reward_id in present else 1)
        for reward in wanted
        if present.get(reward.reward_id) != reward
    ]
    if changed:
        await tx.execute(insert(reward_versions), changed)
        latest = upsert(rewards)
        content = {name: value for name, value in latest.excluded.items() if name not in rewards.primary_key.columns}
        await tx.execute(latest.on_conflict_do_update(constraint=rewards.primary_key, set_=content), changed)
        counted = update(catalogs).where(catalogs.c.program_id == program_id)
        await tx.execute(counted.values(revision=catalogs.c.revision + 1))
    return len(changed)


def _row(program_id: str, reward: Reward, version: int) -> dict[str, Any]:
    return {
        "program_id": program_id,
        "reward_id": reward.reward_id,
        "version": version,
        "name": reward.name,
        "description": reward.description,
        "brand": reward.brand,
        "category": reward.category,
        "kind": reward.kind,
        "countries": list(reward.countries),
        "currency": reward.currency,
        "denominations_minor": list(reward.denominations_minor),
        "range_min_minor": reward.range and reward.range.min_minor,
        "range_max_minor": reward.range and reward.range.max_minor,
        "range_step_minor": reward.range and reward.range.step_minor,
        "price_denominations_minor": [price.denomination_minor for price in reward.prices],
        "price_points": [price.points for price in reward.prices],
        "images": list(reward.images),
        "availability": reward.availability.value,
        "terms": reward.terms,
    }


def _reward(row: Any) -> Reward:
    ranged = row.range_min_minor is not None
    return Reward(
        reward_id=row.reward_id,
        name=row.name,
        description=row.description,
        brand=row.brand,
        category=row.category,
        kind=row.kind,
        countries=tuple(row.countries),
        currency=row.currency,
        denominations_minor=tuple(row.denominations_minor),
        range=Range(row.range_min_minor, row.range_max_minor, row.range_step_minor) if ranged else None,
        prices=tuple(map(Price, row.price_denominations_minor, row.price_points)),
        images=tuple(row.images),
        availability=Availability(row.availability),
        terms=row.terms,
        version=row.version,
    )
