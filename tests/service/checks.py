"""What must hold after every fault: one whole store a converted slide, a reason for every other, nothing left over."""

from __future__ import annotations

import json
from pathlib import Path

from converter.checking.verify import verify_store
from drivers.discovery import find_drivers, open_slide
from flows.ledger.rows import SlideRow
from flows.ledger.tables import OPEN, QUEUED, State
from tests.service import toy
from tests.service.harness import Service, wait_for


def stores(folder: Path) -> list[Path]:
    """Everything below `folder` that opens as a store, stages included."""
    roots = [*folder.rglob("zarr.json"), *folder.rglob(".zattrs")]
    found = {path.parent for path in roots if ".ome.zarr" in path.parent.name or path.parent.name == "store"}
    return sorted(found)


def stages(folder: Path) -> list[Path]:
    """Stages below `folder`."""
    return sorted(path for place in folder.rglob(".stage") for path in place.iterdir())


def assert_settled(service: Service, *names: str, seconds: float = 90) -> dict[str, SlideRow]:
    """Wait until every name is in the ledger and nothing is open or left over, then hold ledger and disk against each other.

    Returns the newest row by file name.
    """
    wait_for("all are known", lambda: all(service.row(name) for name in names), seconds, service.story)
    wait_for("nothing is open", lambda: not service.rows(*OPEN, *QUEUED, State.WAITING), seconds, service.story)
    wait_for("no stage is left", lambda: not stages(service.out), seconds, service.story)
    rows = sorted(service.rows(), key=lambda row: row.generation)
    done = {str(row.output): row for row in rows if row.state == State.DONE}
    assert len(done) == sum(row.state == State.DONE for row in rows), "two slides claim one output"
    assert [str(store) for store in stores(service.out)] == sorted(done), service.story()
    for row in done.values():
        _assert_true(row)
    for row in rows:
        assert row.state == State.DONE or row.reason, row
    return {Path(row.path).name: row for row in rows}


def _assert_true(row: SlideRow) -> None:
    """The store is whole, true to its slide, and the one that the ledger speaks of."""
    store, source = Path(str(row.output)), Path(row.root) / row.path
    drivers = [*(found.driver for found in find_drivers() if found.driver is not None and found.name != "toy"), toy.DRIVER]
    with open_slide(source, drivers) as slide:
        report = verify_store(store, slide=slide, depth="full")
    assert report.ok, (store, report.violations)
    assert row.receipt is not None
    said = json.loads((store / "zarr.json").read_text())["attributes"]["slidemill"]
    assert said["manifest"] == row.receipt["manifest"]
    assert said["fingerprint"] == row.fingerprint == row.receipt["fingerprint"]
