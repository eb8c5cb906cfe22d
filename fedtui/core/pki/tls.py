"""TLS contexts for both ends, built fresh each time: live ones are never changed.

TLS 1.2 at least. The server sends no session tickets: a resumed session is not verified
again. Private keys pass through memory only.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import ssl
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from fedtui.core.errors import RemoteFailed
from fedtui.core.pki.x509 import UNREADABLE, fingerprint, is_ca, read_certificates, read_der
from fedtui.core.runtime.deadline import within
from fedtui.core.runtime.lru_cache import LruCache


def server_context(chain_pem: str, key_pem: bytes, client_anchors_pem: str) -> ssl.SSLContext:
    """For the federation API: asks for a client certificate, takes none too (`accept` has none),
    and refuses one that does not chain to `client_anchors_pem`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _harden(context)
    context.options |= ssl.OP_NO_TICKET | ssl.OP_SINGLE_ECDH_USE | ssl.OP_NO_RENEGOTIATION
    context.num_tickets = 0
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_verify_locations(cadata=client_anchors_pem)
    _load_pair(context, chain_pem, key_pem)
    _note_presented(context)
    return context


class _NotingSSLObject(ssl.SSLObject):
    """Keeps what the client presented, so that a refused handshake can say what it refused."""

    presented: bytes | None = None

    def do_handshake(self) -> None:
        try:
            super().do_handshake()
        except ssl.SSLError as error:
            error.presented = self.presented  # type: ignore[attr-defined]
            raise


def presented_to_us(error: BaseException) -> x509.Certificate | None:
    """The client certificate of a handshake that our server context refused, where TLS gave it."""
    der: bytes | None = getattr(error, "presented", None)
    try:
        return read_der(der) if der else None
    except UNREADABLE:
        return None


def _note_presented(context: ssl.SSLContext) -> None:
    """OpenSSL forgets a client certificate that it refuses. The message it came in passes here first.

    `_msg_callback` is CPython's own hook for debugging TLS; without it the record has the reason alone.
    """
    if not hasattr(context, "_msg_callback"):
        return

    def note(secured: Any, direction: str, version: Any, _content: Any, kind: Any, message: bytes) -> None:
        if direction == "read" and kind == _CERTIFICATE_MESSAGE and isinstance(secured, _NotingSSLObject):
            secured.presented = _first_certificate(message, with_context=version == ssl.TLSVersion.TLSv1_3)

    context.sslobject_class = _NotingSSLObject
    context._msg_callback = note


_CERTIFICATE_MESSAGE = 11


def _first_certificate(message: bytes, *, with_context: bool) -> bytes | None:
    """The leaf in a Certificate message: RFC 8446 section 4.4.2 with a context, RFC 5246 section 7.4.2 without."""
    at = 4
    if with_context:
        at += 1 + (message[at] if len(message) > at else 0)
    at += 3
    size = int.from_bytes(message[at : at + 3])
    return message[at + 3 : at + 3 + size] or None


def client_context(
    anchors_pem: Sequence[str] | None, pair: tuple[str, bytes] | None = None, crl_pem: str | None = None
) -> ssl.SSLContext:
    """For calls to a peer: trusts `anchors_pem` alone, or the machine's public CAs for None;
    presents `pair` (certificate chain PEM, key PEM) where given, and refuses a server that
    `crl_pem` names. Host names are checked."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _harden(context)
    context.hostname_checks_common_name = False  # RFC 9525 section 6.4.4: names stand in the SAN alone
    if anchors_pem is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    elif anchors_pem:
        context.load_verify_locations(cadata="\n".join(anchors_pem))
        # An anchor is whatever was pinned: many servers show an intermediate CA, and never its root.
        context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_PARTIAL_CHAIN
    if crl_pem is not None:
        with _in_a_file(crl_pem.encode()) as file:
            context.load_verify_locations(cafile=file)
        context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
    if pair is not None:
        _load_pair(context, *pair)
    return context


CONTEXTS = 4096
"""So many are kept, of some 25 KB each."""
PUBLIC_SECONDS = 3600.0
"""After which the machine's public CAs are read again."""
_contexts: LruCache[ssl.SSLContext] = LruCache(CONTEXTS)


