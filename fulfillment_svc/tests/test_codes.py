"""Codes at rest: nothing opens anywhere else, changed, or without its master key (G53)."""

import base64
import secrets
import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fulfillment_svc.codes import Place, SealBrokenError, Sealed, Vault, mask

KEY = secrets.token_bytes(32)
VAULT = Vault([KEY])
PLACE = Place("acme", uuid.uuid4(), 1)


def test_what_is_sealed_opens_and_does_not_show() -> None:
    sealed = VAULT.seal(b"ABCD-EFGH-2345", PLACE)
    assert VAULT.open(sealed, PLACE) == b"ABCD-EFGH-2345"
    assert b"ABCD" not in sealed.ciphertext + sealed.wrapped_key
    assert VAULT.seal(b"ABCD-EFGH-2345", PLACE).ciphertext != sealed.ciphertext


@pytest.mark.parametrize(
    "elsewhere",
    [replace(PLACE, number=2), replace(PLACE, redemption_id=uuid.uuid4()), replace(PLACE, program_id="rival")],
)
def test_it_opens_only_at_its_place(elsewhere: Place) -> None:
    with pytest.raises(SealBrokenError):
        VAULT.open(VAULT.seal(b"code", PLACE), elsewhere)


def test_ciphertexts_of_two_rows_cannot_be_swapped() -> None:
    first, second = VAULT.seal(b"first", PLACE), VAULT.seal(b"second", PLACE)
    for mixed in (replace(first, ciphertext=second.ciphertext), replace(first, wrapped_key=second.wrapped_key)):
        with pytest.raises(SealBrokenError):
            VAULT.open(mixed, PLACE)


@given(st.sampled_from(["wrapped_key", "ciphertext"]), st.integers(0, 10**6), st.integers(1, 255))
def test_a_changed_byte_shows(column: str, position: int, flip: int) -> None:
    sealed = VAULT.seal(b"ABCD-EFGH", PLACE)
    parts = {"wrapped_key": sealed.wrapped_key, "ciphertext": sealed.ciphertext}
    stored = bytearray(parts[column])
    stored[position % len(stored)] ^= flip
    with pytest.raises(SealBrokenError):
        VAULT.open(Sealed(sealed.key_id, **(parts | {column: bytes(stored)})), PLACE)


@pytest.mark.parametrize("length", [0, 5, 12])
def test_a_cut_value_shows(length: int) -> None:
    sealed = VAULT.seal(b"ABCD-EFGH", PLACE)
    with pytest.raises(SealBrokenError):
        VAULT.open(replace(sealed, ciphertext=sealed.ciphertext[:length]), PLACE)


def test_a_new_master_key_seals_and_the_old_one_still_opens() -> None:
    old = VAULT.seal(b"code", PLACE)
    lines = b"\n".join(base64.b64encode(key) for key in (secrets.token_bytes(32), KEY))
    rotated = Vault.from_base64(lines)
    assert rotated.open(old, PLACE) == b"code"
    new = rotated.seal(b"code", PLACE)
    assert new.key_id != old.key_id
    with pytest.raises(SealBrokenError):
        VAULT.open(new, PLACE)


@pytest.mark.parametrize("lines", [b"", base64.b64encode(b"x" * 31), b"short", b"not-base64"])
def test_a_bad_key_file_is_a_loud_stop(lines: bytes) -> None:
    with pytest.raises(ValueError, match=r"master key has 32 bytes|base64|padding"):
        Vault.from_base64(lines)


@given(st.text(max_size=60))
def test_a_mask_shows_at_most_four_characters_and_never_half_of_a_code(code: str) -> None:
    shown = mask(code).removeprefix("****")
    assert len(shown) <= 4
    assert 2 * len(shown) <= len(code)
    assert code.endswith(shown)
