"""The supervisor, with tiny real processes: who dies is named and started again, and stopping leaves none."""

import asyncio
import itertools
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from devmesh.process import ProcessFailedError, Tier
from devmesh.supervisor import FIRST_DELAY_S, START_ATTEMPTS, Death, Supervisor
from devmesh.tests.children import alive, eventually, part, read_pid, serving


class Reports(list[Death]):
    """The deaths reported, in order."""


@pytest.fixture
def deaths() -> Reports:
    return Reports()


@pytest_asyncio.fixture
async def supervisor(tmp_path: Path, deaths: Reports) -> AsyncIterator[Supervisor]:
    started = Supervisor(tmp_path, deaths.append)
    yield started
    await started.stop()


async def test_a_killed_process_is_named_with_its_last_lines_and_started_again(
    supervisor: Supervisor, deaths: Reports, tmp_path: Path
) -> None:
    await supervisor.start(part(tmp_path, "ledger", serving("ledger", "print('taking calls', flush=True)")))
    first = supervisor.pid("ledger")
    supervisor.kill("ledger")
    await supervisor.ready("ledger")
    assert supervisor.pid("ledger") != first
    assert not alive(first)
    said = f"ledger (pid {first}) was killed by SIGKILL; starting it again in {FIRST_DELAY_S:g} s. Last lines of "
    assert str(deaths[0]) == f"{said}{tmp_path / 'ledger.log'}:\n    | taking calls"


async def test_one_killed_from_outside_is_noticed(supervisor: Supervisor, deaths: Reports, tmp_path: Path) -> None:
    await supervisor.start(part(tmp_path, "ledger", serving("ledger")))
    first = supervisor.pid("ledger")
    os.kill(first, signal.SIGKILL)
    await eventually(lambda: supervisor.pid("ledger") != first)
    await supervisor.ready("ledger")
    assert [death.pid for death in deaths] == [first]


async def test_restarts_of_one_that_keeps_dying_come_ever_later(
    supervisor: Supervisor, deaths: Reports, tmp_path: Path
) -> None:
    await supervisor.start(part(tmp_path, "frail", "open('frail.up', 'w').close(); import time; time.sleep(0.1)"))
    await eventually(lambda: len(deaths) >= 4)
    delays = [death.restart_in_s for death in deaths]
    assert delays[0] == FIRST_DELAY_S
    assert all(later == 2 * earlier for earlier, later in itertools.pairwise(delays))


async def test_one_that_never_comes_up_fails_the_start_after_a_few_tries(
    supervisor: Supervisor, deaths: Reports, tmp_path: Path
) -> None:
    with pytest.raises(ProcessFailedError, match=r"broken ended with code 1\n    \| no such table"):
        await supervisor.start(part(tmp_path, "broken", "raise SystemExit('no such table')"))
    assert len(deaths) == START_ATTEMPTS - 1


async def test_a_program_that_is_missing_fails_the_start(supervisor: Supervisor, tmp_path: Path) -> None:
    missing = part(tmp_path / "nowhere", "missing", "")
    with pytest.raises(ProcessFailedError, match="missing could not be started"):
        await supervisor.start(missing)


async def test_one_that_hangs_at_its_start_is_replaced(supervisor: Supervisor, deaths: Reports, tmp_path: Path) -> None:
    program = "import os, signal\nif os.path.exists('once'): open('shy.up', 'w')\nopen('once', 'w')\nsignal.pause()"
    await supervisor.start(part(tmp_path, "shy", program, start_s=1.0))
    assert "was not ready" in deaths[0].failure.reason
    assert deaths[0].pid is not None
    assert not alive(deaths[0].pid)


async def test_pid_files_name_the_present_processes(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(part(tmp_path, "ledger", serving("ledger")))
    assert read_pid(tmp_path / "ledger.pid") == supervisor.pid("ledger")
    supervisor.kill("ledger")
    await supervisor.ready("ledger")
    assert read_pid(tmp_path / "ledger.pid") == supervisor.pid("ledger")
    await supervisor.stop()
    assert not (tmp_path / "ledger.pid").exists()


async def test_waiting_for_one_that_is_down_names_it(supervisor: Supervisor, tmp_path: Path) -> None:
    await supervisor.start(part(tmp_path, "ledger", serving("ledger")))
    (tmp_path / "ledger.up").unlink()
    supervisor.kill("ledger")
    with pytest.raises(ProcessFailedError, match=r"ledger was not ready within 0\.05 s"):
        await supervisor.ready(within_s=0.05)


async def test_stopping_leaves_no_process_and_goes_from_the_edge_to_the_store(
    supervisor: Supervisor, deaths: Reports, tmp_path: Path
) -> None:
    order = tmp_path / "order"
    for tier in Tier:
        noting = f"signal.signal(15, lambda *_: (open('{order}', 'a').write('{tier.name}\\n'), exit(0)))"
        await supervisor.start(part(tmp_path, tier.name, serving(tier.name, noting), tier=tier))
    pids = [supervisor.pid(tier.name) for tier in Tier]
    await supervisor.stop()
    assert not any(map(alive, pids))
    assert order.read_text().split() == ["EDGE", "SERVICE", "OUTSIDE", "STORE"]
    assert deaths == []


async def test_stopping_in_the_middle_of_a_start_leaves_no_process(supervisor: Supervisor, tmp_path: Path) -> None:
    idle = part(tmp_path, "idle", "import signal; open('begun', 'w').close(); signal.pause()")
    starting = asyncio.create_task(supervisor.start(idle))
    await eventually((tmp_path / "begun").exists)
    pid = supervisor.pid("idle")
    starting.cancel()
    await supervisor.stop()
    assert not alive(pid)


async def test_stopping_between_two_lives_starts_none(supervisor: Supervisor, deaths: Reports, tmp_path: Path) -> None:
    await supervisor.start(part(tmp_path, "ledger", serving("ledger")))
    first = supervisor.pid("ledger")
    supervisor.kill("ledger")
    await eventually(lambda: len(deaths) == 1)
    await supervisor.stop()
    assert not alive(first)
    assert len(deaths) == 1
