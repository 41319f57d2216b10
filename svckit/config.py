"""Configuration, read once from the environment. Absence has a good default or is a loud stop."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self


def required(name: str) -> str:
    """The variable's value. Raises SystemExit that names it if it is not set."""
    value = os.environ.get(name, "")
    if not value:
        raise SystemExit(f"{name} is not set")
    return value


def secret(name: str) -> bytes:
    """The content of the file that the variable names, without white space at its ends."""
    path = Path(required(name))
    if not path.is_file():
        raise SystemExit(f"{name} names {path}, which is not a file")
    return path.read_bytes().strip()


@dataclass(frozen=True, slots=True)
class Config:
    """What every service needs. Addresses are host:port; `peers` maps a service's name to its address."""

    listen: str
    tls_dir: Path
    metrics_listen: str = ""
    environment: str = "development"
    peers: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_env(cls) -> Self:
        """Reads REWARDS_LISTEN, REWARDS_TLS_DIR, REWARDS_METRICS_LISTEN, REWARDS_ENVIRONMENT and
        REWARDS_PEERS ("ledger_svc=127.0.0.1:5002,identity_svc=127.0.0.1:5001")."""
        pairs = (pair.partition("=") for pair in os.environ.get("REWARDS_PEERS", "").split(",") if pair)
        return cls(
            listen=required("REWARDS_LISTEN"),
            tls_dir=Path(required("REWARDS_TLS_DIR")),
            metrics_listen=os.environ.get("REWARDS_METRICS_LISTEN", ""),
            environment=os.environ.get("REWARDS_ENVIRONMENT", "development"),
            peers={name: address for name, _, address in pairs},
        )
