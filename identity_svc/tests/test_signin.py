"""Passwords, one-time codes and members' own tokens, through the real interceptors (G47, G48)."""

import asyncio
import io
from typing import Any
from uuid import uuid4

import pytest
from rewards.identity.v1 import members_pb2, privacy_pb2, programs_pb2
from rewards.identity.v1 import signin_pb2 as pb
from sqlalchemy import select, text

from identity_svc import tables
from identity_svc.people import SIGN_INS_BURST
from identity_svc.signin import tables as signin_tables
from identity_svc.tests.running import PROGRAM, WRITER, Running, outcomes, reason, refusal, worker
from identity_svc.tests.test_canaries import logged  # noqa: F401
from identity_svc.tests.test_members import create, updating
from identity_svc.tests.test_merges import merge
from svckit.call import Kind, Principal
from svckit.errors import Reason, Refused
from svckit.testing import partner

PASSWORD = "correct horse"


def generate(member_id: str = "m_1", purpose: Any = pb.SIGN_IN, channel: Any = pb.EMAIL) -> pb.GenerateOTPRequest:
    return pb.GenerateOTPRequest(member_id=member_id, purpose=purpose, channel=channel)


def verify(made: pb.GenerateOTPResponse, code: str = "", purpose: Any = pb.SIGN_IN) -> pb.VerifyOTPRequest:
    return pb.VerifyOTPRequest(otp_id=made.otp_id, purpose=purpose, code=code or made.sandbox_code)


def wrong(made: pb.GenerateOTPResponse, number: int = 0) -> pb.VerifyOTPRequest:
    return verify(made, f"{(int(made.sandbox_code) + 1 + number) % 10**6:06d}")


def check(password: str = PASSWORD, member_id: str = "m_1") -> pb.CheckCredentialsRequest:
    return pb.CheckCredentialsRequest(member_id=member_id, password=password)


def sign_in(made: pb.GenerateOTPResponse) -> pb.PasswordlessSignInRequest:
    return pb.PasswordlessSignInRequest(otp_id=made.otp_id, code=made.sandbox_code)


async def made(identity: Running, request: pb.GenerateOTPRequest | None = None) -> pb.GenerateOTPResponse:
    answer: pb.GenerateOTPResponse = await identity.member("GenerateOTP", request or generate())
    return answer


@pytest.fixture
async def member(identity: Running) -> Running:
    request = create("m_1", crm="c-1", email="kim@example.com")
    await identity.member("CreateProfileWithAttributes", request)
    return identity


async def test_a_code_is_right_once_and_for_its_purpose_only(member: Running) -> None:
    first = await made(member)
    assert len(first.sandbox_code) == 6
    answer = await member.member("VerifyOTP", verify(first))
    assert (answer.verified, answer.member_id) == (True, "m_1")
    assert await reason(member.member("VerifyOTP", verify(first))) == "OTP_INVALID"
    second = await made(member, generate(purpose=pb.REDEEM))
    assert await reason(member.member("VerifyOTP", verify(second))) == "OTP_INVALID"
    assert await reason(member.member("PasswordlessSignIn", sign_in(second))) == "OTP_INVALID"
    foreign = member.member("VerifyOTP", verify(second, purpose=pb.REDEEM), caller=partner("other", "members:write"))
    assert await reason(foreign) in ("OTP_INVALID", "NOT_FOUND")
    await member.member("VerifyOTP", verify(second, purpose=pb.REDEEM))
    unknown = pb.GenerateOTPResponse(otp_id=str(uuid4()), sandbox_code="000000")
    assert await reason(member.member("VerifyOTP", verify(unknown))) == "OTP_INVALID"


