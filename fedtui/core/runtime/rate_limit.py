"""Rate limits: a token bucket per key, bounded in number.

The libraries at hand count in windows; the contract's "30 a minute, burst 10" is a bucket.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections import OrderedDict
from collections.abc import Callable

MOST_KEYS = 10_000
SHORTEST_WAIT = 0.001


class TokenBuckets:
    """`per_minute` tokens flow into each key's bucket, which holds `burst`. Thread-safe.

    The least recently used key is forgotten first, which gives it a full bucket again.
    """

    def __init__(self, per_minute: float, burst: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._burst = float(burst)
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_for(self, key: str) -> float:
        """Take a token: 0.0 if there was one, else the seconds until there is."""
        with self._lock:
            level = self._level(key)
            short = level < 1
            self._keep(key, level if short else level - 1)
        return (1 - level) / self._rate if short else 0.0

    def charge(self, key: str, amount: float) -> None:
        """Take what something has cost, known only afterwards; the bucket may owe one filling at most."""
        with self._lock:
            self._keep(key, max(-self._burst, self._level(key) - amount))

    def owed(self, key: str, amount: float = 0.0) -> float:
        """The seconds until there is so much in the bucket, or anything at all; 0.0 where there is."""
        with self._lock:
            level = self._level(key)
        return 0.0 if level > 0 and level >= amount else max((amount - level) / self._rate, SHORTEST_WAIT)

    def _level(self, key: str) -> float:
        level, since = self._levels.get(key, (self._burst, 0.0))
        return min(self._burst, level + (self._clock() - since) * self._rate)

    def _keep(self, key: str, level: float) -> None:
        self._levels[key] = (level, self._clock())
        self._levels.move_to_end(key)
        if len(self._levels) > MOST_KEYS:
            self._levels.popitem(last=False)


class Budget:
    """Processor time and bytes that one caller may cost in a minute. Thread-safe."""

    def __init__(self, seconds: float, size: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = TokenBuckets(seconds, seconds, clock=clock)
        self._bytes = TokenBuckets(size, size, clock=clock)

    def owed(self, key: str) -> float:
        """The seconds until the caller may cost something again; 0.0 where it may."""
        return max(self._seconds.owed(key), self._bytes.owed(key))

    def charge(self, key: str, *, seconds: float = 0.0, size: int = 0) -> None:
        """Take what a request has cost."""
        if seconds:
            self._seconds.charge(key, seconds)
        if size:
            self._bytes.charge(key, size)


def block_key(address: str) -> str:
    """One key per IPv4 /24, per /48 of IPv6: what one holder of addresses has many of."""
    key = address_key(address)
    try:
        network = ipaddress.ip_network(key, strict=False)
    except ValueError:
        return key
    return str(network.supernet(new_prefix=24 if network.version == 4 else 48))


def address_key(address: str) -> str:
    """One key per IPv4 address, per /64 of IPv6: that is what one host has."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        mapped = parsed.ipv4_mapped
        return str(mapped) if mapped else str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)
