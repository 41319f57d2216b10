"""Whose request it is and whether the credential is good: decided of values alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from identity_svc.credentials.rules import Kind, Plan, State, Token
from svckit.call import Kind as CallerKind
from svckit.call import Principal
from svckit.errors import Reason, Refused

# Operators are few and trusted; the plan only bounds a script that runs wild.
OPERATOR_PLAN: Final = Plan("operator", requests_per_second=500, burst=1000, requests_per_day=10_000_000)


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated caller and what it may spend."""

    principal: Principal
    plan: Plan


def credential(headers: Mapping[str, str]) -> str:
    """The credential that a request shows. Raises UNAUTHENTICATED if it shows none, or more than one."""
    authorization, api_key = headers.get("authorization", ""), headers.get("x-api-key", "")
    if bool(authorization) == bool(api_key):
        text = "Send one credential only." if api_key else "This operation needs a credential."
        raise Refused(Reason.UNAUTHENTICATED, text)
    if api_key:
        return api_key
    scheme, _, sent = authorization.partition(" ")
    if scheme.lower() != "bearer" or not sent:
        raise Refused(Reason.UNAUTHENTICATED, "The Authorization header must be a Bearer credential.")
    return sent


def by_key(state: State | None, now: datetime, *, matches: bool) -> Caller:
    """The holder of an API key or operator key. Raises UNAUTHENTICATED."""
    if state is None or not matches or state.ended(now):
        raise unauthenticated()
    return _caller(state, state.scopes)


def by_token(state: State | None, token: Token, now: datetime) -> Caller:
    """The holder of a token whose signature is good.

    Raises TOKEN_EXPIRED; UNAUTHENTICATED if the credential has ended or was rotated since, or if the token
    was revoked or is from the future.
    """
    if state is None or not state.honours(token, now):
        raise unauthenticated()
    if token.expires_at <= state.at(now):
        raise Refused(Reason.TOKEN_EXPIRED, "The access token has expired.")
    # A scope that the credential has lost since is lost to its tokens as well.
    if token.member_id:
        member = Principal(CallerKind.MEMBER, state.credential_id, state.program_id, member_id=token.member_id)
        return Caller(member, state.plan or OPERATOR_PLAN)
    return _caller(state, state.scopes.intersection(token.scope.split()))


def unauthenticated() -> Refused:
    """The one answer to every credential that is not good: it tells nothing of why."""
    return Refused(Reason.UNAUTHENTICATED, "The credential is not valid.")


def _caller(state: State, scopes: frozenset[str]) -> Caller:
    kind = CallerKind.OPERATOR if state.kind is Kind.OPERATOR else CallerKind.PARTNER
    return Caller(Principal(kind, state.credential_id, state.program_id, scopes), state.plan or OPERATOR_PLAN)
