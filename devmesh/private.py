"""Files that only their owner may read: keys, secrets, credentials and what carries personal data."""

import base64
import os
import secrets
from pathlib import Path

KEY_BYTES = 32


def write_private(path: Path, content: bytes) -> None:
    """Replace `path` by `content` in one step, mode 0600; its folder is made 0700 where it is missing.

    The mode is set before the first byte is written, and the file is on disk before it takes the name, so neither
    another user nor a crash ever sees a half of it.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(content)
        file.flush()
        os.fsync(descriptor)
    unfinished.replace(path)


def ensure_key(path: Path) -> Path:
    """A secret file of 32 random bytes in base64, made once and kept from then on."""
    if not path.exists():
        write_private(path, base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
    return path
