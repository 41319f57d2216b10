"""Every SQL statement about what lies sealed: recipients, codes, and who has seen them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import func, insert, select, update

from fulfillment_svc.codes import Place, Sealed
from fulfillment_svc.redemptions.tables import reveals, sealed
from fulfillment_svc.redemptions.values import Redemption
from svckit.clock import new_id
from svckit.db import Tx

_S: Final = sealed.c
_HOUR: Final = timedelta(hours=1)

Secrets = dict[Place, Sealed]


async def insert_secrets(tx: Tx, secrets: Mapping[Place, Sealed]) -> None:
    """Stores sealed values at their places, each once."""
    await tx.execute(insert(sealed), [asdict(place) | asdict(one) for place, one in secrets.items()])


async def secrets(tx: Tx, redemption: Redemption) -> Secrets:
    """The sealed recipient and codes of a redemption, in the order of their numbers."""
    statement = (
        select(sealed)
        .where(_S.program_id == redemption.program_id, _S.redemption_id == redemption.redemption_id)
        .order_by(sealed.c.number)
    )
    return _read(await tx.execute(statement))


async def rewrapping(tx: Tx, old_key_ids: Sequence[str], size: int) -> Secrets:
    """At most `size` sealed values of one program under old master keys, which nobody else is rewrapping."""
    old = _S.key_id.in_(old_key_ids)
    program_id = await tx.scalar(select(_S.program_id).where(old).limit(1))
    batch = select(sealed).where(_S.program_id == program_id, old).limit(size)
    return _read(await tx.execute(batch.with_for_update(skip_locked=True)))


async def update_keys(tx: Tx, rewrapped: Mapping[Place, Sealed]) -> None:
    """Stores data keys that were wrapped anew."""
    for place, one in rewrapped.items():
        named = _S.program_id == place.program_id, _S.redemption_id == place.redemption_id, _S.number == place.number
        await tx.execute(update(sealed).where(*named).values(key_id=one.key_id, wrapped_key=one.wrapped_key))


async def count_under_others(tx: Tx, key_id: str) -> int:
    """How many sealed values are under other master keys than this."""
    return int(await tx.scalar(select(func.count()).where(_S.key_id != key_id)) or 0)


async def reveals_of_the_hour(tx: Tx, redemption: Redemption) -> tuple[int, float]:
    """How often a redemption was revealed in the last hour, and in how many seconds the first of these is over."""
    of_one = reveals.c.program_id == redemption.program_id, reveals.c.redemption_id == redemption.redemption_id
    left_s = func.extract("epoch", func.coalesce(func.min(reveals.c.at), func.now()) + _HOUR - func.now())
    statement = select(func.count(), left_s).where(*of_one, reveals.c.at > func.now() - _HOUR)
    count, seconds = (await tx.execute(statement)).one()
    return count, float(seconds)


async def insert_reveal(tx: Tx, redemption: Redemption, actor: str) -> None:
    """Keeps that somebody has seen the codes."""
    row = {"program_id": redemption.program_id, "redemption_id": redemption.redemption_id, "actor": actor}
    await tx.execute(insert(reveals).values(**row, reveal_id=new_id()))


def _read(rows: Iterable[Any]) -> Secrets:
    return {
        Place(row.program_id, row.redemption_id, row.number): Sealed(row.key_id, row.wrapped_key, row.ciphertext)
        for row in rows
    }
