"""What comes in is judged before it is read, bounded before it is parsed, and parsed where nobody waits for it."""

from __future__ import annotations

import json
import socket
import ssl
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from fedtui.api import documents, request_body
from fedtui.api.bodies import parse
from fedtui.api.routes import ROUTES
from fedtui.core.audit.events import recent
from fedtui.core.diagnosis.triage import DiagnosisTarget
from fedtui.core.errors import Unusable, WrongUsage
from fedtui.core.peers import peers
from fedtui.core.pki import signing, tls
from fedtui.core.protocol import heartbeat_sender
from fedtui.core.protocol.client import PREFIX
from fedtui.core.runtime import database
from tests.api.conftest import ADA, Serve, Served, accept_body, act, federate, joined, proposed_with_token
from tests.api.test_renewal import rows
from tests.api.test_resources import Place, opened

KIB = 1024
DEEP = b'{"capabilities": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}"
MANY = b'{"capabilities": {"a": [' + b"1," * 20_000 + b"1]}}"
WITH_BODY = {route.name for route in ROUTES if route.body is not None}


@pytest.fixture
def place(serve: Serve) -> Place:
    return opened(serve("alpha", accepts_burst=1000, heartbeats_burst=1000))


def calls(place: Place) -> dict[str, Callable[[], httpx.Response]]:
    """Each call that takes a body, as it should be made."""
    served, pair = place.served, place.pair
    csr = signing.signing_request(signing.new_key(), "b")
    _, token = proposed_with_token(served.node, "https://c.example")
    grant = place.grant()
    return {
        "accept": lambda: served.post("accept", accept_body(token, "https://c.example", csr_pem=csr)),
        "enroll": lambda: served.post("enroll", {"certificate": {"cert_pem": "x"}}, pair=pair),
        "heartbeat": lambda: served.post("heartbeat", {"platform_version": "1"}, pair=pair),
        "renew": lambda: served.post("renew", {"csr_pem": csr}, pair=pair),
        "put_resource": lambda: place.call("PUT", grant, json={"a": [1] * 20_000}),
    }


