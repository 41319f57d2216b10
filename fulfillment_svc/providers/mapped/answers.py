"""How a provider's answers are read: the first rule that fits says what an answer means, and one that no rule fits is
`Unknown`. Pure, and total over all answers."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from fulfillment_svc.providers import Issued, NotSeen, Order, Pending, Rejected, Unknown
from fulfillment_svc.providers.mapped.template import Values, filled_with, item_values, values
from fulfillment_svc.providers.transport import CONTRADICTION, MALFORMED, Heard, is_code, reason

Answer = Issued | Rejected | Pending | NotSeen | Unknown

_NOTHING: Final = object()


class Says(StrEnum):
    """What an answer may mean."""

    ISSUED = "issued"
    REJECTED = "rejected"
    PENDING = "pending"
    NOT_SEEN = "not_seen"


Path = tuple[str, ...]
Where = Mapping[Path, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Rule:
    """An answer with one of these HTTP statuses, and with one of the values at every path of `where`, `says` this.

    `items` is where the list of issued items stands, None where the answer is itself the only one; in each of them
    `code`, `rejected` and `item_where` are looked for. `reason` is where a rejection's reason stands.
    """

    says: Says
    http: frozenset[int]
    where: Where
    items: Path | None = None
    code: Path = ()
    rejected: Path | None = None
    item_where: Where | None = None
    reason: Path | None = None


def read(rules: Sequence[Rule], heard: Heard, order: Order) -> Answer:
    """What an answer says about the order."""
    by_status = [rule for rule in rules if heard.status in rule.http]
    if not by_status:
        return Unknown(f"HTTP_{heard.status}")
    try:
        answer = json.loads(heard.body)
    except (ValueError, RecursionError):
        return MALFORMED
    known = values(order)
    for rule in by_status:
        if _fits(rule.where, answer, known):
            return _meaning(rule, answer, order)
    return CONTRADICTION


def _meaning(rule: Rule, answer: object, order: Order) -> Answer:
    match rule.says:
        case Says.ISSUED:
            return _issued(rule, answer, order)
        case Says.REJECTED:
            return Rejected(reason(_at(rule.reason, answer)))
        case Says.PENDING:
            return Pending()
        case Says.NOT_SEEN:
            return NotSeen()


def _issued(rule: Rule, answer: object, order: Order) -> Issued | Rejected | Unknown:
    items = [answer] if rule.items is None else _at(rule.items, answer)
    if not isinstance(items, list):
        return MALFORMED
    if len(items) != len(order.items):
        return CONTRADICTION
    if not all(map(_fits, [rule.item_where or {}] * len(items), items, item_values(order))):
        return CONTRADICTION
    outcomes = [_outcome(rule, item) for item in items]
    for outcome in outcomes:
        if isinstance(outcome, Unknown):
            return outcome
    refusals = [outcome for outcome in outcomes if isinstance(outcome, Rejected)]
    if len(refusals) == len(items):
        return refusals[0]
    codes = tuple(outcome if isinstance(outcome, str) else None for outcome in outcomes)
    return Issued(codes, *(refusal.reason for refusal in refusals[:1]))


def _outcome(rule: Rule, item: object) -> str | Rejected | Unknown:
    """An item's code or refusal: with both or neither nobody can tell what became of it."""
    code, refusal = _at(rule.code, item), _at(rule.rejected, item)
    issued, refused = (found not in (_NOTHING, None) for found in (code, refusal))
    if issued is refused:
        return CONTRADICTION
    if refused:
        return Rejected(reason(refusal))
    return code if is_code(code) else MALFORMED


def _fits(where: Where, answer: object, known: Values) -> bool:
    return all(
        any(_same(_at(path, answer), filled_with(wanted, known)) for wanted in allowed)
        for path, allowed in where.items()
    )


def _same(found: object, wanted: object) -> bool:
    # In Python 1 equals True and 1.0, and an amount must be neither; but JSON has 10 for 10.0 as well.
    alike = type(found) is type(wanted) or (type(found), type(wanted)) == (int, float)
    return alike and found == wanted


def _at(path: Path | None, answer: object) -> object:
    if path is None:
        return _NOTHING
    for name in path:
        match answer:
            case dict() if name in answer:
                answer = answer[name]
            case list() if name.isdecimal() and int(name) < len(answer):
                answer = answer[int(name)]
            case _:
                return _NOTHING
    return answer
