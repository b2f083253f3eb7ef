"""Slides that arrive as they do over a network: slowly, in pieces, twice."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.ledger.tables import State
from tests.made.afi import Afi, make_afi
from tests.made.svs import Svs, make_svs
from tests.made.vsi import COLOUR, Vsi, make_vsi
from tests.service.checks import assert_settled
from tests.service.harness import Installation, Service

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def service(installation: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for all of these tests: none of them harms it."""
    made = installation.service(tmp_path_factory.mktemp("arrivals"), ("in", "also"))
    try:
        made.start_control()
        installation.start_flows()
        made.start_worker()
        yield made
    finally:
        made.close()


def test_a_file_that_grows_for_a_minute(service: Service, tmp_path: Path) -> None:
    """With pauses longer than the quiet time: what is there looks complete, and is not."""
    whole = make_svs(tmp_path / "grows.svs", Svs(size=(1400, 1500), seed=31)).read_bytes()
    began, parts = time.monotonic(), 12
    with (service.folder / "in" / "grows.svs").open("wb") as file:
        for number in range(parts):
            file.write(whole[len(whole) * number // parts : len(whole) * (number + 1) // parts])
            file.flush()
            time.sleep(60 / parts)
    assert time.monotonic() - began >= 60
    service.wait_until("grows.svs", State.DONE)
    rows = [row for row in service.rows() if row.path == "grows.svs"]
    assert [row.state for row in rows].count(State.DONE) == 1
    assert {row.state for row in rows} <= {State.DONE, State.SUPERSEDED}
    assert_settled(service)


def test_companions_that_arrive_last(service: Service, tmp_path: Path) -> None:
    listed = make_afi(tmp_path / "list.afi", Afi(size=(300, 401), words=("DAPI", "FITC"), seed=32))
    bare = make_vsi(tmp_path / "bare.vsi", Vsi((COLOUR,)))
    for path in (listed, bare):
        shutil.copy(path, service.folder / "in")
    assert service.wait_until("list.afi", State.WAITING).kind == "incomplete"
    service.wait_until("bare.vsi", State.WAITING)
    for path in [*sorted(tmp_path.glob("list_*.svs")), *sorted(tmp_path.glob("_bare_"))]:
        time.sleep(6)  # each is quiet for long enough to be taken for a slide of its own
        if path.is_dir():
            # With times that are set after the bytes, a busy machine could leave the quiet time between the two.
            shutil.copytree(path, service.folder / "in" / path.name, copy_function=shutil.copy)
        else:
            shutil.copy(path, service.folder / "in")
    for name in ("list.afi", "bare.vsi"):
        row = service.wait_until(name, State.DONE)
        assert (row.attempt, row.generation) == (1, 0)
        assert row.files > 1
    rows = assert_settled(service)
    assert not [name for name in rows if name.startswith("list_") or name.endswith(".ets")], "a companion became a slide"


def test_the_same_slide_in_two_folders(service: Service, tmp_path: Path) -> None:
    slide = make_svs(tmp_path / "first.svs", Svs(size=(500, 613), seed=33))
    shutil.copy(slide, service.folder / "in" / "first.svs")
    shutil.copy(slide, service.folder / "also" / "second.svs")
    found = assert_settled(service, "first.svs", "second.svs")
    rows = {name: found[name] for name in ("first.svs", "second.svs")}
    assert {row.state for row in rows.values()} == {State.DONE, State.DUPLICATE}
    done = next(row for row in rows.values() if row.state == State.DONE)
    copy = next(row for row in rows.values() if row.state == State.DUPLICATE)
    assert copy.same_as == done.id
    assert str(done.output) in str(copy.reason)
