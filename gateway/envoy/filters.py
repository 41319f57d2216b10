"""The HTTP filters, in the order in which a request meets them."""

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from google.protobuf.descriptor_pb2 import FileDescriptorSet

from gateway.surface import Rpc, for_transcoder

BODY_MAX_BYTES: Final = 1 << 20
# Under the connection's buffer, with room for the envelope: what outgrows that buffer breaks off half-sent.
ANSWER_MAX_BYTES: Final = 3 << 20
_HTTP: Final = "type.googleapis.com/envoy.extensions.filters.http."
_AUTHZ: Final = "envoy.filters.http.ext_authz"
# Callers without a credential share what their address may do: the sandbox and an office have one address.
_PEER_LIMIT: Final = {"rps": "50", "burst": "200", "cost": "1"}
# Where secrets and codes could be guessed an address has this much of each Envoy, whatever credentials it shows.
_GUESSED: Final = "/rewards.(identity.v1.(SignIn|Token)|fulfillment.v1.Claim(s|Pages))Service/.*"
_GUESSES_PER_S, _GUESSES_BURST = 50, 200
# While the limiter is down, each credential or address has this much of each Envoy.
_LOCAL_RPS, _LOCAL_BURST = 200, 400
_COUNTED: Final = "x-rewards-limits"
_REFUSE: Final = Path(__file__).with_name("refuse.lua")


def http_filters(rpcs: Iterable[Rpc], descriptors: FileDescriptorSet, script: str) -> list[dict[str, Any]]:
    """The whole chain; the last one sends the request on."""
    return [
        _filter("health_check", "health_check.v3.HealthCheck", pass_through_mode=False, headers=[_is("/healthz")]),
        _filter("cors", "cors.v3.Cors"),
        _compressor(),
        _trace_id(),
        _filter("lua", "lua.v3.Lua", default_source_code={"inline_string": script}),
        _transcoder(rpcs, descriptors),
        _ext_authz(),
        _ratelimit(),
        _filter("refuse", "lua.v3.Lua", default_source_code={"inline_string": _REFUSE.read_text()}),
        _local_ratelimit(),
        _filter("router", "router.v3.Router", suppress_envoy_headers=True),
    ]


def _trace_id() -> dict[str, Any]:
    """The trace's id on every answer, and on the request, where Envoy's late errors can still read it."""
    header = {"key": "x-trace-id", "value": "%TRACE_ID%"}
    mutation = [{"append": {"header": header, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}]
    both = {"request_mutations": mutation, "response_mutations": mutation}
    return _filter("header_mutation", "header_mutation.v3.HeaderMutation", mutations=both)


def _filter(name: str, message: str, **config: Any) -> dict[str, Any]:
    return {"name": f"envoy.filters.http.{name}", "typed_config": {"@type": _HTTP + message, **config}}


def _is(path: str) -> dict[str, Any]:
    return {"name": ":path", "string_match": {"exact": path}}


def _compressor() -> dict[str, Any]:
    types = [{"exact": kind} for kind in ("application/json", "text/csv")]
    gzip = {
        "name": "gzip",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.compression.gzip.compressor.v3.Gzip",
            "compression_level": "COMPRESSION_LEVEL_3",
        },
    }
    common = {"min_content_length": 1024, "content_type_matcher": types}
    return _filter(
        "compressor",
        "compressor.v3.Compressor",
        compressor_library=gzip,
        # A 304 has no content type any more, and the filter would give it a body: the ten bytes of an empty gzip.
        response_direction_config={
            "common_config": common,
            "uncompressible_response_codes": [304],
            "weaken_etag_on_compress": True,  # else a strong one is dropped
        },
    )


