"""For tests: a servicer behind the real server, interceptors and mTLS, and a channel to it."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from svckit import admission, server
from svckit.call import Kind, Principal
from svckit.config import Config


@asynccontextmanager
async def serving(tls_dir: Path, servicers: Sequence[object]) -> AsyncIterator[str]:
    """Serves on a free port of the loopback with the certificate in `tls_dir`; gives its address."""
    built, _, port = server.build(Config(listen="127.0.0.1:0", tls_dir=tls_dir), servicers)
    await built.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await built.stop(grace=0)


def headers(principal: Principal, key: str | None = None) -> tuple[tuple[str, str], ...]:
    """The metadata of a call that the gateway passes on for `principal`, under idempotency `key`."""
    caller = {admission.HEADER_KIND: principal.kind.value, admission.HEADER_PROGRAM: principal.program_id}
    caller |= {admission.HEADER_CREDENTIAL: principal.name, admission.HEADER_MEMBER: principal.member_id}
    caller |= {admission.HEADER_SCOPES: " ".join(sorted(principal.scopes))}
    return tuple((caller if key is None else caller | {"idempotency-key": key}).items())


def partner(program_id: str, *scopes: str, name: str = "test-credential") -> Principal:
    """A partner's credential of a program."""
    return Principal(Kind.PARTNER, name, program_id, frozenset(scopes))
