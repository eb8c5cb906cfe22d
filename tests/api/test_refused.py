"""What a refused request costs: never the others anything, and the log a bounded part."""

from __future__ import annotations

import asyncio
import gzip
import logging
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from fedtui.api import listener
from fedtui.api.federation import health
from fedtui.api.listener import Listener, bind
from fedtui.core.pki import tls
from fedtui.core.protocol.client import PREFIX
from fedtui.core.runtime import bounded_log
from tests.api.conftest import Serve, Served, joined
from tests.api.test_resources import Pair, Place, act, client_cert, opened, place, proxy_pair

__all__ = ["place"]

PACKED = gzip.compress(b" " * (120 * 1024 * 1024))
GZIP = {"Content-Encoding": "gzip"}
CALLS = [
    ("POST", "/nope"),
    ("GET", "/crl"),
    ("POST", f"{PREFIX}/accept"),
    ("POST", f"{PREFIX}/heartbeat"),
    ("PUT", f"{PREFIX}/resources/doc/one"),
    ("DELETE", "/crl"),
]


@pytest.fixture(autouse=True)
def _fresh_lines() -> Iterator[None]:
    bounded_log.BOUNDED.clear()
    yield
    bounded_log.BOUNDED.clear()


@contextmanager
def tls_to(served: Served, pair: Pair | None = None) -> Iterator[ssl.SSLSocket]:
    address = ("127.0.0.1", int(served.node.url.rpartition(":")[2]))
    with (
        socket.create_connection(address, timeout=10) as raw,
        tls.client_context([served.ca_pem], pair).wrap_socket(raw, server_hostname="127.0.0.1") as secured,
    ):
        yield secured


# --- compressed bodies -------------------------------------------------------------------


@pytest.mark.parametrize("certificate", [False, True], ids=["nobody", "a peer"])
@pytest.mark.parametrize(("method", "path"), CALLS)
def test_no_compressed_body_is_unpacked(
    served: Served, monkeypatch: pytest.MonkeyPatch, method: str, path: str, certificate: bool
) -> None:
    """Whoever sends one and wherever to: 415 in the contract's shape, and no byte of it is unpacked."""
    pair = joined(served)[1] if certificate else None
    fail_when_unpacked(monkeypatch)
    with served.client(pair) as client:
        answer = client.request(method, path, content=PACKED, headers=GZIP)
    body = answer.json()
    assert (answer.status_code, body["code"], body["success"]) == (415, "unsupported_encoding", False)
    assert answer.headers["Accept-Encoding"] == "identity"


def fail_when_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    from aiohttp import http_parser

    def unpacked(*_: object, **__: object) -> None:
        raise AssertionError("a body is unpacked")

    monkeypatch.setattr(http_parser, "DeflateBuffer", unpacked)
    monkeypatch.setattr("aiohttp._http_parser.DeflateBuffer", unpacked, raising=False)


@pytest.mark.parametrize("coding", ["deflate", "br", "x", "identity, gzip", "GZIP"])
def test_any_coding_but_identity_is_refused(served: Served, coding: str) -> None:
    """Also one that nobody knows; `identity` is none."""
    with served.client() as client:
        assert client.post(f"{PREFIX}/accept", content=b"{}", headers={"Content-Encoding": coding}).status_code == 415
        assert (
            client.post(f"{PREFIX}/accept", content=b"{}", headers={"Content-Encoding": "identity"}).status_code == 422
        )


def test_the_loop_goes_on_while_compressed_bodies_come_in(served: Served) -> None:
    """120 MiB of blanks in 122 KB do not hold up the event loop, however often they are sent."""
    with served.client() as client:
        watching = asyncio.run_coroutine_threadsafe(_pause(), served.loop)
        for method, path in CALLS:
            client.request(method, path, content=PACKED, headers=GZIP)
        served.loop.call_soon_threadsafe(setattr, _pause, "over", True)
        assert watching.result(10) < 0.2


