"""URLs of platforms, in one spelling, so that the same place is the same text."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit, urlunsplit

import idna

from fedtui.core.errors import WrongUsage

_HOST = re.compile(r"[a-z0-9_]([a-z0-9._-]{0,251}[a-z0-9_])?")
_LOOKS_LIKE_IPV4 = re.compile(r"(^|\.)(0x[0-9a-f]*|[0-9]+)$")
"""A host whose last label is a number is an IPv4 address in some spelling to whoever dials it (WHATWG URL, 3.5)."""
_PORT = re.compile("[0-9]{1,5}")
HIGHEST_PORT = 65_535
DEFAULT_PORTS = {"http": 80, "https": 443}
HOST_BYTES = 253
"""The longest host name there can be in the DNS."""


def secure(url: str, *, field: str = "url") -> str:
    """As `normalize`, for an https URL alone: whatever carries trust begins with one. Raises `WrongUsage`."""
    plain = normalize(url, field=field)
    if is_secure(plain):
        return plain
    raise WrongUsage(
        f"{field}: {url.strip()[:200]!r} is not an https URL.",
        cause="It does not begin with https://. Trust travels over https only: over http nobody proves who they are.",
        fix="Give the URL at which the platform answers over https.",
        code="url_not_https",
    )


def is_secure(url: str) -> bool:
    """Return whether a normalized URL is an https one."""
    return url.startswith("https://")


def normalize(url: str, *, field: str = "url") -> str:
    """`url` with scheme and host in lower case, no default port, no trailing slash.

    Raises `WrongUsage` naming `field` for anything that is not a plain http(s) URL:
    user names, queries and fragments have no place in a platform's address. What is
    to be trusted, or kept, goes through `secure`.
    """
    text = url.strip()
    try:
        parts = urlsplit(text)
        port, host = parts.port, parts.hostname
    except ValueError as error:
        raise _wrong(field, url, str(error)) from error
    if parts.scheme.lower() not in DEFAULT_PORTS:
        raise _wrong(field, url, "it does not begin with https://")
    if not text.isprintable() or any(character.isspace() for character in text):
        raise _wrong(field, url, "it has blanks or characters in it that cannot be seen")
    if not host or (host := _ascii_host(host)) is None:
        raise _wrong(field, url, "its host is no name or address")
    if port == 0:
        raise _wrong(field, url, "nothing listens at port 0")
    if not _resolvable(host):
        raise _wrong(field, url, "its host has a part that is empty or longer than 63 characters")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise _wrong(field, url, "a user name, query or fragment has no place in it")
    scheme = parts.scheme.lower()
    netloc = f"[{host}]" if ":" in host else host
    if port is not None and port != DEFAULT_PORTS[scheme]:
        netloc += f":{port}"
    return urlunsplit(SplitResult(scheme, netloc, parts.path.rstrip("/"), "", ""))


def _ascii_host(host: str) -> str | None:
    """A host name or address in ASCII (RFC 5891 for other scripts); None if it is neither."""
    if _LOOKS_LIKE_IPV4.search(host) and ":" not in host:
        return host if _is_ipv4(host) else None
    if ":" in host or _HOST.fullmatch(host):
        return host
    try:
        return idna.encode(host).decode()
    except idna.IDNAError:
        return None


def _is_ipv4(host: str) -> bool:
    try:
        ipaddress.IPv4Address(host)
    except ValueError:
        return False
    return True


def host_port(url: str) -> tuple[str, int]:
    """Host and port of a normalized URL; the scheme's own port where it names none."""
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or DEFAULT_PORTS[parts.scheme]


def _resolvable(host: str) -> bool:
    """Whether the host can be asked for in the DNS, and stand in a certificate."""
    try:
        return len(host.encode("idna")) <= HOST_BYTES
    except UnicodeError:
        return False


def _wrong(field: str, url: str, why: str) -> WrongUsage:
    return WrongUsage(
        f"{field}: {url[:200]!r} is not the URL of a platform.",
        cause=why[0].upper() + why[1:] + ".",
        fix="Give it like https://platform-b.example.com or https://10.0.0.5:8443.",
        code="url_invalid",
    )


def split_listen(listen: str) -> tuple[str, int]:
    """HOST:PORT (or [HOST]:PORT) as a pair. Raises `WrongUsage`."""
    host, _, port = listen.rpartition(":")
    if not host or not _PORT.fullmatch(port) or int(port) > HIGHEST_PORT:
        raise WrongUsage(
            f"{listen[:100]!r} is not a place to listen.",
            cause="It is HOST:PORT, with a port from 0 to 65535; 0 picks a free one.",
            fix="Give --listen 127.0.0.1:8443, or [::]:8443 for every address.",
            code="listen_invalid",
        )
    return host.strip("[]"), int(port)
