"""The daemon: the federation API and the scheduler of one node, until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from fedtui.api.federation import FederationApi, health
from fedtui.api.listener import Listener, bind
from fedtui.core.errors import Unusable
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.pki import certificates, signing, tls
from fedtui.core.runtime import urls
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.failure_log import log_failure

if TYPE_CHECKING:
    from fedtui.core.runtime.scheduler import Scheduler

log = logging.getLogger(__name__)
THREADS = 32
SPARE_FILES = 512
"""Open files besides inbound connections: the database, outbound calls, logs."""
CERTIFICATE_CHECK_SECONDS = 5
START = Actor("job", "daemon", origin="daemon")


def serve(node: Node, *, announce: Callable[[str], None], until_eof: bool = False) -> int:
    """Run until SIGTERM or SIGINT (or, with `until_eof`, the end of standard input); then drain.

    Calls `announce` with `https://HOST:PORT` once connections are taken. Returns the exit code.
    Raises `Unusable` when a port is taken.
    """
    _allow_connections(node.settings.connections)
    host, port = urls.split_listen(node.settings.listen)
    main = bind(host, port)
    operations = bind(*urls.split_listen(node.settings.operations_listen))
    try:
        return asyncio.run(_run(node, main, operations, announce, until_eof))
    finally:
        main.close()
        operations.close()


def _allow_connections(wanted: int) -> None:
    """Raise the limit on open files towards what the node may hold open, as far as this account may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < needed:
        limit = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
        if limit < needed:
            log.warning("[Daemon] this account may open %d files; connections=%d needs %d", limit, wanted, needed)


async def _run(
    node: Node, main: socket.socket, operations: socket.socket, announce: Callable[[str], None], until_eof: bool
) -> int:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(THREADS, thread_name_prefix="core"))
    stop, reload = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reload.set)
    if until_eof:
        threading.Thread(target=_wait_for_eof, args=(loop, stop), daemon=True).start()
    settings = node.settings
    certificate_id, context = await asyncio.to_thread(server_context, node)
    federation = FederationApi(node)
    api = Listener(
        federation.application(),
        context=context,
        per_address=settings.connections_per_address,
        most=settings.connections,
        handshakes=settings.handshakes,
        refused=federation.handshake_refused,
    )
    federation.metrics.connections(api.connections)
    health_listener = Listener(health(node, federation.metrics), context=None)
    await api.start(main)
    await health_listener.start(operations)
    url = f"https://{_shown(main)}"
    scheduler = await asyncio.to_thread(node.start_schedule, url=url, operations_url=f"http://{_shown(operations)}")
    watch = asyncio.create_task(_watch_certificate(node, api, certificate_id, reload))
    gc.freeze()  # what is here by now stays, and is not to be looked through for garbage while somebody waits
    try:
        announce(url)
        log.info("[Daemon] %s listens on %s, operations on http://%s", node.name, url, _shown(operations))
        await stop.wait()
        log.info("[Daemon] stopping")
    finally:
        node.stopping.set()
        watch.cancel()
        await api.stop()
        await health_listener.stop(grace=1)
        await _end_schedule(node, scheduler)
    return 0


async def _end_schedule(node: Node, scheduler: Scheduler) -> None:
    try:
        await asyncio.to_thread(node.stop_schedule, scheduler)
    except Unusable as error:
        # What cannot be written now (the disk is full) ends with the lease's time.
        log_failure(log, "[Daemon] that this daemon stops could not be recorded", error)


def server_context(node: Node) -> tuple[str, ssl.SSLContext]:
    """The server certificate in force (renewed first if it is due) and a fresh context with it.

    The root is sent along, so that a peer can pin it by its fingerprint.
    """
    with node.unit(START) as unit:
        job_tasks.renew_server(unit, node)
        row = certificates.current_server(unit.session)
        assert row is not None  # noqa: S101 - renew_server made one if there was none
        key = signing.private_key_pem(unit.session, node.vault, row)
        ca = certificates.own_ca(unit.session)
    return row.id, tls.server_context(row.cert_pem + row.chain_pem, key, ca.cert_pem)


async def _watch_certificate(node: Node, api: Listener, certificate_id: str, reload: asyncio.Event) -> None:
    """Take up a renewed server certificate, whichever process renewed it, and at SIGHUP."""
    while True:
        try:
            async with asyncio.timeout(CERTIFICATE_CHECK_SECONDS):
                await reload.wait()
        except TimeoutError:
            pass
        try:
            if not reload.is_set() and await asyncio.to_thread(_current_id, node) == certificate_id:
                continue
            reload.clear()
            certificate_id, api.context = await asyncio.to_thread(server_context, node)
            log.info("[Daemon] certificates reloaded")
        except Exception as error:
            # The context in use stays; the next look is seconds away.
            log_failure(log, "[Daemon] the server certificate could not be reloaded", error)


def _current_id(node: Node) -> str | None:
    with node.read() as session:
        row = certificates.current_server(session)
        return row.id if row else None


def _shown(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _wait_for_eof(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # Not through sys.stdin: a thread that waits in it would hold its lock when the interpreter ends.
    while os.read(0, 4096):
        pass
    loop.call_soon_threadsafe(stop.set)
