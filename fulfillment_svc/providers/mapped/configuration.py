"""The file that describes providers, in the order in which they are asked.

```toml
[[provider]]
name = "giftly"
adapter = "http"                      # or "by_hand", which has none of what follows serves
countries = ["DE", "FR"]              # what it serves; everything where a list is left out
currencies = ["EUR"]
brands = ["Kaffa"]
kinds = ["CLOSED_LOOP"]
items_max = 1
idempotent = true                     # a reference is never issued twice
visibility_s = 30                     # so long a query may not show an order yet
pending_s = 3600                      # so long an order may be pending before a person looks at it
timeout_s = 4
callback_secret_file = "/run/secrets/giftly-callbacks"

[provider.secrets]
key = "/run/secrets/giftly-key"       # a file

[provider.headers]
authorization = "Bearer {secret.key}"

[provider.order]                      # sent by POST
url = "https://api.giftly.example/v2/orders"
body = { externalId = "{reference}", cards = [ { sku = "{item.brand}", cents = "{item.value_minor}" } ] }

[provider.query]
method = "GET"
url = "https://api.giftly.example/v2/orders/{reference}"

[[provider.answers]]                  # the first that fits says what an answer means
says = "issued"                       # rejected, pending, not_seen
http = [200, 201]
where = { externalId = "{reference}", status = ["DONE", "SENT"] }
items = "cards"                       # paths like data.0.cards; without it the answer is the one item
code = "code"
rejected = "error.code"
item_where = { cents = "{item.value_minor}" }
```
See `template` for the names.
"""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from standardwebhooks import Webhook
from standardwebhooks.webhooks import EmptyWebhookSecretError

from fulfillment_svc.providers.mapped import template
from fulfillment_svc.providers.mapped.adapter import Description, Request
from fulfillment_svc.providers.mapped.answers import Path as At
from fulfillment_svc.providers.mapped.answers import Rule, Says, Where
from fulfillment_svc.providers.mapped.fields import Fields
from fulfillment_svc.providers.serving import Served
from fulfillment_svc.webhooks import ssrf
from svckit.errors import Refused

# Well under the saga's lease, with the look-up of a name before it.
TIMEOUT_MAX_S: Final = 8.0
_DAY_S: Final = 86_400.0
_NAME: Final = r"[a-z][a-z0-9-]{0,39}"
# The names of what is there without a file.
_TAKEN: Final = frozenset({"sandbox", "cashback"})
_OF_ORDER: Final = frozenset(f"{name}{form}" for name in ("value", "total") for form in ("", "_number", "_minor")) | {
    "reference",
    "program",
    "member",
    "country",
    "kind",
    "brand",
    "currency",
    "quantity",
}
_OF_ITEM: Final = _OF_ORDER | {
    "item.number", "item.brand", "item.currency", "item.value", "item.value_number", "item.value_minor",
}  # fmt: skip
_HEADERS: Final = {"accept": "application/json", "content-type": "application/json"}


@dataclass(frozen=True, slots=True)
class Configured:
    """A provider of the file: what it serves, and how it is asked, or None if it is a person. `callback_secrets` sign
    its callbacks."""

    name: str
    serves: Served
    described: Description | None
    callback_secrets: tuple[str, ...] = field(default=(), repr=False)


def read(path: Path, *, allow_http: bool) -> list[Configured]:
    """The providers of a file. Raises SystemExit that names what is wrong; plain http only where it is allowed."""
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SystemExit(f"{path} cannot be read: {error}") from None
    file = Fields(str(path), found)
    configured = [_provider(fields, allow_http=allow_http) for fields in file.tables("provider")]
    file.end()
    names = [one.name for one in configured]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        file.wrong("provider", f"has {twice[0]} twice")
    return configured


def _provider(fields: Fields, *, allow_http: bool) -> Configured:
    name = fields.text("name", _NAME)
    if name in _TAKEN:
        fields.wrong("name", f"{name} is taken")
    adapter = fields.text("adapter", "http|by_hand")
    serves = Served(
        countries=fields.texts("countries", "[A-Z]{2}"),
        currencies=fields.texts("currencies", "[A-Z]{3}"),
        brands=fields.texts("brands"),
        kinds=fields.texts("kinds", "[A-Z_]+"),
        items_max=int(fields.number("items_max", 1, 100, default=100)),
    )
    secrets = _callback_secrets(fields) if fields.has("callback_secret_file") else ()
    described = _description(fields, allow_http=allow_http) if adapter == "http" else None
    fields.end()
    return Configured(name, serves, described, secrets)


