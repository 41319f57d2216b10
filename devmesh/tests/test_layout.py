"""A home: its ports are kept and re-chosen where taken, one mesh at a time, nothing open to other users."""

import json
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from devmesh.layout import HomeInUseError, Layout, PortInUseError, socket_folder, sole_use
from devmesh.sockets import LOOPBACK, choose_port, is_free, private_socket_dir

# Prints how many of the last 256 ports differ, and how many descriptors the 44 that were chosen last cost.
CHOOSES = """
import os
from devmesh.sockets import choose_port
chosen = [choose_port() for _ in range(256)]
held = len(os.listdir("/proc/self/fd"))
chosen += [choose_port() for _ in range(44)]
print(len(set(chosen[-256:])), len(os.listdir("/proc/self/fd")) - held)
"""


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        yield sock


def _open(home: Path, rest_port: int | None = None) -> Layout:
    return Layout.open(home, home / "sockets", rest_port)


def test_ports_are_free_and_differ_and_are_kept(tmp_path: Path) -> None:
    first = _open(tmp_path)
    assert len(set(first.ports.values())) == len(first.ports)
    assert all(map(is_free, first.ports.values()))
    assert _open(tmp_path).ports == first.ports
    assert json.loads((tmp_path / "ports.json").read_text()) == first.ports


def test_a_port_taken_since_is_chosen_anew_and_the_others_stay(tmp_path: Path, listener: socket.socket) -> None:
    first = _open(tmp_path)
    listener.bind((LOOPBACK, first.ports["ledger_svc"]))
    listener.listen()
    second = _open(tmp_path)
    changed = {name for name in first.ports if first.ports[name] != second.ports[name]}
    assert changed == {"ledger_svc"}
    assert is_free(second.ports["ledger_svc"])


def test_the_rest_port_asked_for_is_used_or_refused(tmp_path: Path, listener: socket.socket) -> None:
    port = choose_port()
    assert _open(tmp_path, port).address("rest") == f"{LOOPBACK}:{port}"
    listener.bind((LOOPBACK, port))
    listener.listen()
    with pytest.raises(PortInUseError, match=f"{LOOPBACK}:{port} is in use; MESH_PORT"):
        _open(tmp_path, port)


def test_a_port_chosen_by_one_process_is_not_free_for_another_before_anything_listens_on_it() -> None:
    ours = choose_port()
    assert is_free(ours)
    asks = f"from devmesh.sockets import claim; print(claim({ours}))"
    asked = subprocess.run([sys.executable, "-c", asks], capture_output=True, text=True, check=True)
    assert asked.stdout.strip() == "False"


def test_no_port_is_chosen_twice_and_claims_do_not_pile_up() -> None:
    # In a process of its own: another that chooses ports at the same time holds some of those that we have let go.
    asked = subprocess.run([sys.executable, "-c", CHOOSES], capture_output=True, text=True, check=True)
    assert asked.stdout.split() == ["256", "0"]


def test_asking_for_a_port_that_another_part_had_moves_that_part(tmp_path: Path) -> None:
    wanted = _open(tmp_path).ports["ledger_svc"]
    second = _open(tmp_path, wanted)
    assert second.ports["rest"] == wanted
    assert second.ports["ledger_svc"] != wanted


def test_a_home_is_used_by_one_mesh_at_a_time(tmp_path: Path) -> None:
    with sole_use(tmp_path / "home"):
        with pytest.raises(HomeInUseError, match="MESH_HOME"), sole_use(tmp_path / "home"):
            pass
        with sole_use(tmp_path / "another"):
            pass
    with sole_use(tmp_path / "home"):
        pass


def test_what_a_home_holds_is_closed_to_other_users(tmp_path: Path) -> None:
    layout = _open(tmp_path / "home")
    for folder in (layout.secrets, layout.mail, layout.logs, layout.run):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(layout.home.stat().st_mode) & 0o066 == 0


def test_sockets_lie_in_a_short_path_and_go_with_the_run(tmp_path: Path) -> None:
    home = tmp_path / ("long" * 30)
    home.mkdir()
    with socket_folder(home) as folder:
        assert len(str(folder / "postgres" / ".s.PGSQL.5432")) <= 107
        assert (home / "sockets").readlink() == folder
    assert not folder.exists()
    assert not (home / "sockets").is_symlink()


def test_a_long_path_for_temporary_files_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = tmp_path / ("long" * 30)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with socket_folder(tmp_path) as folder:
        assert len(str(folder / "postgres" / ".s.PGSQL.5432")) <= 107
    assert list(long.iterdir()) == []


def test_sockets_of_a_killed_run_are_removed_by_the_next(tmp_path: Path) -> None:
    left_over = private_socket_dir()
    (tmp_path / "sockets").symlink_to(left_over)
    with socket_folder(tmp_path) as folder:
        assert folder != left_over
        assert not left_over.exists()


def test_a_start_forgets_the_pids_of_the_last_run(tmp_path: Path) -> None:
    (_open(tmp_path).run / "ledger_svc.pid").write_text("1\n")
    assert list(_open(tmp_path).run.iterdir()) == []
