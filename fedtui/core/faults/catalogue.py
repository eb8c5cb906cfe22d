"""The faults: at least one for every cause that can be staged on two nodes of one machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from sqlalchemy import delete, select, update

from fedtui.core.access import decisions, inventory
from fedtui.core.access.grants import Grant
from fedtui.core.acts import jobs
from fedtui.core.control import operators
from fedtui.core.control.approvals import Approval
from fedtui.core.faults.model import HERE, THERE, Fault, Node, Range
from fedtui.core.peering import heartbeats, peers, tokens
from fedtui.core.peering.client import PREFIX
from fedtui.core.peering.peers import Peer
from fedtui.core.peering.tokens import AcceptanceToken
from fedtui.core.playbook import engine
from fedtui.core.playbook.survey import Wanted
from fedtui.core.runtime import daemons, durations
from fedtui.core.runtime.jobs import JobRun
from fedtui.core.trust import anchors, certificates, credentials, signing
from fedtui.core.trust.certificates import Certificate
from fedtui.core.trust.credentials import Credential
from fedtui.core.trust.vault import Owner, SealedValue

WHY = "for practice"
STRANGER = "https://newcomer.example.org"
KIND = "practice.document"
A_NETWORK = "0195d3a2-7c1e-7000-8000-0000000000aa"
ELSEWHERE = "0195d3a2-7c1e-7000-8000-00000000000e"
Look = Mapping[str, str]


def peer_of(node: Node) -> Peer:
    """The node's one peer that is not a newcomer's."""
    with node.read() as session:
        found: Peer = session.scalars(select(Peer).where(Peer.status != "revoked").order_by(Peer.id).limit(1)).one()
    return found


# --- the node's own part --------------------------------------------------------------------


def _daemon_stopped(stand: Range) -> None:
    stand.stop(HERE)
    _daemon_gone(stand)


def _daemon_gone(stand: Range) -> None:
    with stand.opened(HERE) as node:
        stand.until("the daemon is missed", lambda: _nobody_alive(node))


def _nobody_alive(node: Node) -> bool | None:
    with node.read() as session:
        return not daemons.alive(session, now=node.clock.now(), ttl=3 * node.settings.lease_ttl) or None


def _without_job(name: str) -> Callable[[Range], None]:
    def stage(stand: Range) -> None:
        stand.configure(HERE, jobs_off=name)
        stand.stop(HERE)
        with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
            unit.session.execute(delete(JobRun).where(JobRun.job == name))
        stand.start(HERE)
        with stand.opened(HERE) as node:
            stand.until("the job is missed", lambda: _late(node, name))

    return stage


def _late(node: Node, name: str) -> bool | None:
    found = engine.diagnose(node, node.acts, Wanted("stuck_accepted"))
    seen = next(one for one in found.seen if one.check.name == "schedule")
    facts = seen.outcome.facts
    return name in facts.get("jobs_missing", ()) or name in facts.get("jobs_late", ()) or None


def _with_all_jobs(stand: Range) -> None:
    stand.configure(HERE, jobs_off=None)
    stand.stop(HERE)
    stand.start(HERE)


def _lease_held(stand: Range) -> None:
    stand.stop(HERE)
    stand.beside("fedtui.practice.zombie", HERE)
    with stand.opened(HERE) as node:
        stand.until("the sweep is missed", lambda: _late(node, heartbeats.JOB))


def _lease_free(stand: Range) -> None:
    stand.stop_beside()
    stand.start(HERE)


def _other_token(stand: Range) -> None:
    stand.configure(HERE, worker_token="another")  # noqa: S106 - it opens nothing


def _restart(stand: Range) -> None:
    stand.stop(HERE)
    stand.start(HERE)


# --- certificates ---------------------------------------------------------------------------


def _pair_damaged(how: Callable[[Any, Node, Credential], None]) -> Callable[[Range], None]:
    def stage(stand: Range) -> None:
        with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
            current = credentials.current(unit.session, peer_of(node).id)
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


def _sign_here(stand: Range) -> None:
    """Beta asks for a certificate, which cannot be had with the one it has, and alpha signs what beta offers."""
    with stand.opened(THERE) as node, node.unit(node.actor("drill")) as unit:
        credentials.prepare(unit, node.vault, peer_of(node).id, common_name=THERE)
    with stand.opened(HERE) as node:
        peer_id = peer_of(node).id

        def offered() -> bool | None:
            with node.read() as session:
                return peers.get(session, peer_id).offered_csr_pem is not None or None

        stand.until("the peer offers its request", offered)
    stand.act(HERE, "federation_certificate_mint", {"peer": stand.url(THERE)})


def _wrong_anchor(stand: Range) -> None:
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        peer = peer_of(node)
        [known] = anchors.certificates_of(unit.session, peer.id)
        anchors.forget(unit, peer.id)
        anchors.add(unit, peer.id, _namesake(known), source="drill")
    _calls_fail(stand, "remote_tls_failed")


def _namesake(ca: x509.Certificate) -> x509.Certificate:
    """Another CA with the same name."""
    key, start = signing.new_key(), datetime.now(UTC) - timedelta(days=1)
    builder = x509.CertificateBuilder(
        ca.subject, ca.subject, key.public_key(), x509.random_serial_number(), start, start + timedelta(days=3650)
    )
    return builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
        key, hashes.SHA256()
    )


def _calls_fail(stand: Range, code: str) -> None:
    """Wait until alpha has noticed that its calls to beta fail, and in this way."""
    with stand.opened(HERE) as node:
        peer_id = peer_of(node).id

        def failing() -> bool | None:
            with node.read() as session:
                error = peers.get(session, peer_id).last_outbound_error or ""
            return error.startswith(f"{code}:") or None

        stand.until(f"a call to the peer fails as {code}", failing)


def _revoked_there(stand: Range) -> None:
    with stand.opened(THERE) as node, node.read() as session:
        row = certificates.current_inbound(session, peer_of(node).id)
        serial = row.serial if row is not None else ""
    stand.act(THERE, "federation_certificate_revoke", {"serial": serial, "reason": WHY})
    _calls_fail(stand, "remote_rejecting_auth")


def _suspended_there(stand: Range) -> None:
    stand.act(THERE, "federation_peer_suspend", {"peer": stand.url(HERE), "reason": WHY})
    _calls_fail(stand, "remote_rejecting_auth")


# --- the network and the other side -----------------------------------------------------------


def _degraded(stand: Range) -> None:
    with stand.opened(HERE) as node:
        peer_id = peer_of(node).id

        def gone() -> bool | None:
            with node.read() as session:
                return peers.get(session, peer_id).status == "degraded" or None

        stand.until("the sweep degrades the peer", gone)


def _peer_stopped(stand: Range) -> None:
    stand.stop(THERE)
    _degraded(stand)


def _port_blocked(stand: Range) -> None:
    stand.stop(THERE)
    host, _, port = stand.url(THERE).removeprefix("https://").partition(":")
    stand.beside("fedtui.practice.black_hole", host, port)
    _long_ago(stand)
    _degraded(stand)


def _port_open(stand: Range) -> None:
    stand.stop_beside()
    stand.start(THERE)


def _stuck_unreachable(stand: Range) -> None:
    """Beta is gone while alpha lets it prove itself anew."""
    stand.stop(THERE)
    _proving_anew(stand)
    _calls_fail(stand, "remote_refused")


def _proving_anew(stand: Range) -> None:
    stand.act(HERE, "federation_peer_suspend", {"peer": stand.url(THERE), "reason": WHY})
    stand.act(HERE, "federation_peer_resume", {"peer": stand.url(THERE)})


def _stuck_rejected(stand: Range) -> None:
    """Beta has suspended alpha, and so sends nothing; alpha lets it prove itself anew."""
    stand.act(THERE, "federation_peer_suspend", {"peer": stand.url(HERE), "reason": WHY})
    _proving_anew(stand)
    _calls_fail(stand, "remote_rejecting_auth")


def _without_certificate(stand: Range) -> None:
    stand.post(HERE, f"{PREFIX}/heartbeat", {})


def _gone_for_a_day(stand: Range) -> None:
    stand.stop(THERE)
    _long_ago(stand)
    _degraded(stand)
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        peer = peers.lock(unit, peer_of(node).id)
        peers.note(unit, peer, degraded_at=(unit.now - timedelta(hours=30)).isoformat())


def _no_such_name(stand: Range) -> None:
    stand.act(HERE, "federation_peer_edit", {"peer": stand.url(THERE), "url": "https://no-such-host.invalid:8443"})
    _calls_fail(stand, "remote_dns")


def _right_name(stand: Range) -> None:
    with stand.opened(HERE) as node:
        peer_id = peer_of(node).id
    stand.act(HERE, "federation_peer_edit", {"peer": peer_id, "url": stand.url(THERE)})


def _other(**values: Any) -> Callable[[Range], None]:
    """Another configuration of beta's daemon."""

    def apply(stand: Range) -> None:
        stand.configure(THERE, **values)
        stand.stop(THERE)
        stand.start(THERE)

    return apply


