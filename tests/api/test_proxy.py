"""Behind a real nginx, configured as the example in the repository says."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import httpx
import pytest

from fedtui.api.listener import bind
from fedtui.core.pki import certificates, signing, tls
from fedtui.core.protocol.client import PREFIX
from tests.api.conftest import Served, accept_body, proposed_with_token
from tests.api.test_resources import (
    DOCUMENT,
    ELSEWHERE,
    PATH,
    Pair,
    Place,
    act,
    client_cert,
    opened,
    proxy_pair,
    strange_certificate,
)

NGINX = shutil.which("nginx")
EXAMPLE = Path(__file__).parents[2] / "examples" / "nginx.conf"
DEADLINE = 20.0
NO_NETWORK = 'proxy_set_header X-Sdwan-Network    "";'

pytestmark = pytest.mark.skipif(NGINX is None, reason="needs nginx")


class Proxy:
    """An nginx before a served node. `client` is a caller's, with its pair or without."""

    def __init__(self, place: Place, port: int) -> None:
        self.url = f"https://127.0.0.1:{port}"
        self._place = place

    def client(self, pair: Pair | None) -> httpx.Client:
        trusted = [self._place.served.ca_pem]
        return httpx.Client(
            base_url=self.url, verify=tls.client_context(trusted, pair), trust_env=False, timeout=DEADLINE
        )

    def get(self, grant_id: str, pair: Pair | None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with self.client(pair) as client:
            return client.get(PATH, headers={"Authorization": f"Bearer fg-{grant_id}", **named})


Start = Callable[..., Proxy]


@pytest.fixture
def place(served: Served) -> Place:
    return opened(served)


@pytest.fixture
def start(place: Place, tmp_path: Path) -> Iterator[Start]:
    """Starts nginx by the example; `network` is the one that it stands in."""
    running: list[subprocess.Popen[bytes]] = []

    def start(network: str = "", trusted: bool = True) -> Proxy:
        pair, fingerprint = proxy_pair(place)
        if trusted:
            act(place.node, "system.settings_change", {"key": "trusted_proxies", "value": fingerprint})
        with bind("127.0.0.1", 0) as free:
            port = free.getsockname()[1]
        config = configured(place, pair, tmp_path, port, network)
        command = [str(NGINX), "-p", str(tmp_path), "-c", str(config), "-e", str(tmp_path / "error.log")]
        running.append(subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        wait_for(port, running[-1], tmp_path / "error.log")
        return Proxy(place, port)

    yield start
    for process in running:
        process.terminate()
        process.wait(DEADLINE)


def configured(place: Place, pair: Pair, home: Path, port: int, network: str) -> Path:
    """The example with this test's names, within the least that nginx needs around it."""
    node = urlsplit(place.node.url)
    with place.node.read() as session:
        server = certificates.current_server(session)
        assert server is not None
        server_key = signing.private_key_pem(session, place.node.vault, server)
    files = {
        "server.pem": (server.cert_pem + server.chain_pem).encode(),
        "server.key": server_key,
        "node-ca.pem": place.served.ca_pem.encode(),
        "proxy.pem": pair[0].encode(),
        "proxy.key": pair[1],
    }
    for name, content in files.items():
        (home / name).write_bytes(content)
    block = EXAMPLE.read_text()
    for ours, theirs in (
        ("/etc/nginx/fedtui", str(home)),
        ("127.0.0.1:8443", node.netloc),
        ("listen 443", f"listen 127.0.0.1:{port}"),
        ("a.example.com", str(node.hostname)),
        (NO_NETWORK, f'proxy_set_header X-Sdwan-Network "{network}";'),
    ):
        assert ours in block, f"the example has no {ours}"
        block = block.replace(ours, theirs)
    paths = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{name}_temp_path {home}/{name};" for name in paths)
    config = home / "nginx.conf"
    # In the foreground and in one process, so that it ends with the test, whoever runs it.
    config.write_text(
        f"daemon off; master_process off; pid {home}/nginx.pid; events {{ worker_connections 64; }}\n"
        f"http {{ access_log off; {temporary}\n{block}}}\n"
    )
    return config


def wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until it takes connections. Fails with what it wrote if it has ended instead."""
    end = time.monotonic() + DEADLINE
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"nginx does not listen: {log.read_text()}")


def test_a_peer_is_who_it_is_behind_nginx(place: Place, start: Start) -> None:
    """A call, a write and a heartbeat through nginx are the peer's own; an accept, without a certificate, passes."""
    proxy, grant_id = start(), place.grant(cidrs=["127.0.0.0/8"])
    got = proxy.get(grant_id, place.pair)
    assert (got.status_code, got.json()["data"]["document"]) == (200, DOCUMENT)
    with proxy.client(place.pair) as client:
        named = {"Authorization": f"Bearer fg-{grant_id}", "If-Match": got.headers["ETag"]}
        assert client.put(PATH, json={"by": "proxy"}, headers=named).status_code == 200
        assert client.put(PATH, json={"late": True}, headers=named).status_code == 412
        assert client.post(f"{PREFIX}/heartbeat", json={}).status_code == 200
    _, token = proposed_with_token(place.node, "https://d.example")
    with proxy.client(None) as client:
        body = accept_body(token, "https://d.example", csr_pem=signing.signing_request(signing.new_key(), "d"))
        assert client.post(f"{PREFIX}/accept", json=body).status_code == 200


def test_no_caller_can_say_it_is_another_behind_nginx(place: Place, start: Start) -> None:
    """Without a certificate nobody calls, whatever headers are sent; a stranger's does not pass nginx."""
    proxy, grant_id = start(), place.grant()
    claimed = {"X_SSL_Client_Cert": quote(place.pair[0]), "Client_Cert": client_cert(place.pair[0])}
    turned = proxy.get(grant_id, None, **claimed)
    assert (turned.status_code, place.decision(turned).code) == (401, "cert_not_presented")
    elsewhere = place.grant(cidrs=["192.0.2.0/24"])
    turned = proxy.get(elsewhere, place.pair, X_Forwarded_For="192.0.2.7")
    assert place.decision(turned).code == "source_ip_not_allowed"
    assert place.decision(turned).context["caller"]["source_ip"] == "127.0.0.1"
    named = place.grant(instances=[ELSEWHERE], networks=[ELSEWHERE])
    turned = proxy.get(named, place.pair, X_Calling_Instance=ELSEWHERE, X_Sdwan_Network=ELSEWHERE)
    refused = {one["check"] for one in place.decision(turned).checks if one["passed"] is False}
    assert refused == {"instance", "network"}
    assert proxy.get(grant_id, stranger_pair(place)).status_code == 400


def test_the_network_of_an_nginx_counts_with_an_active_bridge(place: Place, start: Start) -> None:
    """A grant for one network works through the proxy that stands in it, over a bridge, and not directly."""
    proxy, grant_id = start(network=ELSEWHERE), place.grant(networks=[ELSEWHERE])
    turned = proxy.get(grant_id, place.pair)
    assert place.decision(turned).code == "network_bridge_inactive"
    bridge = act(place.node, "system.federation_bridge_propose", {"peer": place.peer_id, "network": ELSEWHERE})
    act(place.node, "system.federation_bridge_activate", {"bridge": bridge["id"]})
    assert proxy.get(grant_id, place.pair).status_code == 200
    assert place.decision(place.call("GET", grant_id)).code == "network_not_allowed"


def test_an_nginx_that_is_not_trusted_speaks_for_nobody(place: Place, start: Start) -> None:
    """Its certificate is ours and good; until the setting names it, the caller is the proxy, which is no peer."""
    turned = start(trusted=False).get(place.grant(), place.pair)
    kept = place.decision(turned)
    assert (turned.status_code, kept.code) == (401, "cert_wrong_kind")
    assert "x-ssl-client-cert" in kept.context["caller"]["ignored"]


def stranger_pair(place: Place) -> Pair:
    """A certificate of another CA."""
    key = signing.new_key()
    return strange_certificate(key, place.node.clock.now()), signing.key_pem(key)
