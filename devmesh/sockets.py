"""Where unix sockets and listening ports of one machine can be."""

import os
import secrets
import socket
import tempfile
from collections.abc import Iterable
from pathlib import Path

from devmesh.account import make_passable

LOOPBACK = "127.0.0.1"

# The longest socket name below a folder is "/postgres/.s.PGSQL.5432"; a unix socket's path has room for 107 characters.
_PATH_MAX_BYTES = 107 - len("/postgres/.s.PGSQL.5432")

# Below the kernel's range for outgoing connections (32768 and up by default). A port of that range may be taken by
# somebody's outgoing connection just while a service that died is being started again.
_PORTS = range(20_000, 30_000)

# Ports claimed by this process and, for each, the descriptor that holds it. Who claims so many more has long bound it.
_claims: dict[int, int] = {}
_CLAIMS_MAX = 256


def private_socket_dir() -> Path:
    """A new folder of our own whose path is short enough for the sockets of a mesh. The caller removes it."""
    for parent in (tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp makes the folder unguessable and private
        folder = Path(tempfile.mkdtemp(prefix="mesh-", dir=parent))
        if len(str(folder).encode()) <= _PATH_MAX_BYTES:
            return make_passable(folder)
        folder.rmdir()
    raise OSError("no folder for temporary files has a path short enough for unix sockets")


def is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # A port whose last connections are still in TIME_WAIT is free for a server, so ask as a server would.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def claim(port: int) -> bool:
    """Whether this loopback port is free and, from now on, ours to listen on.

    The UDP port of the same number is held, which no server here wants: a server takes seconds to bind the port chosen
    for it, and until then another run on this machine would find it as free as we did.
    """
    if not is_free(port):
        return False
    if port in _claims:
        return True
    with socket.socket(type=socket.SOCK_DGRAM) as holder:
        try:
            holder.bind((LOOPBACK, port))
        except OSError:
            return False
        if len(_claims) == _CLAIMS_MAX:
            os.close(_claims.pop(next(iter(_claims))))
        _claims[port] = holder.detach()
    return True


def choose_port(avoid: Iterable[int] = ()) -> int:
    """Claims a free loopback port that is not in `avoid` and was not chosen here of late. Chosen by chance."""
    avoided = {*avoid, *_claims}
    for port in secrets.SystemRandom().sample(_PORTS, len(_PORTS)):
        if port not in avoided and claim(port):
            return port
    raise OSError(f"no free port between {_PORTS.start} and {_PORTS.stop}")
