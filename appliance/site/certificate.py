"""The certificate by which the ward's station knows this box: made here and signed by itself, or the site's own."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from calibration.errors import WardposeError

if TYPE_CHECKING:
    from cryptography import x509

DAYS = 397  # browsers take no longer-lived certificate for a web page
_NAME = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says. names: hosts and addresses that it is for. until: UTC. fingerprint: SHA-256, as browsers
    show it. own: it is signed by itself, so that a station has to be told to trust it."""

    names: tuple[str, ...]
    until: datetime
    fingerprint: str
    own: bool

    @property
    def days_left(self) -> float:
        return (self.until - datetime.now(UTC)).total_seconds() / 86400


def is_host(name: str) -> bool:
    """Whether that is a host's name, or an address."""
    return _is_address(name) or _NAME.fullmatch(name.lower()) is not None


def make(names: Sequence[str], *, days: int = DAYS) -> tuple[str, str]:
    """A new certificate for these hosts and addresses, and its key (P-256): two PEM texts.

    Raises `WardposeError` for something that is neither a name nor an address.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    for name in names:
        if not is_host(name):
            raise WardposeError(f"{name!r} is no host's name", mend="such as bed12.ward.local, or an address")
    if not names:
        raise WardposeError("a certificate is for a name", mend="give --name, such as bed12.ward.local")
    key = ec.generate_private_key(ec.SECP256R1())
    told = [
        x509.IPAddress(ipaddress.ip_address(name)) if _is_address(name) else x509.DNSName(name.lower())
        for name in names
    ]
    who = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, f"wardpose {names[0]}"[:64])])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))  # a station's clock may be behind
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(told), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([x509.ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return certificate.public_bytes(serialization.Encoding.PEM).decode(), private.decode()


def read(certificate: str, key: str | None = None) -> Certificate:
    """What the first certificate of a PEM text says.

    key: its key, held against it. Raises `WardposeError` for a text that is none, a key that is another's or has a
    passphrase, and a certificate that holds no longer.
    """
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization

    try:
        first = x509.load_pem_x509_certificates(certificate.encode())[0]
        names = _names(first)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise WardposeError("this is no certificate", mend="give a PEM file: -----BEGIN CERTIFICATE-----") from error
    if key is not None:
        form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        try:
            public = serialization.load_pem_private_key(key.encode(), None).public_key()
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise WardposeError("this is no key without a passphrase", mend="give a PEM file of it") from error
        if public.public_bytes(*form) != first.public_key().public_bytes(*form):
            raise WardposeError("the key is another certificate's", mend="give the two that belong together")
    found = Certificate(
        names, first.not_valid_after_utc, first.fingerprint(hashes.SHA256()).hex(":").upper(),
        first.issuer == first.subject,
    )  # fmt: skip
    if found.days_left <= 0:
        raise WardposeError(f"the certificate has ended on {found.until:%Y-%m-%d}", mend="get a new one")
    return found


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509

    try:
        told = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in told if isinstance(name, x509.DNSName | x509.IPAddress))


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