def _description(fields: Fields, *, allow_http: bool) -> Description:
    headers = _headers(fields)
    order, query = fields.table("order"), fields.table("query")
    ordered = _request(order, "POST", headers, allow_http=allow_http)
    asked = _request(query, query.text("method", "GET|POST"), headers, allow_http=allow_http)
    for of, request in ((order, ordered), (query, asked)):
        if "reference" not in {*template.names(request.url), *template.names(request.body)}:
            of.wrong("", "must send {reference}")
    return Description(
        order=ordered,
        query=asked,
        rules=tuple(map(_rule, fields.tables("answers"))),
        idempotent=fields.flag("idempotent"),
        visibility_s=fields.number("visibility_s", 0, _DAY_S),
        pending_s=fields.number("pending_s", 0, 30 * _DAY_S, default=0),
        timeout_s=fields.number("timeout_s", 0.1, TIMEOUT_MAX_S),
    )


def _headers(fields: Fields) -> Mapping[str, str]:
    files = fields.table("secrets")
    known = {f"secret.{name}": _secret(files, name) for name in files.names()}
    table = fields.table("headers")
    headers = dict(_HEADERS)
    for name in table.names():
        text = table.text(name, r"[ -~]+")
        _check_names(table, name, text, frozenset(known))
        if not re.fullmatch(r"[A-Za-z0-9-]+", name):
            table.wrong(name, "is no name of a header")
        headers[name.lower()] = str(template.filled_with(text, known))
    return headers


def _secret(fields: Fields, name: str) -> str:
    path = Path(fields.text(name))
    try:
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError):
        fields.wrong(name, f"names {path}, which cannot be read")
    if not secret or not secret.isprintable():
        fields.wrong(name, f"names {path}, which holds no text of one line")
    return secret


def _callback_secrets(fields: Fields) -> tuple[str, ...]:
    secrets = tuple(_secret(fields, "callback_secret_file").split())
    try:
        for secret in secrets:
            Webhook(secret)
    except (ValueError, EmptyWebhookSecretError):
        fields.wrong("callback_secret_file", "names a file that holds no secrets in base64")
    return secrets


def _request(fields: Fields, method: str, headers: Mapping[str, str], *, allow_http: bool) -> Request:
    url = fields.text("url")
    _check_names(fields, "url", url, _OF_ORDER)
    try:
        # Whatever stands in a name's place later, it must not be part of the host.
        place, other = (ssrf.read(re.sub(r"\{[^}]*\}", stands, url)) for stands in ("a", "b"))
    except Refused:
        fields.wrong("url", "is no plain URL")
    if (place.host, place.port) != (other.host, other.port):
        fields.wrong("url", "must not have a name in its host")
    if not allow_http and (place.scheme, place.port) != ("https", 443):
        fields.wrong("url", "must be https on port 443")
    body = fields.value("body") if fields.has("body") else None
    _check_names(fields, "body", body, _OF_ITEM)
    fields.end()
    return Request(method, url, headers, body)


def _rule(fields: Fields) -> Rule:
    says = Says(fields.text("says", "|".join(Says)))
    http = _statuses(fields, says)
    where = _where(fields, "where", _OF_ORDER)
    if says in (Says.ISSUED, Says.REJECTED) and not any("{reference}" in allowed for allowed in where.values()):
        fields.wrong("where", "must compare something with {reference}")
    if says is Says.ISSUED:
        rule = Rule(
            says=says,
            http=http,
            where=where,
            items=_at(fields, "items"),
            code=_at(fields, "code") or (),
            rejected=_at(fields, "rejected"),
            item_where=_where(fields, "item_where", _OF_ITEM),
        )
    else:
        rule = Rule(says=says, http=http, where=where, reason=_at(fields, "reason"))
    fields.end()
    return rule


def _statuses(fields: Fields, says: Says) -> frozenset[int]:
    found = fields.value("http")
    if not isinstance(found, list) or not found or not all(type(one) is int for one in found):
        fields.wrong("http", "must be a list of HTTP statuses")
    # Whoever answers 5xx may have issued all the same, and a redirect is no answer.
    if not all(200 <= one < 300 or 400 <= one < 500 for one in found):  # noqa: PLR2004 - classes of HTTP statuses
        fields.wrong("http", f"cannot mean {says} outside of 2xx and 4xx")
    return frozenset(found)


def _where(fields: Fields, name: str, known: frozenset[str]) -> Where:
    table = fields.table(name)
    where: dict[At, tuple[object, ...]] = {}
    for path in table.names():
        sent = table.value(path)
        allowed = tuple(sent) if isinstance(sent, list) else (sent,)
        if not allowed or not all(isinstance(one, str | int | float) for one in allowed):
            table.wrong(path, "must be a value or a list of values")
        _check_names(table, path, list(allowed), known)
        where[tuple(path.split("."))] = allowed
    return where


def _at(fields: Fields, name: str) -> At | None:
    return tuple(fields.text(name).split(".")) if fields.has(name) else None


def _check_names(fields: Fields, name: str, value: object, known: frozenset[str]) -> None:
    if unknown := sorted(set(template.names(value)) - known):
        fields.wrong(name, f"names {{{unknown[0]}}}, which there is not")
