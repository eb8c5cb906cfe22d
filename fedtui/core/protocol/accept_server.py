"""The admitting side of the handshake: answering `accept`, `enroll` and `heartbeat`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.administration import node_settings
from fedtui.core.audit.events import emit
from fedtui.core.errors import Denied
from fedtui.core.operations import quarantine
from fedtui.core.peers import peers, tokens
from fedtui.core.peers.peers import SUPPORTED_CONTRACTS, Peer
from fedtui.core.peers.tokens import AcceptanceToken
from fedtui.core.pki import anchors, certificates, key_pairs, signing
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.pki.x509 import read_certificates
from fedtui.core.protocol import handshake, heartbeat_sender, heartbeats, refusals
from fedtui.core.protocol.handshake import SOURCE
from fedtui.core.protocol.heartbeats import Declared
from fedtui.core.protocol.refusals import Refusal
from fedtui.core.runtime import urls
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.unit import Unit

REQUIRED = "acceptance_token required (peer has acceptance_token_digest set)"
NO_MATCH = "acceptance_token does not match stored digest"
UNKNOWN = "acceptance_token not recognized or expired"
CAUSES = {
    "used": "token_already_used",
    "superseded": "token_superseded",
    "expired": "token_expired",
    "cancelled": "token_cancelled",
}
"""What our own record says of a token by what became of it; the caller is told no more than `NO_MATCH`."""


@dataclass(frozen=True, slots=True)
class AcceptRequest:
    """The body of `accept`, checked for shape. Absent optional fields are None."""

    contract_version: int
    remote_instance_url: str | None
    acceptance_token: str | None = field(default=None, repr=False)
    csr_pem: str | None = None
    ca_bundle_pem: str | None = None
    declared: Declared = Declared()


def _each(_refusal: Refusal) -> bool:
    return True


def answer_accept(
    site: NodeContext, asked: AcceptRequest, caller: Actor, in_full: Callable[[Refusal], bool] = _each
) -> Mapping[str, Any]:
    """Admit a remote platform by its token, sign its request, and ask for the same in return.

    The token is looked up first: a request and a bundle of certificates are read for its holder alone.

    Raises `Denied` with the words that operators search for; why it was really refused goes
    into our own record, where `in_full` says so (`Refusals.admits`). Raises
    `WrongUsage` for a request or bundle that cannot be read.
    """
    if asked.contract_version not in SUPPORTED_CONTRACTS:
        supported = list(SUPPORTED_CONTRACTS)
        raise Denied(
            422,
            f"Unsupported contract_version {asked.contract_version}; supported: {supported}",
            code="contract_version_unsupported",
        )
    url = urls.secure(asked.remote_instance_url, field="remote_instance_url") if asked.remote_instance_url else None
    presented = asked.acceptance_token
    try:
        with site.read() as session:
            quarantine.turn_away(session)
            _known(session, url, presented)
        csr = key_pairs.request_key_fingerprint(asked.csr_pem) if asked.csr_pem else None
        bundle = read_certificates(asked.ca_bundle_pem, field="ca_bundle_pem") if asked.ca_bundle_pem else []
        with site.unit(caller) as unit:
            peer, token, repeated = _admit(unit, url, presented, csr[1] if csr else None)
            if repeated is not None:
                return repeated
            answer = _accepted(unit, site, peer, asked, csr[0].public_key() if csr else None, bundle)
            if url is not None and url != peer.remote_instance_url:
                answer["warnings"].append(
                    f"the token is for {peer.remote_instance_url}, and this node knows you by that URL, not as {url}"
                )
            if token is not None and csr is not None:
                token.answer = answer
            return answer
    except Denied as denied:
        with site.read() as session:
            refusal = _refusal(session, url, presented, denied)
        if in_full(refusal):  # else it takes no lock
            with site.unit(caller) as unit:
                refusals.record(unit, refusal)
        raise


def _refusal(session: Session, url: str | None, presented: str | None, denied: Denied) -> Refusal:
    """A refusal as it goes on record: under the peer that the URL names, else the one of the token."""
    row = tokens.by_digest(session, presented) if presented else None
    known = peers.by_url(session, url) if url else None
    # Whoever has a token that was not made for them: the operators of whom it was made for are to know.
    stranger = row is not None and (known is None or known.id != row.peer_id)
    peer_id = row.peer_id if row is not None else known.id if known is not None else None
    # A refusal that came before the newest token was made says nothing of that one.
    token = tokens.newest(session, peer_id) if peer_id else None
    return Refusal(peer_id, token.id if token else None, denied.code, denied.public or "", url, stranger=stranger)


def _known(session: Session, url: str | None, presented: str | None) -> tuple[Peer, AcceptanceToken | None]:
    """The peer that a caller may become, and its token where that is how it is known. Raises `Denied`.

    Without a token all callers get one answer, whether there is such a peer or not; only a drill-mode peer is found
    by its URL.
    """
    row = tokens.by_digest(session, presented) if presented else None
    if row is not None:
        peer = session.get(Peer, row.peer_id)
        if peer is None or peer.status == "revoked":
            raise _turned_away(UNKNOWN, "token_unknown")
        return peer, row
    named = peers.by_url(session, url) if url else None
    if named is not None and named.status == "revoked":
        named = None
    if named is not None and _takes_anyone(session, named):
        return named, None
    if not presented:
        raise Denied(422, REQUIRED, code="token_not_sent")
    if named is None:
        raise _turned_away(UNKNOWN, "token_unknown")
    raise _turned_away(NO_MATCH if tokens.any_issued(session, named.id) else UNKNOWN, "token_mistyped")


def _admit(
    unit: Unit, url: str | None, presented: str | None, csr_key: str | None
) -> tuple[Peer, AcceptanceToken | None, Mapping[str, Any] | None]:
    """Which peer this caller may become: the peer, its spent token, and the answer if it is a repeat."""
    known, row = _known(unit.session, url, presented)
    peer = peers.lock(unit, known.id)
    if row is None:
        if not _takes_anyone(unit.session, peer):
            raise _turned_away(UNKNOWN, "token_unknown")
        return peer, None, None
    if row.state == "issued" and tokens.use(unit, row, csr_key):
        unit.session.refresh(row)
        return peer, row, None
    unit.session.refresh(row)
    return peer, row, _repeated(peer, row, csr_key, unit.now)


def _takes_anyone(session: Session, peer: Peer) -> bool:
    """A drill-mode peer: proposed here, never given a token, on a node in drill mode."""
    return (
        peer.drill_mode
        and peer.status == "proposed"
        and node_settings.is_on(session, "drill_mode")
        and not tokens.any_issued(session, peer.id)
    )


def _repeated(peer: Peer, row: AcceptanceToken, csr_key: str | None, now: datetime) -> Mapping[str, Any]:
    """The answer given before, for the same key within the token's time; else why not."""
    good = row.expires_at > now and peer.status in peers.MAY_HEARTBEAT
    if row.state == "used" and good and row.answer is not None and csr_key == row.csr_key_fingerprint:
        return row.answer
    if row.state in ("issued", "expired"):
        raise _turned_away(f"acceptance_token has expired (expired_at {row.expires_at.isoformat()})", "token_expired")
    raise _turned_away(NO_MATCH, CAUSES[row.state])


