"""Acts on certificates: ask for a new one, mint one, store a supplied pair, revoke, trust another CA."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from fedtui.core.administration import operators
from fedtui.core.audit.events import emit
from fedtui.core.certificates import reissue
from fedtui.core.errors import Refused, RemoteFailed, WrongUsage
from fedtui.core.operations.form import PEER, Form, Parameter, pem
from fedtui.core.operations.operation import Call, Change, Operation, OperationRequest, Params, Result
from fedtui.core.operations.reasons import reason_of
from fedtui.core.peers import peers
from fedtui.core.peers.operations import named_peer, peer_target
from fedtui.core.peers.peers import MAY_HEARTBEAT, Peer
from fedtui.core.pki import anchors, certificates, key_pairs, signing, tls
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.node_context import NodeContext
from fedtui.core.pki.x509 import fingerprint, key_fingerprint, read_certificates, read_csr
from fedtui.core.protocol import client, handshake, renewal
from fedtui.core.runtime import dns, urls
from fedtui.core.runtime.actor import Actor
from fedtui.core.runtime.unit import Unit

SOURCE = "certificates"
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?")


def _in_service(unit: Unit, raw: Mapping[str, Any]) -> Peer:
    """The peer that is named, if certificates are exchanged with it. Raises `Refused`."""
    peer = named_peer(unit, raw)
    if peer.status not in MAY_HEARTBEAT or peer.peer_kind != "platform":
        stands = peer.status if peer.peer_kind == "platform" else peer.peer_kind
        raise Refused(
            f"{peer.remote_instance_url} is {stands}; no certificates are exchanged with it.",
            cause=f"They are with platforms that are {', '.join(MAY_HEARTBEAT)}.",
            fix=f"See what comes next for it: fedtui peers show {peer.id}",
            code="peer_not_reachable",
        )
    return peer


# --- rotate: ask the peer for the next one -------------------------------------------------


def _read_rotate(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    peer = _in_service(unit, raw)
    return OperationRequest({"peer_id": peer.id}, peer.id)


def _rotate(site: NodeContext, call: Call) -> Result:
    return renewal.renew(site, call.params["peer_id"], call.actor, call.correlation_id)


# --- mint: sign by hand --------------------------------------------------------------------


def _read_mint(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    return _read_mint_proxy(raw) if raw.get("proxy") is not None else _read_mint_peer(unit, raw)


def _read_mint_proxy(raw: Mapping[str, Any]) -> OperationRequest:
    name = str(raw.get("proxy") or "").lower()
    if not _NAME.fullmatch(name):
        raise WrongUsage(
            f"{name[:80]!r} cannot be a proxy's name.",
            cause="It goes into the certificate as a DNS name: small letters, digits, dots and dashes, 42 at most.",
            fix="Choose one like edge-1.",
            code="name_invalid",
        )
    csr_pem = str(raw.get("csr_pem") or "")
    key = key_fingerprint(read_csr(csr_pem).public_key())
    return OperationRequest({"proxy": name, "csr_pem": csr_pem, "key": key})


def _read_mint_peer(unit: Unit, raw: Mapping[str, Any]) -> OperationRequest:
    """For a request given by hand; else for the one that the peer offers; else for the key that it presents."""
    peer = _in_service(unit, raw)
    given = raw.get("csr_pem")
    csr_pem, origin = (str(given), "given") if given is not None else (peer.offered_csr_pem or "", "offered")
    if given is not None and not csr_pem.strip():
        raise WrongUsage(
            "The signing request is empty.",
            cause="Nothing of it arrived.",
            fix="Give one that begins with -----BEGIN CERTIFICATE REQUEST-----.",
            code="csr_pem_invalid",
        )
    if csr_pem:
        key = key_fingerprint(read_csr(csr_pem).public_key())
        return OperationRequest({"peer_id": peer.id, "csr_pem": csr_pem, "key": key, "request": origin}, peer.id)
    row = reissue.key_held(unit, peer, raw.get(reissue.VIEW))
    params = {
        "peer_id": peer.id,
        "csr_pem": None,
        "key": certificates.key_of(row),
        "request": "key on record",
        "certificate_id": row.id,
    }
    return OperationRequest(params, peer.id)


def _mint_target(session: Session, params: Params) -> Mapping[str, Any] | None:
    """The peer, and the key that it asks to have signed: where that is another by now, what was approved is stale."""
    if "peer_id" not in params:
        return {}
    target = peer_target(session, params)
    if target is None or params["request"] == "given":
        return target
    offered = peers.get(session, params["peer_id"]).offered_csr_pem
    return {**target, "offered_key": key_fingerprint(read_csr(offered).public_key()) if offered else None}


def _summarise_mint(params: Params, target: Mapping[str, Any]) -> str:
    key = f"key {params['key'][:16]}…"
    if "proxy" in params:
        return (
            f"Sign a client certificate for the proxy {params['proxy']} ({key}). "
            "It is believed only once trusted_proxies names it."
        )
    how = {
        "given": f"for the request that was given ({key}); it is to be carried to them by hand",
        "offered": f"for the request that it offers ({key}), and deliver it",
        "key on record": f"for the key it has ({key}), and deliver it",
    }
    return f"Sign a new certificate for {target['remote_instance_url']} {how[params['request']]}."


def _mint_changes(params: Params, target: Mapping[str, Any]) -> Sequence[Change]:
    who = f"proxy {params['proxy']}" if "proxy" in params else target["remote_instance_url"]
    before = "" if "proxy" in params else "the one it has, where that is good, until the new one is used"
    return (Change(f"certificate of {who}", before, "signed by this node's CA"),)


def _mint(unit: Unit, site: NodeContext, params: Params) -> Result:
    authority = signing.open_authority(unit.session, site.vault)
    if "proxy" in params:
        key = read_csr(params["csr_pem"]).public_key()
        row = signing.issue_for_proxy(
            unit, authority, name=params["proxy"], key=key, lifetime=site.settings.leaf_lifetime
        )
        return {**_minted(row), "next": f"fedtui settings set trusted_proxies {row.fingerprint}"}
    peer = peers.lock(unit, params["peer_id"])
    row = handshake.sign_for(unit, site, peer, _key_to_sign(unit, peer, params), authority)
    by_hand = params["request"] == "given"
    peer.enroll_owed = peer.enroll_owed or not by_hand
    unit.session.flush()
    after = "hand cert_pem and chain_pem to their operator: fedtui certs store PEER --cert FILE"
    return {**_minted(row), "next": after if by_hand else "the SDWAN Manager delivers it at its next tick"}


def _key_to_sign(unit: Unit, peer: Peer, params: Params) -> Any:
    if params["csr_pem"]:
        return read_csr(params["csr_pem"]).public_key()
    named = params.get("certificate_id")
    row = unit.session.get(Certificate, named) if named else certificates.current_inbound(unit.session, peer.id)
    if row is None or certificates.key_of(row) != params["key"]:
        raise Refused("The certificate whose key was to be certified is gone.", code="csr_missing")
    return read_certificates(row.cert_pem, field="certificate")[0].public_key()


def _minted(row: Certificate) -> dict[str, Any]:
    return {
        "serial": row.serial,
        "fingerprint": row.fingerprint,
        "not_after": row.not_after.isoformat(),
        "cert_pem": row.cert_pem,
        "chain_pem": row.chain_pem,
    }


def _without_pem(params: Params) -> Params:
    return {key: value for key, value in params.items() if not key.endswith("_pem")}


# --- store: a supplied certificate, with its key -------------------------------------------


def _read_store(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    peer = _in_service(unit, raw)
    cert_pem = str(raw.get("cert_pem") or "")
    leaf, *_ = read_certificates(cert_pem, field="certificate")
    key_pem = str(raw.get("key_pem") or "")
    if key_pem:
        key_pairs.read_private_key(key_pem.encode())
    params = {
        "peer_id": peer.id,
        "cert_pem": cert_pem,
        "chain_pem": str(raw.get("chain_pem") or ""),
        "fingerprint": fingerprint(leaf),
        "subject": leaf.subject.rfc4514_string(),
        "with_key": bool(key_pem),
    }
    return OperationRequest(params, peer.id, {"key_pem": key_pem} if key_pem else {})


def _summarise_store(params: Params, target: Mapping[str, Any]) -> str:
    key = "its key, supplied with it" if params["with_key"] else "the key of this node's own request"
    return (
        f"Present {params['subject']} ({params['fingerprint'][:23]}…) to {target['remote_instance_url']} "
        f"from now on, with {key}."
    )


def _store(site: NodeContext, call: Call) -> Result:
    params, key_pem = call.params, call.secrets.get("key_pem", "")
    peer_id, cert_pem, chain_pem = params["peer_id"], params["cert_pem"], params["chain_pem"]
    with site.unit(call.actor, correlation_id=call.correlation_id) as unit:
        peers.lock(unit, peer_id)
        if key_pem:
            row = key_pairs.supply(unit, site.vault, peer_id, cert_pem, chain_pem, key_pem.encode())
        else:
            row = key_pairs.complete(unit, peer_id, cert_pem, chain_pem)
        emit(unit, "federation.certificate.stored", source=SOURCE, peer_id=peer_id, serial=row.serial)
    return {
        "peer_id": peer_id,
        "serial": row.serial,
        "fingerprint": row.fingerprint,
        "not_after": row.not_after.isoformat(),
        "unfinished": handshake.send_initial_heartbeat(site, peer_id),
    }


# --- revoke --------------------------------------------------------------------------------

_REVOCABLE = {
    "federation_peer": "its peer's next call with it is refused; it needs another to come back",
    "instance": "the proxy is believed no longer, from its next request on",
    "server": "this node makes itself another at once; peers that know of it accept this one no longer",
}


def _read_revoke(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    row = certificates.find(unit.session, str(raw.get("serial") or ""))
    if row.direction == "outbound" or row.subject_kind not in _REVOCABLE:
        raise Refused(
            f"{row.subject} is not this node's to revoke.",
            cause="Its CA is the peer's: only they can." if row.direction == "outbound" else "A root revokes no one.",
            fix="Ask the peer's operators to revoke it, or ask for another: fedtui certs rotate PEER"
            if row.direction == "outbound"
            else "To give up a CA, set up a new node and peer again.",
            code="not_ours_to_revoke",
        )
    if row.revoked_at is not None:
        raise Refused(
            f"{row.subject} (serial {row.serial}) is revoked already.",
            cause=f"On {row.revoked_at:%F %H:%M} UTC: {row.revocation_reason}.",
            fix="See it with: fedtui certs show SERIAL",
            code="already_revoked",
        )
    return OperationRequest({"certificate_id": row.id, "serial": row.serial, "reason": reason_of(raw)}, row.peer_id)


def _certificate_target(session: Session, params: Params) -> Mapping[str, Any] | None:
    row = session.get(Certificate, params["certificate_id"])
    if row is None:
        return None
    return {"subject": row.subject, "kind": row.subject_kind, "revoked": row.revoked_at is not None}


def _summarise_revoke(params: Params, target: Mapping[str, Any]) -> str:
    consequence = _REVOCABLE[target["kind"]]
    return f"Revoke {target['subject']} (serial {params['serial'][:16]}…) for good: {consequence}. {params['reason']}"


def _revoke(unit: Unit, _site: NodeContext, params: Params) -> Result:
    row = unit.session.get_one(Certificate, params["certificate_id"])
    certificates.revoke(unit, row, params["reason"])
    return {"serial": row.serial, "revoked_at": unit.now.isoformat()}


# --- anchor: trust another CA for a peer's server --------------------------------------------


def _read_anchor(unit: Unit, _site: NodeContext, raw: Mapping[str, Any]) -> OperationRequest:
    peer = _in_service(unit, raw)
    pin = tls.pin_from(str(raw.get("ca_fingerprint") or ""))
    if pin is None:
        raise WrongUsage(
            "The CA's fingerprint is missing or is not SHA-256.",
            cause="Which CA to trust is decided by its fingerprint alone.",
            fix="Have the other side read it to you over another channel: fedtui ca show",
            code="ca_fingerprint_invalid",
        )
    return OperationRequest({"peer_id": peer.id, "ca_fingerprint": pin}, peer.id)


def _anchor_target(session: Session, params: Params) -> Mapping[str, Any] | None:
    target = peer_target(session, params)
    known = sorted(one.fingerprint for one in anchors.of_peer(session, params["peer_id"]))
    return None if target is None else {**target, "trusted": known}


def _summarise_anchor(params: Params, target: Mapping[str, Any]) -> str:
    return (
        f"Know {target['remote_instance_url']} by the CA {params['ca_fingerprint'][:23]}… from now on, "
        "and by no other. It must show that CA when it is called."
    )


def _anchor(site: NodeContext, call: Call) -> Result:
    peer_id, pin = call.params["peer_id"], call.params["ca_fingerprint"]
    with site.read() as session:
        peer = peers.get(session, peer_id)
    host, port = urls.host_port(peer.remote_instance_url)
    try:
        with dns.ruled_by(client.rule_for(site, peer)):
            chain = tls.presented_chain(host, port, timeout=site.settings.outbound_timeout.total_seconds())
    except OSError as error:
        raise client.explain(error) from error
    found = tls.find_pinned(chain, pin)
    if found is None:
        raise RemoteFailed(
            f"{peer.remote_instance_url} does not show a CA with that fingerprint.",
            cause="It shows: " + (", ".join(fingerprint(one) for one in chain) or "nothing"),
            fix="Compare it with their operators: fedtui ca show. Nothing was changed.",
            code="trust_chain_mismatch",
        )
    with site.unit(call.actor, correlation_id=call.correlation_id) as unit:
        locked = peers.lock(unit, peer_id)
        before = [one.fingerprint for one in anchors.of_peer(unit.session, peer_id)]
        anchors.demote_to_issuer(unit, peer_id)  # what is presented may go on being signed by the CA known before
        anchors.add(unit, peer_id, found, source="operator")
        locked.public_ca = False
        unit.session.flush()
        emit(unit, "federation.peer.anchor_changed", source=SOURCE, peer_id=peer_id, before=before, after=pin)
    return {"peer_id": peer_id, "ca_fingerprint": pin, "unfinished": handshake.send_initial_heartbeat(site, peer_id)}


# --- the request that waits -------------------------------------------------------------------


def request_for(site: NodeContext, actor: Actor, wanted: str) -> Mapping[str, Any]:
    """This node's signing request to a peer, made if there is none: what their operator signs by hand."""
    with site.unit(actor) as unit:
        operators.require(unit.session, actor.name, operators.MANAGE_PEERS)
        peer = _in_service(unit, {"peer": wanted})
        row = key_pairs.prepare(unit, site.vault, peer.id, common_name=site.name)
        return {"peer_id": peer.id, "csr_pem": row.csr_pem, "key_fingerprint": row.key_fingerprint}


