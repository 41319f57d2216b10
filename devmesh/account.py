"""The account a server runs under that refuses to run as root."""

import logging
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Account:
    """A user of this machine without rights, by number."""

    uid: int
    gid: int

    def may_search(self, folder: Path) -> bool:
        """Whether this user may pass through `folder` to a name below it."""
        status = folder.stat()
        if status.st_uid == self.uid:
            return bool(status.st_mode & stat.S_IXUSR)
        if status.st_gid == self.gid:
            return bool(status.st_mode & stat.S_IXGRP)
        return bool(status.st_mode & stat.S_IXOTH)

    def may_run(self, program: Path) -> bool:
        """Whether this user may reach and run `program`."""
        return all(map(self.may_search, program.parents)) and bool(program.stat().st_mode & stat.S_IXOTH)

    def open_way_to(self, path: Path) -> None:
        """Let this user reach `path`: every folder above it that is closed is opened for passing, not for listing.

        Only what is missing is given, and each folder so changed is logged, because it may be somebody's home.
        """
        for folder in path.resolve().parents:
            if not self.may_search(folder):
                _log.warning("letting other users pass through %s (not list it), for %s", folder, path.name)
                folder.chmod(stat.S_IMODE(folder.stat().st_mode) | stat.S_IXOTH)

    def open_tree(self, tree: Path) -> None:
        """Let this user reach and read everything below `tree`: what an install under a strict umask needs."""
        self.open_way_to(tree)
        for path in (tree, *tree.rglob("*")):
            mode = stat.S_IMODE(path.stat().st_mode)
            wanted = mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0)
            if wanted != mode:
                path.chmod(wanted)

    def give(self, folder: Path) -> None:
        """Make `folder` this user's own and open the way to it."""
        os.chown(folder, self.uid, self.gid)
        self.open_way_to(folder)


def unprivileged() -> Account | None:
    """The account for servers that refuse root: `nobody` when this process is root, else None (run as ourselves)."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(uid=entry.pw_uid, gid=entry.pw_gid)


def make_passable(folder: Path) -> Path:
    """Make `folder` ours alone, except that the unprivileged account, where there is one, may pass through it."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700 if unprivileged() is None else 0o711)
    return folder


def own_name() -> str:
    """The name of the user this process runs as."""
    return pwd.getpwuid(os.geteuid()).pw_name
