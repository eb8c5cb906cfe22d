"""Clients that are slow, silent, or many: what they hold of a listening node, and for how long."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from contextlib import ExitStack

import pytest

from fedtui.api import listener as listening
from fedtui.api import rendering
from fedtui.core.errors import Unusable
from fedtui.core.pki import tls
from fedtui.core.protocol.client import PREFIX
from tests.api.conftest import Serve, Served, accept_body, joined

BOUND_SECONDS = 0.5
PATIENCE_SECONDS = 30


@pytest.fixture
def hasty(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> Served:
    """A node that waits half a second where others wait for many."""
    for name in ("HANDSHAKE_SECONDS", "IDLE_SECONDS", "LINGER_SECONDS", "WRITE_SECONDS"):
        monkeypatch.setattr(listening, name, BOUND_SECONDS)
    monkeypatch.setattr(rendering, "BODY_SECONDS", BOUND_SECONDS)
    return serve()


def connect(
    served: Served, *, receive_buffer: int | None = None, pair: tuple[str, bytes] | None = None
) -> ssl.SSLSocket:
    raw = socket.socket()
    raw.settimeout(PATIENCE_SECONDS)
    if receive_buffer:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    raw.connect(("127.0.0.1", int(served.node.url.rpartition(":")[2])))
    return tls.client_context([served.ca_pem], pair).wrap_socket(raw, server_hostname="127.0.0.1")


def send_little_at_a_time(served: Served) -> None:
    """Small buffers in the kernel: what waits there is not the node's to bound."""
    assert served.listener._socket is not None
    served.listener._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)


def until_closed(served: Served) -> None:
    """Wait until the node holds no connection any more."""

    async def none_open() -> None:
        while served.listener.open_connections:  # noqa: ASYNC110 - a test may poll
            await asyncio.sleep(0.01)

    asyncio.run_coroutine_threadsafe(none_open(), served.loop).result(PATIENCE_SECONDS)


def dribble(connection: ssl.SSLSocket, began: float) -> bytes:
    """A byte now and then, until the node has had enough; what it said."""
    said = b""
    connection.settimeout(0.05)  # the slowness is what is tested
    while time.monotonic() - began < PATIENCE_SECONDS:
        try:
            connection.sendall(b"x")
            got = connection.recv(4096)
        except TimeoutError:
            continue
        except OSError:
            return said
        if not got:
            return said
        said += got
    raise AssertionError("the node still listens")


def post(path: str, headers: str = "Content-Length: 100000\r\n") -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{headers}\r\n".encode()


@pytest.mark.parametrize(
    ("sent", "answered", "as_peer"),
    [
        (b"", b"", False),
        (b"GET /crl HTTP/1.1\r\nHost: x\r\nX: ", b"", False),
        (post(f"{PREFIX}/accept"), b"408", False),
        (post(f"{PREFIX}/heartbeat"), b"413", False),
        (post(f"{PREFIX}/heartbeat", "Content-Length: 50000\r\n"), b"401", False),
        (post(f"{PREFIX}/heartbeat", "Content-Length: 50000\r\n"), b"408", True),
        (post(f"{PREFIX}/accept", "Transfer-Encoding: chunked\r\n"), b"400", False),
    ],
    ids=["nothing", "headers", "body of anybody", "too large", "no certificate", "body of a peer", "chunks"],
)
def test_a_byte_now_and_then_ends(hasty: Served, sent: bytes, answered: bytes, as_peer: bool) -> None:
    """Whatever it is that comes one byte at a time, the connection is over when its time is."""
    with connect(hasty, pair=joined(hasty)[1] if as_peer else None) as connection:
        connection.sendall(sent)
        said = dribble(connection, time.monotonic()) if sent else connection.recv(1)
        assert answered in said.partition(b"\r\n")[0]
    until_closed(hasty)


def test_who_does_not_read_is_hung_up_on(hasty: Served) -> None:
    """A client that asks on and on and never reads an answer holds nothing for long."""
    send_little_at_a_time(hasty)
    with connect(hasty, receive_buffer=4096) as connection:
        connection.settimeout(0.2)
        requests = b"GET /crl HTTP/1.1\r\nHost: x\r\n\r\n" * 100
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE_SECONDS:
            try:
                connection.sendall(requests)
            except TimeoutError:
                continue
            except OSError:
                break
        else:
            raise AssertionError("the node still takes requests")
        until_closed(hasty)


def test_an_answer_that_is_read_slowly_arrives(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """The time runs only while nothing is read at all: answers longer than the buffers reach a slow reader."""
    monkeypatch.setattr(listening, "WRITE_SECONDS", 2)
    served = serve()
    send_little_at_a_time(served)
    wanted = 1000
    with connect(served, receive_buffer=4096) as connection:
        connection.sendall(b"GET /crl HTTP/1.1\r\nHost: x\r\n\r\n" * wanted)
        got = b""
        while got.count(b"HTTP/1.1 200 OK") < wanted:
            more = connection.recv(16384)
            assert more, "hung up on"
            got += more


def test_half_open_connections_end(hasty: Served) -> None:
    """Clients that vanish without a word, before and after TLS, are forgotten; a peer is heard meanwhile."""
    _, pair = joined(hasty)
    address = ("127.0.0.1", int(hasty.node.url.rpartition(":")[2]))
    with ExitStack() as held:
        for _ in range(50):
            held.enter_context(socket.create_connection(address))
        for _ in range(10):
            held.enter_context(connect(hasty))
        assert hasty.post("heartbeat", {}, pair=pair).status_code == 200
        until_closed(hasty)


def test_a_database_that_does_not_answer_is_ours_to_mend(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller is answered 503, as from a node that fails and not one that refuses, and is told nothing of it."""

    def gone(*_: object, **__: object) -> None:
        raise Unusable("The node's database did not answer.", cause="at db.internal", code="database_unavailable")

    with served.client() as client:
        monkeypatch.setattr(served.node.database, "writing", gone)
        monkeypatch.setattr(served.node.database, "reading", gone)
        answer = client.post(f"{PREFIX}/accept", json=accept_body("x"))
        monkeypatch.undo()
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert "database" not in answer.text
