"""Faults of calls that are turned away: for who calls, or for the grant."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from sqlalchemy import delete, update

from fedtui.core.errors import RemoteFailed
from fedtui.core.grants import bridges, inventory
from fedtui.core.grants.grants import Grant
from fedtui.core.peers import peers
from fedtui.core.pki import certificates, key_pairs, signing
from fedtui.core.pki.certificates import Certificate
from fedtui.core.pki.x509 import to_pem
from fedtui.core.protocol.client import PREFIX
from fedtui.lab.faults.model import HERE, NETWORK, THERE, Fault, Look, Range, theirs, yours
from fedtui.lab.faults.staging import OVER, STRANGER, WHY, peer_of, refused

KIND = "practice.document"
A_NETWORK = "0195d3a2-7c1e-7000-8000-0000000000aa"
ELSEWHERE = "0195d3a2-7c1e-7000-8000-00000000000e"


def _granted(stand: Range, **terms: Any) -> str:
    """A grant to beta on practice documents: its bearer."""
    with stand.opened(HERE) as node, node.read() as session:
        known = inventory.serves(session, KIND)
    if not known:
        stand.act(HERE, "inventory_change", {"kind": KIND, "served": True})
    given = {"peer": stand.url(THERE), "subject": "practice@beta", "kind": KIND, "scopes": ["read"], **terms}
    return str(stand.act(HERE, "federation_grant_issue", given)["bearer_token"])


def _call(stand: Range, bearer: str, *, method: str = "GET", path: str = f"{KIND}/one") -> None:
    stand.post(HERE, f"{PREFIX}/resources/{path}", None, peer=True, method=method, bearer=bearer)


def _narrowed(method: str = "GET", path: str = f"{KIND}/one", **terms: Any) -> Callable[[Range], None]:
    """A grant that does not fit the call that is made with it."""

    def stage(stand: Range) -> None:
        _call(stand, _granted(stand, **terms), method=method, path=path)

    return stage


def _grant_ended(**values: Any) -> Callable[[Range], None]:
    def stage(stand: Range) -> None:
        bearer = _granted(stand)
        with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
            moments = {name: unit.now - timedelta(minutes=1) for name in values}
            unit.session.execute(update(Grant).where(Grant.id == bearer.removeprefix("fg-")).values(**moments))
        _call(stand, bearer)

    return stage


def _bearer(text: str) -> Callable[[Range], None]:
    def stage(stand: Range) -> None:
        _granted(stand)
        _call(stand, text)

    return stage


def _rightly(stand: Range) -> None:
    """The caller uses the grant that is its own."""
    _call(stand, _granted(stand))


def _of_another(stand: Range) -> None:
    _granted(stand)
    stand.act(HERE, "federation_peer_propose", {"url": STRANGER})
    given = {"peer": STRANGER, "subject": "practice@newcomer", "kind": KIND, "scopes": ["read"]}
    _call(stand, str(stand.act(HERE, "federation_grant_issue", given)["bearer_token"]))


def _unknown_certificate(stand: Range) -> None:
    began = datetime.now(UTC)
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        unit.session.execute(delete(Certificate).where(Certificate.direction == "inbound"))
    refused(stand, "cert_unknown", began)


def _ran_out(stand: Range) -> None:
    began = datetime.now(UTC)
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        past = unit.now - timedelta(minutes=1)
        unit.session.execute(update(Certificate).where(Certificate.direction == "inbound").values(not_after=past))
    refused(stand, "cert_expired", began)


def _without_certificate(stand: Range) -> Look:
    began = datetime.now(UTC)
    stand.post(HERE, f"{PREFIX}/heartbeat", {})
    return {"decision": refused(stand, "cert_not_presented", began)}


def _presented(code: str, pair: Callable[[Range], tuple[str, bytes]]) -> Callable[[Range], Look]:
    """Somebody calls alpha with such a certificate."""

    def stage(stand: Range) -> Look:
        began = datetime.now(UTC)
        with suppress(RemoteFailed):  # TLS hangs up on the caller, who never learns why
            stand.post(HERE, f"{PREFIX}/heartbeat", {}, pair=pair(stand))
        return {"decision": refused(stand, code, began)}

    return stage


def _self_signed(_stand: Range) -> tuple[str, bytes]:
    """A certificate that its bearer has signed for itself."""
    key, name = signing.new_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    return _signed(name, name, key, key)


def _forged(stand: Range) -> tuple[str, bytes]:
    """A certificate that claims to be of alpha's CA, signed by another key."""
    with stand.opened(HERE) as node, node.read() as session:
        ca = x509.load_pem_x509_certificate(certificates.own_ca(session).cert_pem.encode())
    key, name = signing.new_key(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "somebody")])
    return _signed(name, ca.subject, key, signing.new_key())


