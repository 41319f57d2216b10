"""A program's settings as rules."""

from rewards.identity.v1 import programs_pb2 as pb

from fulfillment_svc.compliance import Effect
from fulfillment_svc.compliance.rules import Limit, Rules


def rules(settings: pb.Compliance) -> Rules:
    """The rules that a program's settings say."""
    return Rules(
        allowed=frozenset(settings.allowed_countries),
        blocked=frozenset(settings.blocked_countries),
        limits=tuple(_limit(limit) for limit in settings.limits),
    )


def _limit(limit: pb.RecipientLimit) -> Limit:
    over = Effect(pb.RecipientLimit.Effect.Name(limit.over))
    return Limit(limit.currency, limit.value_minor, limit.days, over)
