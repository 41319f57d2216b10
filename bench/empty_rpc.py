"""The baseline of the posting figures: RedeemPoints answered with an empty message at once, by svckit's own server
with its mTLS and all of its interceptors. It is configured as a service is."""

from typing import Any

import grpc
from rewards.ledger.v1 import points_pb2 as pb

from svckit import server, telemetry
from svckit.config import Config
from svckit.server import Served

_SERVICE = pb.DESCRIPTOR.services_by_name["PointsService"]


async def _redeem_points(_: pb.RedeemPointsRequest, __: Any) -> pb.RedeemPointsResponse:
    return pb.RedeemPointsResponse()


def _add(_: object, to: grpc.aio.Server) -> None:
    handler = grpc.unary_unary_rpc_method_handler(
        _redeem_points, pb.RedeemPointsRequest.FromString, pb.RedeemPointsResponse.SerializeToString
    )
    to.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(_SERVICE.full_name, {"RedeemPoints": handler}),))


async def main() -> None:
    """Serves until it is told to stop."""
    config = Config.from_env()
    telemetry.start("empty", config.environment, config.metrics_listen)
    await server.serve(config, [Served(_SERVICE, _add, None)])


if __name__ == "__main__":
    server.run(main())
