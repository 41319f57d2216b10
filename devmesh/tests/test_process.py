"""One child process: readiness, last lines, its end, and that nothing of it stays."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import grpc
import pytest

from devmesh.account import unprivileged
from devmesh.layout import ROOT
from devmesh.process import Child, Command, ProcessFailedError, run_once, until_ready
from devmesh.tests.children import PYTHON, alive, command, eventually, part, read_pid, serving


async def test_readiness_is_awaited(tmp_path: Path) -> None:
    slow = part(tmp_path, "slow", "import time; time.sleep(0.2); open('slow.up', 'w').close(); time.sleep(60)")
    child = Child(slow.command)
    await until_ready(child, slow)
    assert (tmp_path / "slow.up").exists()
    await child.stop()


async def test_a_process_that_ends_before_it_serves_fails_with_its_last_lines(tmp_path: Path) -> None:
    doomed = part(tmp_path, "doomed", "for n in range(100): print('line', n)\nraise SystemExit(3)")
    with pytest.raises(ProcessFailedError, match="doomed ended with code 3") as failure:
        await until_ready(Child(doomed.command), doomed)
    assert failure.value.last_lines[-1] == "line 99"
    assert len(failure.value.last_lines) == 20


async def test_a_process_that_never_serves_fails_in_time(tmp_path: Path) -> None:
    idle = part(tmp_path, "idle", "import signal; signal.pause()", start_s=0.1)
    child = Child(idle.command)
    with pytest.raises(ProcessFailedError, match=r"idle was not ready within 0\.1 s"):
        await until_ready(child, idle)
    await child.stop()


async def test_last_lines_are_of_this_process_and_not_of_the_one_before(tmp_path: Path) -> None:
    for text in ("first", "second"):
        child = Child(command(tmp_path, "talker", f"print('{text}')"))
        await child.exited()
    assert child.last_lines() == ["second"]
    assert (tmp_path / "talker.log").read_text() == "first\nsecond\n"


async def test_a_large_log_is_moved_aside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("devmesh.process.LOG_MAX_BYTES", 5)
    for text in ("a first run", "a second run"):
        await Child(command(tmp_path, "talker", f"print('{text}')")).exited()
    assert (tmp_path / "talker.log").read_text() == "a second run\n"
    assert (tmp_path / "talker.log.1").read_text() == "a first run\n"


async def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    deaf = part(tmp_path, "deaf", "import signal; signal.signal(15, signal.SIG_IGN); " + serving("deaf"), stop_s=0.1)
    child = Child(deaf.command)
    await until_ready(child, deaf)
    await child.stop(deaf.stop_signal, deaf.stop_s)
    assert await child.exited() == -signal.SIGKILL


async def test_what_a_dead_process_leaves_behind_is_ended(tmp_path: Path) -> None:
    program = "import subprocess; p = subprocess.Popen(['sleep', '60'])\n"
    program += "open('pid', 'w').write(f'{p.pid}\\n')\n" + serving("parent")
    parent = part(tmp_path, "parent", program)
    child = Child(parent.command)
    await until_ready(child, parent)
    orphan = read_pid(tmp_path / "pid")
    assert orphan is not None
    assert alive(orphan)
    child.send(signal.SIGKILL)
    await child.exited()
    await eventually(lambda: not alive(orphan))


async def test_it_can_be_stopped_in_another_loop_than_it_was_started_in(tmp_path: Path) -> None:
    async def start() -> Child:
        return Child(command(tmp_path, "loop", serving("loop")))

    child = await asyncio.to_thread(asyncio.run, start())
    await child.stop()
    assert await child.exited() == -signal.SIGTERM


async def test_a_command_gives_its_output_and_logs_none_of_it(tmp_path: Path) -> None:
    program = "import sys; print('a secret'); print('a remark', file=sys.stderr)"
    assert await run_once(command(tmp_path, "tell", program)) == "a secret\n"
    assert (tmp_path / "tell.log").read_text() == "a remark\n"


async def test_a_command_that_fails_says_why(tmp_path: Path) -> None:
    with pytest.raises(ProcessFailedError, match=r"ask ended with code 1\n    \| no such thing"):
        await run_once(command(tmp_path, "ask", "raise SystemExit('no such thing')"))


async def test_a_cancelled_command_is_killed(tmp_path: Path) -> None:
    program = "import os; open('pid', 'w').write(f'{os.getpid()}\\n'); " + serving("long")
    running = asyncio.create_task(run_once(command(tmp_path, "long", program)))
    await eventually((tmp_path / "long.up").exists)
    pid = read_pid(tmp_path / "pid")
    assert pid is not None
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await eventually(lambda: not alive(pid))


async def test_what_a_killed_supervisor_had_started_dies_with_it(tmp_path: Path) -> None:
    program = f"""
import asyncio, pathlib
from devmesh.layout import ROOT
from devmesh.process import Child
from devmesh.tests.children import command, serving
async def main():
    folder = pathlib.Path({str(tmp_path)!r})
    child = Child(command(folder, "held", serving("held")))
    (folder / "pid").write_text(f"{{child.pid}}\\n")
    await child.exited()
asyncio.run(main())
"""
    supervisor = await asyncio.create_subprocess_exec(PYTHON, "-c", program, cwd=ROOT)
    await eventually((tmp_path / "held.up").exists)
    await eventually((tmp_path / "pid").exists)
    held = read_pid(tmp_path / "pid")
    assert held is not None
    supervisor.kill()
    await supervisor.wait()
    await eventually(lambda: not alive(held))


async def test_another_users_process_starts_while_grpc_is_at_work(tmp_path: Path) -> None:
    async def nothing(*_: object) -> bytes:
        return b""

    server = grpc.aio.server()
    handlers: Any = {"Nothing": grpc.unary_unary_rpc_method_handler(nothing)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("Test", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:

        async def call(nothing: Any) -> None:
            while True:
                await nothing(b"")

        calling = [asyncio.create_task(call(channel.unary_unary("/Test/Nothing"))) for _ in range(4)]
        idle = Command(name="idle", argv=["true"], log=tmp_path / "log", account=unprivileged())
        started = [await asyncio.to_thread(Child, idle) for _ in range(50)]
        ended = [await child.exited() for child in started]
        for task in calling:
            task.cancel()
        await asyncio.gather(*calling, return_exceptions=True)
    await server.stop(0)
    assert ended == [0] * 50
