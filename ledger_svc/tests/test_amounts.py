"""Amounts are exact or refused, and refused without a trace; nothing that counts is narrower than 64 bits (L6)."""

from typing import Any, Final

import grpc
import psycopg
import pytest
from rewards.errors.v1.errors_pb2 import Reason
from rewards.ledger.v1 import journal_pb2, points_pb2

from devmesh.postgres import PostgresServer
from ledger_svc.tests.instances import Twins, ask
from ledger_svc.verify.report import faults, findings
from svckit import interceptors
from svckit.clients import _refusal

MOST: Final = 2**53
# More than a smallint counts.
LOTS: Final = 33_000

NARROW: Final = """
SELECT table_name || '.' || column_name FROM information_schema.columns
WHERE table_schema NOT IN ('pg_catalog', 'information_schema') AND table_name <> 'alembic_version'
    AND data_type IN ('smallint', 'integer', 'real', 'double precision', 'numeric', 'money')"""
# What is counted on one hand and never grows: kinds, states, categories.
NAMES_OF_FEW: Final = {
    "adjustments.state",
    "accounts.owner_kind",
    "entries.kind",
    "entries.category",
    "postings.kind",
    "holds.state",
    "idempotency_keys.state",
    "transaction_batches.mode",
}
ROWS: Final = """
SELECT (SELECT count(*) FROM entries), (SELECT count(*) FROM lot_uses), (SELECT count(*) FROM holds),
    (SELECT count(*) FROM idempotency_keys WHERE state = 2), (SELECT sum(posted) FROM accounts)"""
# A member who was given one point by so many credits.
MANY_LOTS: Final = """
WITH a AS (SELECT program_id, account_id FROM accounts WHERE owner = 'm_1'),
credits AS (SELECT n, gen_random_uuid() AS id, now() + n * interval '1 us' AS at FROM generate_series(1, %s) n),
made AS (
    INSERT INTO lots (program_id, account_id, lot_id, earned_at, original, remaining, open)
    SELECT program_id, account_id, id, at, 1, 1, true FROM a, credits),
posted AS (
    INSERT INTO entries (program_id, account_id, recorded_at, version, transaction_id, kind, category, amount,
        balance_after, effective_at, reason)
    SELECT program_id, account_id, at, n + 1, id, 1, 1, 1, n + 1, at, '' FROM a, credits)
UPDATE accounts SET posted = %s, version = %s, last_at = (SELECT max(at) FROM credits) WHERE owner = 'm_1'
RETURNING posted"""


async def test_nothing_that_counts_is_narrow(postgres: PostgresServer, migrated: Any) -> None:
    name = await migrated("ledger_svc")
    with psycopg.connect(postgres.dsn(name, "owner")) as connection:
        assert {column for (column,) in connection.execute(NARROW)} == NAMES_OF_FEW


async def refused_for(twins: Twins, rpc: str, **fields: Any) -> set[str]:
    """The fields that the call is refused for, as a request that cannot be."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await twins.one.call(rpc, **fields)
    refusal = _refusal(caught.value)
    assert refusal.reason == Reason.INVALID_REQUEST, (rpc, fields)
    return {violation.field for violation in refusal.detail.field_violations}  # type: ignore[union-attr]


async def test_an_amount_out_of_range_names_its_field_and_changes_nothing(twins: Twins) -> None:
    earned = (await twins.one.call("CreateCredit", member_id="m_1", points=100)).transaction_id
    spent = (await twins.one.call("RedeemPoints", member_id="m_1", points=10)).transaction_id
    hold = (await twins.one.call("CreateHold", member_id="m_1", points=10)).hold_id
    before = await ask(twins.url, ROWS)
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("CreateCredit", "points", {"member_id": "m_1"}),
        ("RedeemPoints", "points", {"member_id": "m_1"}),
        ("CreateTransfer", "points", {"from_member_id": "m_1", "to_member_id": "m_2"}),
        ("CreateHold", "points", {"member_id": "m_1"}),
        ("CapturePointsHold", "points", {"hold_id": hold}),
        ("ReversalPoints", "points", {"transaction_id": spent}),
        ("ReverseTransaction", "amount", {"transaction_id": earned}),
    ]
    for rpc, field, more in calls:
        for amount in (0, -1, -(2**63), MOST + 1, 2**63 - 1):
            assert await refused_for(twins, rpc, **{field: amount}, **more) == {field}
    assert await ask(twins.url, ROWS) == before


async def test_the_largest_amount_is_exact_and_one_more_is_refused(twins: Twins) -> None:
    assert (await twins.one.call("CreateCredit", member_id="m_1", points=MOST)).balance == MOST
    before = await ask(twins.url, ROWS)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("CreateCredit", {"points": 1}),
        ("CreateCredit", {"points": MOST}),
        ("InsertTransactionData", {"type": "purchase", "amount": 1.0}),
    ]
    for rpc, fields in calls:
        assert await twins.one.outcome(rpc, member_id="m_1", **fields) == "AMOUNT_OUT_OF_RANGE"
    assert Reason.AMOUNT_OUT_OF_RANGE == 4006
    one_more = points_pb2.CreateCreditRequest(member_id="m_1", points=1)
    item = journal_pb2.PostBatchItem(idempotency_key="k", credit=one_more)
    [result] = (await twins.one.call("PostBatch", items=[item])).results
    assert result.refusal.error_code == 4006
    await twins.one.call("CreateCredit", "other", member_id="m_2", points=1)
    transfer = await twins.one.outcome("CreateTransfer", from_member_id="m_2", to_member_id="m_1", points=1)
    assert transfer == "AMOUNT_OUT_OF_RANGE"
    after = await ask(twins.url, ROWS)
    assert [now - then for now, then in zip(after[0], before[0], strict=True)] == [1, 0, 0, 1, 1]
    assert (await twins.one.call("RedeemPoints", member_id="m_1", points=MOST - 1)).balance == 1
    assert faults(await findings(twins.url)) == []


async def test_money_is_exact_or_names_its_field(twins: Twins) -> None:  # G24
    await twins.one.call("CreateCredit", member_id="m_1", points=100)
    before = await ask(twins.url, ROWS)
    calls: list[tuple[str, dict[str, Any]]] = [
        ("InsertTransactionData", {"member_id": "m_1", "type": "purchase"}),
        ("RedeemPoints", {"member_id": "m_1", "points": 80}),
    ]
    for rpc, more in calls:
        for amount in (-0.01, 0.001, 12.505, 2.0**53, 1e300, 123456789012345.67, float("inf"), float("nan")):
            assert await refused_for(twins, rpc, amount=amount, **more) == {"amount"}
    assert await ask(twins.url, ROWS) == before


async def test_a_debit_may_draw_from_more_lots_than_a_small_number_counts(
    twins: Twins, monkeypatch: pytest.MonkeyPatch
) -> None:
    within_s = 60.0  # on a slow machine a call of this size takes long
    monkeypatch.setattr(interceptors, "DEFAULT_TIMEOUT_S", within_s)
    await twins.one.call("CreateCredit", member_id="m_1", points=1)
    await ask(twins.url, MANY_LOTS, LOTS - 1, LOTS, LOTS)
    spent = await twins.one.call("RedeemPoints", within_s=within_s, member_id="m_1", points=LOTS)
    assert spent.balance == 0
    [drawn] = await ask(twins.url, "SELECT count(*), min(position), max(position) FROM lot_uses")
    assert drawn == (LOTS, 0, LOTS - 1)
    back = await twins.one.call("ReversalPoints", within_s=within_s, transaction_id=spent.transaction_id)
    assert (back.restored, back.balance) == (LOTS, LOTS)
