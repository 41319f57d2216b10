"""Ends with 0 if the server of this pod reports SERVING, asked over mTLS with the pod's own certificate."""  # noqa: INP001 - it is mounted alone

import os
import sys
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_ANSWER_S = 2.0

tls = Path(os.environ["REWARDS_TLS_DIR"])
port = os.environ["REWARDS_LISTEN"].rpartition(":")[2]
credentials = grpc.ssl_channel_credentials(
    (tls / "ca.crt").read_bytes(), (tls / "tls.key").read_bytes(), (tls / "tls.crt").read_bytes()
)
options = [("grpc.ssl_target_name_override", os.environ["PROBE_SERVER_NAME"])]
with grpc.secure_channel(f"127.0.0.1:{port}", credentials, options) as channel:
    try:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=_ANSWER_S)
    except grpc.RpcError as error:
        # Kubernetes shows this line in the pod's events.
        sys.exit(f"{error.code().name}: {error.details()}")
if answer.status != health_pb2.HealthCheckResponse.SERVING:
    sys.exit(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