def _signed(subject: x509.Name, issuer: x509.Name, key: Any, by: Any) -> tuple[str, bytes]:
    start = datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder(
        issuer, subject, key.public_key(), x509.random_serial_number(), start, start + timedelta(days=30)
    ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
    return to_pem(builder.sign(by, hashes.SHA256())), signing.key_pem(key)


def _of_a_proxy(stand: Range) -> tuple[str, bytes]:
    """A certificate that alpha has signed for a proxy, not for a peer."""
    key = signing.new_key()
    made = stand.act(
        HERE, "federation_certificate_mint", {"proxy": "edge-1", "csr_pem": signing.signing_request(key, "edge-1")}
    )
    return made["cert_pem"] + made["chain_pem"], signing.key_pem(key)


def _asked_there(stand: Range) -> None:
    """Beta asks for a certificate, which it cannot have with the one it has."""
    with stand.opened(THERE) as node, node.unit(node.actor("drill")) as unit:
        key_pairs.prepare(unit, node.vault, peer_of(node).id, common_name=THERE)


def _sign_here(stand: Range) -> None:
    """Alpha signs what beta offers."""
    with stand.opened(HERE) as node:
        peer_id = peer_of(node).id

        def offered() -> bool | None:
            with node.read() as session:
                return peers.get(session, peer_id).offered_csr_pem is not None or None

        stand.until("the peer offers its request", offered)
    stand.act(HERE, "federation_certificate_mint", {"peer": stand.url(THERE)})


def _bound_to_nobody(stand: Range) -> None:
    began = datetime.now(UTC)
    with stand.opened(HERE) as node:
        peer_id = peer_of(node).id
    _bind(stand, peer_id, ELSEWHERE)
    refused(stand, "peer_missing", began)


def _bind(stand: Range, before: str, after: str) -> None:
    """The certificates that alpha signed for one peer stand for another."""
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        theirs = update(Certificate).where(Certificate.direction == "inbound", Certificate.peer_id == before)
        unit.session.execute(theirs.values(peer_id=after))


def _bridge(stand: Range) -> str:
    """The active bridge over which beta's calls come."""
    with stand.opened(HERE) as node, node.read() as session:
        known = bridges.live(session, peer_of(node).id, NETWORK)
    asked = {"peer": stand.url(THERE), "network": NETWORK}
    id = known.id if known is not None else str(stand.act(HERE, "federation_bridge_propose", asked)["id"])
    if known is None or known.status != "active":
        stand.act(HERE, "federation_bridge_activate", {"bridge": id})
    return id


def _over_a_bridge(stand: Range) -> None:
    """A grant over a network whose bridge is suspended."""
    stand.act(HERE, "federation_bridge_suspend", {"bridge": _bridge(stand)})
    _call(stand, _granted(stand, networks=[NETWORK]))


def _over_another_network(stand: Range) -> None:
    _bridge(stand)
    _call(stand, _granted(stand, networks=[A_NETWORK]))


def _suspended_here(stand: Range) -> Look:
    """A decision is no fault: only whoever points at the call is told that it is refused for that."""
    began = datetime.now(UTC)
    stand.act(HERE, "federation_peer_suspend", {"peer": stand.url(THERE), "reason": WHY})
    return {"decision": refused(stand, "peer_not_reachable", began)}


def _resumed_here(stand: Range) -> None:
    stand.act(HERE, "federation_peer_resume", {"peer": stand.url(THERE)})


def _revoked_here(stand: Range) -> None:
    began = datetime.now(UTC)
    with stand.opened(HERE) as node, node.read() as session:
        row = certificates.current_inbound(session, peer_of(node).id)
        serial = row.serial if row is not None else ""
    stand.act(HERE, "federation_certificate_revoke", {"serial": serial, "reason": WHY})
    refused(stand, "cert_revoked", began)


FAULTS: tuple[Fault, ...] = (
    Fault(
        "grant-address",
        "beta calls from an address its grant does not allow",
        ("source_ip_not_allowed",),
        _narrowed(cidrs=["192.0.2.0/24"]),
    ),
    Fault(
        "grant-instance",
        "another instance of beta calls than its grant allows",
        ("instance_not_allowed",),
        _narrowed(instances=[ELSEWHERE]),
    ),
    Fault(
        "grant-network",
        "beta calls over another network than its grant names",
        ("network_not_allowed",),
        _over_another_network,
    ),
    Fault(
        "grant-bridge",
        "beta calls over a network whose bridge is not active",
        ("network_bridge_inactive",),
        _over_a_bridge,
    ),
    Fault("grant-scope", "beta writes with a grant to read", ("scope_insufficient",), _narrowed("PUT")),
    Fault("grant-kind", "beta uses a grant for another kind", ("kind_mismatch",), _narrowed(path="other.kind/one")),
    Fault(
        "grant-resource",
        "beta uses a grant for another resource",
        ("resource_mismatch",),
        _narrowed(id="two"),
        mend=(theirs(_rightly),),
    ),
    Fault("grant-expired", "beta's grant has expired", ("grant_expired",), _grant_ended(expires_at=True)),
    Fault("grant-revoked", "beta's grant is revoked", ("grant_revoked",), _grant_ended(revoked_at=True)),
    Fault(
        "grant-malformed",
        "beta sends a bearer that is none",
        ("grant_token_malformed",),
        _bearer("secret"),
        mend=(theirs(_rightly),),
    ),
    Fault(
        "grant-unknown",
        "beta sends the bearer of no grant",
        ("grant_token_unknown",),
        _bearer(f"fg-{ELSEWHERE}"),
        mend=(theirs(_rightly),),
    ),
    Fault(
        "grant-of-another",
        "beta uses another peer's grant",
        ("grant_of_other_peer",),
        _of_another,
        mend=(theirs(_rightly),),
    ),
    Fault(
        "grant-not-served",
        "beta uses a grant for a kind that alpha does not serve",
        ("kind_not_served",),
        _narrowed(kind="practice.unserved", path="practice.unserved/one"),
    ),
    Fault(
        "no-certificate",
        "somebody calls alpha without a certificate",
        ("cert_not_presented",),
        _without_certificate,
        symptom="unauthorized_with_grant",
        mend=OVER,
    ),
    Fault(
        "certificate-self-signed",
        "somebody calls alpha with a certificate of their own",
        ("trust_chain_mismatch",),
        _presented("trust_chain_mismatch", _self_signed),
        symptom="unauthorized_with_grant",
        mend=OVER,
    ),
    Fault(
        "certificate-forged",
        "somebody calls alpha with a forged certificate",
        ("cert_chain_invalid",),
        _presented("cert_chain_invalid", _forged),
        symptom="unauthorized_with_grant",
        mend=OVER,
    ),
    Fault(
        "certificate-of-proxy",
        "somebody calls alpha with a proxy's certificate",
        ("cert_wrong_kind",),
        _presented("cert_wrong_kind", _of_a_proxy),
        symptom="unauthorized_with_grant",
        mend=OVER,
    ),
    Fault(
        "certificate-unbound",
        "beta's certificate stands for no peer that alpha knows",
        ("peer_missing",),
        _bound_to_nobody,
        mend=(theirs(_asked_there), yours(_sign_here)),
    ),
    Fault(
        "suspended-here",
        "alpha itself has suspended beta",
        ("peer_not_reachable",),
        _suspended_here,
        symptom="unauthorized_with_grant",
        mend=(yours(_resumed_here),),
    ),
    Fault(
        "certificate-revoked",
        "alpha has revoked beta's certificate",
        ("cert_revoked",),
        _revoked_here,
        mend=(theirs(_asked_there), yours(_sign_here)),
    ),
    Fault(
        "certificate-unknown",
        "alpha has beta's certificate no more on record",
        ("cert_unknown",),
        _unknown_certificate,
        mend=(theirs(_asked_there), yours(_sign_here)),
    ),
    Fault("certificate-expired", "beta's certificate has run out", ("cert_expired",), _ran_out),
)
