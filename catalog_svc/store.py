"""The SQL of rewards: each version is kept, and beside the present ones stands where they are listed."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final, NamedTuple

from sqlalchemy import ColumnElement, Select, Text, and_, any_, delete, func, insert, literal, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from catalog_svc.rules import Availability, Price, Range, Rate, Reward
from catalog_svc.rules import Text as Told
from catalog_svc.search import grams, searchable
from catalog_svc.tables import catalogs, reward_places, reward_versions, rewards, stocks, withdrawals
from svckit.db import Tx
from svckit.programs import Program

# Of a statement with many rows, so that none takes long, here or there.
_AT_ONCE: Final = 250
_CONTENT: Final = [column for column in reward_versions.c if column.name != "stored_at"]


class Standing(NamedTuple):
    """A program's catalog as a whole: how often it has changed, and what other currencies cost."""

    revision: int
    rates: tuple[tuple[str, Price], ...]

    def rate(self, program: Program) -> Rate:
        """What currencies cost in the program that it is of."""
        return Rate(program.currency, program.points_per_unit, self.rates)


async def standing(tx: Tx, program_id: str) -> Standing:
    """How the catalog stands."""
    columns = select(catalogs.c.revision, catalogs.c.rates).where(catalogs.c.program_id == program_id)
    row = (await tx.execute(columns)).one_or_none()
    if row is None:
        return Standing(0, ())
    return Standing(row.revision, tuple((currency, Price(*price)) for currency, price in sorted(row.rates.items())))


async def find(tx: Tx, program_id: str, reward_id: str) -> Reward | None:
    """The reward's present version."""
    return (await present(tx, program_id, [reward_id])).get(reward_id)


async def present(tx: Tx, program_id: str, reward_ids: Collection[str]) -> dict[str, Reward]:
    """The present versions of those of the rewards that there are, in order of their ids."""
    some = selected().where(rewards.c.program_id == program_id, among(rewards.c.reward_id, reward_ids))
    return {row.reward_id: reward_of(row) for row in await tx.execute(some.order_by(rewards.c.reward_id))}


async def of_provider(tx: Tx, program_id: str, provider: str) -> dict[str, Reward]:
    """The present versions of all of a provider's rewards."""
    all_of = selected().where(rewards.c.program_id == program_id, rewards.c.provider == provider)
    found: dict[str, Reward] = {}
    after = ""
    while True:
        some = all_of.where(rewards.c.reward_id > after).order_by(rewards.c.reward_id).limit(_AT_ONCE)
        read = [reward_of(row) for row in await tx.execute(some)]
        if not read:
            return found
        found |= {reward.reward_id: reward for reward in read}
        after = read[-1].reward_id


async def version(tx: Tx, program_id: str, reward_id: str, number: int) -> Reward | None:
    """A version as it was stored."""
    kept = reward_versions.c
    one = select(*_CONTENT).where(kept.program_id == program_id, kept.reward_id == reward_id, kept.version == number)
    row = (await tx.execute(one)).one_or_none()
    return _content(row) if row is not None else None


async def lock(tx: Tx, program_id: str) -> None:
    """Takes the catalog's row, so that changes of a program come one after another and each listing's revision tells
    them apart. Whoever needs a stock's row too takes that one before."""
    await tx.execute(upsert(catalogs).values(program_id=program_id, revision=0).on_conflict_do_nothing())
    await tx.execute(select(catalogs.c.revision).where(catalogs.c.program_id == program_id).with_for_update())


async def count_change(tx: Tx, program_id: str) -> None:
    """Says that listings read otherwise from now on."""
    counted = upsert(catalogs).values(program_id=program_id, revision=1)
    more = {"revision": catalogs.c.revision + 1}
    await tx.execute(counted.on_conflict_do_update(index_elements=["program_id"], set_=more))


async def put(tx: Tx, program_id: str, wanted: Sequence[Reward]) -> int:
    """Stores what is new or changed as one more version each; how many there were."""
    await lock(tx, program_id)
    before = await present(tx, program_id, [reward.reward_id for reward in wanted])
    return await write(tx, program_id, before, wanted)


async def write(
    tx: Tx, program_id: str, before: Mapping[str, Reward], wanted: Sequence[Reward], provider: str = ""
) -> int:
    """As `put`, for whoever has taken the lock and read what is there `before`. New ones are of `provider`."""
    changed = [
        _kept_up(before.get(reward.reward_id), reward, provider)
        for reward in wanted
        if before.get(reward.reward_id) != reward
    ]
    for start in range(0, len(changed), _AT_ONCE):
        await _write(tx, program_id, before, changed[start : start + _AT_ONCE])
    if changed:
        await count_change(tx, program_id)
    return len(changed)


