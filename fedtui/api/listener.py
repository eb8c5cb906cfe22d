"""Our own accept loop in front of aiohttp's HTTP: TLS, bounds on connections, reload.

Measured against the servers at hand (design, section 2): this is what gives the handler the
verified client certificate, bounds every phase of a connection, and takes a new TLS context
by one assignment. A client that has sent nothing yet costs a socket: TLS begins with its first byte.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import logging
import socket
import ssl
from asyncio import sslproto
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import StreamReader, hdrs, web, web_response
from aiohttp.http import HttpProcessingError, HttpVersion11, RawRequestMessage
from cryptography import x509
from multidict import CIMultiDictProxy

from fedtui.api import connections
from fedtui.api.connections import Connection, Connections
from fedtui.api.rendering import EXPECT, Handler
from fedtui.core.errors import Unusable
from fedtui.core.pki.tls import presented_to_us
from fedtui.core.runtime import bounded_log
from fedtui.core.runtime.rate_limit import address_key

log = bounded_log.logger(__name__)
HANDSHAKE_SECONDS = 5
"""From the connection to the end of TLS."""
IDLE_SECONDS = 15
LINGER_SECONDS = 5
"""How long a connection that we end waits for its client to notice; asyncio's own is 30."""
WRITE_SECONDS = 20
"""How long a client may leave unread what it asked for."""
UNSENT_BYTES = 64 * 1024
"""So much of it waits in memory at most, before nothing more is answered."""
SUMMARY_SECONDS = 1
TRIM_SECONDS, TRIM_AFTER = 5, 200
"""After so many connections have ended, the C library is asked now and then to give back what they held."""
BACKLOG = 512
web_response.SERVER_SOFTWARE = "fedtui"  # type: ignore[attr-defined]  # in answers to what is no HTTP, which no hook sees
sslproto.SSLProtocol.max_size = 32 * 1024  # of two buffers that each connection has: the default is 256 KiB
Refused = Callable[[str, str, x509.Certificate | None], Awaitable[None]]
"""Told of a handshake that failed: the client's address, the reason, and the certificate where TLS gave it."""


