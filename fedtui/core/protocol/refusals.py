"""Refused callers without a certificate, on record: some in full, the others as counts.

Anybody can be refused, from as many addresses as it has. In each minute a peer that is on record has so many events
of its own, each block of addresses has some, and all that concern no peer have some together; whatever comes beyond is
counted by its cause, and the counts are one event each. What strangers do leaves no less room for what is about peers.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from fedtui.core.audit.events import emit
from fedtui.core.protocol.handshake import SOURCE
from fedtui.core.runtime.rate_limit import TokenBuckets, block_key
from fedtui.core.runtime.unit import Unit
from fedtui.core.runtime.untrusted import sanitize_text

KIND = "federation.peer.accept_refused"
BODY_KIND = "federation.peer.body_refused"
WORKER_KIND = "system.worker_token.refused"
WITHIN = 60.0
PER_PEER, OF_ALL_PEERS, PER_BLOCK, OF_STRANGERS = 10, 60, 3, 10
"""Events in full a minute: about one peer on record, about all of them; about no peer from one block, from all."""
MOST_COUNTED = 200
"""Kinds of refusals that are counted apart at once; the rest is counted together."""
LONGEST_URL = 200


class Refusal(NamedTuple):
    """A refused call. The first four make two refusals the same; `peer_id` is None where it concerns no peer that is
    on record, `url` is what the caller gave."""

    peer_id: str | None
    token_id: str | None
    cause: str
    answered: str
    url: str | None = None
    kind: str = KIND
    stranger: bool = False
    """Whether the token that was presented was made for somebody else than the caller claims to be."""


@dataclass(slots=True)
class _Count:
    """Refusals since the event in full, or without one. `since` is a monotonic time."""

    since: float
    times: int = 0
    blocks: set[str] = field(default_factory=set)


MOST_BLOCKS = 1_000
"""Blocks of addresses that are told apart in one count."""
Counted = Mapping[Refusal, tuple[int, int]]
"""How often each was refused beyond its events in full, and from how many blocks of addresses."""


class Refusals:
    """What was refused lately in this process. Thread-safe, bounded in memory."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._counts: dict[Refusal, _Count] = {}
        self._of_peers = TokenBuckets(PER_PEER, PER_PEER, clock=clock)
        self._of_blocks = TokenBuckets(PER_BLOCK, PER_BLOCK, clock=clock)
        self._of_all_peers = TokenBuckets(OF_ALL_PEERS, OF_ALL_PEERS, clock=clock)
        self._of_strangers = TokenBuckets(OF_STRANGERS, OF_STRANGERS, clock=clock)

    def admits(self, refusal: Refusal, address: str) -> bool:
        """Whether this one is an event in full; else it is counted."""
        block, now = block_key(address), self._clock()
        same = refusal._replace(url=None)
        with self._lock:
            count = self._counts.get(same)
            if count is None and len(self._counts) >= MOST_COUNTED:
                same = Refusal(None, None, "too_many_kinds", "", kind=refusal.kind)
                count = self._counts.get(same)
            if count is None:
                count = self._counts[same] = _Count(now)
            reported = block in count.blocks and now - count.since < WITHIN
            if not reported and same.cause == refusal.cause and self._has_room(refusal, block):
                count.blocks.add(block)
                return True
            count.times += 1
            if len(count.blocks) < MOST_BLOCKS:
                count.blocks.add(block)
            return False

    def _has_room(self, refusal: Refusal, block: str) -> bool:
        if refusal.peer_id is not None:
            return not self._of_peers.wait_for(refusal.peer_id) and not self._of_all_peers.wait_for(refusal.kind)
        return not self._of_blocks.wait_for(block) and not self._of_strangers.wait_for(refusal.kind)

    def over(self, *, all_: bool = False) -> Counted:
        """The counts whose minute is over."""
        with self._lock:
            ended = [
                refused for refused, count in self._counts.items() if all_ or self._clock() - count.since >= WITHIN
            ]
            counts = {refused: self._counts.pop(refused) for refused in ended}
        return {refused: (count.times, len(count.blocks)) for refused, count in counts.items() if count.times}


def record(unit: Unit, refusal: Refusal) -> None:
    """One event in full; the address is its origin."""
    more: dict[str, Any] = {"remote_instance_url": sanitize_text(refusal.url, LONGEST_URL)} if refusal.url else {}
    if refusal.stranger:
        more |= {"stranger": unit.actor.origin.removeprefix("api ") or "an unknown address", "severity": "high"}
    _emit(unit, refusal, **more)


def record_counted(unit: Unit, counted: Counted) -> None:
    """One event for each count."""
    for refusal, (times, blocks) in counted.items():
        _emit(unit, refusal, times=times, address_blocks=blocks)


def _emit(unit: Unit, refusal: Refusal, **more: Any) -> None:
    answered = {"answered": sanitize_text(refusal.answered, LONGEST_URL)} if refusal.answered else {}
    emit(unit, refusal.kind, source=SOURCE, peer_id=refusal.peer_id, cause=refusal.cause, **answered, **more)
