"""What /metrics tells Prometheus."""

from __future__ import annotations

import time
from collections.abc import MutableMapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from flawmap.service.guard import App, Receive, Scope, Send
from flawmap.service.queueing import PhotoQueue
from flawmap.service.shapes_quality import DriftInfo


class Metrics:
    """The figures of one service, in a registry of its own so that several fit into one process."""

    def __init__(self, queue: PhotoQueue) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "flawmap_requests", "Requests answered.", ("method", "route", "status"), registry=self.registry
        )
        self.request_s = Histogram(
            "flawmap_request_seconds",
            "Time to answer a request.",
            ("method", "route"),
            registry=self.registry,
        )
        self.photos = Counter(
            "flawmap_photos", "Photos that a model answered for.", ("model", "answer"), registry=self.registry
        )
        waiting = Gauge(
            "flawmap_photos_waiting", "Photos that no thread has taken yet.", registry=self.registry
        )
        waiting.set_function(lambda: queue.n_waiting)
        self.drift = Gauge(
            "flawmap_drift_statistic",
            "How far the latest photos differ from the reference, 0 to 1.",
            ("model", "measure"),
            registry=self.registry,
        )
        self.drift_alarm = Gauge(
            "flawmap_drift_alarm", "1 while the latest photos differ.", ("model",), registry=self.registry
        )
        self.deliveries = Gauge(
            "flawmap_deliveries_waiting",
            "Messages that the webhook has not taken.",
            registry=self.registry,
        )

    def tell_drift(self, found: DriftInfo) -> None:
        """What was found of a model's photos."""
        self.drift_alarm.labels(found.model).set(found.state == "alarm")
        for one in (*found.measures, *(found.training.measures if found.training else ())):
            self.drift.labels(found.model, one.name).set(one.statistic)

    def page(self) -> bytes:
        """The text form of Prometheus."""
        return generate_latest(self.registry)


class Counted:
    """ASGI middleware: counts and times every answer, by the route's pattern."""

    def __init__(self, app: App, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, began_s = 500, time.perf_counter()

        async def noted(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = getattr(scope.get("route"), "path", "other")
            # A method of somebody's own making would be a series of its own in Prometheus.
            method = scope["method"] if scope["method"] in ("GET", "HEAD", "POST", "DELETE") else "other"
            self._metrics.requests.labels(method, route, str(status)).inc()
            self._metrics.request_s.labels(method, route).observe(time.perf_counter() - began_s)
