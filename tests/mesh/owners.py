"""Members of a program, and things of theirs that exist: what a request names where it takes an id."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

from svckit.clock import new_id
from tests.mesh.conftest import Api
from tests.mesh.operators import Operator

Json = dict[str, Any]

PASSWORD: Final = "correct horse"
RECIPIENT: Final = {"email": "lin@example.com", "name": "Lin", "country": "US"}
POINTS: Final = 10_000


@dataclass(frozen=True)
class Thing:
    """The id of something that exists, and what else a request must have to be served with it."""

    id: str
    beside: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Tenant:
    """A program, and a caller who may do everything in it that a partner may."""

    program_id: str
    api: Api
    operator: Operator


@dataclass(frozen=True)
class Owner:
    """A member of a tenant's, and who makes things for that member: the member itself as soon as it is needed."""

    tenant: Tenant
    made: dict[str, Thing] = field(default_factory=dict)

    async def thing(self, name: str) -> Thing:
        """What stands under that name in EXAMPLES. The same if asked again."""
        if name not in self.made:
            self.made[name] = await EXAMPLES[name](self)
        return self.made[name]

    async def post(self, operation: str, body: Json, key: str | None = None) -> Json:
        """What the tenant gets for a call that must succeed."""
        answer = await self.tenant.api.post(operation, body, key=key)
        assert answer.status == 200, (operation, answer)
        return answer.result

    async def of_member(self, operation: str, **more: Any) -> Json:
        """The same for a call about the member."""
        return await self.post(operation, {"memberId": (await self.thing("member_id")).id, **more})

    async def token(self) -> str:
        """A token of the member's own."""
        code = await self.code()
        signed_in = await self.post("PasswordlessSignIn", {"otpId": code.id, "code": code.beside["code"]})
        return str(signed_in["accessToken"])

    async def member(self) -> Thing:
        return Thing(await self.tenant.api.member(POINTS))

    async def member_again(self) -> Thing:
        return await self.thing("member_id")

    async def member_with_a_password(self) -> Thing:
        await self.of_member("UpdateProfile", password=PASSWORD)
        return Thing((await self.thing("member_id")).id, {"password": PASSWORD})

    async def relation(self) -> Thing:
        value = f"crm-{new_id().hex}"
        await self.of_member("LinkSubRelation", type="crm", value=value)
        return Thing(value)

    async def relation_with_a_password(self) -> Thing:
        await self.member_with_a_password()
        return Thing((await self.relation()).id, {"password": PASSWORD})

    async def second_member(self) -> Thing:
        return Thing(await self.tenant.api.member())

    async def merged_member(self) -> Thing:
        survivor, merged = await self.thing("member_id"), await self.second_member()
        await self.post("MergeProfiles", {"survivorId": survivor.id, "mergedId": merged.id})
        return merged

    async def code(self) -> Thing:
        made = await self.of_member("GenerateOTP", purpose="SIGN_IN")
        return Thing(made["otpId"], {"code": made["sandboxCode"]})

    async def reward(self) -> Thing:
        """One that no other program has."""
        return Thing(await self.tenant.operator.reward(self.tenant.program_id))

    async def sync(self) -> Thing:
        return Thing(await self.tenant.operator.sync())

    async def redemption(self) -> Thing:
        reward = await self.thing("reward_id")
        order = await self.of_member("redemptions", rewardId=reward.id, denomination=5, recipient=RECIPIENT)
        return Thing(order["redemptionId"])

    async def order(self) -> Thing:
        """One that waits to be claimed."""
        reward = await self.thing("reward_id")
        return Thing((await self.post("orders", {"rewardId": reward.id, "denomination": 5}))["orderId"])

    async def order_batch(self) -> Thing:
        """One with an item, that may be added to and committed."""
        return await self._batch_of(str(new_id()))

    async def item_key(self) -> Thing:
        """Of an item in such a batch."""
        key = str(new_id())
        await self._batch_of(key)
        return Thing(key)

    async def _batch_of(self, item_key: str) -> Thing:
        batch_id = (await self.post("batches", {}))["batchId"]
        item = {"rewardId": (await self.thing("reward_id")).id, "denomination": 5, "itemKey": item_key}
        await self.post(f"batches/{batch_id}:append", {"items": [item]})
        return Thing(batch_id)

    async def redeemed(self) -> Thing:
        return Thing((await self.of_member("RedeemPoints", points=1))["transactionId"])

    async def used_key(self) -> Thing:
        key = str(new_id())
        await self.post("RedeemPoints", {"memberId": (await self.thing("member_id")).id, "points": 1}, key)
        return Thing(key)

    async def event(self) -> Thing:
        event_id = f"event-{new_id()}"
        await self.of_member("InsertTransactionData", type="visit", eventId=event_id)
        return Thing(event_id)

    async def batch(self) -> Thing:
        event = {"memberId": (await self.thing("member_id")).id, "type": "visit", "idempotencyKey": str(new_id())}
        return Thing((await self.post("InsertTransactionBatch", {"transactions": [event]}))["batchId"])

    async def earned(self) -> Thing:
        return Thing((await self.of_member("InsertTransactionData", type="purchase", amount=5))["transactionId"])

    async def hold(self) -> Thing:
        return Thing((await self.of_member("holds", points=5))["holdId"])

    async def adjustment(self) -> Thing:
        """One that waits: it is over what a credential may do alone, and another one asked for it."""
        asker = Api(self.tenant.api.http, await self.tenant.operator.api_key(self.tenant.program_id))
        wanted = {"memberId": (await self.thing("member_id")).id, "points": 5_000, "reasonCode": "GOODWILL"}
        answer = await asker.post("adjustments", wanted)
        assert answer.status == 200, answer
        return Thing(answer.result["adjustment"]["adjustmentId"])

    async def endpoint(self) -> Thing:
        """One for events that none of these tests makes."""
        wanted = {"url": "http://127.0.0.1:1/never", "eventTypes": ["tier.upgraded"]}
        return Thing((await self.post("webhookEndpoints", wanted))["endpointId"])

    async def client(self) -> Thing:
        return Thing((await self.tenant.operator.client(self.tenant.program_id)).client_id)

    async def key(self) -> Thing:
        return Thing((await self.tenant.operator.api_key(self.tenant.program_id)).rpartition("_")[0])

    async def program(self) -> Thing:
        return Thing(self.tenant.program_id)

    async def program_of_a_batch(self) -> Thing:
        credit = {"memberId": (await self.thing("member_id")).id, "points": 1}
        return Thing(self.tenant.program_id, {"items": [{"credit": credit}]})

    async def partner(self) -> Thing:
        return Thing(await self.tenant.operator.partner(self.tenant.program_id))

    async def plan(self) -> Thing:
        return Thing("standard")

    async def rule(self) -> Thing:
        return Thing("base")


