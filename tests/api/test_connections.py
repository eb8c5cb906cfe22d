"""Slots: who floods loses its own connections, strangers hold half, known addresses keep theirs; memory comes back."""

from __future__ import annotations

import gc
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fedtui.api import listener as listening
from fedtui.api.connections import Connection, Connections
from fedtui.core.pki import tls
from tests.api.conftest import Serve, Served, joined

PATIENCE_SECONDS = 30


class Closed:
    """Connections of a listener, and which of them were closed."""

    def __init__(self, **bounds: int) -> None:
        self.table = Connections(**{"most": 100, "per_address": 50, "handshakes": 20, **bounds})
        self.closed: list[Connection] = []

    def enter(self, address: str, *, opened: bool = False) -> Connection | None:
        found = self.table.enter(address)
        if found is not None:
            found.close = lambda: self.closed.append(found)
            if opened:
                self.table.opened(found)
        return found


def test_the_address_with_the_most_silent_ones_gives_way() -> None:
    """Where unfinished handshakes are at their bound, the oldest goes of the address that holds most of them."""
    made = Closed(handshakes=4)
    first = made.enter("honest")
    flood = [made.enter("flood") for _ in range(10)]
    assert made.closed == flood[:7]
    assert first not in made.closed
    assert made.table.unfinished == 4


def test_strangers_hold_half_of_the_slots() -> None:
    """However many addresses they have; a known address finds room as long as there is any."""
    made = Closed(most=20, handshakes=20)
    made.table.remember("peer")
    for number in range(50):
        made.enter(f"stranger {number}", opened=True)
    assert len(made.table) == 10
    peers = [made.enter("peer", opened=True) for _ in range(10)]
    assert None not in peers
    assert not set(peers) & set(made.closed)


def test_a_known_address_takes_the_place_of_a_stranger_and_not_the_other_way() -> None:
    """In handshakes, too."""
    made = Closed(handshakes=2)
    made.table.remember("peer")
    strangers = [made.enter("a"), made.enter("b")]
    peers = [made.enter("peer"), made.enter("peer")]
    assert made.closed == strangers
    assert made.enter("c") is None
    assert not set(peers) & set(made.closed)


def test_a_connection_at_work_stays() -> None:
    """What is being answered is not silent; what waits for its client's body is."""
    made = Closed(most=4, handshakes=4)
    working, waiting = made.enter("a", opened=True), made.enter("b", opened=True)
    assert working is not None
    assert waiting is not None
    with working.at_work(), waiting.at_work(), waiting.waiting():
        assert made.enter("c", opened=True) is not None
        assert made.closed == [waiting]
        with made.table.moving(working):
            pass
        made.enter("d", opened=True)
        assert working not in made.closed


def test_an_admitted_connection_counts_as_known() -> None:
    """Once a request on it was a peer's, strangers do not push it out, and its address is known."""
    made = Closed(most=4, handshakes=4)
    peer = made.enter("peer", opened=True)
    assert peer is not None
    peer.admit()
    for number in range(20):
        made.enter(f"stranger {number}", opened=True)
    assert peer not in made.closed
    made.table.leave(peer)
    again = made.enter("peer")
    assert again is not None
    assert again.known


def test_one_address_has_its_bound_and_the_counts_come_back_to_nothing() -> None:
    """A full address ends its own oldest handshake, and is refused where it has none; all leave, nothing is left."""
    made = Closed(per_address=3)
    first = made.enter("a")
    others = [made.enter("a", opened=True) for _ in range(2)]
    newest = made.enter("a", opened=True)
    assert made.closed == [first]
    assert made.enter("a") is None
    for one in (*others, newest, first):
        assert one is not None
        made.table.leave(one)
        made.table.leave(one)
    assert (len(made.table), made.table.unfinished, dict(made.table._addresses)) == (0, 0, {})
    assert not any(group for group in made.table._silent.values())


# --- over real sockets -------------------------------------------------------------------