def _clock_off(stand: Range) -> None:
    _other(clock_offset=600)(stand)
    with stand.opened(HERE) as node:
        peer_id = peer_of(node).id

        def noticed() -> bool | None:
            with node.read() as session:
                return abs(peers.get(session, peer_id).clock_skew_seconds or 0) > 300 or None

        stand.until("the clocks are compared", noticed)


def _rate_limited(stand: Range) -> None:
    _other(heartbeats_per_minute=1, heartbeats_burst=1)(stand)
    _calls_fail(stand, "remote_rate_limited")


def _silent_there(stand: Range) -> None:
    _other(jobs_off=f"{heartbeats.JOB},{jobs.MANAGER_JOB}")(stand)
    _long_ago(stand)
    _degraded(stand)


def _long_ago(stand: Range) -> None:
    """Beta sends no more from here on; as if that had begun a good while ago."""
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        peer = peers.lock(unit, peer_of(node).id)
        peer.last_heartbeat_at = unit.now - 3 * node.settings.stale_after
        unit.session.flush()


# --- tokens -----------------------------------------------------------------------------------


def _newcomer(stand: Range, *, ttl: str = "1h") -> str:
    """A proposed peer with a token: the token."""
    with stand.opened(HERE) as node, node.read() as session:
        known = peers.by_url(session, STRANGER)
    if known is None:
        stand.act(HERE, "federation_peer_propose", {"url": STRANGER})
    made = stand.act(HERE, "federation_peer_token", {"peer": STRANGER, "ttl": durations.parse(ttl)})
    return str(made["acceptance_token"])


