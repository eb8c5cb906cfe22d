"""Metrics as a scraper reads them: valid text, what happened counted, nothing that a remote chose in a label."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families

from fedtui.api.federation import health
from fedtui.api.listener import Listener, bind
from fedtui.core.errors import Unusable
from fedtui.core.protocol.client import PREFIX
from fedtui.core.views.metrics import QUESTIONS
from tests.api.conftest import Served, accept_body, joined

OPEN_METRICS = "application/openmetrics-text; version=1.0.0"
Samples = Mapping[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(served: Served, accept: str = "") -> str:
    return served.api.metrics.text(accept)[0].decode()


def samples(text: str) -> Samples:
    """Every sample by name and labels. Raises where the text is not the format."""
    return {
        (one.name, frozenset(one.labels.items())): one.value
        for family in text_string_to_metric_families(text)
        for one in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float | None:
    return found.get((name, frozenset(labels.items())))


def test_the_text_is_valid_in_both_formats(served: Served) -> None:
    """Prometheus' own parsers read it; every question of the core is in it, each family once, with its help."""
    joined(served)
    families = list(text_string_to_metric_families(scrape(served)))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert all(family.documentation for family in families if family.name.startswith("fedtui_"))
    assert {question.name for question in QUESTIONS} <= set(names)
    assert {"fedtui_api_request_seconds", "fedtui_denials", "process_resident_memory_bytes"} <= set(names)
    assert {"fedtui_peers", "fedtui_denials"} <= {one.name for one in open_metrics(scrape(served, OPEN_METRICS))}
    assert value(samples(scrape(served)), "fedtui_peers", status="accepted") == 1


def test_requests_are_timed_by_route_and_denials_counted_by_code(served: Served) -> None:
    """A route is its pattern; wrong paths and methods share one; a refused token and a bare call have their codes."""
    joined(served)
    served.post("accept", accept_body("wrong", "https://nobody.example"))
    served.post("heartbeat", {})
    with served.client() as client:
        client.get(f"{PREFIX}/resources/doc/secret-name")
        client.get("/chosen/by/the-remote?x=1")
        client.request("PURGE", "/coffee")
    text = scrape(served)
    found, count = samples(text), "fedtui_api_request_seconds_count"
    assert value(found, count, method="POST", route=f"{PREFIX}/accept", status="200") == 1
    assert value(found, count, method="POST", route=f"{PREFIX}/accept", status="401") == 1
    assert value(found, count, method="GET", route=f"{PREFIX}/resources/{{kind}}/{{id}}", status="401") == 1
    assert value(found, count, method="GET", route="none", status="404") == 1
    assert value(found, count, method="other", route="none", status="404") == 1
    assert value(found, "fedtui_denials_total", code="cert_not_presented") == 2
    assert value(found, "fedtui_denials_total", code="token_unknown") == 1
    for chosen in ("secret-name", "the-remote", "PURGE", "nobody.example"):
        assert chosen not in text


def test_the_database_is_asked_at_most_every_few_seconds(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two scrapes at once are one look at the node."""
    looks: list[int] = []
    real = type(served.node).measures

    def counted(node: Any) -> Any:
        looks.append(1)
        return real(node)

    monkeypatch.setattr(type(served.node), "measures", counted)
    scrape(served)
    scrape(served)
    assert len(looks) == 1


def test_what_the_process_sees_is_told_without_the_database(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the database does not answer, the scrape says so and still has the rest."""

    def gone(_node: Any) -> Any:
        raise Unusable("The node's database did not answer.")

    served.post("heartbeat", {})
    assert value(samples(scrape(served)), "fedtui_measured") == 1
    monkeypatch.setattr(type(served.node), "measures", gone)
    served.api.metrics._of_the_node._known = None  # as if the seconds for which it is good had passed
    found = samples(scrape(served))
    assert value(found, "fedtui_measured") == 0
    assert value(found, "fedtui_peers", status="active") is None
    assert value(found, "fedtui_denials_total", code="cert_not_presented") == 1


def test_the_operations_listener_serves_it(served: Served) -> None:
    """GET /metrics there answers with the exposition's content type; the federation API has no such path."""
    bound = bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    operations = Listener(health(served.node, served.api.metrics), context=None)
    asyncio.run_coroutine_threadsafe(operations.start(bound), served.loop).result(10)
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/metrics", trust_env=False, timeout=20)
    finally:
        asyncio.run_coroutine_threadsafe(operations.stop(grace=1), served.loop).result(10)
    assert (answer.status_code, answer.headers["Content-Type"].split(";")[0]) == (200, "text/plain")
    assert value(samples(answer.text), "fedtui_measured") == 1
    with served.client() as client:
        assert client.get("/metrics").status_code == 404
