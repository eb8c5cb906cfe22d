"""Prefixes that platforms advertise: unique local IPv6 (RFC 4193), /48, /56 or /64.

They are kept with every group written out up to their length (`fd12:0034:0000:0100::/56`), so that the
first `SITE_CHARACTERS` of the text are the /48, and the database can compare by it.
"""

from __future__ import annotations

import ipaddress

from fedtui.core.errors import WrongUsage

LENGTHS = (48, 56, 64)
SITE_CHARACTERS = 14
"""Of a prefix as it is kept: `fd12:0034:0000`, which is its /48."""
_LOCAL = ipaddress.IPv6Network("fd00::/8")


def normalize(given: str, *, field: str = "prefix") -> str:
    """A prefix in its one spelling. Raises `WrongUsage` for anything but fd..::/48, /56 or /64."""
    try:
        network = ipaddress.IPv6Network(given.strip())
    except ValueError as error:
        raise _invalid(field, given, str(error)) from error
    if not network.subnet_of(_LOCAL) or network.prefixlen not in LENGTHS:
        raise _invalid(field, given, f"It is fd..::/ and a length of {', '.join(map(str, LENGTHS))}.")
    groups = network.network_address.exploded.split(":")[: -(-network.prefixlen // 16)]
    return f"{':'.join(groups)}::/{network.prefixlen}"


def site(prefix: str) -> str:
    """The /48 of a prefix as it is kept: what two of them must not share."""
    return prefix[:SITE_CHARACTERS]


def _invalid(field: str, given: str, cause: str) -> WrongUsage:
    return WrongUsage(
        f"{field}: {given[:60]!r} is not a prefix that a platform advertises.",
        cause=cause,
        fix="Write a unique local one, like fd12:3456:789a::/48.",
        code="prefix_invalid",
    )
