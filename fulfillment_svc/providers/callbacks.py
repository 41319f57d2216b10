"""ProvidersService: takes providers' callbacks, and makes of each nothing but a question to the provider."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

from rewards.fulfillment.v1 import providers_pb2 as pb
from rewards.fulfillment.v1.providers_pb2_grpc import ProvidersServiceServicer
from standardwebhooks import Webhook, WebhookVerificationError

from svckit import call
from svckit.errors import Reason, Refused, invalid

_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")

LookAgain = Callable[[str, UUID], Awaitable[None]]


class CallbacksServicer(ProvidersServiceServicer):
    """Knows providers by their `secrets`, any of which may sign. `look_again` takes a provider's name and our reference
    of the order that it has called about."""

    def __init__(self, secrets: Mapping[str, Sequence[str]], look_again: LookAgain) -> None:
        self._webhooks = {name: [Webhook(secret) for secret in known] for name, known in secrets.items()}
        self._look_again = look_again

    async def ReceiveCallback(self, request: pb.ReceiveCallbackRequest, context: Any) -> pb.ReceiveCallbackResponse:
        """Has the provider asked about the order. What the callback says of it is not even read."""
        sent = call.current().metadata
        headers = {name: sent.get(name, "") for name in _HEADERS}
        payload = request.payload.data
        if not any(_signed(webhook, payload, headers) for webhook in self._webhooks.get(request.provider, ())):
            raise Refused(Reason.UNAUTHENTICATED, "The signature is not good.")
        await self._look_again(request.provider, _reference(payload))
        return pb.ReceiveCallbackResponse()


def _signed(webhook: Webhook, payload: bytes, headers: dict[str, str]) -> bool:
    try:
        webhook.verify(payload, headers, json_parse=False)
    except (WebhookVerificationError, ValueError):
        return False
    return True


def _reference(payload: bytes) -> UUID:
    try:
        return UUID(json.loads(payload)["reference"])
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise invalid(reference="must be the reference of an order") from None