def _transcoder(rpcs: Iterable[Rpc], descriptors: FileDescriptorSet) -> dict[str, Any]:
    services = sorted({rpc.service for rpc in rpcs if rpc.bindings})
    return _filter(
        "grpc_json_transcoder",
        "grpc_json_transcoder.v3.GrpcJsonTranscoder",
        proto_descriptor_bin=base64.b64encode(for_transcoder(descriptors).SerializeToString()).decode(),
        services=services,
        convert_grpc_status=True,
        case_insensitive_enum_parsing=True,
        print_options={"always_print_primitive_fields": True},
        max_request_body_size=BODY_MAX_BYTES,
        max_response_body_size=ANSWER_MAX_BYTES,
        # Only what the Lua filter has let through comes here; these are a second lock on the same door.
        request_validation_options={
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
    )


def _ext_authz() -> dict[str, Any]:
    sent = ("authorization", "x-api-key", "content-type", "x-envoy-original-path")
    return _filter(
        "ext_authz",
        "ext_authz.v3.ExtAuthz",
        grpc_service=_grpc("identity_svc", "1s"),
        transport_api_version="V3",
        failure_mode_allow=False,
        status_on_error={"code": "ServiceUnavailable"},
        allowed_headers={"patterns": [{"exact": name} for name in sent]},
        validate_mutations=True,
    )


def _ratelimit() -> dict[str, Any]:
    names = ("credential", "rps", "burst", "daily", "cost")
    metadata = [_metadata(name) for name in names]
    peer = [_anonymous(), {"remote_address": {}}, *(_constant(*pair) for pair in _PEER_LIMIT.items())]
    return _filter(
        "ratelimit",
        "ratelimit.v3.RateLimit",
        domain="rewards",
        timeout="0.3s",
        failure_mode_deny=False,
        rate_limited_as_resource_exhausted=True,
        disable_x_envoy_ratelimited_header=True,
        rate_limit_service={"grpc_service": _grpc("ratelimit", "0.3s"), "transport_api_version": "V3"},
        rate_limits=[{"actions": metadata}, {"actions": peer}],
    )


def _local_ratelimit() -> dict[str, Any]:
    """What bounds callers while the limiter does not answer: it marks each request that it has counted. And at any time
    those who could be guessing, by their address."""
    bucket = {"max_tokens": _LOCAL_BURST, "tokens_per_fill": _LOCAL_RPS, "fill_interval": "1s"}
    guesses = {"max_tokens": _GUESSES_BURST, "tokens_per_fill": _GUESSES_PER_S, "fill_interval": "1s"}
    path = {"name": ":path", "string_match": {"safe_regex": {"regex": _GUESSED}}}
    guessing = {"header_value_match": {"descriptor_key": "guessing", "descriptor_value": "yes", "headers": [path]}}
    everything = {"runtime_key": "local_ratelimit", "default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    uncounted = {"header_value_match": {"descriptor_key": "uncounted", "descriptor_value": "yes", **_absent(_COUNTED)}}
    return _filter(
        "local_ratelimit",
        "local_ratelimit.v3.LocalRateLimit",
        stat_prefix="limiter_down",
        # The filter must have a bucket for requests that no descriptor names; those are the counted ones.
        token_bucket={"max_tokens": 4_000_000_000, "tokens_per_fill": 4_000_000_000, "fill_interval": "1s"},
        filter_enabled=everything,
        filter_enforced=everything,
        enable_x_ratelimit_headers="OFF",
        rate_limited_as_resource_exhausted=True,
        max_dynamic_descriptors=10_000,
        rate_limits=[
            {"actions": [uncounted, _metadata("credential")]},
            {"actions": [uncounted, _anonymous(), {"remote_address": {}}]},
            {"actions": [guessing, {"remote_address": {}}]},
        ],
        descriptors=[
            {"entries": [{"key": "guessing", "value": "yes"}, {"key": "remote_address"}], "token_bucket": guesses},
            {"entries": [{"key": "uncounted", "value": "yes"}, {"key": "credential"}], "token_bucket": bucket},
            {
                "entries": [
                    {"key": "uncounted", "value": "yes"},
                    {"key": "anonymous", "value": "yes"},
                    {"key": "remote_address"},
                ],
                "token_bucket": bucket,
            },
        ],
    )


def _absent(header: str) -> dict[str, Any]:
    return {"expect_match": False, "headers": [{"name": header, "present_match": True}]}


def _anonymous() -> dict[str, Any]:
    """Yields no descriptor for a request that the gatekeeper knows the credential of."""
    known = _absent("x-rewards-credential")
    return {"header_value_match": {"descriptor_key": "anonymous", "descriptor_value": "yes", **known}}


def _metadata(name: str) -> dict[str, Any]:
    key = {"key": _AUTHZ, "path": [{"key": name}]}
    return {"metadata": {"descriptor_key": name, "metadata_key": key, "source": "DYNAMIC"}}


def _constant(name: str, value: str) -> dict[str, Any]:
    return {"generic_key": {"descriptor_key": name, "descriptor_value": value}}


def _grpc(cluster: str, timeout: str) -> dict[str, Any]:
    return {"envoy_grpc": {"cluster_name": cluster}, "timeout": timeout}
