"""Faults of certificates and keys: halves that are missing, CAs that are not known, what was revoked."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from sqlalchemy import delete, update

from fedtui.core.peers import peers
from fedtui.core.pki import anchors, certificates, key_pairs, signing
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.key_pairs import Credential
from fedtui.core.pki.vault import Owner, SealedValue
from fedtui.lab.faults.model import HERE, THERE, Fault, Node, Range, theirs, yours
from fedtui.lab.faults.staging import WHY, calls_fail, peer_of, proving_anew


def _pair_damaged(how: Callable[[Any, Node, Credential], None]) -> Callable[[Range], None]:
    def stage(stand: Range) -> None:
        with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
            current = key_pairs.current(unit.session, peer_of(node).id)
            if current is None:
                raise RuntimeError("the practice nodes have no pair to damage")
            how(unit, node, current)

    return stage


def _no_key(unit: Any, _node: Node, current: Credential) -> None:
    unit.session.execute(delete(SealedValue).where(SealedValue.owner_id == current.id))


def _other_key(unit: Any, node: Node, current: Credential) -> None:
    owner = Owner("credential", current.id)
    node.vault.seal(unit.session, owner, signing.PRIVATE_KEY, signing.key_pem(signing.new_key()), unit.now)


def _spoilt_key(unit: Any, _node: Node, current: Credential) -> None:
    changed = update(SealedValue).where(SealedValue.owner_id == current.id).values(ciphertext=b"spoilt" * 9)
    unit.session.execute(changed)


def _no_certificate(unit: Any, _node: Node, current: Credential) -> None:
    lost = current.certificate_id
    unit.session.execute(update(Credential).where(Credential.id == current.id).values(certificate_id=None))
    unit.session.execute(delete(Certificate).where(Certificate.id == lost))


def _sign_there(stand: Range) -> None:
    """What the doctor says: beta's operator signs the request that alpha offers, and it is delivered."""
    with stand.opened(THERE) as node:
        peer_id = peer_of(node).id

        def offered() -> bool | None:
            with node.read() as session:
                return peers.get(session, peer_id).offered_csr_pem is not None or None

        stand.until("the new request is offered", offered)
    stand.act(THERE, "federation_certificate_mint", {"peer": stand.url(HERE)})


def _wrong_anchor(stand: Range) -> None:
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        peer = peer_of(node)
        [known] = anchors.certificates_of(unit.session, peer.id)
        anchors.forget(unit, peer.id)
        anchors.add(unit, peer.id, _namesake(known), source="drill")
    calls_fail(stand, "remote_tls_failed")


def _namesake(ca: x509.Certificate) -> x509.Certificate:
    """Another CA with the same name."""
    key, start = signing.new_key(), datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder(
        ca.subject, ca.subject, key.public_key(), x509.random_serial_number(), start, start + timedelta(days=3650)
    )
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
        key, hashes.SHA256()
    )


def _asked_here(stand: Range) -> None:
    """Alpha makes a new request, with a new key."""
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        key_pairs.prepare(unit, node.vault, peer_of(node).id, common_name=HERE)


def _revoked_there(stand: Range) -> None:
    with stand.opened(THERE) as node, node.read() as session:
        row = certificates.current_inbound(session, peer_of(node).id)
        serial = row.serial if row is not None else ""
    stand.act(THERE, "federation_certificate_revoke", {"serial": serial, "reason": WHY})
    calls_fail(stand, "remote_rejecting_auth")


def _suspended_there(stand: Range) -> None:
    stand.act(THERE, "federation_peer_suspend", {"peer": stand.url(HERE), "reason": WHY})
    calls_fail(stand, "remote_rejecting_auth")


def _stuck_on_tls(stand: Range) -> None:
    """Beta has suspended alpha, and so sends nothing; alpha knows it by another CA, and lets it prove itself anew."""
    stand.act(THERE, "federation_peer_suspend", {"peer": stand.url(HERE), "reason": WHY})
    _wrong_anchor(stand)
    proving_anew(stand)


def _trusted_here(stand: Range) -> None:
    with stand.opened(THERE) as node, node.read() as session:
        pin = certificates.own_ca(session).fingerprint
    stand.act(HERE, "federation_certificate_anchor", {"peer": stand.url(THERE), "ca_fingerprint": pin})


def _resumed_there(stand: Range) -> None:
    stand.act(THERE, "federation_peer_resume", {"peer": stand.url(HERE)})


FAULTS: tuple[Fault, ...] = (
    Fault(
        "key-deleted",
        "half of alpha's pair is gone: the private key",
        ("key_missing",),
        _pair_damaged(_no_key),
        mend=(theirs(_sign_there),),
    ),
    Fault(
        "certificate-deleted",
        "half of alpha's pair is gone: the certificate",
        ("cert_missing",),
        _pair_damaged(_no_certificate),
        mend=(theirs(_sign_there),),
    ),
    Fault(
        "key-swapped",
        "alpha's certificate and key do not belong together",
        ("key_cert_mismatch",),
        _pair_damaged(_other_key),
        mend=(theirs(_sign_there),),
    ),
    Fault(
        "vault-spoilt",
        "the vault does not open alpha's private key",
        ("vault_unreadable",),
        _pair_damaged(_spoilt_key),
        mend=(theirs(_sign_there),),
    ),
    Fault("wrong-anchor", "alpha knows beta by another CA of the same name", ("remote_tls_failed",), _wrong_anchor),
    Fault(
        "stuck-on-tls",
        "alpha knows beta by another CA before either has proved itself",
        ("outbound_tls_failed",),
        _stuck_on_tls,
        mend=(yours(_trusted_here), theirs(_resumed_there)),
        symptom="stuck_accepted",
    ),
    Fault(
        "revoked-there",
        "beta has revoked alpha's certificate",
        ("remote_rejecting_auth",),
        _revoked_there,
        mend=(yours(_asked_here), theirs(_sign_there)),
    ),
    Fault("suspended-there", "beta has suspended alpha", ("remote_rejecting_auth",), _suspended_there),
)