def _accept(stand: Range, token: str | None) -> None:
    body = {"contract_version": 1, "remote_instance_url": STRANGER, "acceptance_token": token}
    stand.post(HERE, f"{PREFIX}/accept", body)


def _mistyped(stand: Range) -> None:
    token = _newcomer(stand)
    _accept(stand, token[:-6] + "aaaaaa")


def _expired(stand: Range) -> None:
    token = _newcomer(stand)
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        past = unit.now - timedelta(minutes=1)
        unit.session.execute(update(AcceptanceToken).where(AcceptanceToken.state == "issued").values(expires_at=past))
    _accept(stand, token)


def _superseded(stand: Range) -> None:
    old = _newcomer(stand)
    _newcomer(stand)
    _accept(stand, old)


def _used(stand: Range) -> Look:
    """Beta's own token: it let beta in, and is held by somebody who tries again."""
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        row = unit.session.scalars(select(AcceptanceToken).where(AcceptanceToken.state == "used").limit(1)).one()
        held = _newcomer_token(unit, row.peer_id)
        unit.session.execute(
            update(AcceptanceToken)
            .where(AcceptanceToken.digest == tokens.digest(held))
            .values(state="used", ended_at=unit.now)
        )
    return {"token": held}


def _newcomer_token(unit: Any, peer_id: str) -> str:
    return tokens.issue(unit, peer_id)[0]


def _not_sent(stand: Range) -> None:
    _newcomer(stand)
    _accept(stand, None)


def _drill_mode(stand: Range) -> None:
    stand.act(HERE, "settings_change", {"key": "drill_mode", "value": "on"})
    stand.act(HERE, "federation_peer_propose", {"url": STRANGER})


# --- calls that are turned away ----------------------------------------------------------------


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
    _refused(stand, "cert_unknown", began)


def _ran_out(stand: Range) -> None:
    began = datetime.now(UTC)
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        past = unit.now - timedelta(minutes=1)
        unit.session.execute(update(Certificate).where(Certificate.direction == "inbound").values(not_after=past))
    _refused(stand, "cert_expired", began)


def _suspended_here(stand: Range) -> None:
    began = datetime.now(UTC)
    stand.act(HERE, "federation_peer_suspend", {"peer": stand.url(THERE), "reason": WHY})
    _refused(stand, "peer_not_reachable", began)


def _revoked_here(stand: Range) -> None:
    began = datetime.now(UTC)
    with stand.opened(HERE) as node, node.read() as session:
        row = certificates.current_inbound(session, peer_of(node).id)
        serial = row.serial if row is not None else ""
    stand.act(HERE, "federation_certificate_revoke", {"serial": serial, "reason": WHY})
    _refused(stand, "cert_revoked", began)


def _refused(stand: Range, code: str, since: datetime) -> None:
    """Wait until alpha has turned beta away for this, after that moment."""
    with stand.opened(HERE) as node:

        def kept() -> bool | None:
            with node.read() as session:
                found = decisions.listing(session, refused_only=True, limit=20)
            return any(one.code == code and one.last_at >= since for one in found) or None

        stand.until(f"the peer is turned away as {code}", kept)


