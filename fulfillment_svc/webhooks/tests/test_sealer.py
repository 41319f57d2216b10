"""Endpoint secrets at rest."""

import base64

import pytest

from fulfillment_svc.webhooks.sealer import SealBrokenError, Sealer, new_secret
from svckit.clock import new_id

OLD, NEW = bytes(32), bytes(range(32))
ENDPOINT = new_id()


def test_a_secret_has_32_random_bytes() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    for secret in secrets:
        assert secret.startswith("whsec_")
        assert len(base64.b64decode(secret.removeprefix("whsec_"), validate=True)) == 32


def test_a_sealed_secret_shows_nothing_and_opens_again() -> None:
    sealer, secret = Sealer([NEW]), new_secret()
    sealed = [sealer.seal("acme", ENDPOINT, secret) for _ in range(2)]
    assert sealed[0] != sealed[1]
    assert all(secret.encode() not in one and b"whsec_" not in one for one in sealed)
    assert [sealer.open("acme", ENDPOINT, one) for one in sealed] == [secret, secret]


def test_it_opens_nowhere_else() -> None:
    sealer = Sealer([NEW])
    sealed = sealer.seal("acme", ENDPOINT, new_secret())
    for program_id, endpoint_id in (("other", ENDPOINT), ("acme", new_id())):
        with pytest.raises(SealBrokenError):
            sealer.open(program_id, endpoint_id, sealed)


@pytest.mark.parametrize("position", [0, 8, 20, -1])
def test_a_changed_byte_is_noticed(position: int) -> None:
    sealer = Sealer([NEW])
    sealed = bytearray(sealer.seal("acme", ENDPOINT, new_secret()))
    sealed[position] ^= 1
    with pytest.raises(SealBrokenError):
        sealer.open("acme", ENDPOINT, bytes(sealed))


def test_an_old_key_still_opens_and_a_missing_one_does_not() -> None:
    secret = new_secret()
    sealed = Sealer([OLD]).seal("acme", ENDPOINT, secret)
    lines = base64.b64encode(NEW) + b"\n" + base64.b64encode(OLD) + b"\n"
    assert Sealer.from_base64(lines).open("acme", ENDPOINT, sealed) == secret
    with pytest.raises(SealBrokenError):
        Sealer([NEW]).open("acme", ENDPOINT, sealed)


@pytest.mark.parametrize("lines", [b"", b"short", base64.b64encode(bytes(31)), b"!" * 44])
def test_a_bad_key_file_stops_the_start(lines: bytes) -> None:
    with pytest.raises(ValueError, match=r"32 bytes|[Bb]ase64|padding|Non-base64"):
        Sealer.from_base64(lines)