async def _pause() -> float:
    _pause.over = False  # type: ignore[attr-defined]
    worst, last = 0.0, time.perf_counter()
    while not _pause.over:  # type: ignore[attr-defined]
        await asyncio.sleep(0.002)
        now = time.perf_counter()
        worst, last = max(worst, now - last), now
    return worst


def test_the_operations_listener_unpacks_nothing_either(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same 415 there."""
    fail_when_unpacked(monkeypatch)
    bound = bind("127.0.0.1", 0)
    listener = Listener(health(served.node, served.api.metrics), context=None)
    asyncio.run_coroutine_threadsafe(listener.start(bound), served.loop).result(10)
    url = f"http://127.0.0.1:{bound.getsockname()[1]}"
    try:
        for method, path in (("GET", "/healthz"), ("POST", "/nope"), ("GET", "/metrics")):
            answer = httpx.request(method, url + path, content=PACKED, headers=GZIP, trust_env=False)
            assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_encoding")
    finally:
        asyncio.run_coroutine_threadsafe(listener.stop(grace=1), served.loop).result(10)


@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("path", [f"{PREFIX}/accept", "/nope", "/crl"])
def test_bytes_that_are_refused_or_unread_are_charged(serve: Serve, path: str, chunked: bool) -> None:
    """A body that is too large, or that its call does not take, counts as the bytes that it brings."""
    served = serve("alpha", bytes_per_minute=500_000, accepts_burst=1000)
    content = b"x" * 200_000
    with served.client() as client:
        codes = [client.post(path, content=iter([content]) if chunked else content).status_code for _ in range(5)]
    assert codes[0] != 429
    assert codes[-1] == 429


# --- refusals have a rate ----------------------------------------------------------------


@pytest.mark.parametrize("status", ["suspended", "active"])
def test_a_peer_that_is_refused_too_often_waits(serve: Serve, status: str) -> None:
    """With a certificate, too: unknown paths, and calls that are refused, are answered 429 after so many a minute."""
    place = opened(serve("alpha", refused_per_minute=5))
    place.set_status(status)
    grant = place.grant() if status == "active" else None
    with place.served.client(place.pair) as client:
        calls = {"nope": lambda: client.get("/nope"), "method": lambda: client.delete("/crl")}
        if status == "suspended":
            calls["heartbeat"] = lambda: client.post(f"{PREFIX}/heartbeat", json={})
            calls["put"] = lambda: client.put(f"{PREFIX}/resources/doc/one", json={})
            calls["diagnosis"] = lambda: client.get(f"{PREFIX}/diagnosis")
        found = {name: [call() for _ in range(12)] for name, call in calls.items()}
    for name, answers in found.items():
        assert (answers[-1].status_code, answers[-1].json()["code"]) == (429, "rate_limited"), name
        assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert [answer.status_code for answer in found["nope"]][:5] == [404] * 5
    if status == "active":
        assert place.served.post("heartbeat", {}, pair=place.pair).status_code == 200
        assert place.call("GET", grant).status_code == 200


def test_refusals_of_one_call_leave_the_others(serve: Serve) -> None:
    """A peer that goes on to use a grant that ended still has its heartbeats taken, and other peers all of theirs."""
    place = opened(serve("alpha", refused_per_minute=5))
    _, other = joined(place.served, "https://c.example")
    unknown = "0195d3a2-7c1e-7000-8000-00000000000e"
    codes = [place.call("GET", unknown).status_code for _ in range(8)]
    assert codes[0] == 401
    assert codes[-1] == 429
    assert place.served.post("heartbeat", {}, pair=place.pair).status_code == 200
    assert place.call("GET", unknown, pair=other).status_code == 401


def test_strangers_are_refused_so_often_a_minute(serve: Serve) -> None:
    """Without a certificate the rate is the address's."""
    served = serve("alpha", refused_per_minute=5)
    with served.client() as client:
        codes = [client.post(f"{PREFIX}/heartbeat").status_code for _ in range(7)]
    assert codes == [401] * 5 + [429] * 2


def test_callers_behind_a_proxy_are_told_apart(serve: Serve) -> None:
    """A peer that is refused through a trusted proxy does not use up what other peers have there."""
    place = opened(serve("alpha", refused_per_minute=5))
    _, other = joined(place.served, "https://c.example")
    proxy, trusted = proxy_pair(place)
    act(place.node, "system.settings_change", {"key": "trusted_proxies", "value": trusted})
    unknown = "0195d3a2-7c1e-7000-8000-00000000000e"

    def status(pair: Pair) -> int:
        return place.call("GET", unknown, pair=proxy, headers={"Client-Cert": client_cert(pair[0])}).status_code

    codes = [status(place.pair) for _ in range(12)]
    assert codes[-1] == 429
    assert status(other) == 401


def test_conflicts_are_not_refusals(serve: Serve) -> None:
    """A version that is not the expected is what two writers in good order meet."""
    place = opened(serve("alpha", refused_per_minute=5))
    grant = place.grant()
    codes = [place.call("PUT", grant, json=1, headers={"If-Match": '"no"'}).status_code for _ in range(10)]
    assert codes == [412] * 10


# --- the log -----------------------------------------------------------------------------


def test_the_log_has_a_bounded_part_for_refusals(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    """However many requests are refused, some lines in full, and one that says how many more there were."""
    caplog.set_level(logging.INFO, "fedtui")
    place.set_status("suspended")
    with place.served.client(place.pair) as client:
        for _ in range(50):
            client.post(f"{PREFIX}/heartbeat", json={})
    of_refusals = [record for record in caplog.records if "heartbeat" in record.getMessage()]
    assert 0 < len(of_refusals) <= bounded_log.IN_FULL
    bounded_log.BOUNDED.flush(all_=True)
    [summary] = [record.getMessage() for record in caplog.records if "more lines" in record.getMessage()]
    assert summary.startswith(f"{50 - bounded_log.IN_FULL} more lines in ")


def test_every_logger_of_the_api_is_bounded() -> None:
    """No module that serves strangers has a logger of another make."""
    import fedtui.api.listener  # noqa: F401 - their loggers exist once they are imported

    names = [name for name in logging.root.manager.loggerDict if name.startswith("fedtui.api")]
    assert len(names) >= 4
    for name in names:
        if isinstance(logging.root.manager.loggerDict[name], logging.Logger):
            assert bounded_log.BOUNDED in logging.getLogger(name).filters, name


@pytest.mark.parametrize(
    "head",
    [
        "POST {}/accept HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{{",
        "POST {}/accept HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n",
        "POST {}/nope HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n",
        "GET {}/diagnosis HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\n{{",
        "POST {}/accept HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{{",
    ],
)
def test_a_client_that_leaves_is_no_error(served: Served, caplog: pytest.LogCaptureFixture, head: str) -> None:
    """It may leave at any point of its request: no traceback, and no line at warning or above."""
    caplog.set_level(logging.DEBUG, "fedtui")
    for wait in (0.0, 0.05):
        for _ in range(10):
            with tls_to(served) as secured:
                secured.sendall(head.format(PREFIX).encode())
                time.sleep(wait)
                secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    settled(served)
    assert not [record for record in caplog.records if record.exc_info or record.levelno >= logging.WARNING]


@pytest.mark.parametrize("method", ["GET {}/diagnosis", "POST {}/nope", "POST {}/accept"])
def test_a_client_that_leaves_takes_its_task_with_it(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The body of an answered request is not waited for once its connection is over."""
    monkeypatch.setattr(listener, "LINGER_SECONDS", 3600)
    served = serve()
    head = f"{method} HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\nExpect: 100-continue\r\n\r\n"
    for _ in range(5):
        with tls_to(served) as secured:
            secured.sendall(head.format(PREFIX).encode())
            secured.recv(1)
            secured.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    settled(served)
    asyncio.run_coroutine_threadsafe(_requests_ended(), served.loop).result(60)


async def _requests_ended() -> None:
    tasks = [task for task in asyncio.all_tasks() if "RequestHandler" in repr(task)]
    await asyncio.gather(*tasks, return_exceptions=True)


def settled(served: Served) -> None:
    """Wait until no connection is left."""
    until = time.monotonic() + 10
    while served.listener.open_connections and time.monotonic() < until:
        time.sleep(0.01)
    assert not served.listener.open_connections


# --- 100 Continue ------------------------------------------------------------------------


def answered(
    served: Served, path: str, pair: Pair | None, *, method: str = "POST", expect: str = "100-continue"
) -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: {expect}\r\n\r\n".encode()
    with tls_to(served, pair) as secured:
        secured.sendall(head)
        first = secured.recv(4096)
        if b" 100 " not in first:
            return first
        secured.sendall(b"{}")
        return first + secured.recv(4096)


def test_who_is_refused_is_not_asked_for_its_body(served: Served) -> None:
    """`100 Continue` is sent once the caller has been judged and its body is wanted, else the answer comes at once."""
    _, pair = joined(served)
    assert answered(served, f"{PREFIX}/heartbeat", None).startswith(b"HTTP/1.1 401 ")
    assert answered(served, "/nope", None).startswith(b"HTTP/1.1 404 ")
    assert answered(served, "/nope", pair).startswith(b"HTTP/1.1 404 ")
    assert answered(served, "/crl", pair, method="GET").startswith(b"HTTP/1.1 200 ")
    refused = answered(served, f"{PREFIX}/heartbeat", pair, expect="200-ok")
    assert refused.startswith(b"HTTP/1.1 417 ")
    assert b"Connection: close" in refused
    accepted = answered(served, f"{PREFIX}/heartbeat", pair)
    assert accepted.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")
    assert answered(served, f"{PREFIX}/accept", None).startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 422 ")
    served.api._accepts._burst = 0
    served.api._accepts._levels.clear()
    assert answered(served, f"{PREFIX}/accept", None).startswith(b"HTTP/1.1 429 ")


# --- the words of refusals ---------------------------------------------------------------

LIBRARIES = (
    "Input should",
    "Value error",
    "Field required",
    "Invalid JSON",
    "should have at",
    "sys.set_int",
    "utf-8-sig",
    "cryptography",
    "Expecting",
    "ASN",
)
WRONG_BODIES = [
    b"\xef\xbb\xbf{}",
    b"{",
    b"[1]",
    b'{"a": \xff}',
    b"9" * 5000,
    b'{"a": ' + b"9" * 60 + b"}",
    b'"\\ud800"',
    b"",
    b'{"contract_version": 1.5, "sent_at": "x", "endpoints": [1], "extension_slugs": 1, "capabilities": []}',
    b'{"contract_version": "x", "sent_at": 1e99, "csr_pem": true, "platform_version": "' + b"x" * 3000 + b'"}',
    b'{"contract_version": 9999999999999, "capabilities": {"a": NaN}, "sent_at": "2030-99-01"}',
    b'{"contract_version": 1e400, "capabilities": {"a": "\\u0000"}}',
    b'{"certificate": 1, "csr_pem": ""}',
    b'{"certificate": {"cert_pem": "x"}, "csr_pem": "-----BEGIN CERTIFICATE-----"}',
    b'{"certificate": {"cert_pem": "-----BEGIN CERTIFICATE-----\\nMAA=\\n-----END CERTIFICATE-----"}, '
    b'"csr_pem": "-----BEGIN CERTIFICATE REQUEST-----\\nMAA=\\n-----END CERTIFICATE REQUEST-----"}',
]


def test_refusals_are_in_our_words(serve: Serve) -> None:
    """What a library says of a body goes to nobody: it names that library's workings, and changes with it."""
    place = opened(serve("alpha", accepts_burst=1000, heartbeats_burst=1000))
    grant, wrong = place.grant(), {}
    with place.served.client(place.pair) as client:
        for content in WRONG_BODIES:
            answers = [
                client.post(f"{PREFIX}/{call}", content=content) for call in ("accept", "heartbeat", "enroll", "renew")
            ]
            answers.append(place.call("PUT", grant, content=content))
            for answer in answers:
                if any(words in answer.text for words in LIBRARIES):
                    wrong[content] = answer.text
    assert not wrong
