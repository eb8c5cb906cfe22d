"""`accept` over TLS: shapes, limits, and that one of many callers wins."""

from __future__ import annotations

import threading
from typing import Any

import httpx
import pytest
from cryptography import x509

from fedtui.core.peers import peers
from fedtui.core.pki import signing
from tests.api.conftest import Serve, Served, accept_body, proposed_with_token


def test_accept_answers_the_contract(served: Served, serve: Serve) -> None:
    """Every field of the contract is there, and the certificate is for the key that was sent."""
    other = serve("beta")
    peer_id, token = proposed_with_token(served.node)
    key = signing.new_key()
    declared = {
        "extension_slugs": ["sdwan"],
        "endpoints": [{"url": "https://b.example", "scope": "wan", "priority": 1, "extra": 1}],
        "capabilities": {"x": [1]},
        "platform_version": "1.4.2",
        "data_residency": "EU",
        "operator_contact": "ops@b.example",
        "unknown_field": "ignored",
    }
    csr = signing.signing_request(key, "b")
    response = served.post("accept", accept_body(token, csr_pem=csr, ca_bundle_pem=other.ca_pem, **declared))
    assert response.status_code == 200
    data = response.json()["data"]
    assert set(data) == {
        "peer_id",
        "status",
        "peer_kind",
        "contract_version_agreed",
        "accepted_at",
        "handshake_at",
        "certificate",
        "csr_pem",
        "ca_bundle_pem",
        "warnings",
    }
    assert set(data["certificate"]) == {"cert_pem", "ca_chain_pem", "serial", "not_after"}
    leaf = x509.load_pem_x509_certificate(data["certificate"]["cert_pem"].encode())
    assert leaf.public_key() == key.public_key()
    with served.node.read() as session:
        peer = peers.get(session, peer_id)
        assert peer.endpoints == declared["endpoints"]
        assert (peer.platform_version, peer.extension_slugs) == ("1.4.2", ["sdwan"])


@pytest.mark.parametrize("with_csr", [True, False])
def test_one_of_thirty_two_callers_wins(serve: Serve, with_csr: bool) -> None:
    """32 simultaneous accepts of one token, each with its own CSR or none: exactly one gets in."""
    served = serve("alpha", accepts_burst=200)
    _, token = proposed_with_token(served.node)
    barrier = threading.Barrier(32)
    answers: list[httpx.Response] = []

    def call() -> None:
        more = {"csr_pem": signing.signing_request(signing.new_key(), "b")} if with_csr else {}
        with served.client() as client:
            client.get("/crl")  # the connection is made before the race
            barrier.wait()
            answers.append(client.post("/api/v1/system/federation_api/accept", json=accept_body(token, **more)))

    threads = [threading.Thread(target=call) for _ in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 31
    losers = {answer.json()["error"] for answer in answers if answer.status_code == 401}
    assert losers == {"acceptance_token does not match stored digest"}


def test_the_same_caller_retrying_in_parallel_gets_one_answer(serve: Serve) -> None:
    """Concurrent repeats with the same key are the idempotent retry: all get the same certificate."""
    served = serve("alpha", accepts_burst=200)
    _, token = proposed_with_token(served.node)
    csr = signing.signing_request(signing.new_key(), "b")
    answers: list[Any] = []
    threads = [
        threading.Thread(target=lambda: answers.append(served.post("accept", accept_body(token, csr_pem=csr)).json()))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["data"]["status"] == "accepted"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"remote_instance_url": "https://b.example"}, "contract_version"),
        ({"contract_version": " ", "remote_instance_url": "https://b.example"}, "contract_version"),
        ({"contract_version": 1, "remote_instance_url": "x" * 3000}, "remote_instance_url"),
        ({"contract_version": "one", "remote_instance_url": "https://b.example"}, "contract_version"),
        ({"contract_version": 1, "remote_instance_url": "https://b.example", "endpoints": "x"}, "endpoints"),
        (
            {"contract_version": 1, "remote_instance_url": "https://b.example", "capabilities": {"a": "\x00"}},
            "capabilities",
        ),
        ([], "body"),
    ],
)
def test_invalid_bodies_name_the_field(served: Served, body: Any, field: str) -> None:
    """A body that does not validate is 422 with each field named."""
    response = served.post("accept", body)
    assert response.status_code == 422
    assert field in [one["field"] for one in response.json()["fields"]]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"contract_version": 1e999}', b"null"])
def test_broken_json_is_not_a_crash(served: Served, content: bytes) -> None:
    """Whatever bytes arrive, the answer is 422 in the contract's shape."""
    with served.client() as client:
        response = client.post("/api/v1/system/federation_api/accept", content=content)
    assert (response.status_code, response.json()["code"]) == (422, "invalid_body")


def test_a_refusal_never_repeats_the_token(served: Served) -> None:
    """Validation errors and refusals do not echo what was presented."""
    _, token = proposed_with_token(served.node)
    for body in (accept_body(token, endpoints="x"), accept_body(token + "x"), accept_body(token, contract_version=9)):
        assert token not in served.post("accept", body).text


def test_words_of_the_runbook_arrive(served: Served) -> None:
    """The strings that operators search for, over HTTP, in the contract's shape."""
    _, token = proposed_with_token(served.node)
    for body, status, error in (
        (accept_body(None), 422, "acceptance_token required (peer has acceptance_token_digest set)"),
        (accept_body("   "), 422, "acceptance_token required (peer has acceptance_token_digest set)"),
        (accept_body("nope"), 401, "acceptance_token does not match stored digest"),
        (accept_body("nope", "https://x.example"), 401, "acceptance_token not recognized or expired"),
        (accept_body(token, contract_version=99), 422, "Unsupported contract_version 99; supported: [1]"),
    ):
        response = served.post("accept", body)
        assert (response.status_code, response.json()["error"]) == (status, error)
        assert {"error", "code", "decision_id"} <= set(response.json())


def test_too_many_accepts_from_one_address(serve: Serve) -> None:
    """Past the burst: 429 with Retry-After, in the same shape."""
    served = serve("alpha", accepts_burst=2, accepts_per_minute=1)
    codes = [served.post("accept", accept_body(None)).status_code for _ in range(2)]
    response = served.post("accept", accept_body(None))
    assert codes == [422, 422]
    assert response.status_code == 429
    assert int(response.headers["Retry-After"]) >= 1
    assert response.json()["code"] == "rate_limited"


def test_too_large_and_not_found_and_wrong_method(served: Served) -> None:
    """413, 404 and 405 come in the same JSON shape."""
    with served.client() as client:
        answers = [
            client.post("/api/v1/system/federation_api/accept", content=b"x" * (128 * 1024 + 1)),
            client.get("/nothing"),
            client.get("/api/v1/system/federation_api/accept"),
        ]
    assert [answer.status_code for answer in answers] == [413, 404, 405]
    assert all(set(answer.json()) == {"success", "error", "code", "decision_id"} for answer in answers)
    assert [answer.json()["code"] for answer in answers] == ["too_large", "not_found", "method_not_allowed"]
