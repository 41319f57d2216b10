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
# Where secrets and codes could be guessed an address has this much of each Envoy, whatever credentials it shows.
_GUESSED: Final = "/rewards.(identity.v1.(SignIn|Token)|fulfillment.v1.Claim(s|Pages))Service/.*"
_GUESSES_PER_S, _GUESSES_BURST = 50, 200
# What Envoy answers by itself is counted by nobody else.
_OWN_PER_S, _OWN_BURST = 200, 400
_COUNTED: Final = "x-rewards-limits"
_REFUSE: Final = Path(__file__).with_name("refuse.lua")


def http_filters(rpcs: Iterable[Rpc], descriptors: FileDescriptorSet, script: str) -> list[dict[str, Any]]:
    """The whole chain; the last one sends the request on."""
    return [
        _filter("health_check", "health_check.v3.HealthCheck", pass_through_mode=False, headers=[_is("/healthz")]),
        _filter("cors", "cors.v3.Cors"),
        _compressor(),
        _early(),
        _filter("lua", "lua.v3.Lua", default_source_code={"inline_string": script}),
        _transcoder(rpcs, descriptors),
        _ext_authz(),
        _filter("refuse", "lua.v3.Lua", default_source_code={"inline_string": _REFUSE.read_text()}),
        _local_ratelimit(),
        _filter("router", "router.v3.Router", suppress_envoy_headers=True),
    ]


def _early() -> dict[str, Any]:
    """The trace's id on every answer, and on the request, where Envoy's late errors can still read it. And for the
    gatekeeper the address that a request comes from."""
    trace = _set("x-trace-id", "%TRACE_ID%")
    peer = _set("x-rewards-peer", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%")
    mutations = {"request_mutations": [trace, peer], "response_mutations": [trace]}
    return _filter("header_mutation", "header_mutation.v3.HeaderMutation", mutations=mutations)


def _set(key: str, value: str) -> dict[str, Any]:
    return {"append": {"header": {"key": key, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}}


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
    sent = ("authorization", "x-api-key", "content-type", "x-envoy-original-path", "x-rewards-peer")
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


def _local_ratelimit() -> dict[str, Any]:
    """What bounds an address whatever it shows: where it could be guessing, and at what Envoy answers by itself. The
    gatekeeper, who bounds everything else, marks each request that it has counted."""
    own = {"max_tokens": _OWN_BURST, "tokens_per_fill": _OWN_PER_S, "fill_interval": "1s"}
    guesses = {"max_tokens": _GUESSES_BURST, "tokens_per_fill": _GUESSES_PER_S, "fill_interval": "1s"}
    guessing = {"headers": [{"name": ":path", "string_match": {"safe_regex": {"regex": _GUESSED}}}]}
    uncounted = {"expect_match": False, "headers": [{"name": _COUNTED, "present_match": True}]}
    everything = {"runtime_key": "local_ratelimit", "default_value": {"numerator": 100, "denominator": "HUNDRED"}}
    bounded = (("guessing", guessing, guesses), ("uncounted", uncounted, own))
    return _filter(
        "local_ratelimit",
        "local_ratelimit.v3.LocalRateLimit",
        stat_prefix="addresses",
        # The filter must have a bucket for requests that no descriptor names; those are all others.
        token_bucket={"max_tokens": 4_000_000_000, "tokens_per_fill": 4_000_000_000, "fill_interval": "1s"},
        filter_enabled=everything,
        filter_enforced=everything,
        enable_x_ratelimit_headers="OFF",
        rate_limited_as_resource_exhausted=True,
        max_dynamic_descriptors=10_000,
        rate_limits=[
            {"actions": [{"header_value_match": _yes(name, match)}, {"remote_address": {}}]}
            for name, match, _ in bounded
        ],
        descriptors=[
            {"entries": [{"key": name, "value": "yes"}, {"key": "remote_address"}], "token_bucket": bucket}
            for name, _, bucket in bounded
        ],
    )


def _yes(name: str, match: dict[str, Any]) -> dict[str, Any]:
    return {"descriptor_key": name, "descriptor_value": "yes", **match}


def _grpc(cluster: str, timeout: str) -> dict[str, Any]:
    return {"envoy_grpc": {"cluster_name": cluster}, "timeout": timeout}
