"""A partner with a credential of every kind, and what it shows at the doors of the mesh."""

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet
from rewards.identity.v1 import credentials_pb2 as pb

from svckit.clock import new_id
from tests.mesh.conftest import Api
from tests.mesh.operators import Operator

ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


@dataclass(frozen=True)
class Shown:
    """What a holder shows at a door, by its kind, and the member whom it may ask about."""

    credentials: dict[str, str]
    member_id: str

    async def codes(self, kind: str, doors: list[aiohttp.ClientSession], trials: int = 1) -> set[int]:
        """The ErrorCodes of so many calls at each door. 0 is what passes."""
        body, calls = {"memberId": self.member_id}, range(trials)
        asked = (Api(door, self.credentials[kind]).post("GetBalance", body) for door in doors for _ in calls)
        answers = await asyncio.gather(*asked)
        return {answer.code for answer in answers}


@dataclass
class Holder:
    """An API key, a client with a secret, and a client that signs assertions with `signing_key`."""

    door: aiohttp.ClientSession
    issuer: str
    api_key: str
    client: pb.CreateClientResponse
    signer_id: str
    signing_key: ECKey

    @property
    def ids(self) -> list[str]:
        """The credentials' ids."""
        return [self.api_key.rpartition("_")[0], self.client.client_id, self.signer_id]

    async def by_secret(self, secret: str = "") -> str | None:
        """A token for the client's secret, or for another one; None if it is refused."""
        return await self._token(client_id=self.client.client_id, client_secret=secret or self.client.client_secret)

    async def by_assertion(self, key: ECKey | None = None) -> str | None:
        """A token for an assertion signed with the client's key, or with another one; None if it is refused."""
        claims = {"iss": self.signer_id, "sub": self.signer_id, "aud": self.issuer, "jti": str(new_id())}
        signed = jwt.encode({"alg": "ES256"}, {**claims, "exp": int(time.time()) + 60}, key or self.signing_key)
        return await self._token(client_assertion_type=ASSERTION, client_assertion=signed)

    async def shown(self) -> Shown:
        """All that is good of the credentials: the key, the clients' tokens, and what a member got by each."""
        member_id = await Api(self.door, self.api_key).member()
        by_secret, by_assertion = await self.by_secret(), await self.by_assertion()
        assert by_secret
        assert by_assertion
        partners = {"API key": self.api_key, "secret's token": by_secret, "assertion's token": by_assertion}
        members = {f"member's by {kind}": await self._signed_in(one, member_id) for kind, one in partners.items()}
        return Shown({**partners, **members}, member_id)

    async def _signed_in(self, credential: str, member_id: str) -> str:
        api = Api(self.door, credential)
        made = (await api.post("GenerateOTP", {"memberId": member_id, "purpose": "SIGN_IN"})).result
        code = {"otpId": made["otpId"], "code": made["sandboxCode"]}
        return str((await api.post("PasswordlessSignIn", code)).result["accessToken"])

    async def _token(self, **form: str) -> str | None:
        async with self.door.post("/oauth/token", data={"grant_type": "client_credentials", **form}) as response:
            body: dict[str, Any] = await response.json()
        assert (response.status, body.get("error")) in {(200, None), (401, "invalid_client")}, body
        return body.get("access_token")


async def holder(operator: Operator, door: aiohttp.ClientSession, issuer: str, **of: str) -> Holder:
    """A fresh one, `of` a program_id and perhaps a partner_id."""
    key = ECKey.generate_key("P-256")
    signer = await operator.client(**of, jwks=public(key))
    return Holder(door, issuer, await operator.api_key(**of), await operator.client(**of), signer.client_id, key)


def public(key: ECKey) -> str:
    """What the mesh knows of a client's key."""
    return json.dumps(KeySet([key]).as_dict(private=False))
