"""Which addresses this node connects to: a name must not lead it into itself or onto its own link.

Whoever controls the DNS of a peer's name decides where the node connects. A name may resolve to public addresses,
and to private ones, since an operator has typed or confirmed it; never to loopback or link-local addresses, nor to a
port on which this node itself listens. An address that an operator typed is dialled as it is. The rule is applied to
the very addresses that a connection is made to (`resolving.Loop`), so that no second look-up can change them.
"""

from __future__ import annotations

import ipaddress
import socket
from dataclasses import dataclass

from fedtui.core.runtime.settings import Settings
from fedtui.core.runtime.urls import split_listen

NAT64 = ipaddress.ip_network("64:ff9b::/96")
LOCALHOST = "localhost"
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class DialRule:
    """What a host name may resolve to. `own_ports`: those on which this node listens."""

    own_ports: frozenset[int] = frozenset()

    def forbids(self, host: str, port: int, address: str) -> str:
        """Return why `host`, which resolved to `address`, is not dialled there; nothing where it is."""
        if is_address(host) or host == LOCALHOST or host.endswith(f".{LOCALHOST}"):
            return ""  # typed as it is; RFC 6761 section 6.3 for localhost
        target = _unwrapped(address)
        for kind in ("loopback", "link_local", "unspecified", "multicast"):
            if getattr(target, f"is_{kind}"):
                return f"{address} is a {kind.replace('_', '-')} address"
        if port in self.own_ports and _is_of_this_machine(str(target)):
            return f"{address}:{port} is where this node itself listens"
        return ""


def rule(settings: Settings) -> DialRule:
    """Return the rule for a node with these settings."""
    places = (settings.listen, settings.operations_listen)
    return DialRule(frozenset(port for _, port in map(split_listen, places) if port))


def is_address(host: str) -> bool:
    """Return whether a host is an IP address rather than a name."""
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def is_near(host: str) -> bool:
    """Return whether a host is by its own word this machine, or on its link."""
    if is_address(host):
        address = _unwrapped(host)
        return address.is_loopback or address.is_link_local or address.is_unspecified
    return host == LOCALHOST or host.endswith(f".{LOCALHOST}")


def _unwrapped(text: str) -> Address:
    """The address, or the IPv4 one that is written in it."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _is_of_this_machine(address: str) -> bool:
    """Whether an address is one of this machine's: then a socket can be bound to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.bind((address, 0))
    except OSError:
        return False
    return True
