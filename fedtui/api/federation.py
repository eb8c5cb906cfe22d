"""The federation API: routes, and from the caller's certificate to what the core is asked."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from aiohttp import web
from cryptography import x509

from fedtui.api import openapi
from fedtui.api.bodies import AcceptBody, EnrollBody, HeartbeatBody, RenewBody, declared, document, parse
from fedtui.api.gatekeeper import Gatekeeper
from fedtui.api.metrics import Metrics
from fedtui.api.rendering import TooMany, data, read_body, render_problems
from fedtui.api.routes import CRL_TYPE, ROUTES
from fedtui.core.access.chain import RESOURCES
from fedtui.core.access.resources import Expected
from fedtui.core.acts import admitting, diagnosing, handshake, jobs, renewing, serving
from fedtui.core.acts.admitting import Refusal
from fedtui.core.acts.serving import Answer
from fedtui.core.errors import Denied
from fedtui.core.node import Node
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.batch import GroupCommit
from fedtui.core.runtime.correlation import carried
from fedtui.core.runtime.limits import Buckets, address_key
from fedtui.core.runtime.unit import Unit
from fedtui.core.trust import certificates, signing

GREETERS = 8
INBOX = Actor("peer", "inbox", origin="api")


class FederationApi:
    """The handlers, with what they share: the node, the heartbeat writer, the rate limits."""

    def __init__(self, node: Node) -> None:
        self._node = node
        settings = node.settings
        self._inbox: GroupCommit[Any] = GroupCommit(lambda: node.unit(INBOX))
        self.metrics = Metrics(node)
        self._gate = Gatekeeper(node, self._inbox)
        self._accepts = Buckets(settings.accepts_per_minute, settings.accepts_burst)
        self._heartbeats = Buckets(settings.heartbeats_per_minute, settings.heartbeats_burst)
        self._enrolls = Buckets(settings.heartbeats_per_minute, settings.heartbeats_burst)
        self._crl: tuple[tuple[int, int], bytes] | None = None
        # A pool of its own: a peer that answers slowly must not take threads from those who call us.
        self._greeter = ThreadPoolExecutor(GREETERS, thread_name_prefix="greeting")

    def application(self) -> web.Application:
        """The aiohttp application of the main listener."""
        app = web.Application(
            middlewares=[self.metrics.timed, render_problems, self.metrics.counted],
            client_max_size=self._node.settings.body_bytes,
        )
        for route in ROUTES:
            app.router.add_route(route.method, route.path, getattr(self, route.name))
        app.on_startup.append(self._gate.start)
        app.on_cleanup.append(self._gate.stop)
        app.on_cleanup.append(self._close)
        return app

    async def accept(self, request: web.Request) -> web.Response:
        """Bootstrap: a token instead of a certificate."""
        wait = self._accepts.wait_for(address_key(request.remote or ""))
        if wait:
            raise TooMany(wait)
        body = parse(AcceptBody, await read_body(request))
        caller = _caller(request, "accept")
        address = address_key(request.remote or "")

        def again(refused: Refusal) -> bool:
            return self._gate.refusals.again((address, refused))

        return data(await _off(admitting.answer_accept, self._node, body.request(), caller, again))

    async def enroll(self, request: web.Request) -> web.Response:
        """The remote delivers the certificate it signed for us; we greet it at once."""
        content = await read_body(request)
        peer_id = await self._gate.admit(request, "enroll")
        wait = self._enrolls.wait_for(peer_id)
        if wait:
            raise TooMany(wait)
        signed = parse(EnrollBody, content).certificate
        caller = _caller(request, peer_id)
        answer = await _off(
            admitting.receive_certificate, self._node, peer_id, signed.cert_pem, signed.ca_chain_pem, caller
        )
        if answer["newly_complete"]:
            self._greeter.submit(carried(handshake.greet), self._node, peer_id)
        return data({key: answer[key] for key in ("status", "serial")})

    async def renew(self, request: web.Request) -> web.Response:
        """The next certificate for a peer that proves itself with the present one."""
        content = await read_body(request)
        peer_id = await self._gate.admit(request, "renew")
        wait = self._enrolls.wait_for(peer_id)
        if wait:
            raise TooMany(wait)
        csr_pem = parse(RenewBody, content).csr_pem
        return data(await _off(renewing.answer_renew, self._node, peer_id, csr_pem, _caller(request, peer_id)))

    async def diagnosis(self, request: web.Request) -> web.Response:
        """What this node sees of the caller; nothing about others."""
        peer_id = await self._gate.admit(request, "diagnosis")
        wait = self._enrolls.wait_for(peer_id)
        if wait:
            raise TooMany(wait)
        return data(await _off(lambda: diagnosing.view_of(self._node, peer_id, self._gate.presented(request))))

    async def heartbeat(self, request: web.Request) -> web.Response:
        """An authenticated sign of life, written with whatever else has queued."""
        content = await read_body(request)

        def work(unit: Unit) -> Mapping[str, Any]:
            asked = self._gate.asked(unit.session, request, "heartbeat", unit.now)
            peer_id, first_used = serving.admit(unit.session, asked, unit.now)
            wait = self._heartbeats.wait_for(peer_id)
            if wait:
                raise TooMany(wait)
            said = declared(parse(HeartbeatBody, content))
            unit.actor = _caller(request, peer_id)
            self._gate.let_in(unit, asked, peer_id)
            if first_used is not None:
                certificates.first_use(unit, first_used)
            return admitting.receive_heartbeat(unit, self._node, peer_id, said)

        return data(await self._gate.recording(asyncio.wrap_future(self._inbox.submit(work))))

    async def get_resource(self, request: web.Request) -> web.Response:
        """Read a resource, with a grant."""

        def work() -> Answer:
            now = self._node.clock.now()
            with self._node.read() as session:
                return serving.get(session, self._gate.asked(session, request, RESOURCES, now), now)

        return await self._serve(asyncio.to_thread(work))

    async def put_resource(self, request: web.Request) -> web.Response:
        """Write a resource, with a grant; `If-Match` names the version it replaces."""
        content, expected = await read_body(request), _expected(request)

        def work(unit: Unit) -> Answer:
            asked = self._gate.asked(unit.session, request, RESOURCES, unit.now)
            return serving.put(unit, asked, lambda: document(content), expected)

        return await self._serve(asyncio.wrap_future(self._inbox.submit(work)))

    async def delete_resource(self, request: web.Request) -> web.Response:
        """Remove a resource, with a grant."""
        expected = _expected(request)

        def work(unit: Unit) -> Answer:
            return serving.delete(unit, self._gate.asked(unit.session, request, RESOURCES, unit.now), expected)

        return await self._serve(asyncio.wrap_future(self._inbox.submit(work)))

    async def _serve(self, work: Any) -> web.Response:
        answer: Answer = await self._gate.recording(work)
        await self._gate.used(answer)
        return data(answer.shape, headers={"ETag": answer.etag} if answer.etag else None)

    async def handshake_refused(self, address: str, reason: str, presented: x509.Certificate | None) -> None:
        """The listener turned a client away in the TLS handshake."""
        code = await self._gate.handshake_refused(address, reason, presented)
        if code is not None:
            self.metrics.denied(code)

    async def crl(self, _request: web.Request) -> web.Response:
        """Our CA's CRL in DER, signed anew each hour and at each revocation."""
        content = await _off(self._current_crl)
        return web.Response(body=content, content_type=CRL_TYPE)

    async def sweep(self, request: web.Request) -> web.Response:
        """The worker's call: one sweep, for whoever holds the worker token."""
        self._let_worker_in(request)
        swept = await _off(jobs.sweep, self._node)
        return data({key: swept[key] for key in ("swept", "degraded_ids", "ran_at")})

    async def sweep_check(self, request: web.Request) -> web.Response:
        """Says that the worker token is right, and sweeps nothing."""
        self._let_worker_in(request)
        return data({"authorized": True})

    def _let_worker_in(self, request: web.Request) -> None:
        expected, given = self._node.settings.worker_token, request.headers.get("X-Worker-Token", "")
        if not expected or not secrets.compare_digest(expected.encode(), given.encode("utf-8", "surrogateescape")):
            raise Denied(401, "worker token required", code="worker_unauthorized")

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


