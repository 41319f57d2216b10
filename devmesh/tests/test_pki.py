"""The certificate authority: what it issues works for mTLS, is kept, and is private."""

import ssl
import stat
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from devmesh.pki import Authority


def _certificate(folder: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())


def _handshake(server: Path, client: Path | None, server_name: str) -> None:
    """A TLS handshake in memory; raises ssl.SSLError where one end refuses the other."""
    accepting = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=server / "ca.crt")
    accepting.load_cert_chain(server / "tls.crt", server / "tls.key")
    accepting.verify_mode = ssl.CERT_REQUIRED
    calling = ssl.create_default_context(ssl.Purpose.SERVER_AUTH, cafile=server / "ca.crt")
    if client:
        calling.load_cert_chain(client / "tls.crt", client / "tls.key")
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        calling.wrap_bio(to_client, to_server, server_hostname=server_name),
        accepting.wrap_bio(to_server, to_client, server_side=True),
    ]
    while ends:
        end = ends.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            ends.append(end)


def test_a_certificate_names_its_owner_as_the_mesh_expects(tmp_path: Path) -> None:
    certificate = _certificate(Authority.load_or_create(tmp_path).issue("ledger_svc"))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://rewards.mesh/ledger_svc"]
    assert names.get_values_for_type(x509.DNSName) == ["ledger-svc"]
    uses = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert set(uses) == {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH}


def test_two_certificates_of_one_authority_make_a_mutual_handshake(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path)
    _handshake(authority.issue("ledger_svc"), authority.issue("gateway"), "ledger-svc")


def test_a_server_is_refused_under_another_name(tmp_path: Path) -> None:
    authority = Authority.load_or_create(tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError, match="ostname mismatch"):
        _handshake(authority.issue("ledger_svc"), authority.issue("gateway"), "identity-svc")


def test_a_client_of_another_authority_is_refused(tmp_path: Path) -> None:
    ours, theirs = Authority.load_or_create(tmp_path / "a"), Authority.load_or_create(tmp_path / "b")
    with pytest.raises(ssl.SSLError):
        _handshake(ours.issue("ledger_svc"), theirs.issue("gateway"), "ledger-svc")


def test_a_client_without_a_certificate_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLError):
        _handshake(Authority.load_or_create(tmp_path).issue("ledger_svc"), None, "ledger-svc")


def test_authority_and_certificates_are_kept(tmp_path: Path) -> None:
    first = Authority.load_or_create(tmp_path)
    issued = _certificate(first.issue("gateway"))
    second = Authority.load_or_create(tmp_path)
    assert second.certificate == first.certificate
    assert _certificate(second.issue("gateway")) == issued


def test_a_new_authority_issues_anew(tmp_path: Path) -> None:
    issued = _certificate(Authority.load_or_create(tmp_path).issue("gateway"))
    (tmp_path / "ca.key").unlink()
    authority = Authority.load_or_create(tmp_path)
    folder = authority.issue("gateway")
    assert _certificate(folder) != issued
    _handshake(folder, folder, "gateway")


def test_keys_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    Authority.load_or_create(tmp_path).issue("gateway")
    keys = list(tmp_path.rglob("*.key"))
    assert len(keys) == 2
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