class _OursOnly(logging.Filter):
    """Anybody can send what is no HTTP, or leave: aiohttp has a traceback for it, here it is a line, and no error."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError | web.RequestPayloadError | ConnectionError):
            log.info("[FederationApi] a client left, or sent what is no HTTP: %s", type(error).__name__)
            return False
        return True


http_log = logging.getLogger(f"{__name__}.http")
http_log.addFilter(_OursOnly())
http_log.addFilter(bounded_log.BOUNDED)
bounded_log.logger("asyncio")  # what it logs of connections, too


class _Counted(asyncio.Protocol):
    """Passes everything on to aiohttp's protocol, and says when the connection is over.

    Ends it where the client does not read what it is sent: aiohttp would wait for ever.
    """

    def __init__(
        self,
        make: Callable[[], asyncio.Protocol],
        began: Callable[[asyncio.Protocol, asyncio.Transport], None],
        ended: Callable[[asyncio.Protocol], None],
    ) -> None:
        self._make, self._began, self._ended = make, began, ended
        self._inner: asyncio.Protocol
        self._transport: asyncio.Transport | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - of a socket, what else
        self._transport = transport
        transport.set_write_buffer_limits(high=UNSENT_BYTES)
        self._inner = self._make()  # with TLS, after the handshake
        self._began(self._inner, transport)
        self._inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        ended: bool | None = self._inner.eof_received()
        return ended

    def pause_writing(self) -> None:
        self._unread = asyncio.get_running_loop().call_later(WRITE_SECONDS, self._give_up)
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._read_on()
        self._inner.resume_writing()

    def _read_on(self) -> None:
        if self._unread is not None:
            self._unread.cancel()

    def _give_up(self) -> None:
        if self._transport is not None:
            log.info("[FederationApi] %s does not read what it is sent", self._transport.get_extra_info("peername"))
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._read_on()
        # First: who reads a body must learn that it is not all there.
        self._inner.connection_lost(exc)
        self._ended(self._inner)


class Listener:
    """One listening socket. `context` may be replaced at any time; the next connection takes it."""

    def __init__(
        self,
        app: web.Application,
        *,
        context: ssl.SSLContext | None,
        per_address: int = 256,
        most: int = 4096,
        handshakes: int = 512,
        refused: Refused | None = None,
    ) -> None:
        self.context = context
        self._refused = refused
        app.middlewares.insert(0, self._at_work)
        app.on_response_prepare.append(_without_server)
        self._runner = web.AppRunner(
            app,
            keepalive_timeout=IDLE_SECONDS,
            lingering_time=LINGER_SECONDS,
            access_log=None,
            logger=http_log,
            handle_signals=False,
            auto_decompress=False,  # it would unpack on the loop, also what no handler reads
        )
        self.connections = Connections(most=most, per_address=per_address, handshakes=handshakes)
        self._by_protocol: dict[object, Connection] = {}
        self._surplus = 0
        self._ended_since_trim = 0
        self._handshakes: set[asyncio.Task[None]] = set()
        self._loop_task: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    @property
    def open_connections(self) -> int:
        """How many connections there are, handshakes included."""
        return len(self.connections)

    async def start(self, bound: socket.socket) -> None:
        """Accept connections on a bound socket."""
        await self._runner.setup()
        server = self._runner.server
        assert server is not None  # noqa: S101 - it was just set up
        server.request_factory = partial(self._make_request, partial(_expecting, server.request_factory))
        bound.setblocking(False)
        self._socket = bound
        self._loop_task = asyncio.create_task(self._accept(bound))

    async def stop(self, *, grace: float = 10) -> None:
        """Accept no more, let what is under way finish within `grace` seconds, close."""
        if self._loop_task is not None:
            self._loop_task.cancel()
            await asyncio.gather(self._loop_task, return_exceptions=True)
        if self._socket is not None:
            self._socket.close()
        for task in list(self._handshakes):
            task.cancel()
        server = self._runner.server
        if server is not None:
            await server.shutdown(grace)
        await self._runner.cleanup()

    async def _accept(self, bound: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(bound)
            except OSError as error:
                # Out of file handles: what is open must end before more can come.
                log.warning("[FederationApi] a connection could not be taken: %s", error)
                await asyncio.sleep(0.2)
                continue
            evicted = self.connections.evicted
            held = self.connections.enter(address_key(address[0]))
            if held is None or self.connections.evicted > evicted:
                self._turned_away(address[0])
            if held is None:
                connection.close()
                continue
            task = asyncio.create_task(self._admit(connection, address[0], held))
            held.close = task.cancel
            self._handshakes.add(task)
            task.add_done_callback(self._handshakes.discard)
            # One that is cancelled before it began closes nothing itself.
            task.add_done_callback(partial(_close_if_cancelled, connection))

    def _turned_away(self, address: str) -> None:
        """Say so, once in a while: a line for each would fill the disk of who is flooded."""
        self._surplus += 1
        if self._surplus == 1:
            asyncio.get_running_loop().call_later(SUMMARY_SECONDS, self._say_turned_away, address)

    def _say_turned_away(self, address: str) -> None:
        log.warning("[FederationApi] too many connections: %d were closed, the first from %s", self._surplus, address)
        self._surplus = 0

    async def _admit(self, connection: socket.socket, address: str, held: Connection) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + HANDSHAKE_SECONDS

        def began(inner: asyncio.Protocol, transport: asyncio.Transport) -> None:
            self._by_protocol[inner] = held
            self.connections.opened(held)
            held.close = transport.abort

        def ended(inner: asyncio.Protocol) -> None:
            self._by_protocol.pop(inner, None)
            self._release(held)
            if held.body is not None:
                held.body.feed_eof()  # aiohttp would wait for the rest of an answered request until its time is over
                held.body = None

        try:
            if self.context:
                await _first_byte(loop, connection, HANDSHAKE_SECONDS)
            await loop.connect_accepted_socket(
                lambda: _Counted(self._runner.server, began, ended),  # type: ignore[arg-type]
                connection,
                ssl=self.context,
                ssl_handshake_timeout=max(0.1, deadline - loop.time()) if self.context else None,
                ssl_shutdown_timeout=LINGER_SECONDS if self.context else None,
            )
        except (OSError, asyncio.CancelledError) as error:
            # asyncio sends no TLS alert: the remote sees a disconnect, and this line is the reason.
            self._release(held)
            connection.close()
            if isinstance(error, asyncio.CancelledError):
                raise
            reason = getattr(error, "verify_message", None) or getattr(error, "reason", None) or str(error)
            # Who says nothing is not worth a line of the log: there may be thousands.
            level = logging.INFO if isinstance(error, ssl.SSLError) else logging.DEBUG
            log.log(level, "[FederationApi] TLS handshake with %s failed: %s", address, reason or type(error).__name__)
            if self._refused is not None and isinstance(error, ssl.SSLError):
                await self._refused(address, str(reason), presented_to_us(error))

    def _release(self, held: Connection) -> None:
        self.connections.leave(held)
        held.close = _nothing  # its task, whose frames know this connection: what would be a cycle
        self._ended_since_trim += 1
        if self._ended_since_trim == TRIM_AFTER:
            asyncio.get_running_loop().call_later(TRIM_SECONDS, self._trim)

    def _trim(self) -> None:
        self._ended_since_trim = 0
        asyncio.get_running_loop().run_in_executor(None, _give_memory_back)

    def _make_request(
        self,
        make: Callable[..., web.BaseRequest],
        message: RawRequestMessage,
        body: StreamReader,
        protocol: asyncio.Protocol,
        *more: Any,
    ) -> web.BaseRequest:
        """Make a request, and note its body on its connection."""
        held = self._by_protocol.get(protocol)
        if held is not None:
            held.body = body
        return make(message, body, protocol, *more)

    @web.middleware
    async def _at_work(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """While a request is answered, its connection is not silent."""
        held = self._by_protocol.get(request.protocol)
        if held is None:
            return await handler(request)
        request[connections.KEY] = held
        with held.at_work():
            return await handler(request)


def _expecting(make: Callable[..., web.BaseRequest], message: RawRequestMessage, *more: Any) -> web.BaseRequest:
    """A request without its `Expect`, which is kept beside it.

    aiohttp would send `100 Continue` before any middleware runs; `read_body` does once the caller has been judged.
    """
    expected = message.headers.get(hdrs.EXPECT)
    if expected is None:
        return make(message, *more)
    headers = message.headers.copy()
    del headers[hdrs.EXPECT]
    request = make(message._replace(headers=CIMultiDictProxy(headers)), *more)
    if message.version >= HttpVersion11:
        request[EXPECT] = expected
    return request


async def _without_server(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    """Which server this is, and of which version, is nobody's business."""
    response.headers.popall("Server", None)


