"""Metrics for Prometheus: what the core measures, and what only this process sees.

Labels are words of ours: a route's pattern, never the path that was asked for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, disable_created_metrics
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from fedtui.api.connections import Connections
from fedtui.api.rendering import Handler
from fedtui.core.errors import Denied, Problem
from fedtui.core.node import Node
from fedtui.core.runtime import bounded_log
from fedtui.core.views.metrics import Measure

log = bounded_log.logger(__name__)
disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for every counter and histogram, which nothing here needs
FRESH_SECONDS = 10.0
"""How long what the database said is good: a scraper that hurries costs nothing more."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
LATENCIES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
ELSEWHERE = "none"
"""The route of a request that met none."""


class Metrics:
    """One process's metrics: give it what happens, ask it for the text."""

    def __init__(self, node: Node, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.registry = CollectorRegistry(auto_describe=False)
        self._latency = Histogram(
            "fedtui_api_request_seconds",
            "Requests to the federation API.",
            ("method", "route", "status"),
            buckets=LATENCIES,
            registry=self.registry,
        )
        self._denials = Counter(
            "fedtui_denials",
            "Calls turned away, by internal code: by TLS, the chain, or a token.",
            ("code",),
            registry=self.registry,
        )
        self._connections = Gauge(
            "fedtui_api_connections", "Connections open to the federation API.", registry=self.registry
        )
        self._connections.set(0)
        self._unfinished = Gauge(
            "fedtui_api_handshakes", "Connections that have not finished TLS.", registry=self.registry
        )
        self._evicted = Gauge(
            "fedtui_api_connections_evicted",
            "Silent connections ended to make room, since the start.",
            registry=self.registry,
        )
        self._of_the_node = _OfTheNode(node, clock)
        self.registry.register(self._of_the_node)
        ProcessCollector(registry=self.registry)

    def denied(self, code: str) -> None:
        """A call was turned away, by its internal code."""
        self._denials.labels(code).inc()

    def connections(self, table: Connections) -> None:
        """Where the numbers of connections come from."""
        self._connections.set_function(lambda: len(table))
        self._unfinished.set_function(lambda: table.unfinished)
        self._evicted.set_function(lambda: table.evicted)

    def text(self, accept: str) -> tuple[bytes, str]:
        """The exposition in the format that `accept` asks for, and its content type. Reads the database."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    @web.middleware
    async def timed(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Observes each request; the outermost middleware, so that every answer has a status."""
        began = time.perf_counter()
        status = 499  # the caller left, or the process is stopping: there is no answer
        try:
            response = await handler(request)
            status = response.status
            return response
        finally:
            method = request.method if request.method in METHODS else "other"
            self._latency.labels(method, _route(request), str(status)).observe(time.perf_counter() - began)

    @web.middleware
    async def counted(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Counts each denial by its internal code, on its way to being rendered."""
        try:
            return await handler(request)
        except Denied as denied:
            self.denied(denied.code)
            raise


def _route(request: web.Request) -> str:
    resource = request.match_info.route.resource
    return resource.canonical if resource is not None else ELSEWHERE


class _OfTheNode(Collector):
    """The core's measures, asked for at most every few seconds, however many scrape."""

    def __init__(self, node: Node, clock: Callable[[], float]) -> None:
        self._node, self._clock = node, clock
        self._lock = threading.Lock()
        self._known: tuple[float, Sequence[Measure]] | None = None

    def collect(self) -> Iterator[GaugeMetricFamily]:
        try:
            found = self._measures()
        except Problem as problem:
            # What this process sees itself is still worth having.
            log.warning("[Metrics] the node could not be measured: %s %s", problem.problem, problem.cause)
            found = ()
        up = GaugeMetricFamily("fedtui_measured", "1 where the node's database could be read, else 0.")
        up.add_metric((), float(bool(found)))
        yield up
        for one in found:
            family = GaugeMetricFamily(one.name, one.words, labels=one.labels)
            for labels, value in one.samples.items():
                family.add_metric(labels, value)
            yield family

    def _measures(self) -> Sequence[Measure]:
        with self._lock:
            now = self._clock()
            if self._known is None or now - self._known[0] >= FRESH_SECONDS:
                self._known = (now, self._node.measures())
            return self._known[1]
