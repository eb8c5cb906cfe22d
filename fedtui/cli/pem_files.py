"""Files that should hold PEM, as people have them: DER, UTF-16 from a PowerShell, empty, or something else."""

from __future__ import annotations

import codecs
import re
import sys
from base64 import encodebytes
from dataclasses import dataclass
from pathlib import Path

from fedtui.core.errors import WrongUsage
from fedtui.core.pki.x509 import PEM_LIMIT
from fedtui.core.runtime.settings import require_text

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_LABEL = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----")
DER_SEQUENCE = 0x30
"""The first byte of a certificate, a request or a key in DER."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is to hold: its PEM label, the command that makes one, and openssl's that converts it from DER."""

    label: str
    make: str
    convert: str
    also: tuple[str, ...] = ()
    """Other labels under which the same comes."""


REQUEST = Kind(
    "CERTIFICATE REQUEST", "openssl req -new ... -out peer.csr", "openssl req -inform der", ("NEW CERTIFICATE REQUEST",)
)
CERTIFICATE = Kind(
    "CERTIFICATE",
    "fedtui certs issue PEER --csr FILE   (at the peer)",
    "openssl x509 -inform der",
    ("X509 CERTIFICATE", "TRUSTED CERTIFICATE"),
)
PRIVATE_KEY = Kind(
    "PRIVATE KEY",
    "openssl genpkey ...",
    "openssl pkey -inform der",
    ("EC PRIVATE KEY", "RSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "OPENSSH PRIVATE KEY"),
)


def read_pem(file: Path, kind: Kind) -> str:
    """Return a file's PEM text; `-` reads standard input. DER is put into PEM, UTF-16 into text.

    Raises `WrongUsage` for a file that cannot be read, is empty or too large, or holds neither.
    """
    content = _bytes_of(file, kind)
    if not content.strip():
        raise _unusable(file, "The file is empty.", f"Make one with: {kind.make}")
    if len(content) > PEM_LIMIT:
        raise _unusable(file, f"It is larger than {PEM_LIMIT} bytes.", f"Make one with: {kind.make}")
    if content[0] == DER_SEQUENCE and not content.isascii() and kind is not PRIVATE_KEY:
        return f"-----BEGIN {kind.label}-----\n{encodebytes(content).decode()}-----END {kind.label}-----\n"
    try:
        text = content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        convert = f"If it is DER, convert it: {kind.convert} -in {file} -out {file}.pem"
        raise _unusable(file, "It is no text, and PEM is.", convert) from error
    require_text(str(file), text)
    _require_label(file, text, kind)
    return text


def _encoding(content: bytes) -> str:
    """UTF-8, or UTF-16 with a mark or, as ASCII in it, with every second byte empty."""
    if content.startswith(UTF_16):
        return "utf-16"
    return "utf-16-le" if content[1:2] == b"\0" else "utf-16-be" if content[:1] == b"\0" else "utf-8-sig"


def _require_label(file: Path, text: str, kind: Kind) -> None:
    """Raise `WrongUsage` where the text holds PEM of other kinds alone."""
    labels = _LABEL.findall(text)
    wanted = [label for label in labels if label in (kind.label, *kind.also)]
    if labels and not wanted:
        private = "PRIVATE KEY" in labels[0]
        why = f"It holds a {labels[0].lower()}, and a {kind.label.lower()} is needed."
        raise _unusable(
            file, f"{why}{' A private key never leaves its owner.' if private else ''}", f"Make one with: {kind.make}"
        )
    if kind is REQUEST and len(wanted) > 1:
        raise _unusable(
            file, f"It holds {len(wanted)} requests; one is signed at a time.", "Put each into a file of its own."
        )


def _bytes_of(file: Path, kind: Kind) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read(PEM_LIMIT + 1)
    try:
        with file.open("rb") as opened:
            return opened.read(PEM_LIMIT + 1)
    except OSError as error:
        raise WrongUsage(
            f"{file} cannot be read.", cause=error.strerror or str(error), fix=f"Make one with: {kind.make}"
        ) from error


def _unusable(file: Path, why: str, fix: str) -> WrongUsage:
    return WrongUsage(f"{file} cannot be used.", cause=why, fix=fix, code="file_unusable")
