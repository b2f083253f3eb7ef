"""Commands of the service that only need the ledger; status and metrics."""

from __future__ import annotations

import json
import shutil
import socket
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from flows.attempt import Watch, run_attempt
from flows.cli import run
from flows.ledger.attempts import Ticket
from flows.ledger.tables import State
from flows.metrics import serve_metrics
from tests.made_svs import MADE as SVS
from tests.service_parts import Bench, bench

Made = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture
def here(tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench with a converted slide, one in quarantine, one that is ready."""
    found = bench(tmp_path)
    monkeypatch.setenv("SLIDEMILL_CONFIG", str(tmp_path / "slidemill.toml"))
    name, maker, _ = SVS[0]
    slide = made(name, maker)
    shutil.copy(slide, found.folder / "done.svs")
    (found.folder / "broken.svs").write_bytes(slide.read_bytes()[:9000])
    found.scan(2)
    found.feed()
    row = found.row("done.svs")
    assert run_attempt(found.engine, found.settings, Ticket(row.id, row.attempt), Watch()) == State.DONE
    shutil.copy(slide, found.folder / "ready.svs")
    found.scan(2)
    yield found
    found.close()


def answer(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> Any:
    """The one JSON object a command prints."""
    assert run([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_status(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "status")
    assert {k: v for k, v in found["counts"].items() if v} == {"queued": 1, "done": 1, "quarantined": 1}
    assert found["healthy"]
    assert found["throughput"]["slides_last_hour"] == 1
    assert found["quarantined"][0]["kind"] == "damaged"
    assert found["oldest_waiting_s"] >= 0
    assert run(["status"]) == 0
    assert "broken.svs" in capsys.readouterr().out


def test_status_knows_that_nobody_looks(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    with here.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE marks SET at = 1")
    assert not answer(capsys, "status")["healthy"]


def test_quarantine_and_retry(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    listed = answer(capsys, "quarantine", "list")["quarantined"]
    assert [row["path"] for row in listed] == ["broken.svs"]
    assert answer(capsys, "retry", listed[0]["id"][:6]) == {"queued": [listed[0]["id"]]}
    assert here.row("broken.svs").state == State.READY
    assert answer(capsys, "retry", listed[0]["id"], code=2)["error"]["kind"] == "usage"
    assert answer(capsys, "retry", "--all") == {"queued": []}
    assert answer(capsys, "retry", code=2)["error"]["kind"] == "usage"


def test_cancel(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    ready = here.row("ready.svs").id
    assert answer(capsys, "cancel", ready)["status"] == "cancelled"
    assert answer(capsys, "cancel", ready, code=2)["error"]["kind"] == "usage"
    assert answer(capsys, "cancel", "no-such-id", code=2)["error"]["kind"] == "usage"


def test_submit_queues_by_hand(here: Bench, made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    name, maker, _ = SVS[1]
    slide = made(name, maker)
    out = here.place / "mine"
    found = answer(capsys, "convert", str(slide), "-o", str(out), "--submit", "--codec", "zstd-3")
    assert found["status"] == "queued"
    here.feed()
    assert (
        here.dispatcher.queues[-2] == ("interactive", found["id"]) or ("interactive", found["id"]) in here.dispatcher.queues
    )
    assert run_attempt(here.engine, here.settings, Ticket(found["id"], 1), Watch()) == State.DONE
    receipt = here.row(slide.name).receipt
    assert receipt is not None
    assert Path(receipt["output"]).parent == out
    assert here.row(slide.name).options["codec"] == "zstd-3"


def test_submit_says_what_is_no_slide(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "convert", str(here.folder / "broken.svs"), "-o", str(here.place / "x"), "--submit", code=4)
    assert found["error"]["kind"] == "damaged"


def test_config_check(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert answer(capsys, "config", "check")["ok"]
    shutil.rmtree(here.folder)
    assert "no folder" in answer(capsys, "config", "check", code=2)["findings"][0]


def test_metrics(here: Bench) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stop = serve_metrics(here.engine, port)
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read().decode()
    finally:
        stop()
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert values["slidemill_slides", "done"] == 1
    assert values["slidemill_quarantined", "damaged"] == 1
    assert values["slidemill_converted_slides_total", "in"] == 1
    assert values["slidemill_converted_bytes_total", "in"] == here.row("done.svs").bytes
    assert values["slidemill_conversion_seconds_total", "in"] > 0
    assert values["slidemill_queue_age_seconds",] >= 0
    assert values["slidemill_ledger_up",] == 1
