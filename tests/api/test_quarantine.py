"""A node in quarantine, as its peers see it."""

from __future__ import annotations

from fedtui.core.jobs import restore
from fedtui.core.operations import quarantine
from fedtui.core.pki import key_pairs
from tests.api.conftest import ADA, Federated, accept_body, act, proposed_with_token


def test_it_answers_no_peer_until_it_is_over(federated: Federated) -> None:
    """Heartbeats, accepts and grants are answered 503 alike; with the quarantine over the peer is
    heard again."""
    alpha, beta = federated.a, federated.b
    act(alpha.node, "inventory_change", {"kind": "doc", "served": True})
    given = {"peer": federated.at_a, "subject": "x@b", "kind": "doc", "scopes": ["read"]}
    bearer = act(alpha.node, "federation_grant_issue", given)["bearer_token"]
    _, token = proposed_with_token(alpha.node, "https://c.example")
    restore.begin(alpha.node, ADA, "the disk died")
    with beta.node.read() as session:
        own = key_pairs.pair(session, beta.node.vault, federated.at_b)
    assert own.certificate is not None
    assert own.private_key_pem is not None
    pair = own.certificate.cert_pem, own.private_key_pem
    answers = [
        alpha.post("heartbeat", {}, pair=pair),
        alpha.post("accept", accept_body(token, "https://c.example")),
        alpha.post("enroll", {}, pair=pair),
    ]
    with alpha.client(pair) as client:
        path = "/api/v1/system/federation_api/resources/doc/one"
        answers.append(client.get(path, headers={"Authorization": f"Bearer {bearer}"}))
    assert [one.status_code for one in answers] == [503] * 4
    assert {one.json()["code"] for one in answers} == {"unavailable"}
    with alpha.node.unit(ADA) as unit:
        quarantine.end(unit)
    assert alpha.post("heartbeat", {}, pair=pair).status_code == 200