# --- requests ----------------------------------------------------------------------------------


def _asked(stand: Range) -> str:
    with stand.opened(HERE) as node:
        outcome = node.request(node.actor("drill"), "system.federation_peer_propose", {"url": STRANGER}, reason=WHY)
        return str(outcome.approval.id)


def _pending(stand: Range) -> None:
    _asked(stand)


def _withdrawn(stand: Range) -> None:
    with stand.opened(HERE) as node:
        with node.read() as session:
            waiting = session.scalars(select(Approval.id).where(Approval.status == "pending")).all()
        for asked in waiting:
            node.decide(node.actor("drill"), "withdraw", asked)


def _timed_out(stand: Range) -> None:
    asked = _asked(stand)
    with stand.opened(HERE) as node:
        with node.unit(node.actor("drill")) as unit:
            past = unit.now - timedelta(minutes=1)
            unit.session.execute(update(Approval).where(Approval.id == asked).values(expires_at=past))

        def ended() -> bool | None:
            with node.read() as session:
                return session.get_one(Approval, asked).status == "expired" or None

        stand.until("the clock rejects it", ended)


def _nobody_can(stand: Range) -> None:
    with stand.opened(HERE) as node, node.unit(node.actor("drill")) as unit:
        operators.remove(unit, "ben")
    _asked(stand)


def _somebody_can(stand: Range) -> None:
    stand.act(HERE, "operator_add", {"name": "ben"})
    _withdrawn(stand)


def _manager_paused(stand: Range) -> None:
    stand.act(HERE, "manager_pause", {"reason": WHY})


def _policy_lowered(stand: Range) -> None:
    lowered = {"policy_action": "system.federation_peer_propose", "policy": "notify_and_proceed", "span": "30m"}
    stand.act(HERE, "policy_lower", {**lowered, "reason": WHY})


