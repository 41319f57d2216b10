"""The baseline of the posting figures: RedeemPoints answered with an empty message at once, by svckit's own server
with its mTLS and all of its interceptors. It is configured as a service is."""

from typing import Any

from rewards.ledger.v1 import points_pb2 as pb
from rewards.ledger.v1.points_pb2_grpc import PointsServiceServicer

from svckit import server, telemetry
from svckit.config import Config


class _Empty(PointsServiceServicer):
    async def RedeemPoints(self, request: pb.RedeemPointsRequest, context: Any) -> pb.RedeemPointsResponse:
        return pb.RedeemPointsResponse()


async def main() -> None:
    """Serves until it is told to stop."""
    config = Config.from_env()
    telemetry.start("empty", config.environment, config.metrics_listen)
    await server.serve(config, [_Empty()])  # type: ignore[abstract] # nobody calls the others


if __name__ == "__main__":
    server.run(main())
