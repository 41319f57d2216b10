"""The text of API keys and client secrets."""

import pytest

from identity_svc.credentials import keys
from identity_svc.credentials.keys import Hasher
from identity_svc.pepper import Pepper

HASHER = Hasher(Pepper(b"p" * 32))


@pytest.mark.parametrize("prefix", [keys.PREFIXES["SANDBOX"], keys.PREFIXES["LIVE"], keys.OPERATOR_PREFIX])
def test_a_key_names_its_credential(prefix: str) -> None:
    issued = keys.new_key(prefix)
    assert issued.credential_id.startswith(f"{prefix}_")
    assert issued.secret.startswith(f"{issued.credential_id}_")
    assert keys.credential_id(issued.secret) == issued.credential_id


def test_every_typo_in_one_place_is_found() -> None:
    key = keys.new_key(keys.PREFIXES["SANDBOX"]).secret
    for place in range(len("rk_test_"), len(key)):
        for wrong in ("0", "z"):
            typo = key[:place] + wrong + key[place + 1 :]
            assert typo == key or keys.credential_id(typo) is None


@pytest.mark.parametrize(
    "text", ["", "rk_", "rk_test_x", "rk_prod_0123456789abcdef_", "rk_test_" + "a" * 5000, "rk_té"]
)
def test_what_is_no_key_names_nothing(text: str) -> None:
    assert keys.credential_id(text) is None


def test_secrets_are_random() -> None:
    assert len({keys.new_key(keys.PREFIXES["SANDBOX"]).secret for _ in range(100)}) == 100
    assert len({keys.new_client().secret for _ in range(100)}) == 100


def test_a_secret_matches_its_own_credential_only() -> None:
    issued = keys.new_client()
    stored = HASHER.mac(issued.credential_id, issued.secret)
    assert HASHER.matches(issued.credential_id, issued.secret, stored)
    assert not HASHER.matches(issued.credential_id, issued.secret + "x", stored)
    assert not HASHER.matches("cl_other", issued.secret, stored)
    assert not HASHER.matches(issued.credential_id, issued.secret, None)
    assert not Hasher(Pepper(b"q" * 32)).matches(issued.credential_id, issued.secret, stored)
