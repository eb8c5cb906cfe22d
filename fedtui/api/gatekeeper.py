"""Who may come in: each call is judged by the core's chain, and what it came to is recorded.

A refusal is written before it is answered, since the answer carries its id; uses and
repetitions are counted in memory and written every few seconds.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

from aiohttp import web
from cryptography import x509

from fedtui.api.bodies import InvalidBody
from fedtui.api.connections import admitted
from fedtui.api.rendering import TooLarge
from fedtui.api.traffic_budget import address_of
from fedtui.core.grants import allowlists, callers, decisions, usage
from fedtui.core.grants.callers import FORWARDED, Caller, Headers
from fedtui.core.grants.chain import RESOURCES, AccessRequest, AuthorizationResult
from fedtui.core.node import Node
from fedtui.core.pki import certificates
from fedtui.core.pki.x509 import CertificateSummary, described, read_der
from fedtui.core.protocol import refusals, resource_server
from fedtui.core.protocol.refusals import BODY_KIND, Refusal, Refusals
from fedtui.core.protocol.resource_server import AccessDenied, ResourceResponse
from fedtui.core.runtime import bounded_log
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.failure_log import log_failure
from fedtui.core.runtime.group_commit import GroupCommit
from fedtui.core.runtime.group_read import GroupRead
from fedtui.core.runtime.rate_limit import address_key
from fedtui.core.runtime.unit import Unit

log = bounded_log.logger(__name__)
Result = TypeVar("Result")
WRITE_SECONDS = 2.0
"""How long counts stay in memory."""
MOST_PROXIES = 100
"""Proxies that are remembered as trusted."""
MOST_REFUSED_AT = 1_000
"""Addresses that are remembered because TLS refused a client there."""
LET_IN = object()
SERVER_REFUSED, MISMATCH = "server_certificate_refused", "protocol_mismatch"
HANDSHAKE_CODES: Sequence[tuple[str, str]] = (
    ("certificate has expired", "cert_expired"),
    ("certificate is not yet valid", "cert_not_yet_valid"),
    ("unsuitable certificate purpose", "cert_wrong_kind"),
    ("self-signed certificate", "trust_chain_mismatch"),
    ("unable to get local issuer certificate", "trust_chain_mismatch"),
    ("certificate signature failure", "cert_chain_invalid"),
    ("certificate", "cert_chain_invalid"),
    ("ALERT_UNKNOWN_CA", SERVER_REFUSED),
    ("ALERT_BAD_CERTIFICATE", SERVER_REFUSED),
    ("ALERT_CERTIFICATE", SERVER_REFUSED),
    ("ALERT_UNSUPPORTED_CERTIFICATE", SERVER_REFUSED),
    ("UNSUPPORTED_PROTOCOL", MISMATCH),
    ("ALERT_PROTOCOL_VERSION", MISMATCH),
    ("NO_SHARED_CIPHER", MISMATCH),
)
"""What OpenSSL says of a client certificate that it does not take, and the playbook's cause code for it; then what a
caller says that does not take ours, and how the two may fail to agree on TLS at all."""


class Moment(NamedTuple):
    """What callers are judged by together: one transaction, its time, and the proxies that are trusted then."""

    session: Any
    now: datetime
    proxies: Collection[str]


class Gatekeeper:
    """Judges and records for one process. `inbox` is where it writes."""

    def __init__(self, node: Node, inbox: GroupCommit[Any]) -> None:
        self._node = node
        self._inbox = inbox
        self._recorder = decisions.Recorder()
        self._counts = usage.Counts()
        self.refusals = Refusals()
        network = node.settings.sdwan_network
        self._network = allowlists.network_id(network) if network else None
        self._refused_at: OrderedDict[str, object] = OrderedDict()
        self._proxies: OrderedDict[str, None] = OrderedDict()
        self._writing: dict[object, asyncio.Future[None]] = {}
        self._writer: asyncio.Task[None] | None = None
        # A transaction and a thread for each caller cost more than the judgement itself.
        self._judging = GroupRead(self._moment)

    async def start(self, _app: web.Application) -> None:
        """Begin to write counts every few seconds."""
        self._writer = asyncio.create_task(self._write_now_and_then())

    async def stop(self, _app: web.Application) -> None:
        """Write what is left."""
        if self._writer is not None:
            self._writer.cancel()
            with suppress(asyncio.CancelledError):
                await self._writer
        await self._write(last=True)
        await asyncio.to_thread(self._judging.close)

    @contextmanager
    def _moment(self) -> Iterator[Moment]:
        """Open a transaction to judge callers in. Raises `Denied` while the node is in quarantine."""
        now = self._node.clock.now()
        with self._node.read() as session:
            yield Moment(session, now, resource_server.trusted_proxies(session))

    def asked(
        self, session: Any, request: web.Request, call: str, now: datetime, proxies: Collection[str] | None = None
    ) -> AccessRequest:
        """A request as the chain takes it. Needs a session: which proxies are trusted is on record.

        `proxies` are the trusted ones, where this transaction has read them already.

        Raises `Denied` while the node is in quarantine.
        """
        direct = Caller(source_ip=request.remote, network_id=self._network)
        if (shown := presented_by(request)) is not None:
            direct = replace(direct, **shown._asdict())
        caller = resource_server.caller_behind(session, direct, _forwarded(request), now, proxies)
        self._remember_proxy(direct.fingerprint, caller)
        if call != RESOURCES:
            return AccessRequest(call, caller)
        path = request.match_info
        return AccessRequest(call, caller, request.method, path["kind"], path["id"], _bearer(request))

    def _remember_proxy(self, presented: str | None, caller: Caller) -> None:
        if presented is None:
            return
        self._proxies.pop(presented, None)
        if caller.proxy is not None:
            self._proxies[presented] = None
            if len(self._proxies) > MOST_PROXIES:
                self._proxies.popitem(last=False)

    def payer(self, request: web.Request) -> tuple[str, bool]:
        """The key of who pays for a request, and whether it shows no certificate.

        That is known before the call is judged, without a look at the database: a proxy is one that was trusted when a
        call through it was last judged.
        """
        shown = presented_by(request)
        if shown is None:
            return address_of(request), True
        if shown.fingerprint not in self._proxies:
            return shown.fingerprint, False
        caller = callers.resolve_forwarded_caller(Caller(**shown._asdict()), _forwarded(request), proxied=True)
        address = address_key(caller.source_ip) if caller.source_ip else shown.fingerprint
        return caller.fingerprint or address, caller.fingerprint is None

    async def admit(self, request: web.Request, call: str) -> str:
        """The peer that makes a call which needs no grant. Raises `AccessDenied`, recorded."""

        def judge(at: Moment) -> tuple[str, str | None, AccessRequest]:
            with self._node.database.explained():
                asked = self.asked(at.session, request, call, at.now, at.proxies)
                return (*resource_server.admit(at.session, asked, at.now), asked)

        peer_id, first_used, asked = await self.recording(asyncio.wrap_future(self._judging.submit(judge)))
        admitted(request)
        await self._used_first(first_used)
        await self._let_in(asked, str(peer_id))
        return str(peer_id)

    async def _let_in(self, asked: AccessRequest, peer_id: str) -> None:
        """Keep that a caller is let in, where TLS refused one at its address before: then that is mended."""
        if self._refused_at.pop(asked.caller.source_ip or "", LET_IN) is LET_IN:
            return
        with suppress(Exception):  # the call is answered all the same
            write = self._inbox.submit(lambda unit: decisions.store_let_in(unit, asked, peer_id))
            await asyncio.wrap_future(write)

    async def authorize(self, request: web.Request) -> AuthorizationResult:
        """A resource call, judged in a transaction that only reads. Raises `AccessDenied`, recorded."""

        def judge() -> AuthorizationResult:
            now = self._node.clock.now()
            with self._node.read() as session:
                return resource_server.authorize(session, self.asked(session, request, RESOURCES, now), now)

        judgement: AuthorizationResult = await self.recording(asyncio.to_thread(judge))
        admitted(request)
        return judgement

    async def refused(self, request: web.Request, refusal: Refusal) -> None:
        """Put a refusal that no decision stands for on record: in full, or counted."""
        if not self.refusals.admits(refusal, request.remote or ""):
            return

        def write(unit: Unit) -> None:
            unit.actor = Actor("peer", refusal.peer_id or "caller", origin=f"api {request.remote}")
            refusals.record(unit, refusal)

        try:
            await asyncio.wrap_future(self._inbox.submit(write))
        except Exception as error:
            log_failure(log, "[FederationApi] a refusal could not be recorded", error)

    async def refusing(self, request: web.Request, call: str, peer_id: str, work: Awaitable[Result]) -> Result:
        """Await `work`; where it refuses a peer's body as too large or too deep, that goes on record."""
        try:
            return await work
        except (TooLarge, InvalidBody) as error:
            if isinstance(error, TooLarge) or error.beyond_bounds:
                cause = "body_too_large" if isinstance(error, TooLarge) else "body_too_complex"
                await self.refused(request, Refusal(peer_id, None, cause, f"{call}: {error.public}", kind=BODY_KIND))
            raise

    def presented(self, request: web.Request) -> str | None:
        """The fingerprint of the certificate that the caller presented, to us or to a proxy that we trust."""
        with self._node.read() as session:
            return self.asked(session, request, "diagnosis", self._node.clock.now()).caller.fingerprint

    async def _used_first(self, certificate_id: str | None) -> None:
        """A certificate was presented for the first time: the ones before it are over."""
        if certificate_id is not None:
            write = self._inbox.submit(lambda unit: certificates.first_use(unit, certificate_id))
            await asyncio.wrap_future(write)

    async def recording(self, work: Any) -> Any:
        """Await `work`; a refusal by the chain is recorded before it goes on, with the id it goes by."""
        try:
            return await work
        except AccessDenied as turned:
            turned.decision_id = await self._keep(turned.judgement)
            raise

    async def used(self, answer: ResourceResponse) -> None:
        """An allowed call: count it, and keep a sample."""
        await self._used_first(answer.judgement.first_used)
        self._counts.used(answer.judgement, answer.instance)
        await self._keep(answer.judgement)

    async def handshake_refused(self, address: str, reason: str, presented: x509.Certificate | None) -> str | None:
        """TLS with a caller failed over a certificate or a version: the reason stands here or nowhere. Its code, if
        it is one of those."""
        code = next((code for words, code in HANDSHAKE_CODES if words in reason), None)
        if code is None:
            return None
        self._refused_at[address] = None
        while len(self._refused_at) > MOST_REFUSED_AT:
            self._refused_at.popitem(last=False)
        peer_id = await asyncio.to_thread(self._peer_of, presented) if presented is not None else None
        await self._store(
            (decisions.HANDSHAKE, code, address, presented),
            peer_id or address_key(address),
            None if peer_id else address,
            lambda unit: decisions.store_handshake(
                unit,
                code=code,
                detail=reason,
                source_ip=address,
                presented=presented,
                check="tls" if code in (SERVER_REFUSED, MISMATCH) else "client_certificate",
            ),
        )
        return code

    async def _keep(self, judgement: AuthorizationResult) -> str | None:
        return await self._store(
            decisions.same(judgement),
            decisions.caller_key(judgement),
            None if judgement.peer_id else judgement.asked.caller.source_ip or "",
            lambda unit: decisions.store(unit, judgement),
        )

    def _peer_of(self, presented: x509.Certificate) -> str | None:
        """The peer whose certificate is on record."""
        with self._node.read() as session:
            row = certificates.by_fingerprint(session, described(presented).fingerprint)
            return row.peer_id if row is not None else None

    async def _store(self, what: object, caller: str, address: str | None, write: Callable[[Unit], str]) -> str | None:
        """Keep something once, within the bounds; the id it stands under, if any. `address`: of who is no peer."""
        while (writing := self._writing.get(what)) is not None:
            # The same came a moment ago and is just being written: this is one more of it.
            await asyncio.shield(writing)
        known = self._recorder.repeated(what)
        if known is not None or not self._recorder.admits(caller, address=address):
            return known
        done = self._writing[what] = asyncio.get_running_loop().create_future()
        try:
            return await self._write_new(what, write)
        finally:
            del self._writing[what]
            done.set_result(None)

    async def _write_new(self, what: object, write: Callable[[Unit], str]) -> str | None:
        try:
            id: str = await asyncio.wrap_future(self._inbox.submit(write))
        except Exception as error:
            # The call is answered all the same; that its record is missing stands in the log.
            log_failure(log, "[FederationApi] a decision could not be recorded", error)
            return None
        self._recorder.kept(what, id)
        return id

    async def _write_now_and_then(self) -> None:
        while True:
            await asyncio.sleep(WRITE_SECONDS)
            await self._write()

    async def _write(self, *, last: bool = False) -> None:
        bounded_log.BOUNDED.flush(all_=last)
        again, counts = self._recorder.take(), self._counts.take()
        refused = self.refusals.over(all_=last)
        if dropped := self._recorder.take_dropped():
            log.warning("[FederationApi] %d decisions came faster than they are kept", dropped)
        if not again and not counts and not refused:
            return

        def write(unit: Unit) -> None:
            decisions.count(unit, again)
            usage.write(unit, counts)
            refusals.record_counted(unit, refused)

        try:
            await asyncio.wrap_future(self._inbox.submit(write))
        except Exception as error:
            uses, times = sum(counts.values()), sum(times for times, _ in refused.values())
            log_failure(log, f"[FederationApi] {uses} uses and {times} refusals could not be counted", error)


def presented_by(request: web.Request) -> CertificateSummary | None:
    """The verified client certificate, or None without one."""
    secured: ssl.SSLObject | None = request.get_extra_info("ssl_object")
    der = secured.getpeercert(binary_form=True) if secured is not None else None
    return _described(der) if der else None


@lru_cache(maxsize=4096)
def _described(der: bytes) -> CertificateSummary:
    return described(read_der(der))


def _forwarded(request: web.Request) -> Headers:
    return {name: request.headers.getall(name) for name in FORWARDED if name in request.headers}


def _bearer(request: web.Request) -> str | None:
    """What follows `Bearer`; another scheme, or a second header, is passed on whole and will not do."""
    given = request.headers.getall("Authorization", [])
    if not given:
        return None
    scheme, _, token = given[0].partition(" ")
    return token.strip() if len(given) == 1 and scheme.lower() == "bearer" else ", ".join(given)
