"""Every operation that takes an id, read off the descriptors, and how it is asked at either door."""

import copy
import secrets
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

import aiohttp
import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

from gateway.surface import DESCRIPTORS, VARIABLE, Binding, Rpc, load, published
from svckit.clock import new_id
from tests.mesh.owners import EXAMPLES, Json, Owner, Thing

_SET: Final = load(DESCRIPTORS)
_POOL: Final = DescriptorPool()
for _file in _SET.file:
    _POOL.Add(_file)

# Names that their caller gives to what is new. One that another tenant has taken is free.
GIVEN: Final = {
    "AppendToOrderBatch.items.item_key",
    "CreateProfileWithAttributes.member_id",
    "CreateProfileWithAttributes.relations.value",
    "InsertTransactionBatch.transactions.event_id",
    "InsertTransactionBatch.transactions.idempotency_key",
    "InsertTransactionData.event_id",
    "LinkSubRelation.value",
    "PostBatch.items.event.event_id",
    "PostBatch.items.idempotency_key",
}
# What a request must have beside ids, by its operation, or by that and the field.
_BESIDE: Final[Mapping[str, Json]] = {
    "AppendToOrderBatch": {"items": [{"rewardId": "nothing", "denomination": 5}]},
    "CheckAvailability": {"points": 1},
    "CheckCredentials.relation.value": {"relation": {"type": "crm"}},
    "CreateAdjustment": {"points": 1, "reasonCode": "GOODWILL"},
    "CreateCredit": {"points": 1},
    "CreateHold": {"points": 1},
    "CreateOrder": {"denomination": 5},
    "CreateQuote": {"denomination": 5},
    "CreateProfileWithAttributes.relations.value": {"relations": [{"type": "crm"}]},
    "CreateRedemption": {"denomination": 5, "recipient": {"email": "a@example.com", "name": "Ada", "country": "US"}},
    "CreateTransfer": {"points": 1},
    "GenerateOTP": {"purpose": "REDEEM"},
    "GetOutcome": {"operation": "RedeemPoints"},
    "GetProfileByAttribute": {"name": "crm"},
    "InsertTransactionBatch": {"transactions": [{"type": "visit", "memberId": "m_nobody"}]},
    "InsertTransactionData": {"type": "purchase"},
    "LinkSubRelation": {"type": "crm"},
    "LinkSubRelation.member_id": {"type": "crm", "value": f"crm-{new_id()}"},
    "PostBatch.items.credit.member_id": {"items": [{"credit": {"points": 1}}]},
    "PostBatch.items.event.event_id": {"items": [{"event": {"type": "visit", "memberId": "m_nobody"}}]},
    "PostBatch.items.event.member_id": {"items": [{"event": {"type": "visit"}}]},
    "PostBatch.items.idempotency_key": {"items": [{"credit": {"points": 1, "memberId": "m_nobody"}}]},
    "PostBatch.items.redeem.member_id": {"items": [{"redeem": {"points": 1}}]},
    "PostBatch.items.reversal.transaction_id": {"items": [{"reversal": {}}]},
    "RedeemPoints": {"points": 1},
    "UnlinkSubRelation": {"type": "crm"},
    "UpdateProfile": {"attributes": {"tier": "gold"}},
    "VerifyOTP": {"purpose": "SIGN_IN"},
}


@dataclass(frozen=True)
class Seen:
    """An answer, as far as it could tell something: all of it but the values of headers."""

    ok: bool
    code: Any
    body: Any
    headers: frozenset[str]


