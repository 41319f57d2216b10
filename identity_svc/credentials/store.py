"""Every statement about plans, credentials and their tokens."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    DateTime,
    Row,
    Select,
    Text,
    Uuid,
    and_,
    bindparam,
    delete,
    exists,
    false,
    func,
    null,
    or_,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import insert

from identity_svc import tables
from identity_svc.credentials.rules import Credential, Kind, Plan, State, Token
from svckit.db import Tx

_plans, _credentials = tables.plans.c, tables.credentials.c
_programs, _partners = tables.programs.c, tables.partners.c
_tokens, _revoked = tables.tokens.c, tables.revoked_tokens.c

# A token that has ended by the real clock may still be good by a program's clock that is a little behind.
_SWEEP_AFTER: Final = timedelta(days=1)


async def put_plan(tx: Tx, plan: Plan) -> bool:
    """Stores a plan; False if it was stored just so."""
    values = asdict(plan)
    statement = insert(tables.plans).values(values)
    differs = or_(*(_plans[name].is_distinct_from(statement.excluded[name]) for name in values))
    result = await tx.execute(statement.on_conflict_do_update(index_elements=["plan_id"], set_=values, where=differs))
    return result.rowcount == 1


async def has_plan(tx: Tx, plan_id: str) -> bool:
    """True if there is such a plan."""
    return await tx.scalar(select(_plans.plan_id).where(_plans.plan_id == plan_id)) is not None


async def add_credential(tx: Tx, credential: Credential) -> None:
    """Adds a credential of epoch 1."""
    values = {**asdict(credential), "scopes": list(credential.scopes), "epoch": 1, "created_at": func.now()}
    await tx.execute(insert(tables.credentials).values(values))


def _state_query() -> Select[Any]:
    return (
        select(
            tables.credentials,
            tables.plans,
            func.coalesce(_programs.clock_offset_s, 0).label("clock_offset_s"),
            # Each level that is revoked is enough by itself, whatever the others say.
            func.num_nonnulls(_credentials.revoked_at, _partners.revoked_at, _programs.revoked_at).label("revocations"),
            exists()
            .where(
                _revoked.program_id == _credentials.program_id,
                _revoked.token_id == bindparam("token_id", type_=Uuid),
            )
            .label("token_revoked"),
        )
        .outerjoin(tables.plans, _plans.plan_id == _credentials.plan_id)
        .outerjoin(tables.programs, _programs.program_id == _credentials.program_id)
        .outerjoin(
            tables.partners,
            and_(_partners.program_id == _credentials.program_id, _partners.partner_id == _credentials.partner_id),
        )
        .where(_credentials.credential_id == bindparam("credential_id"))
    )


_STATE: Final = _state_query()
_LOCKED_STATE: Final = _STATE.with_for_update(of=tables.credentials)


async def state(tx: Tx, credential_id: str, token_id: UUID | None = None) -> State | None:
    """The credential of that id as it stands now, and whether that token of its is revoked; None if there is none."""
    row = (await tx.execute(_STATE, {"credential_id": credential_id, "token_id": token_id})).one_or_none()
    return None if row is None else _state(row)


async def lock(tx: Tx, credential_id: str) -> State | None:
    """As `state`, of a credential that nobody else changes until the transaction ends."""
    row = (await tx.execute(_LOCKED_STATE, {"credential_id": credential_id, "token_id": None})).one_or_none()
    return None if row is None else _state(row)


async def rotate(tx: Tx, client: State, secret_mac: bytes, previous_until: datetime | None) -> None:
    """Gives a locked client a new secret and epoch; the old ones stay good until `previous_until`, if at all."""
    values = {
        "secret_mac": secret_mac,
        "epoch": _credentials.epoch + 1,
        "previous_mac": null() if previous_until is None else _credentials.secret_mac,
        "previous_until": previous_until,
    }
    where = (_credentials.program_id == client.program_id, _credentials.credential_id == client.credential_id)
    await tx.execute(update(tables.credentials).where(*where).values(values))


def _state(row: Row[Any]) -> State:
    plan = None
    if row.plan_id is not None:
        plan = Plan(row.plan_id, row.requests_per_second, row.burst, row.requests_per_day, row.costs)
    return State(
        program_id=row.program_id,
        partner_id=row.partner_id,
        credential_id=row.credential_id,
        kind=Kind(row.kind),
        secret_mac=row.secret_mac,
        previous_mac=row.previous_mac,
        previous_until=row.previous_until,
        scopes=frozenset(row.scopes),
        epoch=row.epoch,
        expires_at=row.expires_at,
        revoked=row.revocations > 0,
        plan=plan,
        clock_offset=timedelta(seconds=row.clock_offset_s),
        token_revoked=row.token_revoked,
    )


async def token(tx: Tx, program_id: str, credential_id: str, scope: str) -> Token | None:
    """The last token that the client got for that scope."""
    query = select(tables.tokens).where(
        _tokens.program_id == program_id, _tokens.credential_id == credential_id, _tokens.scope == scope
    )
    row = (await tx.execute(query)).mappings().one_or_none()
    return None if row is None else Token(**row)


async def replace_token(tx: Tx, offered: Token, seen: UUID | None) -> None:
    """Stores a token, unless the stored one is no longer the one that was `seen`: then another process won."""
    values = {name: value for name, value in asdict(offered).items() if name in _tokens}
    unchanged = false() if seen is None else _tokens.token_id == seen
    await tx.execute(
        insert(tables.tokens)
        .values(values)
        .on_conflict_do_update(index_elements=["program_id", "credential_id", "scope"], set_=values, where=unchanged)
    )


async def sweep_tokens(tx: Tx) -> int:
    """Deletes what is kept of tokens that have ended long ago; how many there were."""
    result = await tx.execute(delete(tables.tokens).where(_tokens.expires_at < func.now() - _SWEEP_AFTER))
    return result.rowcount


async def touch(tx: Tx, used: Mapping[tuple[str, str], datetime]) -> None:
    """Notes when credentials, each named by program and id, were last used."""
    at = bindparam("used_at", type_=DateTime(timezone=True))
    statement = (
        update(tables.credentials)
        .where(
            _credentials.program_id == bindparam("used_program", type_=Text),
            _credentials.credential_id == bindparam("used_id", type_=Text),
        )
        .values(last_used_at=func.greatest(_credentials.last_used_at, at))
    )
    # Rows are updated in one order, so that two processes cannot wait for each other.
    rows = [
        {"used_program": program_id, "used_id": credential_id, "used_at": used[program_id, credential_id]}
        for program_id, credential_id in sorted(used)
    ]
    await tx.execute(statement, rows)
