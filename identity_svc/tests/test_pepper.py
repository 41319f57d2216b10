"""Keys from the pepper, and what is sealed under them."""

import pytest

from identity_svc.pepper import Box, Pepper, mac

PEPPER = Pepper(b"p" * 32)


def test_each_purpose_has_a_key_of_its_own() -> None:
    assert PEPPER.key("a") == Pepper(b"p" * 32).key("a")
    assert len({PEPPER.key("a"), PEPPER.key("b"), Pepper(b"q" * 32).key("a")}) == 3


def test_a_short_pepper_is_a_loud_stop() -> None:
    with pytest.raises(SystemExit):
        Pepper(b"short")


def test_what_is_sealed_opens_in_its_context_only() -> None:
    box = Box(PEPPER.key("a"))
    sealed = box.seal(b"secret", "attributes", "acme", "m_1")
    assert box.open(sealed, "attributes", "acme", "m_1") == b"secret"
    for context in (("attributes", "acme", "m_2"), ("attributes", "other", "m_1"), ("attributes", "acmem_1", "")):
        with pytest.raises(ValueError, match="another context"):
            box.open(sealed, *context)
    with pytest.raises(ValueError, match="changed"):
        box.open(sealed[:-1] + bytes([sealed[-1] ^ 1]), "attributes", "acme", "m_1")


def test_the_same_is_never_sealed_the_same() -> None:
    box = Box(PEPPER.key("a"))
    assert len({box.seal(b"secret") for _ in range(100)}) == 100


def test_a_mac_keeps_the_borders_of_its_parts() -> None:
    assert mac(b"k", "ab", "c") != mac(b"k", "a", "bc")
