"""What `accept` answers, and what becomes of tokens and certificates behind it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from cryptography import x509

from fedtui.core.audit.events import recent
from fedtui.core.errors import Denied, Refused, WrongUsage
from fedtui.core.grants import listing as grant_listing
from fedtui.core.node import Node
from fedtui.core.operations.gate import Done
from fedtui.core.peers import peers, tokens
from fedtui.core.pki import certificates, key_pairs, signing
from fedtui.core.protocol import accept_server
from fedtui.core.protocol.accept_server import NO_MATCH, REQUIRED, UNKNOWN, AcceptRequest
from fedtui.core.runtime.actor import Actor
from tests.conftest import MakeNode, ManualClock
from tests.core.test_peers import new_peer

REMOTE = Actor("peer", "accept", origin="api 192.0.2.1")
URL = "https://b.example"


def new_csr() -> str:
    return signing.signing_request(signing.new_key(), "instance asked-for")


def issue(node: Node, peer_id: str, **params: Any) -> str:
    outcome = node.request(node.actor("test"), "system.federation_peer_token", {"peer": peer_id, **params})
    assert isinstance(outcome, Done)
    return str(outcome.result["acceptance_token"])


def accept(node: Node, token: str | None, **options: Any) -> Mapping[str, Any]:
    asked = {"contract_version": 1, "remote_instance_url": URL, "acceptance_token": token, **options}
    return accept_server.answer_accept(node, AcceptRequest(**asked), REMOTE)


def denied(node: Node, token: str | None, **options: Any) -> Denied:
    with pytest.raises(Denied) as raised:
        accept(node, token, **options)
    return raised.value


def bundle_of(other: Node) -> str:
    with other.read() as session:
        return certificates.own_ca(session).cert_pem


def recorded_cause(node: Node) -> str:
    with node.read() as session:
        return str(recent(session, kind="federation.peer.accept_refused", limit=1)[0].payload["cause"])


def test_the_happy_answer(make_node: MakeNode) -> None:
    """A right token gets a certificate with the names we assign, our CA, and a request of our own."""
    node, other = make_node("alpha"), make_node("beta")
    peer_id = new_peer(node)
    answer = accept(node, issue(node, peer_id), csr_pem=new_csr(), ca_bundle_pem=bundle_of(other))
    assert (answer["peer_id"], answer["status"], answer["contract_version_agreed"]) == (peer_id, "accepted", 1)
    assert answer["warnings"] == []
    leaf = x509.load_pem_x509_certificate(answer["certificate"]["cert_pem"].encode())
    assert leaf.subject.rfc4514_string() == f"CN=fed:{peer_id}"
    with node.read() as session:
        peer = peers.get(session, peer_id)
        assert peer.signed_at is not None
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
            f"powernode://instance/{peer.node_instance_id}"
        ]
        assert key_pairs.pair_state(session, peer_id) == "cert_missing"
    assert x509.load_pem_x509_csr(answer["csr_pem"].encode()).is_signature_valid


def test_a_peer_with_a_token_wants_it(node: Node) -> None:
    """No token, or a blank one, where the peer waits for one: 422 with the runbook's words."""
    issue(node, new_peer(node))
    error = denied(node, None)
    assert (error.http_status, error.public, recorded_cause(node)) == (422, REQUIRED, "token_not_sent")


def test_a_wrong_token_does_not_match(node: Node, clock: ManualClock) -> None:
    """A token that hashes to nothing of ours: 401, recorded as mistyped."""
    issue(node, new_peer(node))
    error = denied(node, "not-the-token")
    assert (error.http_status, error.public, recorded_cause(node)) == (401, NO_MATCH, "token_mistyped")


def test_an_expired_token_says_when(node: Node, clock: ManualClock) -> None:
    """Past its expiry: 401 with the time; the same once the manager has marked it."""
    token = issue(node, new_peer(node))
    clock.advance(days=7, seconds=1)
    first = denied(node, token)
    assert first.http_status == 401
    assert str(first.public).startswith("acceptance_token has expired (expired_at 2026-03-08T12:00:00")
    with node.unit(REMOTE) as unit:
        assert tokens.expire(unit) == 1
    assert denied(node, token).public == first.public
    assert recorded_cause(node) == "token_expired"


def test_a_superseded_token_is_told_apart_in_our_record_only(node: Node) -> None:
    """The remote learns no more than for a typo; our event says it was superseded."""
    peer_id = new_peer(node)
    old = issue(node, peer_id)
    new = issue(node, peer_id)
    assert denied(node, old).public == NO_MATCH
    assert recorded_cause(node) == "token_superseded"
    assert accept(node, new)["status"] == "accepted"


