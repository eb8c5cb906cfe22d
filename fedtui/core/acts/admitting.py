"""The admitting side of the handshake: answering `accept`, `enroll` and `heartbeat`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy.orm import Session

from fedtui.core.acts import handshake
from fedtui.core.acts.handshake import SOURCE
from fedtui.core.control import node_settings, quarantine
from fedtui.core.errors import Denied
from fedtui.core.peering import heartbeats, peers, sending, tokens
from fedtui.core.peering.heartbeats import Declared
from fedtui.core.peering.peers import SUPPORTED_CONTRACTS, Peer
from fedtui.core.peering.tokens import AcceptanceToken
from fedtui.core.record.events import emit
from fedtui.core.runtime import urls
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.unit import Unit
from fedtui.core.trust import anchors, certificates, credentials, signing
from fedtui.core.trust.site import Site
from fedtui.core.trust.x509_reading import read_certificates

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
    remote_instance_url: str
    acceptance_token: str | None = field(default=None, repr=False)
    csr_pem: str | None = None
    ca_bundle_pem: str | None = None
    declared: Declared = Declared()


class Refusal(NamedTuple):
    """What makes two refusals of `accept` the same, for the record."""

    peer_id: str | None
    token_id: str | None
    cause: str
    answered: str | None


def never_again(_refused: Refusal) -> bool:
    """Every refusal is told."""
    return False


def answer_accept(
    site: Site, asked: AcceptRequest, caller: Actor, again: Callable[[Refusal], bool] = never_again
) -> Mapping[str, Any]:
    """Admit a remote platform by its token, sign its request, and ask for the same in return.

    `again` says whether such a refusal was told just now, and counts it (`tell_repeated`).

    Raises `Denied` with the words that operators search for; why it was really refused goes
    into our own record. Raises `WrongUsage` for a request or bundle that cannot be read.
    """
    if asked.contract_version not in SUPPORTED_CONTRACTS:
        supported = list(SUPPORTED_CONTRACTS)
        raise Denied(
            422,
            f"Unsupported contract_version {asked.contract_version}; supported: {supported}",
            code="contract_version_unsupported",
        )
    with site.read() as session:
        quarantine.turn_away(session)
    csr = credentials.request_key_fingerprint(asked.csr_pem) if asked.csr_pem else None
    bundle = read_certificates(asked.ca_bundle_pem, field="ca_bundle_pem") if asked.ca_bundle_pem else []
    url = urls.secure(asked.remote_instance_url, field="remote_instance_url")
    try:
        with site.unit(caller) as unit:
            peer, token, repeated = _admit(unit, url, asked.acceptance_token, csr[1] if csr else None)
            if repeated is not None:
                return repeated
            answer = _accepted(unit, site, peer, asked, csr[0].public_key() if csr else None, bundle)
            if url != peer.remote_instance_url:
                answer["warnings"].append(f"this node knows you as {peer.remote_instance_url}")
            if token is not None and csr is not None:
                token.answer = answer
            return answer
    except Denied as denied:
        with site.unit(caller) as unit:
            known, stranger = peers.by_url(unit.session, url), {}
            shown = tokens.by_digest(unit.session, asked.acceptance_token) if asked.acceptance_token else None
            if shown is not None and (known is None or known.id != shown.peer_id):
                # Whoever has the token is not whom it was made for: that one's operators are to know.
                known = unit.session.get(Peer, shown.peer_id)
                stranger = {"stranger": caller.origin.removeprefix("api ") or "an unknown address", "severity": "high"}
            # A refusal that came before the newest token was made says nothing of that one.
            token = tokens.newest(unit.session, known.id) if known else None
            refused = Refusal(known.id if known else None, token.id if token else None, denied.code, denied.public)
            if not again(refused):
                _tell_refused(unit, refused, remote_instance_url=url, **stranger)
        raise


def tell_repeated(unit: Unit, counted: Mapping[tuple[str, Refusal], int], beyond: int) -> None:
    """Record how often refusals were repeated, by address and refusal; `beyond`: those that were not told apart."""
    for (address, refused), times in counted.items():
        _tell_refused(unit, refused, times=times, address=address)
    if beyond:
        emit(unit, "federation.peer.accept_refused", source=SOURCE, cause="too_many_kinds", times=beyond)


def _tell_refused(unit: Unit, refused: Refusal, **more: Any) -> None:
    emit(unit, "federation.peer.accept_refused", source=SOURCE, peer_id=refused.peer_id, cause=refused.cause,
         answered=refused.answered, **more)  # fmt: skip


def _admit(
    unit: Unit, url: str, presented: str | None, csr_key: str | None
) -> tuple[Peer, AcceptanceToken | None, Mapping[str, Any] | None]:
    """Which peer this caller may become: the peer, its spent token, and the answer if it is a repeat."""
    row = tokens.by_digest(unit.session, presented) if presented else None
    peer = peers.by_url(unit.session, url)
    if peer is None and row is not None:
        peer = unit.session.get(Peer, row.peer_id)
    if peer is None or peer.status == "revoked":
        raise _turned_away(UNKNOWN, "token_unknown")
    peer = peers.lock(unit, peer.id)
    if _takes_anyone(unit.session, peer):
        return peer, None, None
    if not presented:
        if tokens.live(unit.session, peer.id) is not None:
            raise Denied(422, REQUIRED, code="token_not_sent")
        raise _turned_away(UNKNOWN, "token_not_sent")
    if row is None or row.peer_id != peer.id:
        known = tokens.any_issued(unit.session, peer.id)
        cause = CAUSES.get(row.state, "token_of_other_peer") if row is not None else "token_mistyped"
        raise _turned_away(NO_MATCH if known else UNKNOWN, cause)
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


def _accepted(unit: Unit, site: Site, peer: Peer, asked: AcceptRequest, key: Any, bundle: list[Any]) -> dict[str, Any]:
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
        own_request = credentials.prepare(unit, site.vault, peer.id, common_name=site.name).csr_pem
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


def receive_certificate(site: Site, peer_id: str, cert_pem: str, chain_pem: str, caller: Actor) -> Mapping[str, Any]:
    """`enroll`: the remote has signed our request. Storing the same certificate again is no error.

    Raises `Refused` or `WrongUsage` for a certificate that would not make a pair.
    """
    with site.unit(caller) as unit:
        peer = peers.lock(unit, peer_id)
        before = credentials.pair_state(unit.session, peer_id)
        row = credentials.complete(unit, peer_id, cert_pem, chain_pem)
        peer.last_handshake_at, peer.updated_at = unit.now, unit.now
        unit.session.flush()
        newly_complete = before != "complete"
        if newly_complete:
            emit(unit, "federation.peer.credentials_stored", source=SOURCE, peer_id=peer_id, serial=row.serial)
        return {"status": peer.status, "serial": row.serial, "newly_complete": newly_complete}


def receive_heartbeat(unit: Unit, site: Site, peer_id: str, declared: Declared) -> Mapping[str, Any]:
    """`heartbeat`: an authenticated peer is alive; what it is told in return.

    Works in the caller's unit, which it shares with other heartbeats. Raises `Refused`.
    """
    peer = heartbeats.record(unit, peer_id, declared)
    # A request of ours that waits to be signed: the peer's operators can do so by one act.
    offered = {"csr_pem": peer.csr_pem} if peer.csr_pem is not None else {}
    return {
        "status": peer.status,
        "last_heartbeat_at": peer.last_heartbeat_at,
        "our_endpoints": sending.own_endpoints(site),
        "schema_compatibility": heartbeats.schema_compatibility(site.settings.platform_version, peer.platform_version),
        **offered,
    }
