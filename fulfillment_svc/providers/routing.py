"""Which provider gets a program's orders."""

from collections.abc import Iterable
from typing import Final

from svckit.errors import Reason, Refused
from svckit.programs import Program

SANDBOX: Final = "sandbox"


def route(program: Program, names: Iterable[str]) -> str:
    """The provider of a program, of those with these names.

    A sandbox program reaches the sandbox provider and no live one does (G50). Raises REWARD_UNAVAILABLE if
    none serves the program.
    """
    for name in names:
        if (name == SANDBOX) is program.sandbox:
            return name
    raise Refused(Reason.REWARD_UNAVAILABLE, "No provider delivers this reward.")