def test_a_cancelled_token_is_dead(node: Node) -> None:
    """Cancelling ends a token that leaked."""
    peer_id = new_peer(node)
    token = issue(node, peer_id)
    outcome = node.request(node.actor("test"), "system.federation_peer_token", {"peer": peer_id, "cancel": True})
    assert isinstance(outcome, Done)
    assert outcome.result["cancelled"] is True
    assert denied(node, token).public == NO_MATCH
    assert recorded_cause(node) == "token_cancelled"


def test_nobody_is_recognized_without_peer_and_token(node: Node) -> None:
    """No such peer and no such token: 401 that tells nothing."""
    error = denied(node, "whatever")
    assert (error.http_status, error.public) == (401, UNKNOWN)


def test_contract_version_is_checked_first(node: Node) -> None:
    """An unsupported version is refused with the runbook's words and does not burn the token."""
    token = issue(node, new_peer(node))
    error = denied(node, token, contract_version=99)
    assert (error.http_status, error.public) == (422, "Unsupported contract_version 99; supported: [1]")
    assert accept(node, token)["status"] == "accepted"


def test_a_lost_answer_can_be_asked_for_again(make_node: MakeNode, clock: ManualClock) -> None:
    """Same token and same key, before the token's expiry: the same answer; any other reuse is refused."""
    node, other = make_node("alpha"), make_node("beta")
    token = issue(node, new_peer(node))
    csr, bundle = new_csr(), bundle_of(other)
    first = accept(node, token, csr_pem=csr, ca_bundle_pem=bundle)
    clock.advance(hours=1)
    assert accept(node, token, csr_pem=csr, ca_bundle_pem=bundle) == first
    for reuse in ({"csr_pem": new_csr()}, {}):
        assert denied(node, token, **reuse).public == NO_MATCH
        assert recorded_cause(node) == "token_already_used"
    clock.advance(days=7)
    assert denied(node, token, csr_pem=csr).public == NO_MATCH


def test_an_accept_without_a_request_cannot_be_repeated(node: Node) -> None:
    """Without csr_pem nothing is signed, the answer warns, and a second try is refused."""
    peer_id = new_peer(node)
    token = issue(node, peer_id)
    answer = accept(node, token)
    assert (answer["status"], answer["certificate"], answer["csr_pem"]) == ("accepted", None, None)
    assert len(answer["warnings"]) == 2
    assert denied(node, token).public == NO_MATCH
    with node.read() as session:
        assert peers.get(session, peer_id).signed_at is not None


def test_a_token_admits_its_peer_under_another_name(node: Node) -> None:
    """The token decides; the URL that was proposed stays, and the caller is told."""
    peer_id = new_peer(node)
    answer = accept(node, issue(node, peer_id), remote_instance_url="https://other.example")
    assert answer["peer_id"] == peer_id
    assert any(URL in warning for warning in answer["warnings"])
    with node.read() as session:
        assert peers.get(session, peer_id).remote_instance_url == URL


def test_the_token_counts_where_the_url_is_another_peers(node: Node) -> None:
    """A caller that names one peer with the token of another is the other, and the answer says so."""
    new_peer(node)
    other = new_peer(node, url="https://c.example")
    answer = accept(node, issue(node, other))
    assert answer["peer_id"] == other
    assert any("https://c.example" in warning and URL in warning for warning in answer["warnings"])
    with node.read() as session:
        assert {peer.status for peer in (peers.by_url(session, URL),) if peer} == {"proposed"}


def test_a_token_alone_finds_its_peer(node: Node) -> None:
    """Without a URL the token says which peer it is, and nothing is warned of; without either there is the one
    answer."""
    peer_id = new_peer(node)
    key = signing.signing_request(signing.new_key(), "b")
    answer = accept(node, issue(node, peer_id), remote_instance_url=None, csr_pem=key)
    assert (answer["peer_id"], len(answer["warnings"])) == (peer_id, 1)
    for presented, public in ((None, REQUIRED), ("nope", UNKNOWN)):
        assert denied(node, presented, remote_instance_url=None).public == public


def test_without_a_token_a_caller_learns_nothing(make_node: MakeNode) -> None:
    """Known and unknown URLs, live, used, cancelled and missing tokens, drill rows elsewhere: one status, one text,
    one code; only a drill-mode row on a drill-mode node lets a caller in, and never without its URL."""
    node = make_node()
    new_peer(node)
    issue(node, new_peer(node, url="https://live.example"))
    used = new_peer(node, url="https://used.example")
    accept(node, issue(node, used), remote_instance_url="https://used.example")
    new_peer(node, url="https://drill.example", drill_mode=True)
    names = [URL, "https://never.example", None]
    names += [f"https://{name}.example" for name in ("live", "used", "drill")]
    answers = {
        (found.http_status, found.public, found.public_code)
        for found in (denied(node, None, remote_instance_url=name) for name in names)
    }
    assert answers == {(422, REQUIRED, "token_not_sent")}
    drilling = make_node("beta", drill_mode=True)
    new_peer(drilling, drill_mode=True)
    assert denied(drilling, None, remote_instance_url=None).public == REQUIRED
    assert accept(drilling, None)["status"] == "accepted"


