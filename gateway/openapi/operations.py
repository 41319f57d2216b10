"""One operation of the document: a REST form of an RPC."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from rewards.options.v1 import options_pb2
from rewards.options.v1.options_pb2 import Deprecation

from gateway.openapi.comments import Comments, summary
from gateway.openapi.forms import FORMS
from gateway.openapi.headers import DEPRECATED, LIMITS, REPLAYED, TAGGED, referred
from gateway.openapi.messages import Messages
from gateway.openapi.refusals import Refusals, refused_with
from gateway.openapi.rules import Schema
from gateway.surface import HTTP_BODY, VARIABLE, Binding, Rpc, family
from gateway.versions import deprecation

Json = dict[str, Any]

_KEY_NEEDED: Final = options_pb2.Idempotency.IDEMPOTENCY_REQUIRED
_NO_KEY: Final = options_pb2.Idempotency.IDEMPOTENCY_UNSPECIFIED


class Operations:
    """Makes operations out of what the protos say."""

    def __init__(
        self, comments: Comments, messages: Messages, refusals: Refusals, versions: Mapping[str, Deprecation]
    ) -> None:
        self._versions = versions
        self._comments = comments
        self._messages = messages
        self._refusals = refusals

    def of(self, rpc: Rpc, binding: Binding) -> Json:
        """The operation that a binding of an RPC is."""
        text = self._comments.of(f"{rpc.service}.{rpc.name}")
        service = rpc.service.rpartition(".")[2].removesuffix("Service")
        nth = rpc.bindings.index(binding)
        made: Json = {
            "operationId": f"{service}_{rpc.name}" + (str(nth + 1) if nth else ""),
            "tags": [service],
            "summary": summary(text),
            "description": text,
            "security": _security(rpc),
        }
        parameters = list(self._parameters(rpc, binding))
        if parameters:
            made["parameters"] = parameters
        if binding.body:
            made["requestBody"] = self._body(rpc, binding)
        made["responses"] = {"200": self._success(rpc, binding), **self._refused(rpc, binding, text)}
        if rpc.conditional:
            made["responses"]["304"] = {"description": "It is what If-None-Match names.", "headers": referred(TAGGED)}
        ending = deprecation(rpc, binding, self._versions)
        if ending is not None:
            made["deprecated"] = True
            made["description"] = f"{text}\n\n{_farewell(ending)}"
            made["responses"]["200"]["headers"] |= referred(DEPRECATED)
        return made

    def _refused(self, rpc: Rpc, binding: Binding, comment: str) -> Json:
        form = family(binding.template)
        names = refused_with(rpc, comment, json_body=bool(binding.body) and not self._is_raw(rpc, binding))
        # There the body holds the credential (RFC 6749 section 5.2), and no comment has to say so.
        more = {"UNAUTHENTICATED"} if form.startswith("oauth") else set()
        return self._refusals.of(names | more, form)

    def _parameters(self, rpc: Rpc, binding: Binding) -> Iterator[Json]:
        message = self._messages.find(rpc.request)
        must, _ = self._messages.required(message)
        for field in message.fields:
            if field.name in binding.variables:
                yield self._parameter(field, "path", needed=True)
            elif binding.body not in {"*", field.name}:
                yield self._parameter(field, "query", needed=field.name in must)
        if rpc.idempotency != _NO_KEY:
            needed = rpc.idempotency == _KEY_NEEDED
            yield {"$ref": f"#/components/parameters/{'IdempotencyKey' if needed else 'OptionalIdempotencyKey'}"}
        if rpc.conditional:
            yield {"$ref": "#/components/parameters/IfNoneMatch"}

    def _parameter(self, field: FieldDescriptor, place: str, *, needed: bool) -> Json:
        schema = self._messages.field(field, sent=True)
        text = schema.pop("description", "")
        return {"name": field.json_name, "in": place, "required": needed, "description": text, "schema": schema}

    def _is_raw(self, rpc: Rpc, binding: Binding) -> bool:
        """Whether the service reads the body by itself, and then says what it cannot read."""
        field = self._messages.find(rpc.request).fields_by_name.get(binding.body)
        return field is not None and field.message_type is not None and field.message_type.full_name == HTTP_BODY

    def _body(self, rpc: Rpc, binding: Binding) -> Json:
        message = self._messages.find(rpc.request)
        if binding.body != "*":
            schema = self._messages.field(message.fields_by_name[binding.body], sent=True)
            if self._is_raw(rpc, binding):
                return _raw(rpc, schema)
            return {"required": True, "content": {"application/json": {"schema": schema}}}
        elsewhere = [message.fields_by_name[name].json_name for name in binding.variables]
        must, one_of = self._messages.required(message)
        needed = bool(one_of or must - set(binding.variables))
        schema = self._messages.request(message, elsewhere)
        return {"required": needed, "content": {"application/json": {"schema": schema}}}

    def _success(self, rpc: Rpc, binding: Binding) -> Json:
        message = self._messages.find(rpc.response)
        names = () if rpc.open_to_all else LIMITS
        keyed = () if rpc.idempotency == _NO_KEY else (REPLAYED,)
        tagged = TAGGED if rpc.conditional else ()
        made: Json = {"description": "Done.", "headers": referred((*names, *keyed, *tagged))}
        if rpc.response == HTTP_BODY:
            return {**made, "content": {"*/*": {}}}
        if binding.response_body:
            schema = self._messages.field(message.fields_by_name[binding.response_body], sent=False)
        else:
            schema = self._messages.answer(message)
        return {**made, "content": {"application/json": {"schema": self._in_form(schema, message, binding)}}}

    def _in_form(self, schema: Schema, message: Descriptor, binding: Binding) -> Schema:
        form = family(binding.template)
        if form in {"oauth", "plain"}:
            return schema
        members: Json = {
            "IsSucessful": {"const": True},
            "ErrorCode": {"const": 0},
            "ExceptionMessage": {"type": "null"},
            "ReturnObject": schema,
        }
        if form == "oauth_enveloped":
            members = {
                **{field.json_name: self._messages.field(field, sent=False) for field in message.fields},
                **members,
            }
        return {"type": "object", "required": [*members], "properties": members}


def path_of(messages: Messages, rpc: Rpc, binding: Binding) -> str:
    """The path of a binding, with its variables named as in JSON."""
    fields = messages.find(rpc.request).fields_by_name
    return VARIABLE.sub(lambda found: f"{{{fields[found[1]].json_name}}}", binding.template)


def _farewell(ending: Deprecation) -> str:
    gone = f", and may be gone from {ending.sunset} on" if ending.sunset else ""
    return f"Deprecated since {ending.since}{gone}: see <{ending.link}>."


def _security(rpc: Rpc) -> list[Json]:
    if rpc.open_to_all:
        return []
    scopes = [rpc.access.scope] if rpc.access.scope else []
    may = scopes or rpc.access.partner
    partner: list[Json] = [{kind: scopes} for kind in ("oauth2", "bearer", "apiKey")] if may else []
    member: list[Json] = [{"memberToken": []}] if rpc.access.member else []
    operator: list[Json] = [{"operatorToken": []}] if rpc.access.operator else []
    return [*partner, *member, *operator]


def _raw(rpc: Rpc, schema: Schema) -> Json:
    """A body that the service reads by itself: a form, or the same as JSON."""
    form = FORMS.get(rpc.name, {"type": "object", "additionalProperties": {"type": "string"}})
    content = {kind: {"schema": form} for kind in ("application/x-www-form-urlencoded", "application/json")}
    return {"required": True, "description": schema.get("description", ""), "content": content}
