"""Metrics that are there before anything happened, and totals that never fall."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from flows.ledger.failures import KINDS
from flows.ledger.tables import State
from flows.reports.metrics import LedgerMetrics
from flows.service import orders
from flows.service.attempt import Watch, run_attempt
from tests.flows.parts import Bench, bench, submitted


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Bench]:
    """A bench."""
    found = bench(tmp_path)
    yield found
    found.close()


def totals(here: Bench, name: str) -> dict[tuple[str, ...], float]:
    registry = CollectorRegistry()
    registry.register(LedgerMetrics(here.engine, ["in", "other"]))
    return {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(generate_latest(registry).decode())
        for sample in family.samples
        if sample.name == name
    }


def test_totals_of_each_folder_are_there_from_the_start(here: Bench) -> None:
    assert totals(here, "slidemill_failed_attempts_total") == {
        (folder, kind): 0 for folder in ("in", "other") for kind in KINDS
    }
    for name in ("converted_slides", "converted_bytes", "conversion_seconds"):
        assert totals(here, f"slidemill_{name}_total") == {("in",): 0, ("other",): 0}


def test_failed_attempts_are_counted_by_folder_and_kind_and_never_fall(here: Bench, slide: Path) -> None:
    ticket = submitted(here, slide)
    (here.place / "out").write_text("a file where the folder of the stores should be")
    before = totals(here, "slidemill_failed_attempts_total")
    assert run_attempt(here.engine, here.settings, ticket, Watch()) in (State.FAILED, State.QUARANTINED)
    row = here.row("a.svs")
    after = totals(here, "slidemill_failed_attempts_total")
    assert {key: value for key, value in after.items() if value != before[key]} == {("in", row.kind): 1}
    assert orders.retry(here.engine, row)
    assert totals(here, "slidemill_failed_attempts_total") == after
