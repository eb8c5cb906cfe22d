"""The accepting side of the handshake: the act that takes up an invitation, and the delivery."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from fedtui.core.audit.events import emit
from fedtui.core.errors import Problem, Refused, RemoteFailed, WrongUsage
from fedtui.core.operations.operation import Call, Change, Operation, OperationRequest, Params, Result
from fedtui.core.peers import peers, tokens
from fedtui.core.peers.peers import DELIVERY_ERROR, SUPPORTED_CONTRACTS, Peer
from fedtui.core.pki import anchors, key_pairs, signing, tls
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.pki.x509 import read_certificates
from fedtui.core.protocol import client, handshake, heartbeat_sender
from fedtui.core.protocol.client import Exchange
from fedtui.core.protocol.handshake import SOURCE
from fedtui.core.runtime import dial, dns, urls
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.unit import Unit

log = logging.getLogger(__name__)
ADMITTED = "admitted_by_token"
"""Key in a peer's metadata: the digest of the token with which the remote admitted us."""
REMOTE_ID_LIMIT = 64


def _read_accept(unit: Unit, site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    if raw.get("invite"):
        invite = tokens.read_invite(str(raw["invite"]))
        url, token, pin = invite.url, invite.token, invite.ca_fingerprint
        expires_at: str | None = invite.expires_at.isoformat()
    else:
        url = urls.normalize(str(raw.get("url") or ""))
        token, expires_at = tokens.clean_token(str(raw.get("token") or "")), None
        pin = _read_pin(raw)
    url = urls.secure(url)
    if url == site.url:
        raise Refused(
            "A node cannot peer with itself.",
            cause="The invite is one of this node's own.",
            fix="Hand it to the other platform's operator.",
            code="peer_is_self",
        )
    existing = peers.by_url(unit.session, url)
    if existing is not None and existing.status != "proposed":
        raise peers.already_there(existing)
    params: dict[str, Any] = {
        "url": url,
        "role": raw.get("role") or (existing and existing.spawn_role) or "symmetric",
        "mode": raw.get("mode") or (existing and existing.spawn_mode) or "autonomous_peer",
        "ca_fingerprint": pin,
        "token_digest": f"sha256:{tokens.digest(token)}",
        "token_expires_at": expires_at,
        "token_checked": tokens.has_checksum(token),
    }
    peers.check_values(kind="platform", role=params["role"], mode=params["mode"])
    return OperationRequest(params, existing.id if existing else None, {"token": token})


def _read_pin(raw: Mapping[str, Any]) -> str | None:
    if raw.get("public_ca"):
        return None
    pin = tls.pin_from(str(raw.get("ca_fingerprint") or ""))
    if pin is None:
        raise WrongUsage(
            "The CA's fingerprint is missing or is not SHA-256.",
            cause="Without it, whoever answers at that URL would get the token.",
            fix="Give --invite, or --ca-fingerprint sha256:... from the other side's `fedtui ca show`; "
            "--public-ca only where its certificate is publicly trusted.",
            code="ca_fingerprint_invalid",
        )
    return pin


def _accept_target(session: Session, params: Params) -> Mapping[str, Any]:
    """What an accept depends on: that no peer stands in its way. A row it made itself does not."""
    existing = peers.by_url(session, params["url"])
    own = existing is None or existing.metadata_.get(ADMITTED) == params["token_digest"]
    return {"in_the_way": None if own or existing is None or existing.status == "proposed" else existing.status}


def _summarise_accept(params: Params, _target: Mapping[str, Any]) -> str:
    pin = params["ca_fingerprint"] or "a publicly trusted CA"
    return f"Accept the invitation of {params['url']} as {params['role']} ({params['mode']}), trusting {pin}."


def _not_expired(params: Params, now: datetime) -> None:
    expires_at = params["token_expires_at"]
    if expires_at is not None and datetime.fromisoformat(expires_at) <= now:
        raise Refused(
            "The token in this invitation has expired.",
            cause=f"It was good until {expires_at}; nothing was sent.",
            fix="Ask the other side's operator for a new one: fedtui peers token PEER",
            code="token_expired",
        )


def accept(site: NodeContext, call: Call) -> Result:
    """Steps 2 to 5: call the remote's `accept`, keep what it signed, sign and deliver in return, greet.

    The key is stored before the call. What came back is stored before the delivery; if that
    is lost, the SDWAN Manager repeats it. Raises `RemoteFailed`, `Refused`.
    """
    peer_id, csr_pem = _prepare(site, call)
    if csr_pem is not None:
        _pin(site, call, peer_id)
        answered = _call_accept(site, call, peer_id, csr_pem)
        _note_skew(site, call, peer_id, answered.skew(site.clock.now()))
        _keep_answer(site, call, peer_id, answered.data)
    delivered = deliver(site, peer_id, call.actor, call.correlation_id)
    failure = handshake.send_initial_heartbeat(site, peer_id) if delivered is None else None
    with site.read() as session:
        status = peers.get(session, peer_id).status
    return {"peer_id": peer_id, "status": status, "unfinished": delivered or failure}


def _prepare(site: NodeContext, call: Call) -> tuple[str, str | None]:
    """The peer's row, and the request to send; None where an earlier run of this act got its answer."""
    params = call.params
    with site.unit(call.actor, correlation_id=call.correlation_id) as unit:
        peer = peers.by_url(unit.session, params["url"])
        if peer is None:
            peer = peers.add(
                unit,
                url=params["url"],
                role=params["role"],
                mode=params["mode"],
                public_ca=params["ca_fingerprint"] is None,
            )
            emit(unit, "federation.peer.proposed", source=SOURCE, peer_id=peer.id, url=peer.remote_instance_url)
        else:
            peer = peers.lock(unit, peer.id)
            if peer.metadata_.get(ADMITTED) == params["token_digest"]:
                return peer.id, None
            if peer.status not in ("proposed", "accepted"):
                raise peers.already_there(peer)
            peer.spawn_role, peer.spawn_mode = params["role"], params["mode"]
            peer.public_ca, peer.drill_mode = params["ca_fingerprint"] is None, False
            unit.session.flush()
        credential = key_pairs.prepare(unit, site.vault, peer.id, common_name=site.name)
        return peer.id, credential.csr_pem


def _pin(site: NodeContext, call: Call, peer_id: str) -> None:
    """Find the pinned CA in what the server shows, before anything is sent to it."""
    pin = call.params["ca_fingerprint"]
    if pin is None:
        return
    host, port = urls.host_port(call.params["url"])
    try:
        with dns.ruled_by(dial.rule(site.settings).forbids):
            chain = tls.presented_chain(host, port, timeout=site.settings.outbound_timeout.total_seconds())
    except OSError as error:
        raise client.explain(error) from error
    anchor = tls.find_pinned(chain, pin)
    if anchor is None:
        raise Refused(
            f"{call.params['url']} is not certified by the CA in the invitation.",
            cause=f"None of the {len(chain)} certificates it shows is a CA with fingerprint {pin}.",
            fix="Do not go on: have the other side read its fingerprint to you (fedtui ca show) over another channel.",
            code="ca_fingerprint_mismatch",
        )
    with site.unit(call.actor, correlation_id=call.correlation_id) as unit:
        if peers.lock(unit, peer_id).status == "proposed":
            anchors.forget(unit, peer_id)  # those of an invitation that came to nothing
        anchors.add(unit, peer_id, anchor, source="invite")


def _note_skew(site: NodeContext, call: Call, peer_id: str, skew: float | None) -> None:
    """Record how far the peer's clock is ahead, before a certificate of its fails on it."""
    if skew is None:
        return
    with site.unit(call.actor, correlation_id=call.correlation_id) as unit:
        peers.lock(unit, peer_id).clock_skew_seconds = skew
        unit.session.flush()


def _call_accept(site: NodeContext, call: Call, peer_id: str, csr_pem: str) -> Exchange:
    with site.read() as session:
        peer = peers.get(session, peer_id)
        connection = client.connection_to(
            session, site, peer, now=site.clock.now(), partial_mtls="refuse", anonymous=True
        )
        declaration = heartbeat_sender.own_declaration(site, session, site.clock.now())
    body = {
        **declaration,
        "acceptance_token": call.secrets["token"],
        "contract_version": SUPPORTED_CONTRACTS[-1],
        "remote_instance_url": site.url,
        "csr_pem": csr_pem,
    }
    del body["sync_cursor"]
    return client.exchange(connection, f"{client.PREFIX}/accept", body, timeout=site.settings.outbound_timeout)


def _keep_answer(site: NodeContext, call: Call, peer_id: str, answer: Mapping[str, Any]) -> None:
    """Step 4, first half: our certificate, their CA, and our signature under their request, in one unit.

    Where the other side's own accept came first, the row is `accepted` already: then only
    what is still missing is added.
    """
    version = answer.get("contract_version_agreed")
    try:
        signed = answer.get("certificate") or {}
        cert_pem, chain_pem = str(signed.get("cert_pem") or ""), str(signed.get("ca_chain_pem") or "")
        bundle = read_certificates(str(answer.get("ca_bundle_pem") or chain_pem), field="ca_bundle_pem")
        csr = key_pairs.request_key_fingerprint(str(answer["csr_pem"]))[0] if answer.get("csr_pem") else None
        if isinstance(version, bool) or version not in SUPPORTED_CONTRACTS:
            raise WrongUsage(f"It agrees on contract version {str(version)[:40]}, which this node does not support.")
        with site.unit(call.actor, correlation_id=call.correlation_id) as unit:
            peer = peers.lock(unit, peer_id)
            # A server that is known by another CA, pinned or public, says itself which one signs for us.
            known = peer.public_ca or bool(anchors.of_peer(unit.session, peer_id))
            for anchor in bundle:
                anchors.add(unit, peer_id, anchor, source=anchors.ISSUER if known else "accept")
            row = key_pairs.complete(unit, peer_id, cert_pem, chain_pem)
            emit(unit, "federation.peer.credentials_stored", source=SOURCE, peer_id=peer_id, serial=row.serial)
            _admitted(unit, site, peer, call, answer, csr)
    except (WrongUsage, AttributeError) as error:
        raise _bad_answer(
            error.problem if isinstance(error, WrongUsage) else "Its shape is not the contract's."
        ) from error


def _admitted(unit: Unit, site: NodeContext, peer: Peer, call: Call, answer: Mapping[str, Any], csr: Any) -> None:
    first = peer.status == "proposed"
    if first:
        agreed = answer["contract_version_agreed"]
        peer = peers.move(unit, peer.id, "accepted", signed_at=unit.now, contract_version_agreed=agreed)
    remote_id = str(answer.get("peer_id") or "")[:REMOTE_ID_LIMIT] or None
    peers.note(unit, peer, remote_peer_id=remote_id, **{ADMITTED: call.params["token_digest"]})
    tokens.end(unit, peer.id, "superseded")
    if csr is not None:
        peer.enroll_owed = True
        unit.session.flush()
        handshake.sign_for(unit, site, peer, csr.public_key(), signing.open_authority(unit.session, site.vault))
    if first:
        handshake.on_accepted(unit, peer)


def deliver(site: NodeContext, peer_id: str, actor: Actor, correlation_id: str | None = None) -> str | None:
    """Step 4, second half: hand the remote the certificate we signed. None, or why it failed."""
    try:
        with site.read() as session:
            peer = peers.get(session, peer_id)
            row = _signed_for(session, peer_id)
            if not peer.enroll_owed:
                return None
            if row is None:
                return "no certificate of ours is left to deliver"
            connection = client.connection_to(session, site, peer, now=site.clock.now(), partial_mtls="refuse")
        body = {"certificate": {"cert_pem": row.cert_pem, "ca_chain_pem": row.chain_pem}}
        client.call(connection, f"{client.PREFIX}/enroll", body, timeout=site.settings.outbound_timeout)
    except RemoteFailed as failure:
        log.warning("[Handshake] enroll at %s failed: %s %s", peer.remote_instance_url, failure.problem, failure.cause)
        with site.unit(actor, correlation_id=correlation_id) as unit:
            locked = peers.lock(unit, peer_id)
            if locked.metadata_.get(DELIVERY_ERROR) != (error := f"{failure.code}: {failure.problem}"):
                peers.note(unit, locked, **{DELIVERY_ERROR: error})
        return f"{failure.code}: {failure.problem}"
    with site.unit(actor, correlation_id=correlation_id) as unit:
        peer = peers.lock(unit, peer_id)
        peer.enroll_owed, peer.last_handshake_at = False, unit.now
        peers.note(unit, peer, **{DELIVERY_ERROR: None})
        emit(unit, "federation.handshake.delivered", source=SOURCE, peer_id=peer_id, serial=row.serial)
    return None


def owed(session: Session) -> list[str]:
    """Peers to whom a signed certificate has not been delivered."""
    query = select(Peer.id).where(Peer.enroll_owed.is_(True), Peer.status.in_(peers.MAY_HEARTBEAT))
    return list(session.scalars(query))


def _signed_for(session: Session, peer_id: str) -> Certificate | None:
    query = select(Certificate).where(
        Certificate.peer_id == peer_id, Certificate.direction == "inbound", Certificate.revoked_at.is_(None)
    )
    return session.scalars(query.order_by(Certificate.id.desc()).limit(1)).first()


def _bad_answer(why: str) -> Problem:
    return RemoteFailed(
        "The remote accepted, but its answer cannot be used.",
        cause=why,
        fix="Both sides should run the same contract version; ask its operators what answers there.",
        code="remote_failing",
    )


ACTS: tuple[Operation, ...] = (
    Operation(
        action="system.federation_peer_accept",
        read=_read_accept,
        target=_accept_target,
        summary=_summarise_accept,
        changes=lambda params, target: (
            Change(params["url"], target["in_the_way"] or "", "accepted, certificates exchanged"),
        ),
        perform=accept,
        precondition=_not_expired,
        secret=True,
    ),
)