def _turned_away(words: str, cause: str) -> Denied:
    """A 401 in the words that operators search for; which of the causes it was is for our record alone."""
    return Denied(401, words, code=cause, public_code="unauthorized")


def _accepted(
    unit: Unit, site: NodeContext, peer: Peer, asked: AcceptRequest, key: Any, bundle: list[Any]
) -> dict[str, Any]:
    peer = peers.move(
        unit,
        peer.id,
        "accepted",
        only_from=("proposed",),
        signed_at=unit.now,
        contract_version_agreed=asked.contract_version,
        drill_mode=False,
        **asked.declared.columns(unit.now),
    )
    authority = signing.open_authority(unit.session, site.vault)
    for anchor in bundle:
        anchors.add(unit, peer.id, anchor, source="accept")
    warnings = []
    certificate, own_request = None, None
    if key is None:
        warnings.append("no csr_pem: no certificate was signed, and this accept cannot be repeated")
    else:
        certificate = handshake.sign_for(unit, site, peer, key, authority)
    if not bundle:
        warnings.append("no ca_bundle_pem: this node cannot verify your server, and will not call it")
    if key is not None and bundle:
        own_request = key_pairs.prepare(unit, site.vault, peer.id, common_name=site.name).csr_pem
    handshake.on_accepted(unit, peer)
    return {
        "peer_id": peer.id,
        "status": peer.status,
        "peer_kind": peer.peer_kind,
        "contract_version_agreed": asked.contract_version,
        "accepted_at": unit.now.isoformat(),
        "handshake_at": unit.now.isoformat(),
        "certificate": handshake.certificate_fields(certificate) if certificate else None,
        "csr_pem": own_request,
        "ca_bundle_pem": certificates.own_ca(unit.session).cert_pem,
        "warnings": warnings,
    }


def receive_certificate(
    site: NodeContext, peer_id: str, cert_pem: str, chain_pem: str, caller: Actor
) -> Mapping[str, Any]:
    """`enroll`: the remote has signed our request. Storing the same certificate again is no error.

    Raises `Refused` or `WrongUsage` for a certificate that would not make a pair.
    """
    with site.unit(caller) as unit:
        peer = peers.lock(unit, peer_id)
        before = key_pairs.pair_state(unit.session, peer_id)
        row = key_pairs.complete(unit, peer_id, cert_pem, chain_pem)
        peer.last_handshake_at, peer.updated_at = unit.now, unit.now
        unit.session.flush()
        newly_complete = before != "complete"
        if newly_complete:
            emit(unit, "federation.peer.credentials_stored", source=SOURCE, peer_id=peer_id, serial=row.serial)
        return {"status": peer.status, "serial": row.serial, "newly_complete": newly_complete}


def receive_heartbeat(unit: Unit, site: NodeContext, peer_id: str, declared: Declared) -> Mapping[str, Any]:
    """`heartbeat`: an authenticated peer is alive; what it is told in return.

    Works in the caller's unit, which it shares with other heartbeats. Raises `Refused`.
    """
    peer = heartbeats.record(unit, peer_id, declared)
    # A request of ours that waits to be signed: the peer's operators can do so by one act.
    offered = {"csr_pem": peer.csr_pem} if peer.csr_pem is not None else {}
    return {
        "status": peer.status,
        "last_heartbeat_at": peer.last_heartbeat_at,
        "our_endpoints": heartbeat_sender.own_endpoints(site),
        "schema_compatibility": heartbeats.schema_compatibility(site.settings.platform_version, peer.platform_version),
        **offered,
    }