@dataclass(frozen=True)
class Taker:
    """An operation, and the field of its request (or of a message in it) that takes an id."""

    rpc: Rpc
    path: tuple[FieldDescriptor, ...]

    def __str__(self) -> str:
        return ".".join((self.rpc.name, *(field.name for field in self.path)))

    @property
    def for_operators(self) -> bool:
        """True if no partner and no member may call it, whatever the id."""
        return not (self.rpc.access.scope or self.rpc.access.member)

    async def example(self, owner: Owner) -> Thing:
        """Something of the owner's that exists. The same if asked again."""
        name = str(self) if str(self) in EXAMPLES else self.path[-1].name
        assert name in EXAMPLES, f"{self} takes an id: say in EXAMPLES how there comes to be one that exists"
        return await owner.thing(name)

    async def request(self, base: Owner, thing: Thing) -> Json:
        """A request that names the thing, and beside it only what is the base's own."""
        request = copy.deepcopy(dict(_BESIDE.get(str(self), _BESIDE.get(self.rpc.name, {}))))
        named = [(other.path, await other.example(base)) for other in self._others()]
        for path, one in (*named, (self.path, thing)):
            request |= {name: value for name, value in one.beside.items() if name not in request}
            node = request
            for field in path[:-1]:
                node = node.setdefault(field.json_name, [{}] if field.is_repeated else {})
                node = node[0] if field.is_repeated else node
            node[path[-1].json_name] = [one.id] if path[-1].is_repeated else one.id
        key = "itemKey" if self.rpc.name == "AppendToOrderBatch" else "idempotencyKey"
        for item in (*request.get("items", ()), *request.get("transactions", ())):
            item.setdefault(key, str(new_id()))
        return request

    def _others(self) -> Iterator["Taker"]:
        """The other fields of the request itself that take an id, and may stand there together with this one."""
        oneof = self.path[0].containing_oneof
        for other in () if self.for_operators else takers(self.rpc):
            apart = other.path[0] != self.path[0] and (oneof is None or other.path[0].containing_oneof != oneof)
            if len(other.path) == 1 and apart and str(other) not in GIVEN:
                yield other


def takers(rpc: Rpc) -> list[Taker]:
    """Every field of an RPC's request that takes an id."""
    return [Taker(rpc, path) for path in _ids(_POOL.FindMessageTypeByName(rpc.request), ())]


def everywhere() -> list[Taker]:
    """Every such field of every operation. Where all may come in there are no wrong callers."""
    return [taker for rpc in published(_SET) if not rpc.open_to_all for taker in takers(rpc)]


def nobodys(thing: Thing) -> Thing:
    """The like of it, that never was."""
    looks_random = len(thing.id) == len(str(new_id())) and thing.id.count("-") == 4
    return Thing(str(new_id()) if looks_random else thing.id[:-6] + secrets.token_hex(3), thing.beside)


async def at_rest(
    http: aiohttp.ClientSession, binding: Binding, request: Json, credential: str | None, key: str
) -> Seen:
    """Asks in the REST form."""
    rest, path = dict(request), binding.template
    for found in VARIABLE.finditer(binding.template):
        path = path.replace(found[0], quote(str(rest.pop(_camel(found[1]))), safe=""))
    sent: Json = {"json": rest} if binding.body else {"params": rest}
    headers = dict(_headers(credential, key))
    async with http.request(binding.method, path, headers=headers, **sent) as response:
        seen = frozenset(name.lower() for name in response.headers)
        return Seen(response.status == 200, response.status, await response.json(), seen)


async def at_grpc(channel: grpc.aio.Channel, rpc: Rpc, request: Json, credential: str | None, key: str) -> Seen:
    """Asks in the form of gRPC."""
    kinds = [GetMessageClass(_POOL.FindMessageTypeByName(name)) for name in (rpc.request, rpc.response)]
    method: Any = channel.unary_unary(rpc.path, kinds[0].SerializeToString, kinds[1].FromString)
    call = method(json_format.ParseDict(request, kinds[0]()), timeout=10, metadata=_headers(credential, key))
    code = await call.code()
    told = (*(await call.initial_metadata()), *(await call.trailing_metadata()))
    details = [(name, value) for name, value in told if name == "grpc-status-details-bin"]
    body = json_format.MessageToDict(await call) if code is grpc.StatusCode.OK else (await call.details(), details)
    return Seen(code is grpc.StatusCode.OK, code, body, frozenset(name for name, _ in told))


def _headers(credential: str | None, key: str) -> tuple[tuple[str, str], ...]:
    shown = () if credential is None else (("authorization", f"Bearer {credential}"),)
    return (*shown, ("idempotency-key", key))


def _ids(message: Descriptor, above: tuple[FieldDescriptor, ...]) -> Iterator[tuple[FieldDescriptor, ...]]:
    for field in message.fields:
        path = (*above, field)
        if field.message_type is not None:
            # A map's keys are a program's own words, and what Google defines holds no ids.
            ours = field.message_type.full_name.startswith("rewards.")
            if ours and not field.message_type.GetOptions().map_entry:
                yield from _ids(field.message_type, path)
        elif field.type == FieldDescriptor.TYPE_STRING and (
            field.name.endswith(("_id", "_ids", "_key")) or field.name == "value"
        ):
            yield path


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(word.capitalize() for word in rest)
