"""Faults that no failing call tells of: what the two sides have for each other differs."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from fedtui.core.diagnosis.checks.peer_comparison import INTERVALS
from fedtui.core.pki import anchors, signing
from fedtui.lab.faults.model import HERE, THERE, Fault, Look, Range, theirs
from fedtui.lab.faults.staging import peer_of, proving_anew, quiet, speaking


def _one_side_accepted(stand: Range) -> None:
    """Alpha lets beta prove itself anew; beta has alpha as active, and sends it nothing."""
    quiet(stand)
    proving_anew(stand)
    with stand.opened(HERE) as node:
        over = node.clock.now() + (INTERVALS + 1) * node.settings.heartbeat_interval
        stand.until("that has stood for longer than a heartbeat may take", lambda: node.clock.now() > over or None)


def _older_ca(knows: str, of: str) -> Callable[[Range], Look]:
    """One node knows the other by a certificate of its CA from before that was renewed with the same key."""

    def stage(stand: Range) -> Look:
        with stand.opened(of) as node, node.read() as session:
            authority = signing.open_authority(session, node.vault)
        with stand.opened(knows) as node, node.unit(node.actor("drill")) as unit:
            peer = peer_of(node)
            anchors.forget(unit, peer.id)
            anchors.add(unit, peer.id, _from_before(authority), source="drill")
        return {"peer": stand.url(THERE)}

    return stage


def _from_before(authority: signing.Authority) -> x509.Certificate:
    """Another certificate of the same CA: its name, key and extensions, other dates."""
    now, ca = datetime.now(UTC), authority.certificate
    builder = x509.CertificateBuilder(
        ca.subject,
        ca.subject,
        ca.public_key(),
        x509.random_serial_number(),
        now - timedelta(days=30),
        now + timedelta(days=30),
    )
    for one in ca.extensions:
        builder = builder.add_extension(one.value, critical=one.critical)
    return builder.sign(authority.key, hashes.SHA256())


FAULTS: tuple[Fault, ...] = (
    Fault(
        "one-side-accepted",
        "alpha has beta as accepted, beta has alpha as active",
        ("never_heard", "status_disagrees"),
        _one_side_accepted,
        mend=(theirs(speaking),),
        symptom="stuck_accepted",
    ),
    Fault(
        "older-ca-here",
        "alpha knows beta by its CA as it was before it was renewed",
        ("ca_disagrees",),
        _older_ca(HERE, THERE),
    ),
    Fault(
        "older-ca-there",
        "beta knows alpha by its CA as it was before it was renewed",
        ("ca_disagrees",),
        _older_ca(THERE, HERE),
    ),
)
