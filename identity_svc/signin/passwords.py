"""Passwords: Argon2id, in threads of their own, because a hash takes as long as a hundred requests (G48)."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from argon2 import PasswordHasher
from argon2.exceptions import VerificationError

# OWASP's first choice for Argon2id: 19 MiB, two passes, one lane. Two at a time bound the memory and leave a core.
_AT_ONCE: Final = 2


class Passwords:
    """Hashes and checks passwords without holding up the event loop."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
        self._threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="passwords")
        # Checked where there is no password, so that this takes the same time to find out.
        self._nobodys = self._hasher.hash("nobody's")

    async def hash(self, password: str) -> str:
        """What is kept of a password."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, password)

    async def matches(self, password: str, stored: str | None) -> bool:
        """True if it is the stored one; None is the password of nobody."""
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(self._threads, self._verify, stored or self._nobodys, password)
        return right and stored is not None

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, password)
        except VerificationError:
            return False