async def test_of_a_hundred_guesses_at_once_five_are_looked_at(member: Running) -> None:
    code = await made(member)
    guesses = await outcomes(*(member.member("VerifyOTP", wrong(code, n)) for n in range(100)))
    assert sorted(set(guesses)) == ["OTP_INVALID", "OTP_LOCKED"]  # type: ignore[type-var]
    assert guesses.count("OTP_INVALID") == 5
    locked = await refusal(member.member("VerifyOTP", verify(code)))
    assert (Reason.Name(locked.reason), locked.retry_after_s) == ("OTP_LOCKED", None)


async def test_the_right_code_twice_at_once_is_right_once(member: Running) -> None:
    for _ in range(3):
        code = await made(member)
        answers = await outcomes(*(member.member("VerifyOTP", verify(code)) for _ in range(4)))
        assert [one for one in answers if isinstance(one, str)] == ["OTP_INVALID"] * 3


async def test_a_new_code_does_not_give_new_tries(member: Running) -> None:
    first = await made(member)
    for n in range(4):
        assert await reason(member.member("VerifyOTP", wrong(first, n))) == "OTP_INVALID"
    second = await made(member)
    assert await reason(member.member("VerifyOTP", wrong(second))) == "OTP_INVALID"
    assert await reason(member.member("VerifyOTP", verify(second))) == "OTP_LOCKED"
    member.clocks.pass_s(3601)
    third = await made(member)
    assert (await member.member("VerifyOTP", verify(third))).verified
    # A success forgives what went before it.
    for n in range(4):
        await reason(member.member("VerifyOTP", wrong(first, n)))
    assert (await member.member("VerifyOTP", verify(await made(member)))).verified


async def test_codes_are_bounded_by_the_hour_and_the_day(member: Running) -> None:
    for expected in (5, 5, 0):
        sent = await outcomes(*(member.member("GenerateOTP", generate()) for _ in range(8)))
        assert sum(not isinstance(one, str) for one in sent) == expected
        assert {one for one in sent if isinstance(one, str)} == {"OTP_LOCKED"}
        member.clocks.pass_s(3601)
    # Also for another member with the same address.
    await member.member("CreateProfileWithAttributes", create("m_2", email="KIM@example.com"))
    assert await reason(member.member("GenerateOTP", generate("m_2"))) == "OTP_LOCKED"
    member.clocks.pass_s(24 * 3600)
    await made(member)


async def test_a_code_runs_out(member: Running) -> None:
    code = await made(member)
    assert code.expires_at.ToNanoseconds() // 10**9 == int(member.clocks.now.timestamp()) + 600
    member.clocks.pass_s(600)
    assert await reason(member.member("VerifyOTP", verify(code))) == "OTP_EXPIRED"


async def test_nobody_can_tell_whether_there_is_such_a_member(member: Running) -> None:
    known, unknown = await made(member), await made(member, generate("m_9"))
    assert [len(one.sandbox_code) for one in (known, unknown)] == [6, 6]
    for n in range(5):
        assert await reason(member.member("VerifyOTP", wrong(unknown, n))) == "OTP_INVALID"
    assert await reason(member.member("VerifyOTP", wrong(unknown))) == "OTP_LOCKED"
    more = await outcomes(*(member.member("GenerateOTP", generate("m_9")) for _ in range(5)))
    assert [one for one in more if isinstance(one, str)] == ["OTP_LOCKED"]
    right = await made(member, generate("m_8"))
    assert await reason(member.member("VerifyOTP", verify(right))) == "OTP_INVALID"
    await member.member("UpdateProfile", members_pb2.UpdateProfileRequest(member_id="m_1", password=PASSWORD))
    told = [await refusal(member.member("CheckCredentials", check("wrong one", who))) for who in ("m_1", "m_9")]
    assert len({(one.reason, one.message) for one in told}) == 1