async def _first_byte(loop: asyncio.AbstractEventLoop, connection: socket.socket, seconds: float) -> None:
    """Wait until the client has sent something. Raises `TimeoutError`; `ConnectionError` where it has left."""
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_reader(connection, lambda: None if ready.done() else ready.set_result(None))
    try:
        async with asyncio.timeout(seconds):
            await ready
    finally:
        loop.remove_reader(connection)
    if not connection.recv(1, socket.MSG_PEEK):
        raise ConnectionResetError("the client left without a word")


def _close_if_cancelled(connection: socket.socket, task: asyncio.Task[None]) -> None:
    if task.cancelled():
        connection.close()


def _nothing() -> None:
    """What closes a connection that is over."""


def _give_memory_back() -> None:
    """Ask the C library for it: glibc keeps what was freed, and after a flood that is all it took."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


def bind(host: str, port: int) -> socket.socket:
    """A bound, listening socket. Raises `Unusable` when the port is taken or the address is not ours."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
        bound.listen(BACKLOG)
    except OSError as error:
        bound.close()
        taken = error.errno == errno.EADDRINUSE
        look = "See what uses it (ss -ltnp)" if taken else "See which addresses this machine has (ip address)"
        raise Unusable(
            f"{host[:80]}:{port} cannot be listened on.",
            cause="Another program listens there." if taken else f"{error.strerror or error}.",
            fix=f"{look}, or give another with --listen HOST:PORT.",
            code="port_unavailable",
        ) from error
    return bound
