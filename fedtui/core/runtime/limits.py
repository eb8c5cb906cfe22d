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


class Buckets:
    """`per_minute` tokens flow into each key's bucket, which holds `burst`. Thread-safe.

    The least recently used key is forgotten first, which gives it a full bucket again.
    """

    def __init__(self, per_minute: int, burst: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_minute / 60
        self._burst = float(burst)
        self._clock = clock
        self._levels: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait_for(self, key: str) -> float:
        """Take a token: 0.0 if there was one, else the seconds until there is."""
        now = self._clock()
        with self._lock:
            level, since = self._levels.pop(key, (self._burst, now))
            level = min(self._burst, level + (now - since) * self._rate)
            short = level < 1
            self._levels[key] = (level if short else level - 1, now)
            if len(self._levels) > MOST_KEYS:
                self._levels.popitem(last=False)
        return (1 - level) / self._rate if short else 0.0


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
