"""What is no HTTP, or HTTP at its edges: an answer of the 400s or a closed connection, and never a failure of ours."""

from __future__ import annotations

import logging
import socket

import pytest

from fedtui.api.routes import ROUTES
from fedtui.core.pki import tls
from fedtui.core.protocol.client import PREFIX
from tests.api.conftest import Served

HEARTBEAT, CRL = f"POST {PREFIX}/heartbeat HTTP/1.1\r\nHost: x\r\n".encode(), b"GET /crl HTTP/1.1\r\nHost: x\r\n"
RAW: dict[str, bytes] = {
    "nothing like it": b"\x16\x03\x01\x00\x00\xff\xfe\r\n\r\n",
    "no version": b"GET /crl\r\n\r\n",
    "version 2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "version 9": b"GET /crl HTTP/9.9\r\n\r\n",
    "a method of our own": b"FEDERATE /crl HTTP/1.1\r\nHost: x\r\n\r\n",
    "trace": b"TRACE /crl HTTP/1.1\r\nHost: x\r\n\r\n",
    "connect": b"CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n",
    "another's url": b"GET http://example.com/crl HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path that cannot be": b"GET /%zz/%00/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
    "a url of bytes": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "a url in brackets": b"GET http://[::1/ HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long url": b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long header": CRL + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
    "many headers": CRL + b"".join(b"X-%d: y\r\n" % one for one in range(20_000)) + b"\r\n",
    "a header without a name": CRL + b": x\r\n\r\n",
    "a header over two lines": CRL + b"X: a\r\n b\r\n\r\n",
    "NUL in a header": CRL + b"X: a\x00b\r\n\r\n",
    "bytes in a bearer": CRL + b"Authorization: Bearer \xff\xfe\r\n\r\n",
    "bytes in a worker token": ROUTES[-1].method.encode()
    + b" "
    + ROUTES[-1].path.encode()
    + b" HTTP/1.1\r\nHost: x\r\nX-Worker-Token: \xff\xfe\r\n\r\n",
    "a length that is none": HEARTBEAT + b"Content-Length: -1\r\n\r\n",
    "two lengths": HEARTBEAT + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    "length and chunks": HEARTBEAT + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk without end": HEARTBEAT + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n",
    "packed": HEARTBEAT + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    "more than is taken": HEARTBEAT + b"Content-Length: 99999999999\r\n\r\n",
    "wants to go on": HEARTBEAT + b"Expect: 100-nothing\r\nContent-Length: 2\r\n\r\n",
    "wants another protocol": CRL + b"Connection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: x\r\n\r\n",
    "says utf-7": HEARTBEAT + b"Content-Type: application/json; charset=utf-7\r\nContent-Length: 2\r\n\r\n{}",
}
ANSWERED = {b"200", b"400", b"401", b"404", b"405", b"411", b"413", b"414", b"415", b"417", b"422", b"431", b""}


def answer(served: Served, sent: bytes) -> bytes:
    """The first line that comes back; empty where the connection is closed."""
    address = ("127.0.0.1", int(served.node.url.rpartition(":")[2]))
    with (
        socket.create_connection(address, timeout=30) as raw,
        tls.client_context([served.ca_pem]).wrap_socket(raw, server_hostname="127.0.0.1") as secured,
    ):
        try:
            secured.sendall(sent)
            return secured.recv(4096).partition(b"\r\n")[0]
        except OSError:
            return b""


def test_no_request_makes_the_node_fail(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    """Each gets a status of the 400s, or is answered as what it amounts to; nothing is logged as an error."""
    caplog.set_level(logging.WARNING)
    found = {name: answer(served, sent) for name, sent in RAW.items()}
    odd = {name: line for name, line in found.items() if line[9:12] not in ANSWERED}
    assert not odd
    assert not [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR or record.exc_info]
