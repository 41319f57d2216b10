"""SignInService: passwords, one-time codes, and members' own tokens."""

from collections.abc import Callable
from typing import Any
from uuid import UUID

from rewards.identity.v1 import signin_pb2 as pb
from rewards.identity.v1.signin_pb2_grpc import SignInServiceServicer

from identity_svc.credentials.pace import Pace
from identity_svc.members.wire import timestamp
from identity_svc.signin import rules
from identity_svc.signin.codes import Codes
from identity_svc.signin.logins import Logins
from identity_svc.signin.rules import Purpose
from identity_svc.signin.tokens import MemberTokens
from svckit import call

_BEARER = "Bearer"


class SignInServicer(SignInServiceServicer):
    """`pace` bounds each credential, and `wake` says that there is a letter to send."""

    def __init__(
        self, codes: Codes, logins: Logins, tokens: MemberTokens, pace: Pace, wake: Callable[[], None]
    ) -> None:
        self._codes = codes
        self._logins = logins
        self._tokens = tokens
        self._pace = pace
        self._wake = wake

    async def CheckCredentials(self, request: pb.CheckCredentialsRequest, context: Any) -> pb.CheckCredentialsResponse:
        """Checks a password; a wrong one, none, and nobody's are the same."""
        self._pace.count(call.current().principal.name)
        opened = await self._logins.check(call.current().program_id, request)
        rules.check_may_sign_in(opened.member.status)
        return pb.CheckCredentialsResponse(member_id=opened.member.member_id)

    async def GenerateOTP(self, request: pb.GenerateOTPRequest, context: Any) -> pb.GenerateOTPResponse:
        """Makes a code and has it sent."""
        self._pace.count(call.current().principal.name)
        program_id, by_mail = call.current().program_id, request.channel != pb.SMS
        made = await self._codes.make(program_id, request.member_id, _purpose(request.purpose), by_mail=by_mail)
        self._wake()
        return pb.GenerateOTPResponse(
            otp_id=str(made.otp_id), expires_at=timestamp(made.expires_at), sandbox_code=made.shown
        )

    async def VerifyOTP(self, request: pb.VerifyOTPRequest, context: Any) -> pb.VerifyOTPResponse:
        """Checks a code and uses it up."""
        self._pace.count(call.current().principal.name)
        program_id, otp_id = call.current().program_id, UUID(request.otp_id)
        member_id = await self._codes.verify(program_id, otp_id, _purpose(request.purpose), request.code)
        return pb.VerifyOTPResponse(verified=True, member_id=member_id)

    async def PasswordlessSignIn(
        self, request: pb.PasswordlessSignInRequest, context: Any
    ) -> pb.PasswordlessSignInResponse:
        """Gives a member its own token for a code."""
        ours = call.current()
        self._pace.count(ours.principal.name)
        ours.reply_headers.update({"cache-control": "no-store", "pragma": "no-cache"})
        await self._tokens.prepare()
        otp_id = UUID(request.otp_id)
        member_id = await self._codes.verify(ours.program_id, otp_id, Purpose.SIGN_IN, request.code)
        token, member_id = await self._tokens.issue(ours.program_id, ours.principal.name, member_id)
        return pb.PasswordlessSignInResponse(
            access_token=token,
            token_type=_BEARER,
            expires_in=int(rules.MEMBER_TOKEN_LIFE.total_seconds()),
            member_id=member_id,
        )


def _purpose(sent: pb.OTPPurpose.ValueType) -> Purpose:
    return Purpose[pb.OTPPurpose.Name(sent)]
