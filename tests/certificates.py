"""Certificates of an authority of the tests' own, good and bad."""

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

_DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Certificate:
    """The files of a server's certificate, and of the authority that signed it."""

    chain: Path
    key: Path
    authority: Path


def make_certificate(folder: Path, *, name: str = "127.0.0.1", days: int = 90) -> Certificate:
    """A certificate for an address or a host name that ends in ``days`` from now; below 0 it has ended."""
    now = dt.datetime.now(dt.UTC)
    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority_name = _named("Tests")
    begin = now + min(0, days) * _DAY - 30 * _DAY
    authority = (
        _builder(authority_name, authority_name, begin, now + 365 * _DAY)
        .public_key(authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    try:
        whose: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        whose = x509.DNSName(name)
    # An hour more, so that whole days are left when it is looked at.
    until = now + days * _DAY + dt.timedelta(hours=1)
    certificate = (
        _builder(_named(name), authority_name, begin, until)
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName([whose]), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    made = Certificate(folder / "chain.pem", folder / "key.pem", folder / "authority.pem")
    made.chain.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.authority.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    made.key.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return made


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: x509.Name, issuer: x509.Name, begin: dt.datetime, until: dt.datetime) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(until)
    )
