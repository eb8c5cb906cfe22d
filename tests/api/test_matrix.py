"""Who may call what: every call of the federation API by every kind of caller, over real TLS.

The table below is the claim. Its columns are the rows of the table of routes, so that a call
that is added there has to be decided here for every caller; a cell that is empty fails.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from fedtui.api.response_models import Error
from fedtui.api.routes import ROUTES, Route
from fedtui.core.grants.grants import Grant
from fedtui.core.jobs import restore
from fedtui.core.operations import quarantine
from fedtui.core.peers import peers
from fedtui.core.peers.tokens import AcceptanceToken
from fedtui.core.pki import certificates, signing
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.x509 import to_pem
from fedtui.core.protocol import handshake
from tests.api.conftest import ADA, Serve, accept_body, proposed_with_token
from tests.api.test_edge import Signer, signed
from tests.api.test_resources import DOCUMENT, ELSEWHERE, Place, act, client_cert, opened, proxy_pair, strange_pair

WORKER = "worker-secret"
TABLE = """
                            | accept enroll heartbeat renew diagnosis get_resource put_resource delete_resource crl sweep sweep_check
nobody                      | ok     no     no        no    no        no       no       no       ok  worker worker
the worker                  | ok     no     no        no    no        no       no       no       ok  ok     ok
a wrong worker              | ok     no     no        no    no        no       no       no       ok  worker worker
a certificate of another CA | tls    tls    tls       tls   tls       tls      tls      tls      tls tls    tls
one signed by itself        | tls    tls    tls       tls   tls       tls      tls      tls      tls tls    tls
one that expired            | tls    tls    tls       tls   tls       tls      tls      tls      tls tls    tls
one not yet valid           | tls    tls    tls       tls   tls       tls      tls      tls      tls tls    tls
our server's                | tls    tls    tls       tls   tls       tls      tls      tls      tls tls    tls
one without clientAuth      | tls    tls    tls       tls   tls       tls      tls      tls      tls tls    tls
one expired by our clock    | ok     no     no        no    no        no       no       no       ok  worker worker
one revoked                 | ok     no     no        no    no        no       no       no       ok  worker worker
one on no record            | ok     no     no        no    no        no       no       no       ok  worker worker
a proxy's, not configured   | ok     no     no        no    no        no       no       no       ok  worker worker
the same, forwarding        | ok     no     no        no    no        no       no       no       ok  worker worker
a trusted proxy for nobody  | ok     no     no        no    no        no       no       no       ok  worker worker
a trusted proxy for a peer  | ok     ok     ok        ok    ok        ok       ok       ok       ok  worker worker
a revoked proxy for a peer  | ok     no     no        no    no        no       no       no       ok  worker worker
a proposed peer             | ok     no     no        no    no        no       no       no       ok  worker worker
an accepted peer            | ok     ok     ok        no    ok        no       no       no       ok  worker worker
an enrolled peer            | ok     ok     ok        ok    ok        ok       ok       ok       ok  worker worker
an active peer              | ok     ok     ok        ok    ok        ok       ok       ok       ok  worker worker
a degraded peer             | ok     ok     ok        ok    ok        ok       ok       ok       ok  worker worker
a suspended peer            | ok     no     no        no    no        no       no       no       ok  worker worker
a revoked peer              | ok     no     no        no    no        no       no       no       ok  worker worker
no bearer                   | ok     ok     ok        ok    ok        no       no       no       ok  worker worker
a malformed bearer          | ok     ok     ok        ok    ok        no       no       no       ok  worker worker
another scheme              | ok     ok     ok        ok    ok        no       no       no       ok  worker worker
an unknown grant            | ok     ok     ok        ok    ok        no       no       no       ok  worker worker
another peer's grant        | ok     ok     ok        ok    ok        no       no       no       ok  worker worker
an expired grant            | ok     ok     ok        ok    ok        expired  expired  expired  ok  worker worker
a revoked grant             | ok     ok     ok        ok    ok        revoked  revoked  revoked  ok  worker worker
an archived grant           | ok     ok     ok        ok    ok        revoked  revoked  revoked  ok  worker worker
a grant of another kind     | ok     ok     ok        ok    ok        kind     kind     kind     ok  worker worker
of another resource         | ok     ok     ok        ok    ok        resource resource resource ok  worker worker
to read                     | ok     ok     ok        ok    ok        ok       scope    scope    ok  worker worker
to write                    | ok     ok     ok        ok    ok        scope    ok       scope    ok  worker worker
to delete                   | ok     ok     ok        ok    ok        scope    scope    ok       ok  worker worker
to migrate                  | ok     ok     ok        ok    ok        scope    scope    scope    ok  worker worker
for another instance        | ok     ok     ok        ok    ok        instance instance instance ok  worker worker
on another network          | ok     ok     ok        ok    ok        network  network  network  ok  worker worker
from another address        | ok     ok     ok        ok    ok        address  address  address  ok  worker worker
who claims all of these     | ok     ok     ok        ok    ok        instance instance instance ok  worker worker
of a kind not served        | ok     ok     ok        ok    ok        unserved unserved unserved ok  worker worker
without a token             | unsent no     no        no    no        no       no       no       ok  worker worker
with a wrong token          | no     no     no        no    no        no       no       no       ok  worker worker
with another peer's token   | ok     no     no        no    no        no       no       no       ok  worker worker
with a token that was used  | no     no     no        no    no        no       no       no       ok  worker worker
with one superseded         | no     no     no        no    no        no       no       no       ok  worker worker
with one cancelled          | no     no     no        no    no        no       no       no       ok  worker worker
with one expired            | no     no     no        no    no        no       no       no       ok  worker worker
from a place never proposed | no     no     no        no    no        no       no       no       ok  worker worker
of a revoked peer           | no     no     no        no    no        no       no       no       ok  worker worker
of another contract         | other  no     no        no    no        no       no       no       ok  worker worker
anybody, in quarantine      | closed closed closed    closed closed   closed   closed   closed   ok  worker worker
"""  # noqa: E501 - a table is read across
OUTCOMES: Mapping[str, tuple[int, str] | None] = {
    "ok": (200, ""),
    "tls": None,  # the handshake fails: the remote sees a disconnect
    "no": (401, "unauthorized"),
    "worker": (401, "worker_unauthorized"),
    "unsent": (422, "token_not_sent"),
    "other": (422, "contract_version_unsupported"),
    "expired": (403, "grant_expired"),
    "revoked": (403, "grant_revoked"),
    "kind": (403, "kind_mismatch"),
    "resource": (403, "resource_mismatch"),
    "scope": (403, "scope_insufficient"),
    "instance": (403, "instance_not_allowed"),
    "network": (403, "network_not_allowed"),
    "address": (403, "source_ip_not_allowed"),
    "unserved": (422, "kind_not_served"),
    "closed": (503, "unavailable"),
}
Pair = tuple[str, bytes]


@dataclass
class Call:
    """How a caller comes: its certificate, its headers, and what it sends where."""

    pair: Pair | None
    headers: dict[str, str]
    accept: dict[str, Any]
    enroll: dict[str, Any]
    kind: str = "doc"


@dataclass
class Stage:
    """A listening node, and peers made for each caller in turn. `theirs` is the CA of all of them."""

    place: Place
    theirs: Signer
    made: int = 0
    proxy: tuple[Pair, str] = field(init=False)

    def __post_init__(self) -> None:
        self.proxy = proxy_pair(self.place)

    def url(self) -> str:
        self.made += 1
        return f"https://127.0.0.1:1/{self.made}"

    def newcomer(self) -> dict[str, Any]:
        """The body of an accept that would be taken."""
        url = self.url()
        _, token = proposed_with_token(self.place.node, url)
        return accept_body(token, url, csr_pem=signing.signing_request(signing.new_key(), "n"))

    def peer(self) -> tuple[Place, Call]:
        """An active peer with a grant of everything, and the call it makes."""
        node, url, key = self.place.node, self.url(), signing.new_key()
        peer_id, token = proposed_with_token(node, url)
        body = accept_body(
            token, url, csr_pem=signing.signing_request(key, "p"), ca_bundle_pem=to_pem(self.theirs.certificate)
        )
        answer = self.place.served.post("accept", body).json()["data"]
        place = Place(self.place.served, peer_id, (answer["certificate"]["cert_pem"], signing.key_pem(key)))
        place.set_status("active")
        enroll = {"certificate": {"cert_pem": self.sign(answer["csr_pem"])}}
        return place, Call(place.pair, bearer(place.grant()), self.newcomer(), enroll)

    def sign(self, csr_pem: str) -> str:
        """What the peers' CA makes of this node's request."""
        csr, now = x509.load_pem_x509_csr(csr_pem.encode()), self.place.node.clock.now()
        builder = x509.CertificateBuilder(
            self.theirs.certificate.subject,
            csr.subject,
            csr.public_key(),
            x509.random_serial_number(),
            now - timedelta(minutes=1),
            now + timedelta(days=1),
        ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        return to_pem(builder.sign(self.theirs.key, hashes.SHA256()))

    def by_our_ca(self, *, begins: float = -1, ends: float = 1, client: bool = True) -> Pair:
        """A certificate under our own CA, with its faults; times in days from now."""
        key, now = signing.new_key(), self.place.node.clock.now()
        with self.place.node.read() as session:
            authority = signing.open_authority(session, self.place.node.vault)
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.EMAIL_PROTECTION
        name = x509.Name([x509.NameAttribute(x509.oid.NameOID.COMMON_NAME, "fed:x")])
        builder = x509.CertificateBuilder(
            authority.certificate.subject,
            name,
            key.public_key(),
            x509.random_serial_number(),
            now + timedelta(days=begins),
            now + timedelta(days=ends),
        ).add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        return to_pem(builder.sign(authority.key, hashes.SHA256())), signing.key_pem(key)


def bearer(grant_id: str) -> dict[str, str]:
    return {"Authorization": f"Bearer fg-{grant_id}"}


Make = Callable[[Stage, Place, Call], Call]
MAKE: dict[str, Make] = {}


def presenting(pair: Callable[[Stage], Pair | None], **headers: str) -> Make:
    return lambda stage, _place, call: replace(call, pair=pair(stage), headers=call.headers | headers)


def with_headers(**headers: str) -> Make:
    return lambda _stage, _place, call: replace(call, headers=call.headers | headers)


def in_status(status: str) -> Make:
    def make(_stage: Stage, place: Place, call: Call) -> Call:
        place.set_status(status)
        return call

    return make


def granted(**terms: Any) -> Make:
    return lambda _stage, place, call: replace(call, headers=bearer(place.grant(**terms)))


def grant_with(**columns: Callable[[datetime], Any]) -> Make:
    def make(_stage: Stage, place: Place, call: Call) -> Call:
        grant_id = place.grant()
        with place.node.unit(ADA) as unit:
            for name, value in columns.items():
                setattr(unit.session.get_one(Grant, grant_id), name, value(unit.now))
        return replace(call, headers=bearer(grant_id))

    return make


def certificate_with(**columns: Callable[[datetime], Any]) -> Make:
    def make(_stage: Stage, place: Place, call: Call) -> Call:
        with place.node.unit(ADA) as unit:
            row = unit.session.query(Certificate).filter_by(peer_id=place.peer_id, direction="inbound").one()
            for name, value in columns.items():
                setattr(row, name, value(unit.now))
        return call

    return make


def bootstrap(change: Callable[[Stage, dict[str, Any]], dict[str, Any]]) -> Make:
    """A newcomer, without a certificate, whose accept is changed."""
    return lambda stage, _place, call: replace(call, pair=None, accept=change(stage, call.accept))


def self_signed(_stage: Stage) -> Pair:
    made = signed("fed:me", ca=False)
    return to_pem(made.certificate), signing.key_pem(made.key)


def of_another_ca(stage: Stage) -> Pair:
    made = signed("fed:x", stage.theirs, ca=False)
    return to_pem(made.certificate), signing.key_pem(made.key)


def our_server(stage: Stage) -> Pair:
    node = stage.place.node
    with node.read() as session:
        row = certificates.current_server(session)
        assert row is not None
        return row.cert_pem, signing.private_key_pem(session, node.vault, row)


def behind_proxy(*, forwards: bool, trusted: bool, revoked: bool = False) -> Make:
    def make(stage: Stage, place: Place, call: Call) -> Call:
        pair, fingerprint = stage.proxy
        setting = {"key": "trusted_proxies", "value": fingerprint if trusted else ""}
        act(place.node, "system.settings_change", setting)
        if revoked:
            with place.node.unit(ADA) as unit:
                unit.session.query(Certificate).filter_by(fingerprint=fingerprint).one().revoked_at = unit.now
        more = {"Client-Cert": client_cert(place.pair[0])} if forwards else {}
        return replace(call, pair=pair, headers=call.headers | more)

    return make


def peer_of(stage: Stage, body: Mapping[str, Any]) -> str:
    with stage.place.node.read() as session:
        found = peers.by_url(session, body["remote_instance_url"])
        assert found is not None
        return found.id


def used(stage: Stage, body: dict[str, Any]) -> dict[str, Any]:
    assert stage.place.served.post("accept", body).status_code == 200
    return body | {"csr_pem": signing.signing_request(signing.new_key(), "thief")}


def token_state(action: Mapping[str, Any]) -> Callable[[Stage, dict[str, Any]], dict[str, Any]]:
    def change(stage: Stage, body: dict[str, Any]) -> dict[str, Any]:
        act(stage.place.node, "system.federation_peer_token", {"peer": peer_of(stage, body), **action})
        return body

    return change


def expired(stage: Stage, body: dict[str, Any]) -> dict[str, Any]:
    with stage.place.node.unit(ADA) as unit:
        row = unit.session.query(AcceptanceToken).filter_by(peer_id=peer_of(stage, body)).one()
        row.expires_at = unit.now
    return body


def of_a_revoked_peer(stage: Stage, body: dict[str, Any]) -> dict[str, Any]:
    act(stage.place.node, "system.federation_peer_revoke", {"peer": peer_of(stage, body), "reason": "test"})
    return body


def foreign_grant(stage: Stage, _place: Place, call: Call) -> Call:
    _, other = stage.peer()
    return replace(call, headers=other.headers)


def claiming(_stage: Stage, place: Place, call: Call) -> Call:
    grant_id = place.grant(instances=[ELSEWHERE], networks=[ELSEWHERE], cidrs=["192.0.2.0/24"])
    claims = {"X-Calling-Instance": ELSEWHERE, "X-Sdwan-Network": ELSEWHERE, "X-Forwarded-For": "192.0.2.7"}
    return replace(call, headers=bearer(grant_id) | claims)


NOBODY = presenting(lambda _stage: None)
MAKE.update(
    {
        "nobody": NOBODY,
        "the worker": presenting(lambda _stage: None, **{"X-Worker-Token": WORKER}),
        "a wrong worker": presenting(lambda _stage: None, **{"X-Worker-Token": WORKER[:-1]}),
        "a certificate of another CA": presenting(of_another_ca),
        "one signed by itself": presenting(self_signed),
        "one that expired": presenting(lambda stage: stage.by_our_ca(begins=-2, ends=-1)),
        "one not yet valid": presenting(lambda stage: stage.by_our_ca(begins=1, ends=2)),
        "our server's": presenting(our_server),
        "one without clientAuth": presenting(lambda stage: stage.by_our_ca(client=False)),
        "one expired by our clock": certificate_with(not_after=lambda now: now),
        "one revoked": certificate_with(revoked_at=lambda now: now),
        "one on no record": presenting(lambda stage: strange_pair(stage.place)),
        "a proxy's, not configured": behind_proxy(forwards=False, trusted=False),
        "the same, forwarding": behind_proxy(forwards=True, trusted=False),
        "a trusted proxy for nobody": behind_proxy(forwards=False, trusted=True),
        "a trusted proxy for a peer": behind_proxy(forwards=True, trusted=True),
        "a revoked proxy for a peer": behind_proxy(forwards=True, trusted=True, revoked=True),
        **{
            f"a{'n' if one[0] in 'ae' else ''} {one} peer": in_status(one)
            for one in ("proposed", "accepted", "enrolled", "active", "degraded", "suspended", "revoked")
        },
        "no bearer": lambda _stage, _place, call: replace(call, headers={}),
        "a malformed bearer": with_headers(Authorization="Bearer fg-1"),
        "another scheme": lambda _stage, _place, call: replace(
            call, headers={"Authorization": call.headers["Authorization"].replace("Bearer", "Basic")}
        ),
        "an unknown grant": with_headers(**bearer(ELSEWHERE)),
        "another peer's grant": foreign_grant,
        "an expired grant": grant_with(expires_at=lambda now: now),
        "a revoked grant": grant_with(revoked_at=lambda now: now),
        "an archived grant": grant_with(archived_at=lambda now: now),
        "a grant of another kind": granted(kind="zone"),
        "of another resource": granted(id="two"),
        "to read": granted(scopes=["read"]),
        "to write": granted(scopes=["write"]),
        "to delete": granted(scopes=["admin"]),
        "to migrate": granted(scopes=["migrate"]),
        "for another instance": granted(instances=[ELSEWHERE]),
        "on another network": granted(networks=[ELSEWHERE]),
        "from another address": granted(cidrs=["192.0.2.0/24"]),
        "who claims all of these": claiming,
        "of a kind not served": lambda _stage, place, call: replace(
            call, kind="attic", headers=bearer(place.grant(kind="attic"))
        ),
        "without a token": bootstrap(lambda _stage, body: body | {"acceptance_token": None}),
        "with a wrong token": bootstrap(lambda _stage, body: body | {"acceptance_token": "wrong"}),
        "with another peer's token": bootstrap(
            lambda stage, body: body | {"acceptance_token": stage.newcomer()["acceptance_token"]}
        ),
        "with a token that was used": bootstrap(used),
        "with one superseded": bootstrap(token_state({})),
        "with one cancelled": bootstrap(token_state({"cancel": True})),
        "with one expired": bootstrap(expired),
        "from a place never proposed": bootstrap(
            lambda stage, body: body | {"acceptance_token": "x", "remote_instance_url": stage.url()}
        ),
        "of a revoked peer": bootstrap(of_a_revoked_peer),
        "of another contract": bootstrap(lambda _stage, body: body | {"contract_version": 99}),
        "anybody, in quarantine": lambda _stage, _place, call: call,
    }
)


def declared() -> dict[str, dict[str, str]]:
    """The table: for each caller, what each call comes to."""
    head, *rows = [line.split("|") for line in TABLE.strip().splitlines()]
    names = head[1].split()
    return {row[0].strip(): dict(zip(names, row[1].split(), strict=False)) for row in rows}


def made(route: Route, call: Call) -> dict[str, Any]:
    """The request by which `call` makes this call, in order but for who makes it."""
    bodies: dict[str, Any] = {
        "accept": call.accept,
        "enroll": call.enroll,
        "heartbeat": {},
        "renew": {"csr_pem": signing.signing_request(signing.new_key(), "next")},
        "put_resource": DOCUMENT,
    }
    path = route.path.format(kind=call.kind, id="one")
    body = {"json": bodies[route.name]} if route.name in bodies else {}
    return {"method": route.method, "url": path, "headers": call.headers, **body}


def outcome(client: httpx.Client, route: Route, call: Call) -> str:
    """What the call comes to, in a word of the table; or, where there is none for it, in figures."""
    try:
        answer = client.request(**made(route, call))
    except (httpx.TransportError, ssl.SSLError):
        return "tls"
    found = (answer.status_code, "")
    if answer.status_code != 200:
        found = (answer.status_code, Error.model_validate(answer.json()).code)
    elif route.answer is not None:
        route.answer.model_validate(answer.json()["data"])  # no field more or less than is published
    return next((word for word, known in OUTCOMES.items() if known == found), f"{found}")


@contextmanager
def quarantined(stage: Stage, wanted: bool) -> Iterator[None]:
    if wanted:
        restore.begin(stage.place.node, ADA, "test")
    yield
    if wanted:
        with stage.place.node.unit(ADA) as unit:
            quarantine.end(unit)


LAST = ("delete_resource", "heartbeat")
"""Made last, in this order, since they change what the others meet."""


def row_of(stage: Stage, name: str) -> dict[str, str]:
    """All calls by one caller. Its peer is new, so that no call of another one has changed it."""
    place, call = stage.peer()
    call = MAKE[name](stage, place, call)
    found: dict[str, str] = {}
    with quarantined(stage, "quarantine" in name), place.served.client(call.pair) as client:
        for route in sorted(ROUTES, key=lambda one: LAST.index(one.name) if one.name in LAST else -1):
            found[route.name] = outcome(client, route, call)
    return found


@pytest.mark.timeout(300)
def test_every_caller_at_every_call(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each cell of the table is what happens: status and public code, and nothing else."""
    monkeypatch.setattr(handshake, "send_initial_heartbeat", lambda *_: None)
    served = serve("alpha", worker_token=WORKER, accepts_burst=1000)
    stage = Stage(opened(served), signed("their CA"))
    table, wrong = declared(), []
    assert set(table) == set(MAKE), "a caller without a row, or a row without a caller"
    for name, cells in table.items():
        for call, came in row_of(stage, name).items():
            if cells.get(call) != came:
                wrong.append(f"{name} at {call}: declared {cells.get(call, 'nothing')}, came to {came}")
    assert not wrong, "\n".join(wrong)


def test_every_call_has_its_column() -> None:
    """The table has a cell for each call and caller, in words that are known."""
    names = {route.name for route in ROUTES}
    for caller_name, cells in declared().items():
        assert set(cells) == names, f"{caller_name}: cells missing or too many"
        assert set(cells.values()) <= set(OUTCOMES)
