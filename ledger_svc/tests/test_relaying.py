"""Postings go first, and events follow within a bound."""

import asyncio
import re
from typing import Any, Final

import psycopg
import pytest
from psycopg import sql
from rewards.fulfillment.v1 import webhooks_pb2

from ledger_svc.journal.engine import Item, Journal
from ledger_svc.journal.postings import Credit
from ledger_svc.journal.relaying import Relay
from ledger_svc.journal.values import Category, Key, Owner
from ledger_svc.tests.instances import ask, holding, until, waiting
from svckit.clock import system_clock
from svckit.db import _SESSION, Database
from svckit.outbox import _SENT, BATCH

MEMBER = Key("p", Owner.MEMBER, "m", "PTS")


class Receiver:
    """Takes events as fulfillment_svc does."""

    def __init__(self) -> None:
        self.taken = 0

    async def PublishEvents(
        self, request: webhooks_pb2.PublishEventsRequest, **_: Any
    ) -> webhooks_pb2.PublishEventsResponse:
        self.taken += len(request.events)
        return webhooks_pb2.PublishEventsResponse()


@pytest.fixture
async def url(fresh_url: Any) -> str:
    made: str = await fresh_url("ledger_svc")
    return made


async def posted(journal: Journal) -> None:
    credit = Credit(MEMBER, system_clock(), 5, Category.BONUS)
    await journal.post_many("p", [Item(credit, None, lambda _: webhooks_pb2.PublishEventsResponse())])


async def test_events_stand_back_while_postings_are_under_way_but_not_for_long(url: str) -> None:
    db = Database(url)
    journal, receiver = Journal(db), Receiver()
    patient, hurried = (Relay(db, journal, receiver, lag_max_s=lag) for lag in (3_600, 0))  # type: ignore[arg-type]
    await ask(url, "INSERT INTO members VALUES ('p', 'm', true, 1) RETURNING 1")
    await posted(journal)
    async with asyncio.TaskGroup() as group:
        async with holding(url, "SELECT 1 FROM accounts FOR UPDATE"):
            group.create_task(posted(journal))
            await waiting(url, 1)
            assert (await patient.step(), receiver.taken) == (0, 0)
            assert (await hurried.step(), receiver.taken) == (1, 1)

    async def quiet() -> bool:
        return not journal.busy

    await until(quiet)
    assert (await patient.step(), receiver.taken) == (1, 2)
    await db.close()


# A table that is as empty as a relay leaves it when autovacuum looks, and what piles up in it afterwards.
EMPTIED: Final = """
INSERT INTO outbox (program_id, created_at, event_id, type, member_id, data)
SELECT 'p', now(), gen_random_uuid(), 't', 'm', '{}' FROM generate_series(1, 1000);
DELETE FROM outbox; ANALYZE outbox;
INSERT INTO outbox (program_id, created_at, event_id, type, member_id, data)
SELECT 'p', now() + n * interval '1 ms', gen_random_uuid(), 't', 'm', '{}' FROM generate_series(1, 20000) n"""


def test_a_backlog_is_handed_over_for_the_price_of_its_rows_though_the_planner_saw_none(url: str) -> None:
    with psycopg.connect(url.replace("ledger_runtime@", "ledger_owner@"), autocommit=True) as owner:
        owner.execute(EMPTIED)
    with psycopg.connect(url, options=_SESSION) as runtime:
        oldest = runtime.execute("SELECT created_at, event_id FROM outbox ORDER BY 1, 2 LIMIT %s", [BATCH]).fetchall()
        numbered = str(_SENT).replace(":program_id", "$1").replace(":until", "$2").replace(":events", "$3")
        runtime.execute(f"PREPARE sent (text, timestamptz, uuid[]) AS {numbered}".encode())
        call = sql.SQL("EXPLAIN (ANALYZE, TIMING OFF) EXECUTE sent ({}, {}, {})")
        given = (sql.Literal("p"), sql.Literal(oldest[-1][0]), sql.Literal([event_id for _, event_id in oldest]))
        plan = "\n".join(line for (line,) in runtime.execute(call.format(*given)))
        left = runtime.execute("SELECT count(*) FROM outbox").fetchone()
    assert left == (20_000 - BATCH,)
    assert [int(rows) for rows in re.findall(r"Rows Removed by .*: (\d+)", plan)] == [], plan
