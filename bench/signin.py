"""Whether time tells that there is such a member: calls about members and about nobody, mixed, one at a time.

They go to identity_svc itself: through the gateway the same difference would be a smaller part of the whole. They
are mixed by chance, because the mail to a member is sent while the call after it runs.
"""

import random
import statistics
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import psycopg
from google.protobuf.message import Message
from rewards.identity.v1 import members_pb2, signin_pb2

from bench.calls import Plan, Result, Target, encode, generate
from bench.figures import Figure, against
from devmesh.mesh import Mesh
from devmesh.pki import Authority
from devmesh.seed import FIRST
from svckit.clock import new_id
from svckit.testing import headers, partner

NAME = "sign_in"
MEMBERS = 2_000
# So many runs share the calls: the ratio is the median of theirs.
RUNS = 4
WRONG = "wrong"
CALLER = partner(FIRST, "members:write")
SERVER = "identity_svc"


@dataclass(frozen=True)
class SignIn:
    """identity_svc with `members`, half of whom do exist: the `known` ones."""

    mesh: Mesh
    members: Sequence[str]
    known: frozenset[str]

    async def compare(self, name: str, rpc: str, requests: Sequence[Message], *, refused: bool) -> list[Figure]:
        """The median time of calls about who exists against that about nobody; one request about each member."""
        result = await self.send(f"SignInService/{rpc}", requests, refused=refused)
        took: dict[bool, list[float]] = {True: [], False: []}
        for member_id, took_ms in zip(self.members, result.took_ms, strict=True):
            took[member_id in self.known].append(took_ms)
        known, unknown = [
            [statistics.median(took[exists][run::RUNS]) for run in range(RUNS)] for exists in (True, False)
        ]
        return [against(f"{NAME}_{name}_known_vs_unknown", "ms", known, unknown)]

    async def send(self, rpc: str, requests: Sequence[Message], in_flight: int = 1, *, refused: bool = False) -> Result:
        """Sends each of the requests once."""
        folder = Authority.load_or_create(self.mesh.layout.pki).issue("gateway")
        target = Target(self.mesh.layout.address(SERVER), SERVER, f"/rewards.identity.v1.{rpc}", str(folder))
        bodies = [encode(request.SerializeToString()) for request in requests]
        told = [list(headers(CALLER))] * len(bodies)
        plan = Plan(target, bodies, told, len(bodies), in_flight, str(new_id()))
        return await generate(plan, refused=refused)

    async def codes(self) -> list[str]:
        """The newest code of each of the members, in their order."""
        async with await psycopg.AsyncConnection.connect(self.mesh.dsn("identity")) as connection:
            found = await connection.execute("SELECT member_id, otp_id FROM otps ORDER BY expires_at")
            newest = {member_id: str(otp_id) for member_id, otp_id in await found.fetchall()}
        return [newest[member_id] for member_id in self.members]


async def prepared(mesh: Mesh) -> SignIn:
    """Makes members, with addresses. Whoever does not exist has an id of the same form."""
    members = [f"m_{new_id().hex}" for _ in range(2 * MEMBERS)]
    known = frozenset(members[::2])
    random.shuffle(members)
    here = SignIn(mesh, members, known)
    made = [members_pb2.CreateProfileWithAttributesRequest(member_id=one) for one in known]
    for request in made:
        request.attributes["email"] = f"{request.member_id}@example.com"
    await here.send("MembersService/CreateProfileWithAttributes", made, in_flight=16)
    return here


async def sends(here: SignIn) -> list[Figure]:
    """GenerateOTP."""
    requests = [signin_pb2.GenerateOTPRequest(member_id=one, purpose=signin_pb2.SIGN_IN) for one in here.members]
    return await here.compare("generate_otp", "GenerateOTP", requests, refused=False)


async def guesses(here: SignIn) -> list[Figure]:
    """VerifyOTP and PasswordlessSignIn, with wrong codes."""
    ids = await here.codes()
    checks = [signin_pb2.VerifyOTPRequest(otp_id=one, purpose=signin_pb2.SIGN_IN, code=WRONG) for one in ids]
    sign_ins = [signin_pb2.PasswordlessSignInRequest(otp_id=one, code=WRONG) for one in ids]
    return [
        *await here.compare("verify_otp", "VerifyOTP", checks, refused=True),
        *await here.compare("passwordless", "PasswordlessSignIn", sign_ins, refused=True),
    ]


async def passwords(here: SignIn) -> list[Figure]:
    """CheckCredentials, with wrong passwords."""
    requests = [signin_pb2.CheckCredentialsRequest(member_id=one, password=WRONG) for one in here.members]
    return await here.compare("check_credentials", "CheckCredentials", requests, refused=True)


async def measure(mesh: Mesh) -> list[Figure]:
    """All of them, on members of their own."""
    here = await prepared(mesh)
    asked: list[Callable[[SignIn], Awaitable[list[Figure]]]] = [sends, guesses, passwords]
    return [figure for one in asked for figure in await one(here)]