async def test_a_code_goes_out_by_mail_and_is_kept_nowhere(member: Running, logged: io.StringIO) -> None:  # noqa: F811
    mail = member.neighbours["fulfillment_svc"]
    code = await made(member)
    await made(member, generate("m_9"))
    async with member.db.read() as tx:
        rows = [str((await tx.execute(select(table))).all()) for table in tables.metadata.sorted_tables]
    assert not any(code.sandbox_code in row or "kim@" in row for row in rows)
    mail.down = True
    with pytest.raises(Refused, match="down"):
        await worker(member.service, "signin.letters")()
    mail.down = False
    assert await worker(member.service, "signin.letters")() == 2
    assert [(one.message_id, one.email, one.code, one.purpose) for one in mail.codes] == [
        (code.otp_id, "kim@example.com", code.sandbox_code, "sign in")
    ]
    assert await worker(member.service, "signin.letters")() == 0
    assert code.sandbox_code not in logged.getvalue()


async def test_a_live_program_shows_no_code_and_sends_no_text_messages(identity: Running) -> None:
    live = programs_pb2.Program()
    live.CopyFrom(PROGRAM)
    live.program_id, live.mode = "live", programs_pb2.Program.LIVE
    await identity.operate("PutProgram", programs_pb2.PutProgramRequest(program=live))
    caller = partner("live", "members:write")
    answer = await identity.member("GenerateOTP", generate(), caller=caller)
    assert not answer.HasField("sandbox_code")
    refused = await refusal(identity.member("GenerateOTP", generate(channel=pb.SMS), caller=caller))
    assert refused.message.startswith("channel")


async def test_a_password_is_checked(member: Running) -> None:
    assert await reason(member.member("CheckCredentials", check())) == "CREDENTIALS_INVALID"
    setting = members_pb2.UpdateProfileRequest(member_id="m_1", password=PASSWORD)
    await member.member("UpdateProfile", setting, "k")
    await member.member("UpdateProfile", setting, "k")
    assert (await member.member("CheckCredentials", check())).member_id == "m_1"
    by_relation = pb.CheckCredentialsRequest(relation=members_pb2.Relation(type="crm", value="c-1"), password=PASSWORD)
    assert (await member.member("CheckCredentials", by_relation)).member_id == "m_1"
    assert (
        await reason(member.member("CheckCredentials", pb.CheckCredentialsRequest(password="x"))) == "INVALID_REQUEST"
    )
    short = members_pb2.UpdateProfileRequest(member_id="m_1", password="short")
    assert await reason(member.member("UpdateProfile", short)) == "INVALID_REQUEST"
    guesses = await outcomes(*(member.member("CheckCredentials", check(f"guess {n}")) for n in range(15)))
    assert (guesses.count("CREDENTIALS_INVALID"), guesses.count("RATE_LIMITED")) == (10, 5)
    assert await reason(member.member("CheckCredentials", check())) == "RATE_LIMITED"
    await member.member("UpdateProfile", members_pb2.UpdateProfileRequest(member_id="m_1", password="another one"))
    assert (await member.member("CheckCredentials", check("another one"))).member_id == "m_1"
    assert await reason(member.member("CheckCredentials", check())) == "CREDENTIALS_INVALID"
    async with member.db.read() as tx:
        row = (await tx.execute(select(signin_tables.passwords))).one()
    assert b"argon2" not in row.sealed_hash


@pytest.mark.parametrize("status", ["LOGIN_BLOCKED", "CANCELLED", "MEMBERSHIP_BLOCKED"])
async def test_a_status_keeps_a_member_from_signing_in(member: Running, status: str) -> None:
    await member.member("UpdateProfile", members_pb2.UpdateProfileRequest(member_id="m_1", password=PASSWORD))
    code = await made(member)
    await member.member("UpdateProfile", updating("m_1", status=status))
    assert await reason(member.member("CheckCredentials", check())) == "MEMBER_NOT_ACTIVE"
    assert await reason(member.member("CheckCredentials", check("wrong one"))) == "CREDENTIALS_INVALID"
    assert await reason(member.member("PasswordlessSignIn", sign_in(code))) == "MEMBER_NOT_ACTIVE"


