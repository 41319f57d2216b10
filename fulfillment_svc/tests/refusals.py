"""What calls are refused with."""

from collections.abc import Awaitable

import grpc
import pytest
from grpc_status import rpc_status

from svckit.errors import Reason, Refused, from_status


async def refusal(call: Awaitable[object]) -> Refused:
    """What a call is refused with."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(caught.value)  # type: ignore[arg-type]
    assert status is not None, caught.value.code()
    return from_status(status)


async def reason(call: Awaitable[object]) -> str:
    """The name of the reason that a call is refused with."""
    return Reason.Name((await refusal(call)).reason)
