"""The federation API: routes, and from the caller's certificate to what the core is asked."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from aiohttp import web

from fedtui.api.bodies import AcceptBody, EnrollBody, HeartbeatBody, declared, parse
from fedtui.api.limits import Buckets, address_key
from fedtui.api.rendering import TooMany, data, read_body, render_problems
from fedtui.core.access import callers
from fedtui.core.acts import admitting, handshake, jobs
from fedtui.core.errors import Denied
from fedtui.core.node import Node
from fedtui.core.peering.client import PREFIX
from fedtui.core.peering.peers import Peer
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.batch import GroupCommit
from fedtui.core.runtime.unit import Unit
from fedtui.core.trust import certificates, signing

SWEEP_PATH = "/api/v1/system/worker_api/federation/heartbeat_sweep"
GREETERS = 8
HEARTBEATS = Actor("peer", "heartbeats", origin="api")


class FederationApi:
    """The handlers, with what they share: the node, the heartbeat writer, the rate limits."""

    def __init__(self, node: Node) -> None:
        self._node = node
        settings = node.settings
        self._inbox: GroupCommit[Mapping[str, Any]] = GroupCommit(lambda: node.unit(HEARTBEATS))
        self._accepts = Buckets(settings.accepts_per_minute, settings.accepts_burst)
        self._heartbeats = Buckets(settings.heartbeats_per_minute, settings.heartbeats_burst)
        self._enrolls = Buckets(settings.heartbeats_per_minute, settings.heartbeats_burst)
        self._crl: tuple[tuple[int, int], bytes] | None = None
        # A pool of its own: a peer that answers slowly must not take threads from those who call us.
        self._greeter = ThreadPoolExecutor(GREETERS, thread_name_prefix="greeting")

    def application(self) -> web.Application:
        """The aiohttp application of the main listener."""
        app = web.Application(middlewares=[render_problems], client_max_size=self._node.settings.body_bytes)
        app.router.add_post(f"{PREFIX}/accept", self.accept)
        app.router.add_post(f"{PREFIX}/enroll", self.enroll)
        app.router.add_post(f"{PREFIX}/heartbeat", self.heartbeat)
        app.router.add_get("/crl", self.crl)
        app.router.add_post(SWEEP_PATH, self.sweep)
        app.on_cleanup.append(self._close)
        return app

    async def accept(self, request: web.Request) -> web.Response:
        """Bootstrap: a token instead of a certificate."""
        wait = self._accepts.wait_for(address_key(request.remote or ""))
        if wait:
            raise TooMany(wait)
        body = parse(AcceptBody, await read_body(request))
        caller = _caller(request, "accept")
        return data(await _off(admitting.answer_accept, self._node, body.request(), caller))

    async def enroll(self, request: web.Request) -> web.Response:
        """The remote delivers the certificate it signed for us; we greet it at once."""
        content = await read_body(request)
        peer = await _off(self._identify, fingerprint_of(request), "enroll")
        wait = self._enrolls.wait_for(peer.id)
        if wait:
            raise TooMany(wait)
        signed = parse(EnrollBody, content).certificate
        caller = _caller(request, peer.id)
        answer = await _off(
            admitting.receive_certificate, self._node, peer.id, signed.cert_pem, signed.ca_chain_pem, caller
        )
        if answer["newly_complete"]:
            self._greeter.submit(handshake.greet, self._node, peer.id)
        return data({key: answer[key] for key in ("status", "serial")})

    async def heartbeat(self, request: web.Request) -> web.Response:
        """An authenticated sign of life, written with whatever else has queued."""
        fingerprint = fingerprint_of(request)
        content = await read_body(request)

        def work(unit: Unit) -> Mapping[str, Any]:
            peer = callers.identify(unit.session, fingerprint, call="heartbeat", now=unit.now)
            wait = self._heartbeats.wait_for(peer.id)
            if wait:
                raise TooMany(wait)
            said = declared(parse(HeartbeatBody, content))
            unit.actor = Actor("peer", peer.id, origin=f"api {request.remote}")
            return admitting.receive_heartbeat(unit, self._node, peer.id, said)

        answer: Mapping[str, Any] = await asyncio.wrap_future(self._inbox.submit(work))
        return data(answer)

    async def crl(self, _request: web.Request) -> web.Response:
        """Our CA's CRL in DER, signed anew each hour and at each revocation."""
        content = await _off(self._current_crl)
        return web.Response(body=content, content_type="application/pkix-crl")

    async def sweep(self, request: web.Request) -> web.Response:
        """The worker's call: one sweep, for whoever holds the worker token."""
        expected, given = self._node.settings.worker_token, request.headers.get("X-Worker-Token", "")
        if not expected or not secrets.compare_digest(expected.encode(), given.encode("utf-8", "surrogateescape")):
            raise Denied(401, "worker token required", code="worker_unauthorized")
        swept = await _off(jobs.sweep, self._node)
        return data({key: swept[key] for key in ("swept", "degraded_ids", "ran_at")})

    def _identify(self, fingerprint: str | None, call: str) -> Peer:
        with self._node.read() as session:
            return callers.identify(session, fingerprint, call=call, now=self._node.clock.now())

    def _current_crl(self) -> bytes:
        now: datetime = self._node.clock.now()
        with self._node.read() as session:
            state = (certificates.revocations(session), int(now.timestamp()) // 3600)
            if self._crl is None or self._crl[0] != state:
                self._crl = (state, signing.revocation_list(session, self._node.vault, now))
        return self._crl[1]

    async def _close(self, _app: web.Application) -> None:
        self._greeter.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._inbox.close)


def fingerprint_of(request: web.Request) -> str | None:
    """The SHA-256 fingerprint of the verified client certificate, or None without one."""
    secured: ssl.SSLObject | None = request.get_extra_info("ssl_object")
    der = secured.getpeercert(binary_form=True) if secured is not None else None
    return f"sha256:{hashlib.sha256(der).hexdigest()}" if der else None


def _caller(request: web.Request, name: str) -> Actor:
    return Actor("peer", name, origin=f"api {request.remote}")


async def _off(function: Callable[..., Any], *args: Any) -> Any:
    """Run a function of the core off the event loop."""
    return await asyncio.to_thread(function, *args)


def health(node: Node) -> web.Application:
    """The operations listener: alive, ready."""
    app = web.Application(middlewares=[render_problems])

    async def healthz(_request: web.Request) -> web.Response:
        return data({"status": "ok"})

    def look() -> Mapping[str, str]:
        with node.database.explained(), node.read() as session:
            certificates.own_ca(session)
        return {"status": "ready", "node": node.name}

    async def readyz(_request: web.Request) -> web.Response:
        return data(await _off(look))

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app
