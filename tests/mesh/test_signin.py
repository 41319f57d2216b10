"""How members sign in, through the gateway: codes that come by mail, passwords, and what a member's token reaches."""

import asyncio
import re

import aiohttp

from devmesh.mailbox import messages
from devmesh.mesh import Mesh
from svckit.clock import new_id
from tests.mesh.conftest import Api, until


async def person(api: Api, points: int = 0) -> tuple[str, str]:
    """A member and their address."""
    email = f"{new_id().hex}@example.com"
    made = await api.post("CreateProfileWithAttributes", {"attributes": {"email": email}})
    member_id = str(made.result["memberId"])
    if points:
        await api.post("credits", {"memberId": member_id, "points": points})
    return member_id, email


async def test_a_member_signs_in_with_a_code_from_the_mail(api: Api, http: aiohttp.ClientSession, mesh: Mesh) -> None:
    member_id, email = await person(api, points=70)
    other_id, _ = await person(api, points=5)
    made = await api.post("GenerateOTP", {"memberId": member_id, "purpose": "SIGN_IN", "channel": "EMAIL"})
    assert made.code == 0, made
    mails = await until(lambda: asyncio.to_thread(messages, mesh.layout.mail, email))
    (mail,) = mails
    body = mail.get_content()
    found = re.search(r"^    (\d{6})$", body, re.MULTILINE)
    assert found is not None, body
    assert found[1] == made.result["sandboxCode"]
    assert found[1] not in str(mail["Subject"])
    sign_in = {"otpId": made.result["otpId"], "code": found[1]}
    signed_in = await api.post("PasswordlessSignIn", sign_in)
    assert (signed_in.code, signed_in.result["memberId"]) == (0, member_id), signed_in
    again = await api.post("PasswordlessSignIn", sign_in)
    assert (again.status, again.code) == (422, 2102)
    own = Api(http, str(signed_in.result["accessToken"]))
    assert (await own.post("GetBalance", {})).result["balance"] == 70
    assert (await own.post("GetProfile", {})).result["memberId"] == member_id
    for operation in ("GetProfile", "GetBalance", "GetStatementSummary", "GetTransactionHistory", "GetSubRelations"):
        foreign = await own.post(operation, {"memberId": other_id})
        unknown = await own.post(operation, {"memberId": "m_nobody"})
        assert (foreign.status, foreign.code) == (404, 3001), operation
        assert foreign.body == unknown.body
    for operation in ("RedeemPoints", "UpdateProfile", "GenerateOTP", "credits"):
        refused = await own.post(operation, {"memberId": member_id, "points": 1, "purpose": "SIGN_IN"})
        assert refused.status in (400, 403), (operation, refused)


async def test_guesses_are_bounded_and_a_code_is_used_once(api: Api) -> None:
    member_id, _ = await person(api)
    made = await api.post("GenerateOTP", {"memberId": member_id, "purpose": "REDEEM"})
    code = str(made.result["sandboxCode"])
    request = {"otpId": made.result["otpId"], "purpose": "REDEEM"}
    both = await asyncio.gather(*(api.post("VerifyOTP", {**request, "code": code}) for _ in range(2)))
    assert sorted(answer.code for answer in both) == [0, 2102]
    made = await api.post("GenerateOTP", {"memberId": member_id, "purpose": "REDEEM"})
    bad = f"{(int(made.result['sandboxCode']) + 1) % 10**6:06d}"
    request = {"otpId": made.result["otpId"], "purpose": "REDEEM", "code": bad}
    answers = await asyncio.gather(*(api.post("VerifyOTP", request) for _ in range(100)))
    evaluated = [answer for answer in answers if answer.code == 2102]
    locked = [answer for answer in answers if answer.code == 2104]
    # What the plan or a busy machine turns away is not looked at either.
    assert len(evaluated) == 5, answers
    assert locked
    assert {answer.code for answer in answers} <= {2102, 2104, 2004, 9002, 9003}
    assert {answer.status for answer in locked} == {429}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in locked)


async def test_a_password_is_set_and_checked(api: Api) -> None:
    member_id, _ = await person(api)
    set_ = await api.post("UpdateProfile", {"memberId": member_id, "password": "correct horse"})
    assert set_.code == 0, set_
    right = await api.post("CheckCredentials", {"memberId": member_id, "password": "correct horse"})
    assert (right.code, right.result) == (0, {"memberId": member_id})
    wrong = await api.post("CheckCredentials", {"memberId": member_id, "password": "wrong"})
    unknown = await api.post("CheckCredentials", {"memberId": "m_nobody", "password": "wrong"})
    assert (wrong.status, wrong.code) == (422, 2101)
    assert wrong.body == unknown.body
