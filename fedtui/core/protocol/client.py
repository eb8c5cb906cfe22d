"""The peer client: one call to one remote platform, over mutual TLS, with everything bounded.

Reads what it needs in a unit that is closed before the call, and returns what came back;
recording the outcome is the caller's part, in a unit of its own.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from sqlalchemy.orm import Session

from fedtui.core.errors import RemoteFailed, WrongUsage
from fedtui.core.peers.peers import ENDED_THERE, TERM_ENDED, Peer
from fedtui.core.pki import anchors, key_pairs, tls
from fedtui.core.pki import crl as crls
from fedtui.core.pki.crl import Fetched
from fedtui.core.pki.key_pairs import ClientKeyPair
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.pki.x509 import read_der
from fedtui.core.runtime import bounded_json, dial, dns, urls
from fedtui.core.runtime.bounded_json import Bounds
from fedtui.core.runtime.deadline import within
from fedtui.core.runtime.dns import AddressForbidden, Forbids
from fedtui.core.runtime.untrusted import is_storable, sanitize_text

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)
PREFIX = "/api/v1/system/federation_api"
CRL_PATH = "/crl"
ANSWER_LIMIT = 1024 * 1024
LONGEST_REASON = 500
HTTP_OK, HTTP_REDIRECTS = 200, 300
OWN_PRIORITY = 100
"""Where `remote_instance_url` stands among endpoints that declare no priority."""


@dataclass(frozen=True, slots=True, repr=False)
class Connection:
    """What it takes to call a peer: URLs to try in order, anchors (None: public CAs), our pair, its CRL.

    `forbids` says which addresses the names in the URLs are not dialled at; None: they are dialled anywhere.
    """

    urls: tuple[str, ...]
    anchors_pem: tuple[str, ...] | None
    pair: tuple[str, bytes] | None
    crl_pem: str | None = None
    forbids: Forbids | None = None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What came back: HTTP status, body, `Retry-After`, the server's certificate in DER, and its `Date`."""

    status: int
    content: bytes
    retry_after: str | None
    server: bytes | None
    answered_at: datetime | None = None


class Exchange(NamedTuple):
    """The `data` of an answer, and the time by the clock of who answered, where it says so (HTTP `Date`)."""

    data: Mapping[str, Any]
    answered_at: datetime | None

    def skew(self, now: datetime) -> float | None:
        """Return by how many seconds the other clock is ahead of ours; None where that is not known.

        `Date` has whole seconds, and the answer took its time: a second or two say nothing.
        """
        return None if self.answered_at is None else round((self.answered_at - now).total_seconds(), 3)


def rule_for(site: NodeContext, peer: Peer) -> Forbids | None:
    """Return which addresses the peer's names are not dialled at; None where they are dialled anywhere."""
    return None if peer.resolves_anywhere else dial.rule(site.settings).forbids


def connection_to(
    session: Session,
    site: NodeContext,
    peer: Peer,
    *,
    now: datetime,
    partial_mtls: str,
    anonymous: bool = False,
    pair: ClientKeyPair | None = None,
) -> Connection:
    """Gather a connection from the records, as they are `now`.

    `anonymous` presents no certificate (the bootstrap call); `pair` is ours, where it was read already.
    Raises `RemoteFailed` with code `partial_mtls` when one half of the pair is missing and the node
    refuses to call so, and `VaultUnreadable` when the key does not open.
    """
    known = anchors.pems_of(session, peer.id)
    usable = None if anonymous else _usable(peer, pair or key_pairs.pair(session, site.vault, peer.id), partial_mtls)
    crl = crls.to_check_by(session, peer.id, now)
    trusted = None if peer.public_ca else known
    return Connection(endpoint_urls(peer), trusted, usable, crl, rule_for(site, peer))


def endpoint_urls(peer: Peer) -> tuple[str, ...]:
    """The https URLs that may be dialled, best first: the peer's own, those confirmed, those declared at the host and
    port of its own.

    A peer must not be able to point this node at another place, or into its own network, by declaring an endpoint.
    """
    ranked: list[tuple[float, str]] = [(OWN_PRIORITY, peer.remote_instance_url)]
    for endpoint in peer.endpoints:
        url, priority = endpoint.get("url"), endpoint.get("priority", OWN_PRIORITY)
        if not isinstance(url, str) or not isinstance(priority, int | float):
            continue
        url = url.rstrip("/")
        if url in peer.confirmed_endpoints or _goes_without_saying(url, peer):
            ranked.append((priority, url))
    ranked.sort(key=lambda one: one[0])
    return tuple(dict.fromkeys(url for _, url in ranked if urls.is_secure(url)))


