"""The operations listener: it answers to addresses and to its own names, and to no other host."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from fedtui.api.federation import health
from fedtui.api.listener import Listener, bind
from tests.api.conftest import Serve


@pytest.fixture
def operations(serve: Serve) -> Iterator[int]:
    """The port of a node's operations listener."""
    served = serve("alpha", operations_hosts="metrics.internal, Other.Internal")
    bound = bind("127.0.0.1", 0)
    listener = Listener(health(served.node, served.api.metrics), context=None)
    asyncio.run_coroutine_threadsafe(listener.start(bound), served.loop).result(10)
    yield bound.getsockname()[1]
    asyncio.run_coroutine_threadsafe(listener.stop(grace=1), served.loop).result(10)


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/openapi.json", "/nothing"])
@pytest.mark.parametrize(
    ("host", "meant"),
    [
        ("127.0.0.1:{port}", True),
        ("localhost:{port}", True),
        ("[::1]:{port}", True),
        ("10.0.0.7", True),
        ("metrics.internal", True),
        ("OTHER.internal:9", True),
        ("attacker.example", False),
        ("127.0.0.1.attacker.example:{port}", False),
        ("localhost.attacker.example", False),
        ("", False),
        ("[::1", False),
    ],
)
def test_only_its_own_hosts_are_answered(operations: int, path: str, host: str, meant: bool) -> None:
    """A name that somebody had resolve to this address (DNS rebinding) gets 421 and learns nothing."""
    answer = httpx.get(
        f"http://127.0.0.1:{operations}{path}",
        headers={"Host": host.format(port=operations)},
        trust_env=False,
        timeout=20,
    )
    assert (answer.status_code == 421) is not meant
    if not meant:
        assert (answer.json()["code"], answer.json()["success"]) == ("misdirected", False)
    assert "server" not in answer.headers
