"""What a version's JSON is, one fact a line: for people to compare, and for a test to hold.

`>` is what a call takes, `<` what it gives: the ReturnObject of 200, and ErrorCodes of the others; `*` marks what must
be or will be there.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

Json = dict[str, Any]

_WORDS: Final = {"description", "examples", "properties", "required", "items", "additionalProperties", "oneOf"}


def shapes(document: Json, root: str) -> str:
    """The facts about every call under `root`, for example "/v1/"."""
    reader = _Reader(document)
    found = [
        line
        for path, methods in sorted(document["paths"].items())
        if path.startswith(root)
        for method, operation in sorted(methods.items())
        for line in reader.operation(f"{method.upper()} {path}", operation)
    ]
    return "\n".join([*found, *reader.refusal(), ""])


class _Reader:
    def __init__(self, document: Json) -> None:
        self._components: Json = document["components"]

    def operation(self, name: str, operation: Json) -> Iterator[str]:
        yield name
        doors = (" ".join([name, *scopes]) for door in operation["security"] for name, scopes in door.items())
        yield f"  for {', '.join(doors) or 'everybody'}"
        for parameter in map(self._resolved, operation.get("parameters", ())):
            place = f"{parameter['in']} {parameter['name']}"
            yield from self._value(f"  > {place}", parameter["schema"], must=parameter["required"])
        body = operation.get("requestBody", {})
        for content in body.get("content", {}).values():
            yield from self._value("  > body", content["schema"], must=body["required"])
        for status, answer in operation["responses"].items():
            found = self._resolved(answer)
            if "content" not in found:
                yield f"  < {status}"
            for kind, content in found.get("content", {}).items():
                members = content.get("schema", {}).get("properties", {})
                if status == "200":
                    yield from self._value(f"  < {kind}", members.get("ReturnObject", {}), must=True)
                else:
                    yield f"  < {status} {' '.join(map(str, members['ErrorCode']['enum']))}"

    def refusal(self) -> Iterator[str]:
        """What every refusal looks like."""
        yield "a refusal"
        yield from self._value("  <", self._components["schemas"]["Refusal"], must=True)

    def _value(self, place: str, schema: Json, *, must: bool, inside: tuple[str, ...] = ()) -> Iterator[str]:
        name = schema.get("$ref", "")
        if name in inside:
            yield f"{place} as {name.rpartition('/')[2]} above"
            return
        inside = (*inside, name) if name else inside
        found = self._resolved(schema)
        rest = {key: value for key, value in found.items() if key not in _WORDS}
        closed = found.get("additionalProperties") is False
        yield f"{place}{'*' if must else ''} {json.dumps(rest, sort_keys=True)}{' and nothing else' if closed else ''}"
        for choice in found.get("oneOf", ()):
            yield f"{place} or {json.dumps(choice)}"
        required = found.get("required", ())
        for key, inner in found.get("properties", {}).items():
            yield from self._value(f"{place}.{key}", inner, must=key in required, inside=inside)
        if "items" in found:
            yield from self._value(f"{place}[]", found["items"], must=True, inside=inside)
        if isinstance(found.get("additionalProperties"), dict):
            yield from self._value(f"{place}.{{}}", found["additionalProperties"], must=True, inside=inside)

    def _resolved(self, node: Json) -> Json:
        if "$ref" not in node:
            return node
        kind, name = node["$ref"].removeprefix("#/components/").split("/", 1)
        found: Json = self._components[kind][name]
        return found
