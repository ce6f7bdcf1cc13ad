"""Authority of a fleet: certificates that its members know each other by, and addresses."""

import contextlib
import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchbox import host
from benchbox.errors import DeviceError, StorageError, UsageError

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

PORT, ANY = 8786, "0.0.0.0"  # noqa: S104 - whoever has a certificate
CONNECT_S = 5.0
YEARS = 10
EARLIER = timedelta(days=1)  # clocks of boards are behind
AUTHORITY, AUTHORITY_KEY = "authority.pem", "authority-key.pem"
MEMBER, MEMBER_KEY = "member.pem", "member-key.pem"
FOR_MEMBERS = (AUTHORITY, MEMBER, MEMBER_KEY)
AGAIN = "`benchbox fleet init` makes new ones, in an empty folder"
ADDRESS = re.compile(r"(tls|tcp)://(\[[0-9A-Fa-f:.]+\]|[\w.-]*)(?::(\d{1,5}))?")


@dataclass(frozen=True, slots=True)
class FleetAddress:
    """The address of a scheduler, and the folder of the certificates for it."""

    url: str
    certificates: Path | None = None

    def security(self) -> Any:  # noqa: ANN401 - the type is of an extra
        """Dask's security for it: TLS with certificates of both sides, none on loopback alone."""
        from distributed.security import Security

        if self.certificates is None:
            return Security()
        authority, own, key = (str(self.certificates / name) for name in FOR_MEMBERS)
        roles = ("client", "scheduler", "worker")
        pairs = {f"tls_{role}_cert": own for role in roles} | {
            f"tls_{role}_key": key for role in roles
        }
        return Security(require_encryption=True, tls_ca_file=authority, **pairs)

    def unreachable(self, error: BaseException) -> DeviceError:
        """The error for a scheduler that does not answer, or not to these certificates."""
        first = error
        while first.__cause__ is not None:
            first = first.__cause__
        if isinstance(first, ssl.SSLCertVerificationError):
            what = f"its certificate and those of {self.certificates} are of two fleets"
            return DeviceError(f"{self.url}: {what}; copy those of its machine")
        why = getattr(first, "strerror", "") or str(first).split("\n")[0] or "timed out"
        return DeviceError(
            f"{self.url}: no scheduler answers; `benchbox fleet start` starts one: {why}"
        )


def default_folder() -> Path:
    """The folder of the certificates: $BENCHBOX_CERTIFICATES, or one of the user's settings."""
    named = os.environ.get("BENCHBOX_CERTIFICATES")
    return Path(named) if named else host.config_folder() / "fleet"


def parse(text: str, option: str = "--scheduler", folder: Path | None = None) -> FleetAddress:
    """Parse `tls://host:8786`; raises UsageError for another, and where certificates are no good.

    Without TLS whoever reaches the port could run code: that is for loopback alone.
    """
    match = ADDRESS.fullmatch(text)
    port = int(match[3] or PORT) if match else 0
    if match is None or not port < 1 << 16:
        raise UsageError(f"{option} {text}: write it as tls://host:{PORT}")
    url = f"{match[1]}://{match[2] or ANY}:{port}"
    if match[1] == "tcp":
        if not _is_loopback(match[2].strip("[]")):
            raise UsageError(f"{option} {text}: tcp:// is for 127.0.0.1 alone; write tls://")
        return FleetAddress(url)
    own = folder or default_folder()
    if missing := [name for name in FOR_MEMBERS if not (own / name).is_file()]:
        raise UsageError(
            f"{own}: {missing[0]} is missing; `benchbox fleet init` makes a fleet's certificates, "
            f"and its members have copies of {', '.join(FOR_MEMBERS)} there"
        )
    _check(own)
    return FleetAddress(url, own)


def _check(folder: Path) -> None:
    """Raise UsageError for a key that others can read, and for certificates that are no good."""
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    for key in (folder / MEMBER_KEY, folder / AUTHORITY_KEY):
        if os.name == "posix" and key.exists() and (mode := key.stat().st_mode & 0o077):
            who = "others can change it" if mode & 0o022 else "others can read it"
            raise UsageError(f"{key}: {who}; `chmod 600` it, and make new certificates if any did")
    try:
        root, own = (
            x509.load_pem_x509_certificate((folder / name).read_bytes())
            for name in (AUTHORITY, MEMBER)
        )
    except (OSError, ValueError):
        raise UsageError(f"{folder}: {AUTHORITY} or {MEMBER} is no certificate") from None
    for name, each in ((AUTHORITY, root), (MEMBER, own)):
        _require_current(folder / name, each)
    try:
        own.verify_directly_issued_by(root)
    except (ValueError, TypeError, InvalidSignature):
        raise UsageError(
            f"{folder}: {MEMBER} is of another fleet than {AUTHORITY}; {AGAIN}"
        ) from None
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(folder / MEMBER, folder / MEMBER_KEY, password="")
    except OSError:
        raise UsageError(f"{folder}: {MEMBER_KEY} is not the key of {MEMBER}; {AGAIN}") from None


def _require_current(path: Path, certificate: "x509.Certificate") -> None:
    """Raise UsageError for a certificate that has expired, or where the clock is behind."""
    start, now = certificate.not_valid_before_utc, datetime.now(UTC)
    if (end := certificate.not_valid_after_utc) < now:
        raise UsageError(f"{path}: it expired on {end:%Y-%m-%d}; {AGAIN}")
    if now < start:
        clock = f"this machine's clock says {now:%Y-%m-%d}; set it"
        raise UsageError(f"{path}: it is valid from {start:%Y-%m-%d} on, and {clock}")


def _is_loopback(name: str) -> bool:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return name == "localhost"


def init(folder: Path) -> list[Path]:
    """Make the authority of a fleet and the certificate of its members; return the files.

    Raises UsageError where one of them is there already.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    if there := [name for name in (*FOR_MEMBERS, AUTHORITY_KEY) if (folder / name).exists()]:
        raise UsageError(
            f"{folder}: it holds {there[0]} already; remove it, or name another folder"
        )
    root, own = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    authority = _certificate("benchbox fleet authority", root, root, is_authority=True)
    member = _certificate("benchbox fleet member", own, root, is_authority=False)
    files = {
        AUTHORITY: _pem(authority),
        AUTHORITY_KEY: _key_pem(root),
        MEMBER: _pem(member),
        MEMBER_KEY: _key_pem(own),
    }
    _write(folder, files)
    return [folder / name for name in files]


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write new files, all or none; keys so that nobody else reads them, ever."""
    made = list[Path]()
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, data in files.items():
            mode = 0o600 if name.endswith("-key.pem") else 0o644
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            made.append(folder / name)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
    except OSError as error:
        for path in made:
            path.unlink()
        raise StorageError(f"{folder}: cannot be written: {error.strerror}") from None


def _certificate(
    name: str,
    key: "ec.EllipticCurvePrivateKey",
    signer: "ec.EllipticCurvePrivateKey",
    *,
    is_authority: bool,
) -> "x509.Certificate":
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import NameOID

    def named(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(named(name))
        .issuer_name(named("benchbox fleet authority"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLIER)
        .not_valid_after(now + timedelta(days=365 * YEARS))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )


def _pem(certificate: "x509.Certificate") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM)


def _key_pem(key: "ec.EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives import serialization as form

    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