def call(
    connection: Connection,
    path: str,
    body: Mapping[str, Any] | None,
    *,
    timeout: timedelta,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> Mapping[str, Any]:
    """Call `path` at the first URL that can be reached; the answer's `data`.

    `timeout` bounds the whole call, from the first name look-up to the last byte, over all
    URLs. Raises `RemoteFailed` whose code tells what went wrong.
    """
    return exchange(connection, path, body, timeout=timeout, method=method, headers=headers).data


def exchange(
    connection: Connection,
    path: str,
    body: Mapping[str, Any] | None,
    *,
    timeout: timedelta,
    method: str = "POST",
    headers: Mapping[str, str] | None = None,
) -> Exchange:
    """As `call`, with the time that the peer gives its answer."""
    answer = _fetch(connection, path, body, timeout, method, headers)
    return Exchange(_answer(answer), answer.answered_at)


def fetch_crl(connection: Connection, *, timeout: timedelta) -> Fetched:
    """The CRL of the peer's CA, and the certificate under which it came. Raises as `call`."""
    answer = _fetch(connection, CRL_PATH, None, timeout, "GET")
    if answer.status != HTTP_OK:
        raise _rejected(answer.status, "", answer.retry_after)
    return Fetched(answer.content, read_der(answer.server) if answer.server else None)


def _fetch(
    connection: Connection,
    path: str,
    body: Mapping[str, Any] | None,
    timeout: timedelta,
    method: str,
    headers: Mapping[str, str] | None = None,
) -> HttpResponse:
    def attempt(url: str, context: ssl.SSLContext) -> Awaitable[HttpResponse]:
        return _call_one(url + path, body, method, context, headers or {})

    return _within(timeout, _over(connection, attempt))


def refusal_of_server(connection: Connection, *, timeout: timedelta) -> tls.ServerRefused | None:
    """Return why a call over this connection would refuse the server's certificate; None where it takes it.

    The handshake is that of a call: same anchors, CRL, order and checks. Nothing is sent after it. Raises
    `RemoteFailed` where it does not come to a verdict: dns, refused, timeout.
    """

    async def attempt(url: str, context: ssl.SSLContext) -> None:
        host, port = urls.host_port(url)
        try:
            _, writer = await asyncio.open_connection(host, port, ssl=context, server_hostname=host)
        except OSError as error:
            raise explain(error) from error
        writer.transport.abort()

    try:
        _within(timeout, _over(connection, attempt))
    except tls.ServerRefused as refused:
        return refused
    except RemoteFailed as failure:
        if failure.code == "remote_tls_failed":  # the server's certificate was taken; it was the other end that did not
            return None
        raise
    return None


Outcome = TypeVar("Outcome")


def _within(timeout: timedelta, work: Coroutine[Any, Any, Outcome]) -> Outcome:
    try:
        return within(timeout, work)
    except TimeoutError as error:
        raise _timed_out() from error


async def _over(connection: Connection, attempt: Callable[[str, ssl.SSLContext], Awaitable[Outcome]]) -> Outcome:
    """Try the URLs in turn, by each set of anchors that a server may be judged by; the first outcome.

    Raises the `RemoteFailed` of the last attempt.
    """
    if not connection.urls:
        raise insecure()
    failure: RemoteFailed | None = None
    speaks_for_others = False
    # A server that is not trusted gets no request, so that trying again sends nothing twice.
    for anchors_pem, crl_pem in _judged_by(connection):
        if crl_pem is None and connection.crl_pem is not None and not speaks_for_others:
            break
        try:
            context = tls.kept_client_context(anchors_pem, connection.pair, crl_pem)
        except ssl.SSLError as error:
            raise _own_pair_unusable(error) from error
        for url in connection.urls:
            try:
                with dns.ruled_by(connection.forbids):
                    return await attempt(url, context)
            except RemoteFailed as error:
                failure = error
                speaks_for_others = speaks_for_others or error.cause in tls.CRL_OF_ANOTHER
                if error.code not in NEXT_URL:
                    break
        if failure is not None and failure.code != "remote_tls_failed":
            break
    raise failure or _timed_out()


NEXT_URL = ("remote_dns", "remote_refused", "remote_timeout", "remote_address_forbidden")
"""Failures after which the next URL is tried: nothing has been reached."""


def insecure() -> RemoteFailed:
    """What is answered for a call to a peer that has an http URL from before."""
    return RemoteFailed(
        "The peer's URL is http://, and nothing is sent there.",
        cause="Over http nobody proves who they are: an answer could be anybody's.",
        fix="Move the peer to its https URL: fedtui peers edit PEER --url https://...",
        code="remote_tls_failed",
    )


def _judged_by(connection: Connection) -> list[tuple[Sequence[str] | None, str | None]]:
    """By which anchors and CRL a server is judged, in turn. Among CAs of one name OpenSSL may take the wrong
    one: then each is tried by itself. A CRL counts where it is of the CA that issued the server's certificate."""
    groups = tls.without_namesakes(connection.anchors_pem)
    crl_pems = [None] if connection.crl_pem is None else [connection.crl_pem, None]
    return [(group, crl_pem) for crl_pem in crl_pems for group in groups]


async def _call_one(
    url: str, body: Mapping[str, Any] | None, method: str, context: ssl.SSLContext, more: Mapping[str, str]
) -> HttpResponse:
    import httpx  # here, not above: most commands never call a peer

    # What is packed small may unpack without end.
    headers = {"Accept-Encoding": "identity", "Connection": "close", **more}
    try:
        # The transport alone: redirects, cookies and proxies are not wanted, and a client for one call costs as much
        # processor time as its TLS handshake.
        async with httpx.AsyncHTTPTransport(verify=context, trust_env=False) as transport:
            request = httpx.Request(method, url, json=body, headers=headers)
            response = await transport.handle_async_request(request)
            secured = response.extensions["network_stream"].get_extra_info("ssl_object")
            content = await _read(response)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise explain(error) from error
    server = secured.getpeercert(binary_form=True) if secured is not None else None
    answered_at = _date(response.headers.get("Date", ""))
    return HttpResponse(response.status_code, content, response.headers.get("Retry-After"), server, answered_at)


def _date(header: str) -> datetime | None:
    """The time in a `Date` header (RFC 9110 section 5.6.7); None for anything else."""
    try:
        given = parsedate_to_datetime(header)
        return given.astimezone(UTC) if given.tzinfo is not None else None
    except (ValueError, OverflowError):  # the last year there is, a zone of many digits
        return None


async def _read(response: httpx.Response) -> bytes:
    content = bytearray()
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise _unusable("It is packed, which was not asked for.")
    async for chunk in response.aiter_raw():
        content += chunk
        if len(content) > ANSWER_LIMIT:
            raise _unusable(f"It goes on past {ANSWER_LIMIT} bytes.")
    return bytes(content)


def _unusable(why: str) -> RemoteFailed:
    return RemoteFailed(
        "The peer's answer cannot be used.",
        cause=why,
        fix="Ask the peer's operators what answers there.",
        code="remote_failing",
    )


def _own_pair_unusable(error: ssl.SSLError) -> RemoteFailed:
    return RemoteFailed(
        "What this node holds for the peer cannot be used for TLS.",
        cause=str(error.reason or error),
        fix="Ask for a new certificate: fedtui certs rotate PEER",
        code="partial_mtls",
    )


def _answer(answer: HttpResponse) -> Mapping[str, Any]:
    try:
        document = is_storable(bounded_json.parse(answer.content, BOUNDS, json.loads)) if answer.content else {}
    except (ValueError, RecursionError):
        document = {}
    if not isinstance(document, dict):
        document = {}
    if HTTP_OK <= answer.status < HTTP_REDIRECTS:
        data = document.get("data")
        if isinstance(data, dict):
            return data
        raise _unusable(f"HTTP {answer.status} without the JSON of a federation API.")
    said = sanitize_text(str(document.get("error") or ""), LONGEST_REASON)
    raise _rejected(answer.status, said, answer.retry_after, str(document.get("code") or ""))


BOUNDS = Bounds(levels=32, values=10_000, number=64)
"""What an answer may hold: a peer must not keep this node busy with one, either."""
_SECONDS = re.compile("[0-9]{1,6}")
"""A `Retry-After` worth repeating; it may also be a date, or anything else."""
_BY_CODE = {(401, ENDED_THERE): ENDED_THERE, (403, TERM_ENDED): TERM_ENDED}
"""Answers whose code says more than their status: operators there have ended the peering, or its term is over."""
_BY_STATUS = {
    401: "remote_rejecting_auth",
    403: "remote_rejecting_auth",
    413: "remote_body_refused",
    429: "remote_rate_limited",
}


def _rejected(status: int, said: str, retry_after: str | None, why: str = "") -> RemoteFailed:
    by_status = _BY_STATUS.get(status, "remote_failing" if status >= 500 else "remote_rejecting")
    code = _BY_CODE.get((status, why), by_status)
    wait = f" It says to try again in {retry_after} s." if retry_after and _SECONDS.fullmatch(retry_after) else ""
    return RemoteFailed(
        f"The peer answered HTTP {status}: {said.rstrip('.') or '(no reason given)'}.",
        cause=f"The call arrived and was turned down there.{wait}",
        fix="Their operators can see why in their own record of it.",
        code=code,
    )


def explain(error: BaseException) -> RemoteFailed:
    """A transport error as a problem, with dns, refused, timeout and TLS told apart."""
    import httpx

    if isinstance(error, httpx.TimeoutException | TimeoutError):
        return _timed_out()
    refused = tls.failed_handshake(error)
    if refused is not None:
        return refused
    for kind, code, problem in _CAUSES:
        if _caused_by(error, kind):
            return RemoteFailed(problem, cause=str(error), fix="See the network and the peer's daemon.", code=code)
    return RemoteFailed(
        "The connection to the peer broke.",
        cause=f"{str(error) or type(error).__name__} (a server that rejects a certificate hangs up like this).",
        fix="Compare certificates on both sides: fedtui certs list",
        code="remote_disconnected",
    )


_CAUSES: Sequence[tuple[type[BaseException], str, str]] = (
    (AddressForbidden, "remote_address_forbidden", "The peer's host name leads to an address that is not dialled."),
    (socket.gaierror, "remote_dns", "The peer's host name does not resolve."),
    (ConnectionRefusedError, "remote_refused", "Nothing listens at the peer's address."),
    (TimeoutError, "remote_timeout", "The peer did not answer in time."),
)


def _caused_by(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False


def _timed_out() -> RemoteFailed:
    return RemoteFailed(
        "The peer did not answer in time.",
        cause="The connection was not made, or the answer not finished, within the time for a call.",
        fix="See the network between, and whether the peer's daemon runs.",
        code="remote_timeout",
    )


def _usable(peer: Peer, pair: ClientKeyPair, partial_mtls: str) -> tuple[str, bytes] | None:
    if pair.state == "complete" and pair.certificate is not None and pair.private_key_pem is not None:
        return pair.certificate.cert_pem + pair.certificate.chain_pem, pair.private_key_pem
    if pair.state == "none":
        return None
    fallback = partial_mtls == "fallback"
    has_cert, has_key = pair.certificate is not None, pair.private_key_pem is not None
    log.warning(
        key_pairs.PARTIAL,
        str(has_cert).lower(),
        str(has_key).lower(),
        "falling back to plaintext" if fallback else "refusing to call without client authentication",
    )
    if fallback:
        return None
    raise RemoteFailed(
        f"This node has only half of what it needs to call {peer.remote_instance_url}.",
        cause="Certificate and private key do not belong together."
        if has_cert and has_key
        else f"Certificate there: {_word(has_cert)}; private key there: {_word(has_key)}.",
        fix="Have its operator sign this node's new request, which every heartbeat offers; "
        f"how: fedtui doctor partial_mtls --peer {peer.id}",
        code="partial_mtls",
    )


def _word(truth: bool) -> str:
    return "yes" if truth else "no"


def _goes_without_saying(url: str, peer: Peer) -> bool:
    """Whether an unconfirmed endpoint is dialled: it is at the very host and port of the peer's own URL, and says no
    more than a path. Of a peer from before that was so, the host is enough."""
    try:
        plain = urls.secure(url)
    except WrongUsage:
        return False
    if plain != url:
        return False
    host, port = urls.host_port(url)
    own_host, own_port = urls.host_port(peer.remote_instance_url)
    if peer.resolves_anywhere:
        return host == own_host
    return (host, port) == (own_host, own_port) and not dial.is_near(host)
