"""What fulfillment_svc alone is told, besides `svckit.config`."""

import os
from dataclasses import dataclass
from email.headerregistry import Address
from pathlib import Path
from typing import Self

from fulfillment_svc.providers.mapped import configuration
from fulfillment_svc.providers.mapped.configuration import Configured
from svckit.config import required, secret

_DEFAULT_SENDER = "Rewards <no-reply@rewards.mesh>"


@dataclass(frozen=True, slots=True)
class Settings:
    """`smtp` is host and port; `code_keys` are the master keys, base64, one a line, the current one first.
    `provider_url` is the sandbox provider's, and `provider_secrets` sign its callbacks: base64, any of them may.
    `providers` are those of live programs. `site` is where claim links begin."""

    database_url: str
    fingerprint_key: bytes
    code_keys: bytes
    smtp: tuple[str, int]
    mail_sender: Address
    provider_url: str
    provider_secrets: tuple[str, ...]
    providers: tuple[Configured, ...]
    webhook_allow_loopback: bool
    site: str

    @classmethod
    def from_env(cls) -> Self:
        """Reads REWARDS_DATABASE_URL, REWARDS_FINGERPRINT_KEY_FILE, REWARDS_CODE_KEY_FILE, REWARDS_SMTP,
        REWARDS_MAIL_FROM, REWARDS_PROVIDER_URL, REWARDS_PROVIDER_SECRET_FILE, REWARDS_PROVIDERS_FILE (see
        `providers.mapped.configuration`), REWARDS_WEBHOOK_ALLOW_LOOPBACK and REWARDS_PUBLIC_URL."""
        host, _, port = required("REWARDS_SMTP").rpartition(":")
        name, _, address = os.environ.get("REWARDS_MAIL_FROM", _DEFAULT_SENDER).rpartition("<")
        allow_loopback = os.environ.get("REWARDS_WEBHOOK_ALLOW_LOOPBACK") == "true"
        providers = os.environ.get("REWARDS_PROVIDERS_FILE")
        return cls(
            database_url=required("REWARDS_DATABASE_URL"),
            fingerprint_key=secret("REWARDS_FINGERPRINT_KEY_FILE"),
            code_keys=secret("REWARDS_CODE_KEY_FILE"),
            smtp=(host, int(port)),
            mail_sender=Address(name.strip(), addr_spec=address.rstrip(">")),
            provider_url=required("REWARDS_PROVIDER_URL"),
            provider_secrets=tuple(secret("REWARDS_PROVIDER_SECRET_FILE").decode().split()),
            providers=tuple(configuration.read(Path(providers), allow_http=allow_loopback)) if providers else (),
            webhook_allow_loopback=allow_loopback,
            site=os.environ.get("REWARDS_PUBLIC_URL", "http://127.0.0.1:8080"),
        )
