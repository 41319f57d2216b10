"""The certificate authority of a development mesh and the certificates it issues.

In Kubernetes cert-manager does this. Names and files are the same here and there: a folder with `tls.crt`, `tls.key`
and `ca.crt`, the identity in the URI SAN, and the name a client verifies in the DNS SAN.
"""

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from devmesh.private import write_private

TRUST_DOMAIN = "rewards.mesh"
_CA_LIFE = dt.timedelta(days=3650)
_LEAF_LIFE = dt.timedelta(days=365)
_RENEW_BEFORE = dt.timedelta(days=30)
# A clock that is a little behind must not find a certificate that is not valid yet.
_BACKDATED = dt.timedelta(minutes=5)


@dataclass(frozen=True)
class Authority:
    """A certificate authority that lives in a folder. Keys are readable by their owner only."""

    folder: Path
    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @classmethod
    def load_or_create(cls, folder: Path) -> Self:
        """The authority of `folder`, made at the first call and the same from then on, while it is valid."""
        try:
            certificate = x509.load_pem_x509_certificate((folder / "ca.crt").read_bytes())
            key = serialization.load_pem_private_key((folder / "ca.key").read_bytes(), password=None)
        except FileNotFoundError:
            return cls._create(folder)
        # The two files take their names one after the other; a crash between them leaves a pair that does not match.
        if isinstance(key, ec.EllipticCurvePrivateKey) and key.public_key() == certificate.public_key():
            return cls._create(folder) if _ends_soon(certificate) else cls(folder, certificate, key)
        return cls._create(folder)

    def issue(self, name: str) -> Path:
        """The folder with tls.crt, tls.key and ca.crt of `name`, e.g. "ledger_svc"; issued anew when it ends soon."""
        folder = self.folder / name
        if not self._is_good(folder):
            key = ec.generate_private_key(ec.SECP256R1())
            write_private(folder / "tls.key", _key_pem(key))
            write_private(folder / "ca.crt", _certificate_pem(self.certificate))
            write_private(folder / "tls.crt", _certificate_pem(self._leaf(name, key.public_key())))
        return folder

    @classmethod
    def _create(cls, folder: Path) -> Self:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _common_name("rewards-mesh development CA")
        certificate = (
            _builder(name, name, key.public_key(), _CA_LIFE)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(ca=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        write_private(folder / "ca.key", _key_pem(key))
        write_private(folder / "ca.crt", _certificate_pem(certificate))
        return cls(folder, certificate, key)

    def _leaf(self, name: str, public_key: ec.EllipticCurvePublicKey) -> x509.Certificate:
        dns_name = name.replace("_", "-")
        identity = f"spiffe://{TRUST_DOMAIN}/{name}"
        # Every party of the mesh is a server to some and a client to others, so each certificate serves both ends.
        uses = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        names = [x509.DNSName(dns_name), x509.UniformResourceIdentifier(identity)]
        return (
            _builder(_common_name(dns_name), self.certificate.subject, public_key, _LEAF_LIFE)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(uses), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
            .sign(self.key, hashes.SHA256())
        )

    def _is_good(self, folder: Path) -> bool:
        try:
            certificate = x509.load_pem_x509_certificate((folder / "tls.crt").read_bytes())
            key = serialization.load_pem_private_key((folder / "tls.key").read_bytes(), password=None)
            certificate.verify_directly_issued_by(self.certificate)
        except (FileNotFoundError, InvalidSignature):
            return False
        return key.public_key() == certificate.public_key() and not _ends_soon(certificate)


def _builder(
    subject: x509.Name, issuer: x509.Name, public_key: ec.EllipticCurvePublicKey, life: dt.timedelta
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATED)
        .not_valid_after(now + life)
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        key_cert_sign=ca,
        crl_sign=ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _ends_soon(certificate: x509.Certificate) -> bool:
    return certificate.not_valid_after_utc - dt.datetime.now(dt.UTC) < _RENEW_BEFORE


def _common_name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _certificate_pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