def kept_client_context(
    anchors_pem: Sequence[str] | None, pair: tuple[str, bytes] | None = None, crl_pem: str | None = None
) -> ssl.SSLContext:
    """As `client_context`, made anew only when one of these is another: making one costs as much as a call.

    The contexts hold private keys, as long as this process runs: so does it the vault's key, which opens them all.
    They keep no sessions, so that every connection is verified.
    """
    trusted = int(time.monotonic() // PUBLIC_SECONDS) if anchors_pem is None else tuple(anchors_pem)
    key = hashlib.sha256(repr((trusted, pair, crl_pem)).encode()).digest()
    return _contexts.get(key, lambda: client_context(anchors_pem, pair, crl_pem))


CRL_OF_ANOTHER = ("unable to get certificate CRL", "CRL signature failure")
"""OpenSSL's words where the CRL at hand, whose signature was verified when it was kept, is not of the CA that issued
a server's certificate: one of another name, or a namesake."""


def without_namesakes(anchors_pem: Sequence[str] | None) -> list[Sequence[str] | None]:
    """The anchors in groups of which none holds two CAs of the same name; mostly that is one group."""
    if anchors_pem is None or len(anchors_pem) < 2:
        return [anchors_pem]
    named = [(read_certificates(pem, field="anchor")[0].subject, pem) for pem in anchors_pem]
    shared = [name for name, _ in named if sum(name == other for other, _ in named) > 1]
    alone = [pem for name, pem in named if name not in shared]
    return [[*alone, pem] for name, pem in named if name in shared] or [anchors_pem]


def presented_chain(host: str, port: int, *, timeout: float) -> list[x509.Certificate]:
    """The certificates a server shows, not verified: leaf first. Nothing is sent to it.

    `timeout` (seconds) bounds all of it. Raises `OSError` (`ssl.SSLError` and `TimeoutError`
    are some) when there is no TLS to be had.
    """
    return within(timedelta(seconds=timeout), _presented_chain(host, port))


async def _presented_chain(host: str, port: int) -> list[x509.Certificate]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
    try:
        secured: ssl.SSLObject = writer.get_extra_info("ssl_object")
        return [read_der(der) for der in _unverified_chain(secured)]
    except UNREADABLE as error:
        raise ssl.SSLError(f"a certificate that it shows cannot be read: {error}") from error
    finally:
        writer.transport.abort()


def find_pinned(chain: Sequence[x509.Certificate], pin: str) -> x509.Certificate | None:
    """The CA in a presented chain whose SHA-256 fingerprint is `pin` (`sha256:` and hex)."""
    for certificate in chain:
        if fingerprint(certificate) == pin and is_ca(certificate):
            return certificate
    return None


def pin_from(text: str) -> str | None:
    """A fingerprint in one spelling, from `sha256:..`, plain hex, or openssl's colons; None if it is not one."""
    digits = text.strip().lower().removeprefix("sha256:").removeprefix("sha256 fingerprint=").replace(":", "")
    valid = len(digits) == hashes.SHA256.digest_size * 2 and all(one in "0123456789abcdef" for one in digits)
    return f"sha256:{digits}" if valid else None


class ServerRefused(RemoteFailed):
    """Our end of TLS does not take the server's certificate. `verify_code` is OpenSSL's (X509_V_ERR_..)."""

    verify_code = 0


def failed_handshake(error: BaseException) -> RemoteFailed | None:
    """The TLS refusal inside an exception, as a problem; None if there is none in it."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, ssl.SSLCertVerificationError):
            refused = _tls_problem(seen.verify_message, ServerRefused)
            refused.verify_code = seen.verify_code
            return refused
        if isinstance(seen, ssl.SSLError):
            return _tls_problem(seen.reason or str(seen), RemoteFailed)
        seen = seen.__cause__ or seen.__context__
    return None


Refusal = TypeVar("Refusal", bound=RemoteFailed)


def _tls_problem(why: str, kind: type[Refusal]) -> Refusal:
    return kind(
        "The peer answers, but TLS with it fails.",
        cause=why,
        fix="Compare certificates and trust anchors on both sides: fedtui certs list",
        code="remote_tls_failed",
    )


def _harden(context: ssl.SSLContext) -> None:
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # RFC 9325 section 4.2: forward secrecy and AEAD only, also on TLS 1.2.
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")
    context.options |= ssl.OP_NO_COMPRESSION


def _unverified_chain(secured: ssl.SSLObject) -> list[bytes]:
    if hasattr(secured, "get_unverified_chain"):  # public since Python 3.13
        return list(secured.get_unverified_chain())
    certificates = secured._sslobj.get_unverified_chain()  # type: ignore[attr-defined]
    return [ssl.PEM_cert_to_DER_cert(one.public_bytes()) for one in certificates]


def _no_password() -> bytes:
    """Instead of OpenSSL's own question on the terminal."""
    return b""


def _load_pair(context: ssl.SSLContext, chain_pem: str, key_pem: bytes) -> None:
    """OpenSSL takes a pair only from a file: where that has a name, the key in it is encrypted."""
    if hasattr(os, "memfd_create"):
        with _in_a_file(chain_pem.encode() + b"\n" + key_pem) as file:
            context.load_cert_chain(file, password=_no_password)
        return
    password = os.urandom(32).hex()
    encrypted = serialization.load_pem_private_key(key_pem, password=None).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(password.encode()),
    )
    with _in_a_file(chain_pem.encode() + b"\n" + encrypted) as file:
        context.load_cert_chain(file, password=password)


@contextmanager
def _in_a_file(content: bytes) -> Iterator[str]:
    """A path under which OpenSSL reads `content`: one without a name where there is memfd, else
    one that is gone at once."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("tls", os.MFD_CLOEXEC)
        try:
            os.write(descriptor, content)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
        return
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "tls.pem"
        file.write_bytes(content)
        yield str(file)