async def test_hashing_does_not_hold_up_others(member: Running) -> None:
    await member.member("UpdateProfile", members_pb2.UpdateProfileRequest(member_id="m_1", password=PASSWORD))
    checks = [asyncio.create_task(outcomes(member.member("CheckCredentials", check(f"g {n}")))) for n in range(10)]
    await member.member("GetProfile", members_pb2.GetProfileRequest(member_id="m_1"))
    assert not all(one.done() for one in checks)
    await asyncio.gather(*checks)


async def test_a_merged_member_signs_in_as_the_survivor(member: Running) -> None:
    await member.member("CreateProfileWithAttributes", create("m_2"))
    code = await made(member, generate("m_2"))
    await member.member("MergeProfiles", merge())
    client = await member.client("members:write")
    caller = Principal(Kind.PARTNER, client.client_id, "acme", WRITER.scopes)
    assert (await member.member("PasswordlessSignIn", sign_in(code), caller=caller)).member_id == "m_1"


async def test_what_signs_an_erased_member_in_is_gone(member: Running) -> None:
    await member.member("UpdateProfile", members_pb2.UpdateProfileRequest(member_id="m_1", password=PASSWORD))
    code = await made(member)
    await member.member("EraseMember", privacy_pb2.EraseMemberRequest(member_id="m_1"))
    assert await reason(member.member("CheckCredentials", check())) == "CREDENTIALS_INVALID"
    assert await reason(member.member("PasswordlessSignIn", sign_in(code))) == "OTP_INVALID"


async def test_what_nobody_needs_is_swept(member: Running) -> None:
    member.clocks.pass_s(-40 * 24 * 3600)
    old = await made(member)
    for n in range(4):
        await reason(member.member("VerifyOTP", wrong(old, n)))
    await member.db.transact(
        lambda tx: tx.execute(text("UPDATE signin_spent SET in_a_row = 100 WHERE kind = 'guesses'"))
    )
    member.clocks.pass_s(40 * 24 * 3600)
    await made(member, generate("m_9"))
    assert await worker(member.service, "signin.sweep")() == 1
    assert await worker(member.service, "signin.sweep")() == 0
    async with member.db.read() as tx:
        spent = {(row.kind, row.subject) for row in await tx.execute(select(signin_tables.signin_spent))}
    assert ("guesses", "m_1") in spent
    assert ("sends", "m_1") not in spent
    # Locked until the program says otherwise.
    new = await made(member)
    assert await reason(member.member("VerifyOTP", verify(new))) == "OTP_LOCKED"
    await member.member("UpdateProfile", updating("m_1", status="ACTIVE"))
    assert (await member.member("VerifyOTP", verify(new))).verified


async def test_a_credential_has_members_sign_in_only_so_often(member: Running) -> None:
    made_up = pb.GenerateOTPResponse(otp_id=str(uuid4()), sandbox_code="123456")
    ended: list[object] = []
    for _ in range(SIGN_INS_BURST // 50 + 1):
        ended += await outcomes(*(member.member("VerifyOTP", verify(made_up)) for _ in range(50)))
    assert (ended.count("OTP_INVALID"), ended.count("RATE_LIMITED")) == (SIGN_INS_BURST, 50)
    for name, request in (("PasswordlessSignIn", sign_in(made_up)), ("GenerateOTP", generate())):
        assert await reason(member.member(name, request)) == "RATE_LIMITED"
    refused = await refusal(member.member("CheckCredentials", check()))
    assert (refused.reason, refused.message) == (Reason.RATE_LIMITED, "The client asks this too often.")
    other = partner("acme", "members:write", name="another")
    assert await reason(member.member("VerifyOTP", verify(made_up), caller=other)) == "OTP_INVALID"
    member.clocks.monotonic_s += 1
    assert await reason(member.member("VerifyOTP", verify(made_up))) == "OTP_INVALID"
