"""The federation API: routes, and from the caller's certificate to what the core is asked."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

from aiohttp import web
from cryptography import x509

from fedtui.api import openapi
from fedtui.api.bodies import AcceptBody, Body, EnrollBody, HeartbeatBody, RenewBody, declared
from fedtui.api.connections import admitted
from fedtui.api.gatekeeper import Gatekeeper, presented_by
from fedtui.api.metrics import Metrics
from fedtui.api.rendering import Handler, TooLarge, TooMany, data, document, failure, plain_only, render_problems
from fedtui.api.request_body import Intake
from fedtui.api.routes import CRL_TYPE, ROUTES
from fedtui.api.traffic_budget import Toll, address_of
from fedtui.core.errors import Denied
from fedtui.core.grants import quota
from fedtui.core.grants.chain import RESOURCES, AuthorizationResult
from fedtui.core.grants.resources import Expected
from fedtui.core.jobs import tasks as job_tasks
from fedtui.core.node import Node
from fedtui.core.pki import certificates, signing
from fedtui.core.protocol import accept_server, diagnosis_report, handshake, renewal, resource_server
from fedtui.core.protocol.refusals import WORKER_KIND, Refusal
from fedtui.core.protocol.resource_server import ResourceResponse
from fedtui.core.runtime import urls
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.correlation import carried
from fedtui.core.runtime.group_commit import GroupCommit
from fedtui.core.runtime.rate_limit import TokenBuckets
from fedtui.core.runtime.settings import Settings
from fedtui.core.runtime.unit import Unit

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
        self._accepts = TokenBuckets(settings.accepts_per_minute, settings.accepts_burst)
        self._heartbeats = TokenBuckets(settings.heartbeats_per_minute, settings.heartbeats_burst)
        self._enrolls = TokenBuckets(settings.heartbeats_per_minute, settings.heartbeats_burst)
        self._resources_of_peer = _each_minute(settings.resource_requests_per_peer)
        self._resources_of_grant = _each_minute(settings.resource_requests_per_grant)
        self._wrong_worker_tokens = _each_minute(settings.wrong_worker_tokens_per_minute)
        self._intake = Intake(settings)
        self._most = {route.name: getattr(settings, route.body_bytes) for route in ROUTES if route.body_bytes}
        self._crl: tuple[tuple[int, int], bytes] | None = None
        # A pool of its own: a peer that answers slowly must not take threads from those who call us.
        self._greeter = ThreadPoolExecutor(GREETERS, thread_name_prefix="greeting")

    def application(self) -> web.Application:
        """The aiohttp application of the main listener."""
        refused = _each_minute(self._node.settings.refused_per_minute)
        toll = Toll(self._intake.budget, refused, self._gate.payer, self._has_worker_token)
        app = web.Application(
            middlewares=[
                self.metrics.timed,
                toll.charged,
                render_problems,
                self.metrics.counted,
                toll.required,
                plain_only,
            ],
            client_max_size=max(self._most.values()),
        )
        for route in ROUTES:
            app.router.add_route(route.method, route.path, getattr(self, route.name))
        app.on_startup.append(self._gate.start)
        app.on_cleanup.append(self._gate.stop)
        app.on_cleanup.append(self._close)
        return app

    async def accept(self, request: web.Request) -> web.Response:
        """Bootstrap: a token instead of a certificate."""
        address = address_of(request)
        _limit(self._accepts, address)
        body = await self._intake.body(request, AcceptBody, self._most["accept"], address)
        caller = _caller(request, "accept")

        def in_full(refusal: Refusal) -> bool:
            return self._gate.refusals.admits(refusal, request.remote or "")

        return data(
            await self._intake.charged(
                None, address, accept_server.answer_accept, self._node, body.request(), caller, in_full
            )
        )

    async def enroll(self, request: web.Request) -> web.Response:
        """The remote delivers the certificate it signed for us; we greet it at once."""
        peer_id, body = await self._from_peer(request, "enroll", EnrollBody, self._enrolls)
        await self._gate.admit(request, "enroll")
        signed, caller = body.certificate, _caller(request, peer_id)
        answer = await self._intake.charged(
            None,
            peer_id,
            accept_server.receive_certificate,
            self._node,
            peer_id,
            signed.cert_pem,
            signed.ca_chain_pem,
            caller,
        )
        if answer["newly_complete"]:
            self._greeter.submit(carried(handshake.send_initial_heartbeat), self._node, peer_id)
        return data({key: answer[key] for key in ("status", "serial")})

    async def renew(self, request: web.Request) -> web.Response:
        """The next certificate for a peer that proves itself with the present one."""
        peer_id, body = await self._from_peer(request, "renew", RenewBody, self._enrolls)
        await self._gate.admit(request, "renew")
        caller = _caller(request, peer_id)
        return data(
            await self._intake.charged(None, peer_id, renewal.answer_renew, self._node, peer_id, body.csr_pem, caller)
        )

    async def diagnosis(self, request: web.Request) -> web.Response:
        """What this node sees of the caller; nothing about others."""
        peer_id = await self._gate.admit(request, "diagnosis")
        _limit(self._enrolls, peer_id)
        return data(await _off(lambda: diagnosis_report.view_of(self._node, peer_id, self._gate.presented(request))))

    async def heartbeat(self, request: web.Request) -> web.Response:
        """An authenticated sign of life, written with whatever else has queued."""
        peer_id, body = await self._from_peer(request, "heartbeat", HeartbeatBody, self._heartbeats)
        caller, content = _caller(request, peer_id), declared(body)

        def work(unit: Unit) -> Mapping[str, Any]:
            unit.actor = caller
            return accept_server.receive_heartbeat(unit, self._node, peer_id, content)

        return data(await asyncio.wrap_future(self._inbox.submit(work)))

    async def _from_peer(
        self, request: web.Request, call: str, model: type[Body], rate: TokenBuckets
    ) -> tuple[str, Body]:
        """Return the peer that makes a call, and its body: read once the certificate is judged and the rate is kept.

        What gives the caller a certificate, or takes one, is judged anew by its handler: a body may take so long that
        the certificate is revoked meanwhile.
        """
        self._require_size_of_stranger(request, call)
        peer_id = await self._gate.admit(request, call)
        _limit(rate, peer_id)
        reading = self._intake.body(request, model, self._most[call], peer_id)
        return peer_id, await self._gate.refusing(request, call, peer_id, reading)

    def _require_size_of_stranger(self, request: web.Request, call: str) -> None:
        """Refuse a body that says that it is too large, before anything is done for who shows no certificate.

        One who does is judged first: a peer's operator is to find on record what its node was refused for.
        """
        if (request.content_length or 0) > self._most[call] and presented_by(request) is None:
            raise TooLarge(self._most[call])

    async def get_resource(self, request: web.Request) -> web.Response:
        """Read a resource, with a grant."""

        def work() -> ResourceResponse:
            now = self._node.clock.now()
            with self._node.read() as session:
                judgement = resource_server.authorize(session, self._gate.asked(session, request, RESOURCES, now), now)
                self._limit_resources(judgement)
                return resource_server.get(session, judgement, now)

        return await self._serve(request, asyncio.to_thread(work))

    async def put_resource(self, request: web.Request) -> web.Response:
        """Write a resource, with a grant; `If-Match` names the version it replaces."""
        self._require_size_of_stranger(request, "put_resource")
        judgement = await self._gate.authorize(request)
        self._limit_resources(judgement)
        keys = _payers(judgement)
        reading = self._intake.document(request, self._most["put_resource"], *keys)
        content = await self._gate.refusing(request, "put_resource", keys[0], reading)
        expected, quotas = _expected(request), quota.of(self._node.settings)

        def work(unit: Unit) -> ResourceResponse:
            # Judged anew: what was allowed may have ended while the document came in.
            asked = self._gate.asked(unit.session, request, RESOURCES, unit.now)
            return resource_server.put(unit, asked, content, expected, quotas)

        return await self._serve(request, asyncio.wrap_future(self._inbox.submit(work)))

    async def delete_resource(self, request: web.Request) -> web.Response:
        """Remove a resource, with a grant."""
        self._limit_resources(await self._gate.authorize(request))
        expected = _expected(request)

        def work(unit: Unit) -> ResourceResponse:
            return resource_server.delete(unit, self._gate.asked(unit.session, request, RESOURCES, unit.now), expected)

        return await self._serve(request, asyncio.wrap_future(self._inbox.submit(work)))

    def _limit_resources(self, judgement: AuthorizationResult) -> None:
        """Raise `TooMany` for a peer, or a grant, that calls or costs too much."""
        peer, grant = _payers(judgement)
        _limit(self._resources_of_peer, peer)
        _limit(self._resources_of_grant, grant)
        self._intake.require_budget(peer, grant)

    async def _serve(self, request: web.Request, work: Any) -> web.Response:
        answer: ResourceResponse = await self._gate.recording(work)
        admitted(request)
        await self._gate.used(answer)
        for key in _payers(answer.judgement):
            self._intake.budget.charge(key, size=len(answer.document or ""))
        return document(answer.shape, answer.document, headers={"ETag": answer.etag} if answer.etag else None)

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
        await self._let_worker_in(request)
        swept = await _off(job_tasks.sweep, self._node)
        return data({key: swept[key] for key in ("swept", "degraded_ids", "ran_at")})

    async def sweep_check(self, request: web.Request) -> web.Response:
        """Says that the worker token is right, and sweeps nothing."""
        await self._let_worker_in(request)
        return data({"authorized": True})

    async def _let_worker_in(self, request: web.Request) -> None:
        """Raise `Denied` without the worker token, on record; `TooMany` after some wrong ones from one address.

        The right one is let in whatever else comes from its address: who guesses must not stop the worker.
        """
        if self._has_worker_token(request):
            return
        address, given = address_of(request), request.headers.get("X-Worker-Token", "")
        wait = self._wrong_worker_tokens.owed(address, 1)
        if wait:
            raise TooMany(wait)
        if given:
            self._wrong_worker_tokens.charge(address, 1)
        cause = "worker_token_wrong" if given else "worker_token_not_sent"
        await self._gate.refused(request, Refusal(None, None, cause, "worker token required", kind=WORKER_KIND))
        raise Denied(401, "worker token required", code="worker_unauthorized")

    def _has_worker_token(self, request: web.Request) -> bool:
        """Whether a request carries the worker token. Takes the same time for all that have not."""
        expected = self._node.settings.worker_token
        given = request.headers.get("X-Worker-Token", "").encode("utf-8", "surrogateescape")
        right = secrets.compare_digest(sha256(expected.encode()).digest(), sha256(given).digest())
        return right and bool(expected)

    def _current_crl(self) -> bytes:
        now: datetime = self._node.clock.now()
        with self._node.read() as session:
            state = (certificates.revocations(session), int(now.timestamp()) // 3600)
            if self._crl is None or self._crl[0] != state:
                self._crl = (state, signing.revocation_list(session, self._node.vault, now))
        return self._crl[1]

    async def _close(self, _app: web.Application) -> None:
        self._greeter.shutdown(wait=False, cancel_futures=True)
        await asyncio.to_thread(self._intake.close)
        await asyncio.to_thread(self._inbox.close)


def _each_minute(count: int) -> TokenBuckets:
    return TokenBuckets(count, count)


def _limit(rate: TokenBuckets, key: str) -> None:
    """Raise `TooMany` where the rate is used up."""
    wait = rate.wait_for(key)
    if wait:
        raise TooMany(wait)


def _payers(judgement: AuthorizationResult) -> tuple[str, str]:
    """Who pays for a resource call: the peer, and the grant."""
    return str(judgement.peer_id), f"grant {judgement.grant_id}"


def _expected(request: web.Request) -> Expected:
    """The tags of `If-Match` (RFC 9110), or None without it. A weak tag matches nothing, as it must."""
    given = request.headers.getall("If-Match", [])
    return [tag.strip() for line in given for tag in line.split(",")] if given else None


def _caller(request: web.Request, name: str) -> Actor:
    return Actor("peer", name, origin=f"api {request.remote}")


async def _off(function: Callable[..., Any], *args: Any) -> Any:
    """Run a function of the core off the event loop."""
    return await asyncio.to_thread(function, *args)


def _hosts_of(settings: Settings) -> Any:
    """A middleware that answers only requests meant for this listener.

    A page in somebody's browser can have its own name resolve to this address (DNS rebinding); its requests say that
    name. Addresses cannot be rebound, and the names that are meant are in the settings.
    """
    names = {"localhost", urls.split_listen(settings.operations_listen)[0].lower()}
    names |= {name.strip().lower() for name in settings.operations_hosts.split(",") if name.strip()}

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        if _is_meant(request.headers.getall("Host", []), names):
            return await handler(request)
        return failure(421, "this listener does not answer for that host (setting operations_hosts)", "misdirected")

    return check


def _is_meant(given: Sequence[str], names: Collection[str]) -> bool:
    try:
        [host] = given
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name in names
    return True


def health(node: Node, metrics: Metrics) -> web.Application:
    """The operations listener: alive, ready, the metrics, and what the federation API takes and answers."""
    app = web.Application(middlewares=[render_problems, _hosts_of(node.settings), plain_only])

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
