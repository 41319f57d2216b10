"""Every statement about signing keys, revoked tokens and used assertions."""

from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import delete, func, null, or_, select, update
from sqlalchemy.dialects.postgresql import insert

from identity_svc import tables
from identity_svc.credentials.assertions import Assertion
from identity_svc.credentials.rules import State, Token
from svckit.db import Tx

_keys, _tokens, _credentials = tables.signing_keys.c, tables.tokens.c, tables.credentials.c
# Longer than clocks can differ.
_SWEEP_AFTER: Final = timedelta(days=1)


class SealedKey(NamedTuple):
    """A signing key as it is kept. It is `settled` when every process has had the time to read it."""

    generation: int
    key_id: str
    sealed_key: bytes
    settled: bool
    age_s: float


async def signing_keys(tx: Tx, settle: timedelta) -> list[SealedKey]:
    """The keys that are not retired, newest first."""
    age = func.now() - _keys.created_at
    query = (
        select(
            _keys.generation,
            _keys.key_id,
            _keys.sealed_key,
            (age > settle).label("settled"),
            func.extract("epoch", age).label("age_s"),
        )
        .where(or_(_keys.retired_at.is_(None), _keys.retired_at > func.now()))
        .order_by(_keys.generation.desc())
    )
    return [SealedKey(**row) for row in (await tx.execute(query)).mappings()]


async def newest_generation(tx: Tx) -> int:
    """The generation of the newest key, retired or not; 0 if there is none."""
    return await tx.scalar(select(func.coalesce(func.max(_keys.generation), 0))) or 0


async def add_signing_key(tx: Tx, generation: int, key_id: str, sealed_key: bytes) -> bool:
    """Adds a signing key; False if its generation is there."""
    values = {"generation": generation, "key_id": key_id, "sealed_key": sealed_key, "created_at": func.now()}
    result = await tx.execute(insert(tables.signing_keys).values(values).on_conflict_do_nothing())
    return result.rowcount == 1


async def retire_signing_keys(tx: Tx, before: int, after: timedelta) -> None:
    """Ends the keys of earlier generations after that time, or earlier where that is so already."""
    ends_at = func.least(_keys.retired_at, func.now() + after)
    await tx.execute(update(tables.signing_keys).where(_keys.generation < before).values(retired_at=ends_at))


async def public_keys(tx: Tx, client: State) -> str | None:
    """The client's registered keys, as a JWKS; None if it has none."""
    query = select(_credentials.public_keys).where(
        _credentials.program_id == client.program_id, _credentials.credential_id == client.credential_id
    )
    found: str | None = await tx.scalar(query)
    return found


async def replace_public_keys(tx: Tx, client: State, jwks: str) -> None:
    """Gives a locked client other keys and a new epoch."""
    values: dict[str, Any] = {"public_keys": jwks, "epoch": _credentials.epoch + 1}
    values |= {"previous_mac": null(), "previous_until": null()}
    where = (_credentials.program_id == client.program_id, _credentials.credential_id == client.credential_id)
    await tx.execute(update(tables.credentials).where(*where).values(values))


async def use_assertion(tx: Tx, client: State, assertion: Assertion) -> bool:
    """Uses an assertion up; False if it was used before, by whichever process. Waits for a twin."""
    values = {
        "program_id": client.program_id,
        "credential_id": client.credential_id,
        "assertion_id": assertion.assertion_id,
        "ends_at": assertion.ends_at,
    }
    result = await tx.execute(insert(tables.used_assertions).values(values).on_conflict_do_nothing())
    return result.rowcount == 1


async def revoke_token(tx: Tx, token: Token, ends_at: datetime) -> bool:
    """Revokes a token, and sees to it that nobody is given it again; False if it was revoked before."""
    values = {"program_id": token.program_id, "token_id": token.token_id, "ends_at": ends_at}
    result = await tx.execute(insert(tables.revoked_tokens).values(values).on_conflict_do_nothing())
    where = (_tokens.program_id == token.program_id, _tokens.credential_id == token.credential_id)
    await tx.execute(delete(tables.tokens).where(*where, _tokens.token_id == token.token_id))
    return result.rowcount == 1


async def sweep(tx: Tx) -> int:
    """Deletes what is kept of tokens and assertions that have ended long ago; how many there were."""
    swept = 0
    for table in (tables.revoked_tokens, tables.used_assertions):
        swept += (await tx.execute(delete(table).where(table.c.ends_at < func.now() - _SWEEP_AFTER))).rowcount
    return swept
