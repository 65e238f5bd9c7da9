"""Figures of a server, in the text form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
)

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Figures of one server, in a registry of their own.

    Args:
        queue: Gives the number of requests that are read, wait or are worked on.
    """

    def __init__(self, queue: Callable[[], float]) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "openpaf_requests", "Answers of /predict.", ["status"], registry=self.registry
        )
        self._request_s = Histogram(
            "openpaf_request_seconds", "Time from the head of a request to its answer.",
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._batch = Histogram(
            "openpaf_batch_images", "Images of a run of the network.",
            buckets=_IMAGES, registry=self.registry,
        )  # fmt: skip
        self._batch_s = Histogram(
            "openpaf_batch_seconds", "Time of a run: network and parser.",
            buckets=_SECONDS, registry=self.registry,
        )  # fmt: skip
        self._people = Counter("openpaf_people", "People in answers.", registry=self.registry)
        length = Gauge(
            "openpaf_queue_length", "Requests that are read, wait or are worked on.",
            registry=self.registry,
        )  # fmt: skip
        length.set_function(queue)

    def answered(self, status: int, spent_s: float) -> None:
        """Count an answer of ``/predict``."""
        self._requests.labels(str(status)).inc()
        self._request_s.observe(spent_s)

    def ran(self, n_images: int, spent_s: float) -> None:
        """Count a run of the network."""
        self._batch.observe(n_images)
        self._batch_s.observe(spent_s)

    def found(self, n_people: int) -> None:
        """Count the people of an answer."""
        self._people.inc(n_people)

    def text(self) -> bytes:
        """All figures."""
        return generate_latest(self.registry)