ACTS: tuple[Operation, ...] = (
    Operation(
        action="system.federation_certificate_rotate",
        read=_read_rotate,
        target=peer_target,
        summary=lambda _params, target: (
            f"Ask {target['remote_instance_url']} for the next certificate that this node presents to it, "
            "with a new key."
        ),
        changes=lambda _params, target: (
            Change(f"what is presented to {target['remote_instance_url']}", "the present pair", "a new pair"),
        ),
        perform=_rotate,
    ),
    Operation(
        action="system.federation_certificate_mint",
        read=_read_mint,
        target=_mint_target,
        summary=_summarise_mint,
        changes=_mint_changes,
        recorded=_without_pem,
        apply=_mint,
        fetch=reissue.fetch_request,
    ),
    Operation(
        action="system.federation_certificate_store",
        read=_read_store,
        target=peer_target,
        summary=_summarise_store,
        changes=lambda params, target: (
            Change(f"what is presented to {target['remote_instance_url']}", "the present pair", params["subject"]),
        ),
        recorded=_without_pem,
        perform=_store,
        forms={
            "store-cert": Form(
                title="Store a certificate for a peer",
                consequence="This node presents it to the peer from now on, with the key of its own request. "
                "With a key of its own: fedtui certs store.",
                confirm="Store",
                done="Stored. A heartbeat shows whether the peer accepts it.",
                parameters=(
                    PEER,
                    Parameter("cert_pem", "Certificate (paste the PEM)", read=pem, limit=64 * 1024),
                    Parameter("chain_pem", "Chain (paste the PEM)", read=pem, required=False, limit=64 * 1024),
                ),
            )
        },
        secret=True,
    ),
    Operation(
        action="system.federation_certificate_revoke",
        read=_read_revoke,
        target=_certificate_target,
        summary=_summarise_revoke,
        changes=lambda params, target: (Change(target["subject"], "in force", f"revoked: {params['reason']}"),),
        apply=_revoke,
    ),
    Operation(
        action="system.federation_certificate_anchor",
        read=_read_anchor,
        target=_anchor_target,
        summary=_summarise_anchor,
        changes=lambda params, target: (
            Change(
                f"CA that {target['remote_instance_url']} is known by",
                ", ".join(target["trusted"]) or "none",
                params["ca_fingerprint"],
            ),
        ),
        perform=_anchor,
        forms={
            "trust-ca": Form(
                title="Trust another CA of a peer",
                consequence="This node then knows the peer's server by this CA alone. "
                "Compare the fingerprint with the peer's operators over another channel.",
                confirm="Trust",
                done="Trusted.",
                parameters=(
                    PEER,
                    Parameter("ca_fingerprint", "SHA-256 of its CA", hint="sha256:..."),
                ),
                dangerous=True,
            )
        },
    ),
)