# Makes something that exists, by the last name in the path of a field that takes its id, or by the operation and the
# whole path.
EXAMPLES: Final[dict[str, Callable[[Owner], Awaitable[Thing]]]] = {
    "adjustment_id": Owner.adjustment,
    "batch_id": Owner.batch,
    "client_id": Owner.client,
    "credential_id": Owner.key,
    "endpoint_id": Owner.endpoint,
    "event_id": Owner.event,
    "from_member_id": Owner.member_again,
    "hold_id": Owner.hold,
    "item_key": Owner.item_key,
    "idempotency_key": Owner.used_key,
    "member_id": Owner.member,
    "merged_id": Owner.second_member,
    "order_id": Owner.order,
    "otp_id": Owner.code,
    "partner_id": Owner.partner,
    "plan_id": Owner.plan,
    "program_id": Owner.program,
    "redemption_id": Owner.redemption,
    "reward_id": Owner.reward,
    "reward_ids": Owner.reward,
    "rule_id": Owner.rule,
    "survivor_id": Owner.member_again,
    "sync_id": Owner.sync,
    "to_member_id": Owner.second_member,
    "transaction_id": Owner.redeemed,
    "value": Owner.relation,
    "AppendToOrderBatch.batch_id": Owner.order_batch,
    "CheckCredentials.member_id": Owner.member_with_a_password,
    "CheckCredentials.relation.value": Owner.relation_with_a_password,
    "CheckOrderBatch.batch_id": Owner.order_batch,
    "CommitOrderBatch.batch_id": Owner.order_batch,
    "GetOrderBatch.batch_id": Owner.order_batch,
    "PostBatch.program_id": Owner.program_of_a_batch,
    "ReverseTransaction.transaction_id": Owner.earned,
    "UnmergeProfiles.merged_id": Owner.merged_member,
}
