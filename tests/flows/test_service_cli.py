"""Commands of the service that only need the ledger; status and metrics."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from converter.errors import Refused
from flows.cli import run
from flows.engine.up import Service, only_one
from flows.ledger.attempts import Ticket
from flows.ledger.database import clock
from flows.ledger.rows import mark
from flows.ledger.tables import State, marks
from flows.reports.metrics import serve_metrics
from flows.reports.news import News
from flows.reports.status import ENDED
from flows.service.attempt import Watch, run_attempt
from flows.service.process import is_locked
from flows.watching.scan import _outside, scan
from flows.watching.tree import Tree
from tests.flows.parts import Bench, bench
from tests.made.svs import MADE as SVS

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


def test_status_names_what_ended_and_what_is_seen(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (here.folder / "new.svs").write_bytes(b"II*\0")
    here.scan()
    found = answer(capsys, "status")
    assert [(row["path"], row["output"]) for row in found["ended"]] == [("done.svs", here.row("done.svs").output)]
    assert found["undecided_files"] == 1
    assert not found["stopped"]
    assert run(["status"]) == 0
    said = capsys.readouterr().out
    assert f" {here.row('done.svs').output}\n" in said
    assert "1 file seen" in said


def test_status_says_that_the_service_is_stopped(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    lock = here.settings.state / "up.lock"
    lock.touch()
    assert answer(capsys, "status")["healthy"], "somebody else has just looked"
    with here.engine.begin() as connection:
        connection.execute(update(marks).where(marks.c.name == "scan").values(at=clock(connection) - 40))
    with lock.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert answer(capsys, "status")["healthy"]
    found = answer(capsys, "status")
    assert (found["healthy"], found["stopped"]) == (False, True)
    assert run(["status"]) == 0
    assert "the service is stopped" in capsys.readouterr().out


def test_status_knows_at_once_that_up_has_ended(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (here.settings.state / "up.lock").touch()
    assert not answer(capsys, "status")["stopped"]
    with here.engine.begin() as connection:
        mark(connection, ENDED, clock(connection))
    assert answer(capsys, "status")["stopped"]
    assert run(["status", "--check", "--free", "0"]) == 1
    capsys.readouterr()
    with here.engine.begin() as connection:  # another machine looks, or the next `up`
        mark(connection, "scan", clock(connection) + 0.001)
    assert not answer(capsys, "status")["stopped"]


def test_status_says_that_a_folder_is_away(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    here.folder.rename(here.place / "elsewhere")
    here.scan()
    found = answer(capsys, "status")
    assert (found["healthy"], found["unavailable"]) == (False, ["in"])
    assert run(["status"]) == 0
    assert "folder in cannot be listed" in capsys.readouterr().out


def test_list(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    listed = [row["path"] for row in answer(capsys, "list")["slides"]]
    assert sorted(listed) == ["broken.svs", "done.svs", "ready.svs"]
    assert [row["path"] for row in answer(capsys, "list", "one.s")["slides"]] == ["done.svs"]
    assert [row["path"] for row in answer(capsys, "list", here.row("ready.svs").id[:6])["slides"]] == ["ready.svs"]
    assert [row["path"] for row in answer(capsys, "list", "--state", "quarantined")["slides"]] == ["broken.svs"]
    assert len(answer(capsys, "list", "--most", "1")["slides"]) == 1
    assert answer(capsys, "list", "--state", "lost", code=2)["error"]["kind"] == "usage"
    assert run(["list", "no such slide"]) == 0
    assert capsys.readouterr().out.strip() == "no slides"


def test_a_store_that_was_removed_is_made_again(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    row = here.row("done.svs")
    answer(capsys, "retry", row.id, code=2)
    shutil.rmtree(str(row.output))
    assert answer(capsys, "retry", row.id)["queued"] == [row.id]
    here.feed()
    again = here.row("done.svs")
    assert run_attempt(here.engine, here.settings, Ticket(again.id, again.attempt), Watch()) == State.DONE
    assert Path(str(row.output)).is_dir()


def test_a_store_is_no_slide_where_two_folders_show_one_place(here: Bench) -> None:
    (here.place / "link").symlink_to(here.settings.folders[0].output)
    seen = here.settings.model_copy(
        update={"folders": (here.settings.folders[0].model_copy(update={"path": here.place / "link", "output": "/x"}),)}
    )
    for _ in range(2):
        scan(here.engine, seen, here.prober)
    assert not [row for row in here.rows() if row.path.endswith(".zarr")]


def test_outputs_are_not_looked_into_by_whatever_name(here: Bench) -> None:
    folder = here.settings.folders[0]
    (folder.path / "below").mkdir()
    (folder.path / "below" / "a.ome.zarr").mkdir()
    (folder.path / "below" / "a.ome.zarr" / "zarr.json").touch()
    (here.place / "other").symlink_to(folder.path / "below")
    assert "below/a.ome.zarr" in Tree().look(folder, ())
    for name in (here.place / "other", folder.path / ".." / "in" / "below"):
        elsewhere = folder.model_copy(update={"output": str(name)})
        closed = _outside(here.settings.model_copy(update={"folders": (elsewhere,)}))
        assert "below/a.ome.zarr" not in Tree().look(folder, closed)


def test_news(here: Bench) -> None:
    news = News(here.engine)
    assert list(news.lines()) == []
    now = time.time() + 1
    here.change(here.row("done.svs").id, finished=now)
    here.change(here.row("broken.svs").id, finished=now)
    done, broken = sorted(news.lines(), reverse=True)
    assert done == f"done.svs: done, {here.row('done.svs').output}"
    assert broken.startswith("broken.svs: quarantined, ")
    assert list(news.lines()) == []


def test_a_second_service_is_refused_before_it_changes_anything(here: Bench) -> None:
    begun: list[bool] = []
    with (here.settings.state / "up.lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(Refused, match="runs already"):
            Service(here.settings, None, print, lambda: begun.append(True)).run()
    assert begun == []


def test_a_status_that_is_asked_meanwhile_keeps_nobody_from_starting(here: Bench) -> None:
    with (here.settings.state / "up.lock").open("w") as asked:
        fcntl.flock(asked, fcntl.LOCK_SH)
        threading.Timer(0.1, fcntl.flock, (asked, fcntl.LOCK_UN)).start()
        with only_one(here.settings.state):
            assert is_locked(here.settings.state / "up.lock")


def test_up_without_a_place_for_stores(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(here.settings.folders[0].output)
    Path(here.settings.folders[0].output).touch()
    assert run(["up"]) == 2
    assert "is no folder that can be written" in capsys.readouterr().err


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


def test_submit_of_a_folder_ends_with_a_total(here: Bench, made: Made, capsys: pytest.CaptureFixture[str]) -> None:
    folder = here.place / "several"
    folder.mkdir()
    shutil.copy(made(*SVS[1][:2]), folder / "whole.svs")
    shutil.copy(here.folder / "broken.svs", folder)
    assert run(["convert", str(folder), "-o", str(here.place / "x"), "--submit", "--json"]) == 1
    *_, last = capsys.readouterr().out.splitlines()
    assert json.loads(last) == {"total": {"slides": 2, "queued": 1, "failed": 1}}


@pytest.mark.usefixtures("here")
@patch.dict(os.environ)
def test_deploying_to_no_server_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    os.environ.pop("PREFECT_API_URL", None)
    assert "PREFECT_API_URL" in answer(capsys, "config", "deploy", code=2)["error"]["message"]


def test_a_signal_in_the_moment_the_service_looks_for_one(here: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def looking(service: Service) -> int:
        with service.stop._cond:  # as `wait` holds it for a moment
            signal.raise_signal(signal.SIGTERM)
        return 0 if service.stop.wait(60) else 1

    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(Service, "run", looking)
    try:
        assert run(["up", "--config", str(here.place / "slidemill.toml")]) == 0
    finally:
        signal.signal(signal.SIGTERM, before[0])
        signal.signal(signal.SIGINT, before[1])


def test_what_list_says_of_a_slide(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    (found,) = answer(capsys, "list", "done.svs")["slides"]
    row = here.row("done.svs")
    assert row.receipt is not None
    assert found["bytes"] == (here.folder / "done.svs").stat().st_size
    assert (found["files"], found["attempt"], found["failures"], found["driver"]) == (1, 1, 0, "aperio")
    assert found["fingerprint"] == row.fingerprint
    assert found["manifest"] == row.receipt["manifest"] != None  # noqa: E711
    assert found["seen"] <= found["ready"] <= found["started"] <= found["finished"]
    assert found["seconds"] == row.receipt["seconds"]


def test_files_that_are_no_slides(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list", "--state", "unknown"]) == 0
    assert capsys.readouterr().out == "no such files\n"
    (here.folder / "notes.txt").write_text("abc")
    here.scan(3)
    (found,) = answer(capsys, "list", "--state", "unknown")["slides"]
    assert (found["folder"], found["path"], found["state"], found["bytes"]) == ("in", "notes.txt", "unknown", 3)
    assert answer(capsys, "list", "other", "--state", "unknown")["slides"] == []
    assert run(["list", "--state", "unknown", "--state", "done"]) == 2


def test_retry_of_a_folder_and_of_a_kind(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bad = here.row("broken.svs")
    here.change(bad.id, state=State.QUARANTINED, kind="damaged")
    assert answer(capsys, "retry", "--folder", "other")["queued"] == []
    assert answer(capsys, "retry", "--kind", "network")["queued"] == []
    assert answer(capsys, "retry", "--folder", "in", "--kind", "damaged")["queued"] == [bad.id]
    assert run(["retry", bad.id, "--kind", "damaged"]) == 2
    assert run(["retry"]) == 2


@pytest.mark.parametrize(
    ("words", "code"),
    [("status", 0), ("list", 0), ("quarantine list", 0), ("retry --all", 0), ("retry x", 2), ("cancel x", 2)],
)
def test_looking_makes_no_ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str, code: int) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SLIDEMILL_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(words.split()) == code
    assert list(tmp_path.iterdir()) == []


def test_the_ledger_is_its_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("SLIDEMILL_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    assert run(["pause"]) == 0
    assert run(["resume"]) == 0
    files = list((tmp_path / "state" / "slidemill").iterdir())
    assert {path.name.partition("-")[0] for path in files} == {"ledger.db"}
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
    assert (tmp_path / "state" / "slidemill").stat().st_mode & 0o777 == 0o700


def test_looking_migrates_nothing(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    def version(found: str | None = None) -> str:
        with here.engine.begin() as connection:
            if found is not None:
                connection.exec_driver_sql(f"update alembic_version set version_num = '{found}'")
            return connection.exec_driver_sql("select version_num from alembic_version").scalar_one()

    now = version()
    version("0002")
    for words in (["status"], ["list"], ["retry", "--all"], ["pause"]):
        error = answer(capsys, *words, code=1)["error"]
        assert error["kind"] == "ledger"
        assert "slidemill config migrate" in error["message"]
    assert version() == "0002"
    version(now)
    assert answer(capsys, "status")["counts"]["done"] == 1


def test_config_check(here: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    found = answer(capsys, "config", "check")
    assert found["ok"]
    (folder,) = found["details"]
    assert (folder["name"], folder["rules"], folder["options"]) == ("in", {"quiet_seconds": 0.0}, {"resume": True})
    assert folder["places"]["path"]["rights"] == "rwx"
    assert folder["places"]["output"]["free"] > 0
    assert run(["config", "check"]) == 0
    assert capsys.readouterr().out.startswith(f"folder in\n  path: {here.folder} (rights rwx, ")
    shutil.rmtree(here.folder)
    assert "no folder" in answer(capsys, "config", "check", code=2)["findings"][0]


def test_metrics(here: Bench) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stop = serve_metrics(here.engine, port)
    try:
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=120).read().decode()
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