def _expected(request: web.Request) -> Expected:
    """The tags of `If-Match` (RFC 9110), or None without it. A weak tag matches nothing, as it must."""
    given = request.headers.getall("If-Match", [])
    return [tag.strip() for line in given for tag in line.split(",")] if given else None


def _caller(request: web.Request, name: str) -> Actor:
    return Actor("peer", name, origin=f"api {request.remote}")


async def _off(function: Callable[..., Any], *args: Any) -> Any:
    """Run a function of the core off the event loop."""
    return await asyncio.to_thread(function, *args)


def health(node: Node, metrics: Metrics) -> web.Application:
    """The operations listener: alive, ready, the metrics, and what the federation API takes and answers."""
    app = web.Application(middlewares=[render_problems])

    async def healthz(_request: web.Request) -> web.Response:
        return data({"status": "ok"})

    def look() -> Mapping[str, str]:
        with node.database.explained(), node.read() as session:
            certificates.own_ca(session)
        return {"status": "ready", "node": node.name}

    async def readyz(_request: web.Request) -> web.Response:
        return data(await _off(look))

    async def exposition(request: web.Request) -> web.Response:
        content, content_type = await _off(metrics.text, request.headers.get("Accept", ""))
        return web.Response(body=content, headers={"Content-Type": content_type})

    async def description(_request: web.Request) -> web.Response:
        return web.json_response(openapi.document())

    app.router.add_get("/openapi.json", description)
    app.router.add_get("/metrics", exposition)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app
