"""Who delivers: the lines of providers, put together once."""

from collections.abc import Iterable
from typing import Final

from fulfillment_svc.providers import Provider
from fulfillment_svc.providers.by_hand import ByHand
from fulfillment_svc.providers.cashback import NAME, Cashback
from fulfillment_svc.providers.mapped.adapter import MappedProvider
from fulfillment_svc.providers.mapped.configuration import Configured
from fulfillment_svc.providers.routing import Place, Router
from fulfillment_svc.providers.serving import Served, by_cashback
from fulfillment_svc.webhooks.ssrf import Guard

SANDBOX: Final = "sandbox"


def assemble(sandbox: Provider, cashback: Cashback, configured: Iterable[Configured], guard: Guard) -> Router:
    """The router of all programs: cashback goes to the ledger, everything else of a sandbox program to the sandbox
    provider and nowhere else (G50), that of a live one to the providers that are configured."""
    ledger = Place(NAME, cashback, by_cashback)
    live = [Place(one.name, _provider(one, guard), one.serves.objection) for one in configured]
    return Router([ledger, Place(SANDBOX, sandbox, Served().objection)], [ledger, *live])


def _provider(configured: Configured, guard: Guard) -> Provider:
    return ByHand() if configured.described is None else MappedProvider(configured.described, guard)