FAULTS: tuple[Fault, ...] = (
    Fault("daemon-stopped", "alpha's daemon is stopped", ("worker_not_running",), _daemon_stopped,
          mend=lambda stand: stand.start(HERE)),
    Fault("job-off", "alpha's daemon runs without the heartbeat job", ("job_not_registered",),
          _without_job(heartbeats.JOB), mend=_with_all_jobs, symptom="stuck_accepted"),
    Fault("lease-held", "a daemon of alpha holds the lease and does nothing", ("sweep_overdue",), _lease_held,
          mend=_lease_free, symptom="stuck_accepted"),
    Fault("worker-token", "alpha's worker has another token than its daemon", ("sweep_endpoint_unauthorized",),
          _other_token, mend=_restart),
    Fault("manager-off", "alpha's daemon runs without the manager", ("manager_not_ticking",),
          _without_job(jobs.MANAGER_JOB), mend=_with_all_jobs, symptom="approval_blocked"),
    Fault("key-deleted", "half of alpha's pair is gone: the private key", ("key_missing",), _pair_damaged(_no_key),
          mend=_sign_there),
    Fault("certificate-deleted", "half of alpha's pair is gone: the certificate", ("cert_missing",),
          _pair_damaged(_no_certificate), mend=_sign_there),
    Fault("key-swapped", "alpha's certificate and key do not belong together", ("key_cert_mismatch",),
          _pair_damaged(_other_key), mend=_sign_there),
    Fault("vault-spoilt", "the vault does not open alpha's private key", ("vault_unreadable",),
          _pair_damaged(_spoilt_key), mend=_sign_there),
    Fault("wrong-anchor", "alpha knows beta by another CA of the same name", ("remote_tls_failed",), _wrong_anchor),
    Fault("revoked-there", "beta has revoked alpha's certificate", ("remote_rejecting_auth",), _revoked_there),
    Fault("suspended-there", "beta has suspended alpha", ("remote_rejecting_auth",), _suspended_there),
    Fault("peer-stopped", "beta's daemon is stopped", ("remote_unreachable",), _peer_stopped,
          mend=lambda stand: stand.start(THERE)),
    Fault("port-blocked", "nothing comes back from beta's port", ("remote_unreachable",), _port_blocked,
          mend=_port_open),
    Fault("gone-a-day", "beta has been gone for more than a day", ("remote_unreachable", "gone_over_24h"),
          _gone_for_a_day, mend=lambda stand: stand.start(THERE)),
    Fault("no-such-name", "alpha has a name for beta that does not resolve", ("one_way_partition",), _no_such_name,
          mend=_right_name),
    Fault("stuck-unreachable", "beta is gone before it has proved itself", ("outbound_unreachable",),
          _stuck_unreachable, symptom="stuck_accepted", mend=lambda stand: stand.start(THERE)),
    Fault("stuck-rejected", "beta turns alpha away before either has proved itself", ("outbound_rejected",),
          _stuck_rejected, symptom="stuck_accepted"),
    Fault("no-certificate", "somebody calls alpha without a certificate", ("cert_not_presented",),
          _without_certificate, symptom="unauthorized_with_grant", mend=lambda _stand: None),
    Fault("clock-skew", "beta's clock is ten minutes ahead", ("clock_skew",), _clock_off,
          mend=_other(clock_offset=None)),
    Fault("rate-limit", "beta takes one heartbeat a minute", ("remote_rate_limited",), _rate_limited,
          mend=_other(heartbeats_per_minute=600, heartbeats_burst=None)),
    Fault("silent-there", "beta answers and sends no heartbeats", ("remote_failing",), _silent_there,
          mend=_other(jobs_off=None)),
    Fault("token-mistyped", "a newcomer's token is mistyped", ("token_mistyped",), _mistyped),
    Fault("token-expired", "a newcomer's token has expired", ("token_expired",), _expired),
    Fault("token-superseded", "a newcomer uses the token before the newest", ("token_superseded",), _superseded),
    Fault("token-used", "somebody holds a token that was used", ("token_already_used",), _used,
          mend=lambda _stand: None),
    Fault("token-not-sent", "a newcomer sends no token", ("token_not_sent",), _not_sent),
    Fault("drill-mode", "alpha takes anybody as a newcomer", ("drill_mode_peer",), _drill_mode),
    Fault("grant-address", "beta calls from an address its grant does not allow", ("source_ip_not_allowed",),
          _narrowed(cidrs=["192.0.2.0/24"])),
    Fault("grant-instance", "another instance of beta calls than its grant allows", ("instance_not_allowed",),
          _narrowed(instances=[ELSEWHERE])),
    Fault("grant-network", "beta calls over no network, and its grant names one", ("network_not_allowed",),
          _narrowed(networks=[A_NETWORK])),
    Fault("grant-scope", "beta writes with a grant to read", ("scope_insufficient",), _narrowed("PUT")),
    Fault("grant-kind", "beta uses a grant for another kind", ("kind_mismatch",), _narrowed(path="other.kind/one")),
    Fault("grant-resource", "beta uses a grant for another resource", ("resource_mismatch",), _narrowed(id="two")),
    Fault("grant-expired", "beta's grant has expired", ("grant_expired",), _grant_ended(expires_at=True)),
    Fault("grant-revoked", "beta's grant is revoked", ("grant_revoked",), _grant_ended(revoked_at=True)),
    Fault("grant-malformed", "beta sends a bearer that is none", ("grant_token_malformed",), _bearer("secret"),
          mend=_rightly),
    Fault("grant-unknown", "beta sends the bearer of no grant", ("grant_token_unknown",), _bearer(f"fg-{ELSEWHERE}"),
          mend=_rightly),
    Fault("grant-of-another", "beta uses another peer's grant", ("grant_of_other_peer",), _of_another,
          mend=_rightly),
    Fault("grant-not-served", "beta uses a grant for a kind that alpha does not serve", ("kind_not_served",),
          _narrowed(kind="practice.unserved", path="practice.unserved/one")),
    Fault("suspended-here", "alpha itself has suspended beta", ("peer_not_reachable",), _suspended_here),
    Fault("certificate-revoked", "alpha has revoked beta's certificate", ("cert_revoked",), _revoked_here),
    Fault("certificate-unknown", "alpha has beta's certificate no more on record", ("cert_unknown",),
          _unknown_certificate, mend=_sign_here),
    Fault("certificate-expired", "beta's certificate has run out", ("cert_expired",), _ran_out),
    Fault("request-pending", "a request waits to be decided", ("approval_pending",), _pending,
          mend=_withdrawn),
    Fault("request-timed-out", "a request was rejected by the clock", ("approval_timed_out",), _timed_out),
    Fault("nobody-can-approve", "nobody can decide a request", ("no_eligible_approver",), _nobody_can,
          mend=_somebody_can),
    Fault("manager-paused", "alpha's manager is paused", ("manager_paused",), _manager_paused),
    Fault("policy-lowered", "a policy of alpha is lowered", ("policy_lowered",), _policy_lowered),
)  # fmt: skip

BY_NAME: Mapping[str, Fault] = {one.name: one for one in FAULTS}