def test_what_a_stranger_sends_is_not_read(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request and a bundle of certificates are read for the holder of a token alone."""

    def read(*_: object, **__: object) -> None:
        raise AssertionError("it was read")

    new_peer(node)
    monkeypatch.setattr(accept_server.key_pairs, "request_key_fingerprint", read)
    monkeypatch.setattr(accept_server, "read_certificates", read)
    for presented in (None, "nope"):
        assert denied(node, presented, csr_pem="x", ca_bundle_pem="x").http_status in (401, 422)


@pytest.mark.parametrize("drill", [True, False])
def test_drill_mode_takes_anyone_only_where_it_is_set_up(make_node: MakeNode, drill: bool) -> None:
    """A proposed peer without a token accepts any caller on a drill-mode node, nobody elsewhere."""
    node = make_node(single_operator=True, drill_mode=drill)
    actor = node.actor("test")
    asked = node.request(actor, "system.federation_peer_propose", {"url": URL})
    node.approve(actor, asked.approval.id, asked.approval.digest)  # type: ignore[union-attr]
    from fedtui.core.jobs import tasks as job_tasks

    job_tasks.manager_tick(node, node.acts)
    if not drill:
        assert denied(node, None).public == REQUIRED
        return
    assert accept(node, None)["status"] == "accepted"
    assert denied(node, None).public == REQUIRED


def test_a_token_ends_drill_mode_for_its_peer(make_node: MakeNode) -> None:
    """Once a token was issued, the row waits for it, also after it was cancelled."""
    node = make_node(drill_mode=True)
    peer_id = new_peer(node, drill_mode=True)
    issue(node, peer_id)
    assert denied(node, None).public == REQUIRED
    node.request(node.actor("test"), "system.federation_peer_token", {"peer": peer_id, "cancel": True})
    assert denied(node, None).public == REQUIRED


def test_a_managed_child_gets_its_operator_grant_once(node: Node) -> None:
    """Where this node is the parent of a managed child, accepting issues the grant; a repeat does not."""
    peer_id = new_peer(node, role="parent", mode="managed_child")
    token, csr = issue(node, peer_id), new_csr()
    for _ in range(2):
        accept(node, token, csr_pem=csr)
    with node.read() as session:
        [grant] = grant_listing.rows(session)
    assert (grant.remote_subject, grant.resource_kind) == (f"parent-operator@{peer_id}", "managed_child_operator")
    assert grant.permission_scopes == ["read", "write", "admin"]
    assert (grant.expires_at - grant.issued_at).days == 365


def test_other_roles_get_no_grant(node: Node) -> None:
    """A symmetric peer is given nothing by accepting."""
    accept(node, issue(node, new_peer(node)))
    with node.read() as session:
        assert grant_listing.rows(session) == []


def test_a_broken_request_does_not_burn_the_token(node: Node) -> None:
    """A CSR or bundle that cannot be read is refused before the token is spent."""
    token = issue(node, new_peer(node))
    for broken in ({"csr_pem": "-----BEGIN nonsense"}, {"ca_bundle_pem": "x"}):
        with pytest.raises(WrongUsage):
            accept(node, token, **broken)
    assert accept(node, token)["status"] == "accepted"


def test_a_certificate_for_another_key_is_not_stored(make_node: MakeNode) -> None:
    """`enroll` takes only what makes a pair with our own request and chains to the peer's CA."""
    node, other = make_node("alpha"), make_node("beta")
    peer_id = new_peer(node)
    answer = accept(node, issue(node, peer_id), csr_pem=new_csr(), ca_bundle_pem=bundle_of(other))
    with other.unit(REMOTE) as unit:
        authority = signing.open_authority(unit.session, other.vault)
        right_key = x509.load_pem_x509_csr(answer["csr_pem"].encode()).public_key()
        stranger = signing.new_key().public_key()
        signed = [
            signing.issue_for_peer(
                unit, authority, peer_id="p", instance_id="i", key=key, lifetime=node.settings.leaf_lifetime
            ).cert_pem
            for key in (stranger, right_key)
        ]
    for pem, code in ((signed[0], "key_cert_mismatch"), (answer["certificate"]["cert_pem"], "trust_chain_mismatch")):
        with pytest.raises(Refused) as refused:
            accept_server.receive_certificate(node, peer_id, pem, "", REMOTE)
        assert refused.value.code == code
    for _ in range(2):
        accept_server.receive_certificate(node, peer_id, signed[1], "", REMOTE)
    with node.read() as session:
        assert key_pairs.pair_state(session, peer_id) == "complete"
        assert len(recent(session, kind="federation.peer.credentials_stored")) == 1
