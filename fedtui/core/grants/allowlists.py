"""Allowlists: what may stand in one, in one spelling, and whether a value is in it.

Malformed ids and networks are refused where they are written, and deny where they are met:
a list that came from elsewhere must never make a check crash or pass.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from uuid import UUID

from fedtui.core.errors import WrongUsage

MOST = 256
"""Entries in one list."""
SHOWN = 10
"""Entries of a list that a message names."""
_UUID_LENGTH = 36
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def instance_id(text: str) -> str:
    """A node instance's id, lower case. Raises `WrongUsage` unless it is a UUID."""
    return _uuid(text, "instance")


def network_id(text: str) -> str:
    """An SDWAN network's id, lower case. Raises `WrongUsage` unless it is a UUID."""
    return _uuid(text, "network")


def cidr(text: str) -> str:
    """A network in its shortest spelling; an address alone is a network of one.

    IPv4 mapped into IPv6 (`::ffff:10.0.0.0/104`, RFC 4291) becomes the IPv4 network it
    stands for. Raises `WrongUsage` for anything else, also for bits set beyond the prefix:
    they are a slip more often than not.
    """
    wanted = text.strip()
    try:
        network = ipaddress.ip_network(wanted)
    except ValueError as error:
        raise _malformed("cidr", wanted, "a network like 10.1.0.0/16 or fd00:12::/48", _near(wanted)) from error
    if getattr(network.network_address, "scope_id", None):
        raise _malformed("cidr", wanted, "a network; a zone (%...) is known to one machine only")
    return str(_unmapped(network))


def _uuid(text: str, field: str) -> str:
    wanted = text.strip().lower()
    try:
        if len(wanted) == _UUID_LENGTH and str(UUID(wanted)) == wanted:
            return wanted
    except ValueError:
        pass
    raise _malformed(field, text, "a UUID like 0195d3a2-7c1e-7000-8000-000000000001")


def _near(wanted: str) -> str:
    try:
        return f"Did you mean {_unmapped(ipaddress.ip_network(wanted, strict=False))}?"
    except ValueError:
        return ""


def _unmapped(network: Network) -> Network:
    if isinstance(network, ipaddress.IPv6Network) and network.subnet_of(_MAPPED):
        inside = network.network_address.ipv4_mapped
        return ipaddress.ip_network((str(inside), network.prefixlen - _MAPPED.prefixlen))
    return network


def _malformed(field: str, given: str, wanted: str, hint: str = "") -> WrongUsage:
    return WrongUsage(
        f"{field}: {given[:80]!r} cannot stand in an allowlist.",
        cause=f"An entry is {wanted}.",
        fix=hint or f"Correct the {field}, or leave the list empty: an empty one does not restrict.",
        code=f"{field}_invalid",
    )


READERS: Mapping[str, Callable[[str], str]] = {
    "node_instance_ids": instance_id,
    "sdwan_network_ids": network_id,
    "source_cidrs": cidr,
}
"""The three allowlists, and how an entry of each is read."""
NAMES: Mapping[str, str] = {"node_instance_ids": "instance", "sdwan_network_ids": "network", "source_cidrs": "cidr"}
"""What people call an entry: the option of the command line, the field of a form."""


def read(field: str, entries: Iterable[str]) -> list[str]:
    """A list as it is stored: each entry in one spelling, once, sorted. Raises `WrongUsage` naming the field."""
    wanted = sorted({READERS[field](str(entry)) for entry in entries})
    if len(wanted) > MOST:
        raise WrongUsage(
            f"{NAMES[field]}: {len(wanted)} entries are too many.",
            cause=f"A list holds at most {MOST}.",
            fix="Name networks instead of single addresses, or issue a second grant.",
            code=f"{NAMES[field]}_invalid",
        )
    return wanted


def allows_id(entries: Iterable[str], supplied: str | None) -> bool:
    """Whether an id is in the list. The list must not be empty."""
    return supplied is not None and supplied.strip().lower() in set(entries)


def allows_address(cidrs: Iterable[str], supplied: str | None) -> bool:
    """Whether an address is in one of the networks; a mapped one counts as the IPv4 it stands for."""
    address = _address(supplied) if supplied else None
    if address is None:
        return False
    networks = (_network(entry) for entry in cidrs)
    return any(net is not None and net.version == address.version and address in net for net in networks)


def address_cidr(supplied: str | None) -> str | None:
    """The network of exactly this address, for adding it to a list; None if it is none."""
    address = _address(supplied) if supplied else None
    return None if address is None else str(ipaddress.ip_network(address))


_ID = "UUID like 0195d3a2-7c1e-7000-8000-000000000001"
SUPPLIED: Mapping[str, str] = {"instance": _ID, "network": _ID, "source_ip": "address like 192.0.2.7 or fd00:12::7"}
"""What a call supplies to be looked for in a list, and what it is like."""


def check_supplied(name: str, value: str) -> None:
    """Raise `WrongUsage` for what somebody says that a call supplies and that cannot be: a slip is not a call."""
    try:
        good = address_cidr(value) if name == "source_ip" else _uuid(value, name)
    except WrongUsage:
        good = None
    if good is None:
        raise WrongUsage(
            f"{name}: {value[:80]!r} will not do.",
            cause=f"It is one {SUPPLIED[name]}.",
            fix=f"Correct the {name}, and ask again.",
            code=f"{name}_invalid",
        )


def shown(entries: Iterable[str]) -> str:
    """A list for a message: its first entries, and how many more there are."""
    listed = list(entries)
    more = f", and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
    return ", ".join(listed[:SHOWN]) + more


@lru_cache(maxsize=4096)
def _network(entry: str) -> Network | None:
    try:
        return _unmapped(ipaddress.ip_network(entry, strict=False))
    except (ValueError, TypeError):
        return None


def _address(supplied: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        parsed = ipaddress.ip_address(supplied.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return mapped or parsed
