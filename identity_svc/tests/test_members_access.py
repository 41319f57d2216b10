"""A member's own token ends with the credential that signed the member in, and with every level above it."""

import pytest
from rewards.identity.v1 import credentials_pb2 as pb

from identity_svc.tests.running import Running
from identity_svc.tests.test_gatekeeper import REST
from identity_svc.tests.test_introspection import introspect, revoke
from identity_svc.tests.test_member_tokens import token_of
from identity_svc.tests.test_revocation import TRIALS, add_partner, passed
from identity_svc.tests.test_rotation import rotate
from identity_svc.tests.test_signin import member

__all__ = ["member"]


@pytest.mark.parametrize("how", ["program", "partner", "credential", "rotation", "token"])
async def test_a_members_token_ends_with_what_it_hangs_on(member: Running, how: str) -> None:
    await add_partner(member, "north")
    client = await member.client("members:read", "members:write", partner_id="north")
    token = await token_of(member, client)
    headers = {"authorization": f"Bearer {token}", **REST}
    assert await passed([member], headers) == 1
    said = await introspect(member, client, token)
    assert (said.active, said.sub, said.client_id) == (True, "m_1", client.client_id)
    if how == "rotation":
        await rotate(member, client.client_id)
    elif how == "token":
        await revoke(member, client, token)
        assert not (await introspect(member, client, token)).active
    else:
        request = pb.RevokeAccessRequest(program_id="acme")
        if how != "program":
            setattr(request, f"{how}_id", "north" if how == "partner" else client.client_id)
        await member.operate("RevokeAccess", request)
    assert await passed([member], headers, TRIALS) == 0
