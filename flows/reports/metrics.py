"""Prometheus metrics of the service, read from the ledger when they are asked for: any number of machines, one truth."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator
from wsgiref.simple_server import WSGIServer

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection, Engine, case, func, select
from sqlalchemy.exc import DBAPIError

from flows.ledger import checks
from flows.ledger.database import clock
from flows.ledger.failures import KINDS, failure_counts
from flows.ledger.rows import counts, marked
from flows.ledger.tables import State, slides

log = logging.getLogger("slidemill.metrics")

_WAITING = (State.READY, State.SUBMITTED, State.FAILED)


class LedgerMetrics(Collector):
    """Collects from a ledger; where that is away, only `slidemill_ledger_up 0`.

    Totals of each folder are there from the start, at 0: who asks for the growth of a number that appears sees none.
    """

    def __init__(self, engine: Engine, folders: Collection[str] = ()) -> None:
        self._engine, self._folders = engine, frozenset(folders)

    def describe(self) -> list[Metric]:
        """Nothing in advance: registering must not need the database."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics."""
        found: list[Metric] = []
        up = GaugeMetricFamily("slidemill_ledger_up", "Whether the ledger answers.")
        try:
            with self._engine.connect() as connection:
                here = self._folders | set(connection.execute(select(slides.c.folder).distinct()).scalars())
                found = [*_slides(connection), *_failures(connection, here), *_work(connection, here)]
                found += [*_ages(connection), *_stores(connection)]
            up.add_metric([], 1)
        except DBAPIError as error:
            log.debug("the ledger cannot be asked: %s", type(error).__name__)
            up.add_metric([], 0)
        yield up
        yield from found


def _slides(connection: Connection) -> Iterator[Metric]:
    by_state = GaugeMetricFamily("slidemill_slides", "Slides in the ledger by state.", labels=["state"])
    found = counts(connection)
    for state in State:
        by_state.add_metric([state], found.get(state, 0))
    yield by_state
    c = slides.c
    failures = GaugeMetricFamily("slidemill_quarantined", "Slides in quarantine by kind of failure.", labels=["kind"])
    query = select(c.kind, func.count()).where(c.state == State.QUARANTINED).group_by(c.kind)
    for kind, count in connection.execute(query).tuples():
        failures.add_metric([kind or "unknown"], count)
    yield failures


def _failures(connection: Connection, folders: Collection[str]) -> Iterator[Metric]:
    total = CounterMetricFamily("slidemill_failed_attempts", "Attempts that failed.", labels=["folder", "kind"])
    found = failure_counts(connection)
    for folder in sorted({*folders, *found}):
        kinds = dict.fromkeys(KINDS, 0) | dict(found.get(folder, {}))
        for kind, count in sorted(kinds.items()):
            total.add_metric([folder, kind], count)
    yield total


def _work(connection: Connection, folders: Collection[str]) -> Iterator[Metric]:
    """Totals of converted slides; they fall only where rows are removed from the ledger."""
    c = slides.c
    done = c.state == State.DONE
    seconds = case((c.started.is_not(None), c.finished - c.started), else_=0.0)
    query = select(c.folder, func.count(), func.sum(c.bytes), func.sum(seconds)).where(done).group_by(c.folder)
    converted = CounterMetricFamily("slidemill_converted_slides", "Slides converted.", labels=["folder"])
    read = CounterMetricFamily("slidemill_converted_bytes", "Bytes of the slides converted.", labels=["folder"])
    spent = CounterMetricFamily("slidemill_conversion_seconds", "Seconds from start to published.", labels=["folder"])
    sums = {folder: rest for folder, *rest in connection.execute(query).tuples()}
    for folder in sorted(folders):
        count, size, took = sums.get(folder, (0, 0, 0.0))
        converted.add_metric([folder], count)
        read.add_metric([folder], float(size or 0))
        spent.add_metric([folder], float(took or 0.0))
    yield from (converted, read, spent)


def _ages(connection: Connection) -> Iterator[Metric]:
    now = clock(connection)
    oldest = connection.execute(select(func.min(slides.c.ready)).where(slides.c.state.in_(_WAITING))).scalar_one()
    age = 0.0 if oldest is None else now - float(oldest)
    yield GaugeMetricFamily("slidemill_queue_age_seconds", "Age of the oldest slide that is not under way.", value=age)
    for name in ("scan", "reconcile"):
        last = marked(connection, name)
        if last is not None:
            text = f"Seconds since the last {name} ended."
            yield GaugeMetricFamily(f"slidemill_last_{name}_age_seconds", text, value=now - last[0])


def _stores(connection: Connection) -> Iterator[Metric]:
    """Of stores that were made; every kind of fault from the start."""
    found = checks.summary(connection)
    text = "Stores that were made and are not as they were, by what was found."
    wrong = GaugeMetricFamily("slidemill_stores_wrong", text, labels=["wrong"])
    for kind, count in found.wrong.items():
        wrong.add_metric([kind], count)
    yield wrong
    text = "Stores that somebody looked into after they were made."
    yield GaugeMetricFamily("slidemill_stores_looked_into", text, value=found.looked)
    if found.oldest is not None:
        text = "Seconds since the look into a store that is longest ago."
        yield GaugeMetricFamily("slidemill_oldest_store_look_seconds", text, value=found.oldest)


def serve_metrics(engine: Engine, port: int, address: str = "127.0.0.1", folders: Collection[str] = ()) -> Callable[[], None]:
    """Serve the metrics on a thread. Returns what stops it. Raises OSError where the port is taken."""
    registry = CollectorRegistry()
    registry.register(LedgerMetrics(engine, folders))
    server: WSGIServer
    server, thread = start_http_server(port, address, registry)

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop
