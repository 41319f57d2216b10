from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from devmesh.pki import Authority
from identity_svc.tests.running import Clocks, Running, running


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings age by the clock of a test, which a busy machine does not turn."""
    for module in ("gatekeeper.states", "credentials.signing"):
        monkeypatch.setattr(f"identity_svc.{module}.WAIT_S", 10)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
async def bare(
    fresh_url: Callable[[str], Awaitable[str]], authority: Authority, clocks: Clocks
) -> AsyncIterator[Running]:
    """The service on an empty database."""
    async with running(await fresh_url("identity_svc"), authority, clocks) as service:
        yield service


@pytest.fixture
async def identity(bare: Running) -> Running:
    """The service with the program "acme" and the plan "standard"."""
    await bare.seed()
    return bare