async def _write(tx: Tx, program_id: str, before: Mapping[str, Reward], changed: Sequence[Reward]) -> None:
    rows = [_row(program_id, reward, before.get(reward.reward_id)) for reward in changed]
    await tx.execute(insert(reward_versions), rows)
    latest = upsert(rewards)
    found = [{**row, **_found_by(program_id, reward)} for row, reward in zip(rows, changed, strict=True)]
    names = found[0].keys() - {"program_id", "reward_id"}
    content = {name: latest.excluded[name] for name in sorted(names)}
    await tx.execute(latest.on_conflict_do_update(constraint=rewards.primary_key, set_=content), found)
    moved = [reward for reward in changed if _moved(before.get(reward.reward_id), reward)]
    await _place(tx, program_id, moved)


async def set_withdrawn(
    tx: Tx, program_id: str, reward_ids: Collection[str], *, withdrawn: bool, reason: str, actor: str
) -> int:
    """Withdraws rewards by a person, or takes that back, and keeps who did it; how many were otherwise before."""
    of_program = and_(rewards.c.program_id == program_id, among(rewards.c.reward_id, reward_ids))
    turned = update(rewards).where(of_program, rewards.c.withdrawn != withdrawn).values(withdrawn=withdrawn)
    names = (await tx.execute(turned.returning(rewards.c.reward_id))).scalars().all()
    if not names:
        return 0
    told = {"program_id": program_id, "withdrawn": withdrawn, "reason": reason, "actor": actor}
    await tx.execute(insert(withdrawals), [{**told, "reward_id": name} for name in names])
    await _place(tx, program_id, list((await present(tx, program_id, names)).values()))
    await count_change(tx, program_id)
    return len(names)


async def put_rates(tx: Tx, program_id: str, rates: dict[str, Price]) -> None:
    """Replaces what other currencies cost."""
    kept = {currency: [price.denomination_minor, price.points] for currency, price in rates.items()}
    changed = update(catalogs).where(catalogs.c.program_id == program_id)
    await tx.execute(changed.values(rates=kept, revision=catalogs.c.revision + 1))


async def _place(tx: Tx, program_id: str, placed: Sequence[Reward]) -> None:
    names = [reward.reward_id for reward in placed]
    if not names:
        return
    places = reward_places.c
    await tx.execute(delete(reward_places).where(places.program_id == program_id, among(places.reward_id, names)))
    rows = [
        {"program_id": program_id, "country": country, "reward_id": reward.reward_id, **_listed_by(reward)}
        for reward in placed
        for country in ("", *reward.countries)
    ]
    await tx.execute(insert(reward_places), rows)


def _kept_up(before: Reward | None, after: Reward, provider: str) -> Reward:
    """The new version with what is none of a version's business."""
    if before is None:
        return replace(after, provider=provider)
    return replace(after, provider=before.provider, withdrawn=before.withdrawn)


def _listed_by(reward: Reward) -> dict[str, Any]:
    on_sale = reward.standing is not Availability.WITHDRAWN
    return {"brand": reward.brand, "category": reward.category, "currency": reward.currency, "on_sale": on_sale}


def _moved(before: Reward | None, after: Reward) -> bool:
    if before is None or before.countries != after.countries:
        return True
    return _listed_by(before) != _listed_by(after)


def _found_by(program_id: str, reward: Reward) -> dict[str, Any]:
    names = (reward.name, reward.brand, *(text.name for text in reward.texts))
    text = searchable(names)
    return {"provider": reward.provider, "search_text": text, "grams": grams(program_id, text)}


def among(column: ColumnElement[str], names: Iterable[str]) -> ColumnElement[bool]:
    """That the column has one of the names, however many there are."""
    return column == any_(literal(list(names), ARRAY(Text)))


def selected() -> Select[Any]:
    """Present versions with their stock, for `reward_of`."""
    left = func.greatest(stocks.c.units - stocks.c.reserved, 0).label("units_left")
    content = [rewards.c[column.name] for column in _CONTENT]
    joined = rewards.outerjoin(
        stocks, and_(stocks.c.program_id == rewards.c.program_id, stocks.c.reward_id == rewards.c.reward_id)
    )
    return select(*content, rewards.c.provider, rewards.c.withdrawn, stocks.c.units, left).select_from(joined)


def _row(program_id: str, reward: Reward, before: Reward | None) -> dict[str, Any]:
    return {
        "program_id": program_id,
        "reward_id": reward.reward_id,
        "version": 1 if before is None else before.version + 1,
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
        "texts": [asdict(text) for text in reward.texts],
    }


def reward_of(row: Any) -> Reward:
    """A row of `selected`."""
    return _content(
        row,
        provider=row.provider,
        withdrawn=row.withdrawn,
        units_left=None if row.units is None else row.units_left,
    )


def _content(row: Any, **standing: Any) -> Reward:
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
        texts=tuple(Told(**text) for text in row.texts),
        version=row.version,
        **standing,
    )