ADDRESSES = [f"127.0.1.{number}" for number in range(1, 19)]
HELLO_FROM = 18


def port_of(served: Served) -> int:
    return int(served.node.url.rpartition(":")[2])


def connect(served: Served, address: str) -> socket.socket | None:
    raw = socket.socket()
    raw.settimeout(PATIENCE_SECONDS)
    raw.bind((address, 0))
    try:
        raw.connect(("127.0.0.1", port_of(served)))
    except OSError:
        raw.close()
        return None
    return raw


def client_hello() -> bytes:
    """What a client says first."""
    context = ssl.create_default_context()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(incoming, outgoing, server_hostname="x").do_handshake()
    return outgoing.read()


@contextmanager
def flooded(served: Served, count: int, says: bytes = b"") -> Iterator[None]:
    """So many connections from several addresses, which say nothing, or their first words and no more."""
    with ExitStack() as held:
        for number in range(count):
            raw = connect(served, ADDRESSES[number % len(ADDRESSES)])
            if raw is not None:
                held.enter_context(raw)
                if says:
                    raw.sendall(says)
        yield


@pytest.mark.parametrize("says", [b"", client_hello()], ids=["silent", "half a handshake"])
def test_silent_addresses_lock_nobody_out(serve: Serve, says: bytes) -> None:
    """18 addresses with more silent connections than there are slots: a newcomer and a peer are both answered."""
    served = serve("alpha", connections=400, handshakes=60)
    _, pair = joined(served)
    with flooded(served, 900, says):
        assert served.listener.open_connections <= 400
        assert served.post("heartbeat", {}, pair=pair).status_code == 200
        with served.client() as client:
            assert client.get("/crl").status_code == 200


def test_clients_that_finish_tls_and_say_nothing_lock_nobody_out(serve: Serve) -> None:
    """Strangers with TLS and no request hold half of the slots, and give way to one another."""
    served = serve("alpha", connections=60, handshakes=30)
    _, pair = joined(served)
    with ExitStack() as held:
        for number in range(80):
            raw = connect(served, ADDRESSES[number % len(ADDRESSES)])
            assert raw is not None
            secured = tls.client_context([served.ca_pem]).wrap_socket(raw, server_hostname="127.0.0.1")
            held.enter_context(secured)
        assert served.listener.open_connections <= 31
        assert served.post("heartbeat", {}, pair=pair).status_code == 200
        with served.client() as client:
            assert client.get("/crl").status_code == 200


def test_a_client_that_says_nothing_costs_no_tls(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """TLS begins with the first byte; one that leaves without a word never had any."""
    begun: list[int] = []
    opened = asyncio_ssl_protocol()
    monkeypatch.setattr(opened, "__init__", counting(opened.__init__, begun))
    with flooded(served, 20):
        until(lambda: served.listener.open_connections == 20)
    until(lambda: served.listener.open_connections == 0)
    assert begun == []


def asyncio_ssl_protocol() -> type:
    from asyncio import sslproto

    return sslproto.SSLProtocol


def counting(original: object, begun: list[int]) -> object:
    def begin(self: object, *arguments: object, **options: object) -> None:
        begun.append(1)
        original(self, *arguments, **options)  # type: ignore[operator]

    return begin


def until(holds: object) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def resident() -> int:
    """Bytes."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
def test_memory_comes_back(serve: Serve) -> None:
    """Thousands of half handshakes leave nothing behind: what they were is freed without the garbage collector."""
    served = serve("alpha", handshakes=50)
    with flooded(served, 200, client_hello()):
        pass
    until(lambda: served.listener.open_connections == 0)
    gc.collect()
    gc.disable()
    try:
        before = resident()
        with flooded(served, 2000, client_hello()):
            pass
        until(lambda: served.listener.open_connections == 0)
        listening._give_memory_back()
        assert resident() - before < 40 * 1024 * 1024
    finally:
        gc.enable()