def test_no_call_is_parsed_on_the_loop_or_under_a_lock(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every call with a body is parsed on a thread for it, with no transaction open there; no other way is taken."""
    made, seen = calls(place), dict[str, list[tuple[str, int]]]()
    assert set(made) == WITH_BODY
    name = ""

    def note() -> None:
        seen.setdefault(name, []).append((threading.current_thread().name.partition("_")[0], database._open.count))

    def parsed(*arguments: Any) -> Any:
        note()
        return parse(*arguments)

    normalize = documents.Documents.normalize

    def normalized(self: Any, content: bytes) -> Any:
        note()
        return normalize(self, content)

    monkeypatch.setattr(request_body, "parse", parsed)
    monkeypatch.setattr(documents.Documents, "normalize", normalized)
    for name, call in made.items():
        assert call().status_code in (200, 422), name
    assert seen == {name: [("documents" if name == "put_resource" else "parsing", 0)] for name in WITH_BODY}


@pytest.mark.parametrize("path", ["accept", "heartbeat", "enroll", "renew"])
@pytest.mark.parametrize("content", [DEEP, MANY], ids=["deep", "many"])
def test_json_beyond_its_bounds_is_refused(place: Place, path: str, content: bytes) -> None:
    """More than 32 levels, or than 10,000 values: 422 in the contract's shape."""
    with place.served.client(None if path == "accept" else place.pair) as client:
        answer = client.post(f"{PREFIX}/{path}", content=content)
    assert (answer.status_code, answer.json()["code"], answer.json()["success"]) == (422, "invalid_body", False)


@pytest.mark.parametrize(
    ("path", "limit"),
    [("accept", 128), ("enroll", 128), ("renew", 128), ("heartbeat", 64), ("resources/doc/one", 1024)],
)
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_have_the_size_of_their_call(place: Place, path: str, limit: int, chunked: bool) -> None:
    """A byte more than the call takes is 413 `too_large`, said beforehand or not."""
    content = b'"' + b"x" * (limit * KIB - 1) + b'"'
    sent: Any = iter([content[:1000], content[1000:]]) if chunked else content
    headers = {"Authorization": f"Bearer fg-{place.grant()}"}
    method = "PUT" if path.startswith("resources") else "POST"
    with place.served.client(None if path == "accept" else place.pair) as client:
        answer = client.request(method, f"{PREFIX}/{path}", content=sent, headers=headers)
    assert (answer.status_code, answer.json()["code"], answer.json()["success"]) == (413, "too_large", False)


def test_a_peer_that_is_refused_for_its_body_is_on_record(place: Place) -> None:
    """Both sides can find out: an event that names the peer, the call and the bound; the same again is counted."""
    with place.served.client(place.pair) as client:
        for content in (b"x" * (65 * KIB), DEEP, DEEP):
            client.post(f"{PREFIX}/heartbeat", content=content)
    with place.node.read() as session:
        found = recent(session, kind="federation.peer.body_refused", peer_id=place.peer_id)
    assert [event.payload["cause"] for event in found] == ["body_too_complex", "body_too_large"]
    assert "65536" in found[1].payload["answered"]


def test_who_is_not_let_in_is_not_read(place: Place) -> None:
    """A caller without a certificate, and a peer that calls too often, are answered while their body is still to
    come."""
    head = f"POST {PREFIX}/heartbeat HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n".encode()
    assert b" 401 " in first_line(place.served, head, None)
    served = place.served
    served.api._heartbeats._burst = 1
    served.api._heartbeats._levels.clear()
    assert served.post("heartbeat", {}, pair=place.pair).status_code == 200
    assert b" 429 " in first_line(served, head, place.pair)


def first_line(served: Served, sent: bytes, pair: tuple[str, bytes] | None) -> bytes:
    address = ("127.0.0.1", int(served.node.url.rpartition(":")[2]))
    with (
        socket.create_connection(address, timeout=10) as raw,
        tls.client_context([served.ca_pem], pair).wrap_socket(raw, server_hostname="127.0.0.1") as secured,
    ):
        secured.sendall(sent)
        return secured.recv(4096).partition(b"\r\n")[0]


def test_who_costs_too_much_waits(serve: Serve) -> None:
    """An address, and a peer, that have used up their bytes or processor time are answered 429; others are not."""
    served = serve("alpha", bytes_per_minute=100 * KIB, accepts_burst=1000, heartbeats_burst=1000)
    _, pair = joined(served)
    _, other = joined(served, "https://c.example")
    with served.client() as client:
        codes = [client.post(f"{PREFIX}/accept", content=b"x" * 60 * KIB).status_code for _ in range(3)]
    assert codes == [422, 422, 429]
    with served.client(pair) as client:
        answers = [client.post(f"{PREFIX}/heartbeat", content=b"x" * 60 * KIB) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [422, 422, 429]
    assert answers[-1].json()["code"] == "rate_limited"
    assert 1 <= int(answers[-1].headers["Retry-After"]) <= 60
    assert served.post("heartbeat", {}, pair=other).status_code == 200


def test_strangers_pay_for_each_request(serve: Serve) -> None:
    """Whatever an address without a certificate asks for, so many times a minute; a peer from there is served on."""
    served = serve("alpha", processor_ms_per_minute=100)
    _, pair = joined(served)
    with served.client() as client:
        answers = [client.request("POST", f"{PREFIX}/heartbeat") for _ in range(60)]
        answers += [client.get("/crl") for _ in range(60)]
    assert answers[0].status_code == 401
    assert {(answer.status_code, answer.json()["code"]) for answer in answers[-5:]} == {(429, "rate_limited")}
    assert served.post("heartbeat", {}, pair=pair).status_code == 200


def test_processor_time_is_charged(serve: Serve) -> None:
    """What a peer's bodies take to parse is counted against it."""
    served = serve("alpha", processor_ms_per_minute=100, heartbeats_burst=10_000)
    _, pair = joined(served)
    content = b'{"capabilities": {"a": [' + b"[]," * 9_000 + b"1]}}"
    with served.client(pair) as client:
        codes = [client.post(f"{PREFIX}/heartbeat", content=content).status_code for _ in range(100)]
    assert codes[0] == 200
    assert codes[-1] == 429


def test_a_large_document_is_read_in_a_process_beside(place: Place) -> None:
    """A megabyte of nested lists is stored as it was sent, and its reader outlives being killed."""
    grant = place.grant()
    document = [[[1]] * 10] * 10_000
    assert place.call("PUT", grant, json=document).json()["data"]["document"] == document
    beside = place.served.api._intake._documents._beside
    assert beside is not None
    beside.kill()
    beside.wait()
    assert place.call("PUT", grant, json=document).status_code == 200
    assert place.call("GET", grant).json()["data"]["document"] == document
    assert place.call("PUT", grant, content=b"[" * 40_000).json()["code"] == "invalid_body"


def test_the_process_beside_takes_nothing_from_where_it_stands(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the working directory nor the environment says what it imports."""
    for name in ("json", "struct", "sitecustomize"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('taken')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    reader = documents.Documents()
    try:
        _, found = reader.normalize(b"[" + b"1," * documents.SMALL + b"1]")
        assert found.text.startswith("[1,1")
    finally:
        reader.close()


@pytest.mark.parametrize("call", ["enroll", "renew"])
def test_what_ended_while_the_body_came_in_gets_nothing(
    place: Place, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certificate that is revoked while its holder still sends the body is not renewed, and takes no other."""
    judged, gate = threading.Event(), place.served.api._gate
    admit = gate.admit

    async def admitted(*arguments: Any) -> str:
        try:
            return await admit(*arguments)
        finally:
            judged.set()

    def trickled() -> Iterator[bytes]:
        csr = signing.signing_request(signing.new_key(), "b")
        content = json.dumps({"csr_pem": csr, "certificate": {"cert_pem": "x"}}).encode()
        yield content[:1]
        assert judged.wait(10)
        act(place.node, "federation_certificate_revoke", {"serial": serial, "reason": "stolen"})
        yield content[1:]

    [row] = rows(place.node, place.peer_id, "inbound")
    serial = row.serial
    monkeypatch.setattr(gate, "admit", admitted)
    with place.served.client(place.pair) as client:
        answer = client.post(f"{PREFIX}/{call}", content=trickled())
    assert answer.status_code == 401, answer.text
    assert len(rows(place.node, place.peer_id, "inbound")) == 1


@pytest.mark.parametrize("content", [b'{"a": 1e999}', b'{"a": -' + b"9" * 400 + b".5}"], ids=["exponent", "digits"])
def test_a_number_that_is_not_finite_is_refused(place: Place, content: bytes) -> None:
    """However it is written, it is no JSON once it is kept."""
    answer = place.call("PUT", place.grant(), content=content)
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_body")
    assert "finite" in answer.json()["error"]


@pytest.mark.parametrize("document", [float("inf"), {"a": ["\ud800"]}, "\x00"])
def test_an_operators_document_that_no_database_keeps_is_refused(place: Place, document: Any) -> None:
    """The same for what an operator writes: wrong usage, and no bug."""
    with pytest.raises(WrongUsage) as refused:
        place.node.request(ADA, "system.federation_resource_put", {"kind": "doc", "id": "x", "document": document})
    assert refused.value.code == "document_invalid"


def test_a_process_beside_that_takes_nothing_in_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that hangs before it has read the document keeps nobody waiting; the next document starts another."""
    monkeypatch.setattr(documents, "ANSWER_SECONDS", 0.2)
    monkeypatch.setattr(documents, "COMMAND", (sys.executable, "-I", "-S", "-c", "import time; time.sleep(60)"))
    reader = documents.Documents()
    try:
        with pytest.raises(Unusable) as failed:
            reader.normalize(b"[" + b"1," * 100_000 + b"1]")
        assert failed.value.code == "document_process_failed"
        monkeypatch.undo()
        assert reader.normalize(b"[" + b"1," * 100_000 + b"1]")[1].text.startswith("[1,1")
    finally:
        reader.close()


def test_every_json_answer_says_whether_it_succeeded(place: Place) -> None:
    """`success` stands beside `data` and `error`, whatever the call."""
    served = place.served
    answers = [call() for call in calls(place).values()]
    answers += [served.post("heartbeat", {}), served.post("nothing"), place.call("GET", place.grant())]
    answers.append(served.post("diagnosis", {}))
    for answer in answers:
        body = answer.json()
        assert body["success"] is (answer.status_code == 200) is ("data" in body) is ("error" not in body)


# --- the worker token --------------------------------------------------------------------

SWEEP = "/api/v1/system/worker_api/federation/heartbeat_sweep"


def test_guessing_the_worker_token_is_slow_and_on_record(serve: Serve) -> None:
    """After some wrong tokens from one address it waits, and an event says so; with the right one it never does."""
    served = serve("alpha", worker_token="right", wrong_worker_tokens_per_minute=3, processor_ms_per_minute=100)
    with served.client() as client:
        assert client.get(SWEEP).status_code == 401
        assert client.get(SWEEP, headers={"X-Worker-Token": "right"}).status_code == 200
        codes = [client.get(SWEEP, headers={"X-Worker-Token": f"guess {one}"}).status_code for one in range(5)]
        beyond = [client.get("/crl").status_code for _ in range(60)]
        late = client.get(SWEEP, headers={"X-Worker-Token": "right"})
    assert codes == [401, 401, 401, 429, 429]
    assert beyond[-1] == 429
    assert late.status_code == 200
    with served.node.read() as session:
        found = recent(session, kind="system.worker_token.refused")
    assert [event.payload["cause"] for event in found] == ["worker_token_wrong", "worker_token_not_sent"]
    assert "guess" not in str([event.payload for event in found])


def test_no_answer_names_its_server(served: Served) -> None:
    """Neither an answer nor a refusal of what is no HTTP says which server this is, or of which version."""
    address = ("127.0.0.1", int(served.node.url.rpartition(":")[2]))
    for sent in (
        b"GET /crl HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /no HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x00nothing\r\n\r\n",
    ):
        with (
            socket.create_connection(address, timeout=10) as raw,
            tls.client_context([served.ca_pem]).wrap_socket(raw, server_hostname="127.0.0.1") as secured,
        ):
            secured.sendall(sent)
            try:
                answer = secured.recv(4096).lower()
            except ssl.SSLError:
                continue
            assert b"aiohttp" not in answer
            assert b"python" not in answer


def test_doctor_tells_both_sides_that_a_body_was_refused(serve: Serve) -> None:
    """Where a peer takes no heartbeat for its size, the sender's doctor and the receiver's each say so first."""
    here, there = serve("alpha"), serve("beta")
    both = federate(here, there)
    there.api._most["heartbeat"] = 200
    assert "remote_body_refused" in str(heartbeat_sender.send(here.node, both.at_a))
    for served, peer_id, code in ((here, both.at_a, "remote_body_refused"), (there, both.at_b, "body_refused")):
        with served.node.unit(ADA) as unit:
            peers.lock(unit, peer_id).status = "degraded"
            unit.session.flush()
        found = [one.cause.code for one in served.node.diagnose(DiagnosisTarget("degraded", peer=peer_id)).findings]
        assert code in found, (served.node.name, found)
