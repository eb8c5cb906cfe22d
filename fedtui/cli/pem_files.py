"""Files that should hold PEM, as people have them: DER, UTF-16 from a PowerShell, empty, or something else."""

from __future__ import annotations

import codecs
import sys
from base64 import encodebytes
from dataclasses import dataclass
from pathlib import Path

from fedtui.core.errors import WrongUsage
from fedtui.core.runtime.settings import require_text
from fedtui.core.trust.x509_reading import PEM_LIMIT

UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
DER_SEQUENCE = 0x30
"""The first byte of a certificate, a request or a key in DER."""


@dataclass(frozen=True, slots=True)
class Kind:
    """What a file is to hold: its PEM label, the command that makes one, and openssl's that converts it from DER."""

    label: str
    make: str
    convert: str


REQUEST = Kind("CERTIFICATE REQUEST", "openssl req -new ... -out peer.csr", "openssl req -inform der")
CERTIFICATE = Kind("CERTIFICATE", "fedtui certs issue PEER --csr FILE   (at the peer)", "openssl x509 -inform der")
PRIVATE_KEY = Kind("PRIVATE KEY", "openssl genpkey ...", "openssl pkey -inform der")


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
        text = content.decode("utf-16" if content.startswith(UTF_16) else "utf-8-sig")
    except UnicodeDecodeError as error:
        convert = f"If it is DER, convert it: {kind.convert} -in {file} -out {file}.pem"
        raise _unusable(file, "It is no text, and PEM is.", convert) from error
    require_text(str(file), text)
    return text


def _bytes_of(file: Path, kind: Kind) -> bytes:
    if str(file) == "-":
        return sys.stdin.buffer.read(PEM_LIMIT + 1)
    try:
        with file.open("rb") as opened:
            return opened.read(PEM_LIMIT + 1)
    except OSError as error:
        raise WrongUsage(f"{file} cannot be read.", cause=str(error), fix=f"Make one with: {kind.make}") from error


def _unusable(file: Path, why: str, fix: str) -> WrongUsage:
    return WrongUsage(f"{file} cannot be used.", cause=why, fix=fix, code="file_unusable")
