"""Where everything of one mesh is: the paths below its home, its sockets, its ports."""

import fcntl
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from devmesh.account import make_passable
from devmesh.private import write_private
from devmesh.sockets import LOOPBACK, choose_port, claim, private_socket_dir

SERVICES = ("identity_svc", "ledger_svc", "catalog_svc", "fulfillment_svc")
ROOT = Path(__file__).resolve().parent.parent
"""The folder of the packages: what `python -m <service>` needs as its working directory."""

_LISTENERS = (
    *SERVICES,
    *(f"{service}.metrics" for service in SERVICES),
    "provider",
    "mailbox",
    "traces",
    "envoy.admin",
)


class HomeInUseError(Exception):
    """Another mesh runs in this home."""


class PortInUseError(Exception):
    """The port that was asked for is in use."""


class Layout:
    """One mesh on disk and on the loopback interface. `home` is kept between runs, `sockets` is new in each.

    `ports` has a port for each listener: "rest", a service's name (gRPC), "<name>.metrics", "provider", "mailbox",
    "traces", "envoy.admin".
    """

    def __init__(self, home: Path, sockets: Path, ports: Mapping[str, int]) -> None:
        self.home, self.sockets, self.ports = home, sockets, ports
        self.postgres = home / "postgres" / "data"
        self.run = home / "run"
        self.logs = home / "logs"
        self.mail = home / "mail"
        self.pki = home / "pki"
        self.secrets = home / "secrets"
        self.migrated = home / "migrated"
        self.provider = home / "provider.jsonl"
        self.gateway_config = home / "gateway" / "envoy.yaml"
        self.traces = home / "traces.jsonl"
        self.env_file = home / "env"

    @classmethod
    def open(cls, home: Path, sockets: Path, rest_port: int | None) -> Self:
        """The layout of `home`, which is made where missing. The ports of the last run are used again where free.

        `rest_port` None means any free one, kept like the others. Raises PortInUseError when the one asked for is not
        free.
        """
        make_passable(home)
        if rest_port is not None and not claim(rest_port):
            raise PortInUseError(f"{LOOPBACK}:{rest_port} is in use; MESH_PORT chooses another port")
        layout = cls(home, sockets, _ports(home / "ports.json", rest_port))
        for folder in (layout.run, layout.logs, layout.mail, layout.secrets, layout.migrated):
            folder.mkdir(mode=0o700, exist_ok=True)
        for stale in layout.run.iterdir():
            stale.unlink()
        return layout

    def address(self, listener: str) -> str:
        """host:port of a listener."""
        return f"{LOOPBACK}:{self.ports[listener]}"

    def log(self, name: str) -> Path:
        """The log file of a process."""
        return self.logs / f"{name}.log"


@contextmanager
def sole_use(home: Path) -> Iterator[None]:
    """Hold the home for this process alone; the kernel lets go of it even when the process is killed.

    Raises HomeInUseError when another mesh has it.
    """
    make_passable(home)
    lock = os.open(home / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HomeInUseError(f"a mesh is running in {home}; MESH_HOME chooses another home") from None
        yield
    finally:
        os.close(lock)


@contextmanager
def socket_folder(home: Path) -> Iterator[Path]:
    """The folder of this run's sockets, gone at the end. `home` must be held.

    `<home>/sockets` points to it: for a person with psql, and for the next run, should this one be killed.
    """
    pointer = home / "sockets"
    if pointer.is_symlink():
        shutil.rmtree(pointer.readlink(), ignore_errors=True)
        pointer.unlink()
    folder = private_socket_dir()
    pointer.symlink_to(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)
        pointer.unlink()


def _ports(file: Path, rest_port: int | None) -> dict[str, int]:
    last: dict[str, int] = json.loads(file.read_text()) if file.exists() else {}
    ports = {} if rest_port is None else {"rest": rest_port}
    for listener in (*_LISTENERS, "rest"):
        if listener not in ports:
            ports[listener] = _usable(last.get(listener), ports.values()) or choose_port(avoid=ports.values())
    if ports != last:
        write_private(file, json.dumps(ports, indent=2).encode())
    return ports


def _usable(port: int | None, taken: Iterable[int]) -> int | None:
    return port if port is not None and port not in taken and claim(port) else None
