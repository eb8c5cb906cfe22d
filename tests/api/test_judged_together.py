"""Callers that are judged in one transaction are each judged by what is on record when they call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
import pytest

from fedtui.core.protocol.client import PREFIX
from tests.api.conftest import Serve, act, joined
from tests.api.test_renewal import rows
from tests.api.test_resources import Pair, Place, client_cert, opened, proxy_pair

CALLERS, CALLS = 6, 20


@pytest.fixture
def place(serve: Serve) -> Place:
    unlimited = dict.fromkeys(("heartbeats_burst", "heartbeats_per_minute", "refused_per_minute"), 1_000_000)
    return opened(serve("alpha", processor_ms_per_minute=1_000_000, **unlimited))


@contextmanager
def load(place: Place, pair: Pair) -> Iterator[None]:
    """Heartbeats of another peer on several open connections, all of them taken, until the end."""
    ended = threading.Event()
    begun = threading.Barrier(CALLERS + 1)

    def beat() -> set[int]:
        with place.served.client(pair) as client:
            codes = {heartbeat(client)}
            begun.wait(30)
            while not ended.is_set():
                codes.add(heartbeat(client))
        return codes

    with ThreadPoolExecutor(CALLERS) as pool:
        beating = [pool.submit(beat) for _ in range(CALLERS)]
        try:
            begun.wait(30)
            yield
        finally:
            ended.set()
    assert [future.result() for future in beating] == [{200}] * CALLERS


def heartbeat(client: httpx.Client, headers: Mapping[str, str] | None = None) -> int:
    return client.post(f"{PREFIX}/heartbeat", json={"platform_version": "1"}, headers=headers).status_code


def suspend(place: Place) -> None:
    act(place.node, "federation_peer_suspend", {"peer": place.peer_id, "reason": "test"})


def revoke(place: Place) -> None:
    [row] = rows(place.node, place.peer_id, "inbound")
    act(place.node, "federation_certificate_revoke", {"serial": row.serial, "reason": "test"})


@pytest.mark.parametrize("end", [suspend, revoke])
def test_what_ends_a_peer_holds_for_its_next_call_under_load(place: Place, end: Callable[[Place], None]) -> None:
    """A suspension or revocation refuses the next call on an open connection, while others call without a pause."""
    _, other = joined(place.served, "https://c.example")
    with load(place, other), place.served.client(place.pair) as client:
        assert {heartbeat(client) for _ in range(CALLS)} == {200}
        end(place)
        assert {heartbeat(client) for _ in range(CALLS)} == {401}


def test_trusted_proxies_hold_for_the_next_call_under_load(place: Place) -> None:
    """A proxy speaks for its callers from the call after it is trusted to the call after it is not, under load."""
    _, other = joined(place.served, "https://c.example")
    proxy, fingerprint = proxy_pair(place)
    behind = {"Client-Cert": client_cert(place.pair[0])}
    with load(place, other), place.served.client(proxy) as client:
        for value, code in (("", 401), (fingerprint, 200), ("", 401), (fingerprint, 200)):
            act(place.node, "settings_change", {"key": "trusted_proxies", "value": value})
            assert {heartbeat(client, behind) for _ in range(CALLS)} == {code}
