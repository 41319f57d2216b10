"""How members sign in, through the gateway: codes that come by mail, passwords, and what a member's token reaches."""

import asyncio
import re

import aiohttp
import psycopg
import pytest

from devmesh.demo.partner import Answer
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
    body = mail.get_body(("plain",)).get_content()
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


@pytest.fixture
def apis(doors: list[aiohttp.ClientSession], tireless_key: str) -> list[Api]:
    """A partner at both doors, behind each of which is an identity_svc of its own."""
    return [Api(door, tireless_key) for door in doors]


@pytest.mark.parametrize("operation", ["VerifyOTP", "PasswordlessSignIn"])
async def test_of_a_hundred_guesses_at_once_five_are_looked_at(apis: list[Api], mesh: Mesh, operation: str) -> None:
    member_id, _ = await person(apis[0])
    made = await apis[0].post("GenerateOTP", {"memberId": member_id, "purpose": "SIGN_IN"})
    purpose = {"purpose": "SIGN_IN"} if operation == "VerifyOTP" else {}
    first = int(made.result["sandboxCode"])
    guesses = [{"otpId": made.result["otpId"], **purpose, "code": f"{(first + n) % 10**6:06d}"} for n in range(1, 101)]
    sent_from = ({"x-forwarded-for": f"192.0.2.{n}"} for n in range(100))
    answers = await asyncio.gather(
        *(apis[n % 2].post(operation, guess, headers=next(sent_from)) for n, guess in enumerate(guesses))
    )
    looked_at = [answer for answer in answers if answer.code == 2102]
    locked = [answer for answer in answers if answer.code == 2104]
    # A busy machine turns some away, who may have been counted.
    assert {answer.code for answer in answers} <= {2102, 2104, 9002, 9003}
    assert len(looked_at) <= 5
    assert tried(mesh, made.result["otpId"]) == 5
    assert locked
    assert {answer.status for answer in locked} == {429}
    assert all(int(answer.headers["retry-after"]) > 0 for answer in locked)
    right = await apis[1].post(operation, guesses[0] | {"code": made.result["sandboxCode"]})
    assert (right.status, right.code) == (429, 2104)


def tried(mesh: Mesh, otp_id: str) -> int:
    """How often a code was tried, as the database has counted."""
    with psycopg.connect(mesh.dsn("identity")) as connection:
        row = connection.execute("SELECT tries FROM otps WHERE otp_id = %s", (otp_id,)).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize("operation", ["VerifyOTP", "PasswordlessSignIn"])
async def test_the_right_code_is_right_once_at_whatever_door(apis: list[Api], operation: str) -> None:
    member_id, _ = await person(apis[0])
    for _ in range(5):
        made = await apis[0].post("GenerateOTP", {"memberId": member_id, "purpose": "SIGN_IN"})
        purpose = {"purpose": "SIGN_IN"} if operation == "VerifyOTP" else {}
        code = {"otpId": made.result["otpId"], "code": made.result["sandboxCode"], **purpose}
        both = await asyncio.gather(*(api.post(operation, code) for api in apis))
        assert sorted(answer.code for answer in both) == [0, 2102], both


def told(answer: Answer) -> tuple[int, object, set[str]]:
    """What an answer tells, without what is different each time."""
    result = answer.body["ReturnObject"]
    shapes = {name: len(value) for name, value in result.items() if name in {"otpId", "sandboxCode"}}
    body = {**answer.body, "ReturnObject": {**result, **shapes, "expiresAt": ""}}
    return answer.status, body, set(answer.headers)


async def several(api: Api) -> dict[str, str]:
    """Members of every kind that there is, by what they are, and nobody."""
    members = {kind: await api.member() for kind in ("plain", "blocked", "cancelled", "erased", "merged")}
    members["with an address"], _ = await person(api)
    members["with a password"] = await api.member()
    await api.post("UpdateProfile", {"memberId": members["with a password"], "password": "correct horse"})
    await api.post("UpdateProfile", {"memberId": members["blocked"], "status": "LOGIN_BLOCKED"})
    await api.post("UpdateProfile", {"memberId": members["cancelled"], "status": "CANCELLED"})
    await api.call("POST", f"/v1/members/{members['erased']}:erase", {})
    await api.post("MergeProfiles", {"survivorId": members["plain"], "mergedId": members["merged"]})
    return {**members, "nobody": f"m_{new_id().hex}"}


async def test_no_answer_tells_whether_there_is_such_a_member(tireless: Api) -> None:
    members = await several(tireless)
    codes: dict[str, str] = {}
    answers = {
        kind: await tireless.post("GenerateOTP", {"memberId": one, "purpose": "SIGN_IN"})
        for kind, one in members.items()
    }
    for kind, answer in answers.items():
        assert told(answer) == told(answers["nobody"]), kind
        codes[kind] = answer.result["otpId"]
    never = {**codes, "never made": str(new_id())}
    for operation, more in (("VerifyOTP", {"purpose": "SIGN_IN"}), ("PasswordlessSignIn", {})):
        for kind, otp_id in never.items():
            answer = await tireless.post(operation, {"otpId": otp_id, "code": "not it", **more})
            assert (answer.status, answer.code) == (422, 2102), (operation, kind)
            assert told(answer) == told(await tireless.post(operation, {"otpId": str(new_id()), "code": "x", **more}))


async def test_no_check_of_a_password_tells_whether_there_is_such_a_member(tireless: Api) -> None:
    members = await several(tireless)
    relation = {"type": "crm", "value": new_id().hex}
    await tireless.post("LinkSubRelation", {"memberId": members["with a password"], **relation})
    asked: list[dict[str, object]] = [{"memberId": one} for one in members.values()]
    asked += [{"relation": relation}, {"relation": {"type": "crm", "value": new_id().hex}}]
    answers = [await tireless.post("CheckCredentials", {**one, "password": "wrong"}) for one in asked]
    assert {(answer.status, answer.code) for answer in answers} == {(422, 2101)}
    assert all(told(answer) == told(answers[0]) for answer in answers)


@pytest.mark.parametrize("exists", [True, False])
async def test_who_is_locked_out_is_so_whether_there_is_such_a_member(tireless: Api, *, exists: bool) -> None:
    member_id = (await person(tireless))[0] if exists else f"m_{new_id().hex}"
    sends = [await tireless.post("GenerateOTP", {"memberId": member_id, "purpose": "SIGN_IN"}) for _ in range(6)]
    assert [answer.code for answer in sends] == [0] * 5 + [2104]
    otp_id = sends[4].result["otpId"]
    guess = {"otpId": otp_id, "purpose": "SIGN_IN", "code": "not it"}
    guesses = [await tireless.post("VerifyOTP", guess) for _ in range(6)]
    assert [answer.code for answer in guesses] == [2102] * 5 + [2104]
    password = {"memberId": member_id, "password": "wrong"}
    checks = [await tireless.post("CheckCredentials", password) for _ in range(11)]
    assert [answer.code for answer in checks] == [2101] * 10 + [2004]
    locked = (sends[5], guesses[5], checks[10])
    assert ["retry-after" in answer.headers for answer in locked] == [True] * 3
    assert [answer.body["ExceptionMessage"] for answer in locked] == [
        "Too many codes were sent.",
        "Too many tries.",
        "Too many wrong passwords.",
    ]


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
