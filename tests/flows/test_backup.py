"""A backup of ledger and settings while somebody writes, and what comes of it once it is put back."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import stat
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from flows.cli import run
from flows.ledger.attempts import Ticket
from flows.ledger.database import connect
from flows.ledger.rows import mark
from flows.ledger.tables import State
from flows.service.attempt import Watch, run_attempt
from tests.flows.parts import Bench, bench, submitted


class Usage(NamedTuple):
    """What a disk has."""

    total: int
    used: int
    free: int


def full(_path: Path) -> Usage:
    return Usage(10**9, 10**9, 1000)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench whose settings the command line finds."""
    found = bench(tmp_path)
    monkeypatch.setenv("SLIDEMILL_CONFIG", str(tmp_path / "slidemill.toml"))
    yield found
    found.close()


def convert(here: Bench) -> list[State | None]:
    """Everything that is found now, until nothing is queued."""
    here.scan(3)
    left = list[State | None]()
    while here.feed():
        tickets = [Ticket(row.id, row.attempt) for row in here.rows() if row.state == State.SUBMITTED]
        left += [run_attempt(here.engine, here.settings, ticket, Watch()) for ticket in tickets]
    return left


def test_what_is_in_it(here: Bench, slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    submitted(here, slide)
    profile = tmp_path / "mine.toml"
    profile.write_text('codec = "zstd-3"\n')
    text = (tmp_path / "slidemill.toml").read_text()
    (tmp_path / "slidemill.toml").write_text(f'{text}\nprofile = "{profile}"\n')
    assert run(["backup", str(tmp_path / "kept"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    kept = tmp_path / "kept"
    names = {"ledger.db", "slidemill.toml", "profile-1-mine.toml"}
    assert told == {"path": str(kept), "slides": 1, "files": sorted(names), "run": None}
    assert {path.name for path in kept.iterdir()} == names | {"backup.json"}
    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept.iterdir()} == {0o600}
    about = json.loads((kept / "backup.json").read_text())
    assert about["sha256"] == {name: hashlib.sha256((kept / name).read_bytes()).hexdigest() for name in names}
    assert about["from"]["slidemill.toml"] == str(tmp_path / "slidemill.toml")
    assert about["variables"] == ["SLIDEMILL_CONFIG"]
    with sqlite3.connect(kept / "ledger.db") as copy:
        assert copy.execute("SELECT path, state FROM slides").fetchall() == [("a.svs", "submitted")]
        assert copy.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    copy.close()
    assert not list(tmp_path.glob(".kept*"))


def test_while_others_write_it_is_one_state(here: Bench, tmp_path: Path) -> None:
    """Two rows that are always written together are the same in each copy."""
    over, written = threading.Event(), list[int]()

    def write() -> None:
        engine = connect(here.settings.ledger_url)
        while not over.is_set():
            with engine.begin() as connection:
                for name in ("one", "two"):
                    mark(connection, name, len(written))
            written.append(1)
        engine.dispose()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(5):
            while len(written) < 3 * number + 3:
                over.wait(0.01)
            assert run(["backup", str(tmp_path / f"kept{number}")]) == 0
    finally:
        over.set()
        writer.join()
    for number in range(5):
        copy = sqlite3.connect(tmp_path / f"kept{number}" / "ledger.db")
        (one,), (two,) = copy.execute("SELECT at FROM marks WHERE name IN ('one', 'two')").fetchall()
        copy.close()
        assert one == two


def test_put_back_it_goes_on_and_converts_nothing_twice(here: Bench, slide: Path, tmp_path: Path) -> None:
    """As docs/SERVICE.md says: stop, put the ledger back without its -wal and -shm, start."""
    for name in ("before.svs", "under-way.svs"):
        (here.folder / name).write_bytes(slide.read_bytes() + name.encode())
    here.scan(3)
    here.feed()
    first, second = here.row("before.svs"), here.row("under-way.svs")
    assert run_attempt(here.engine, here.settings, Ticket(first.id, first.attempt), Watch()) == State.DONE
    assert run(["backup", str(tmp_path / "kept")]) == 0
    assert run_attempt(here.engine, here.settings, Ticket(second.id, second.attempt), Watch()) == State.DONE
    (here.folder / "after.svs").write_bytes(slide.read_bytes() + b"after")
    assert convert(here) == [State.DONE]
    stores = {path.name: path.stat().st_ino for path in (tmp_path / "out").iterdir()}
    assert set(stores) == {"before.ome.zarr", "under-way.ome.zarr", "after.ome.zarr"}

    here.close()
    ledger = tmp_path / "state" / "ledger.db"
    for name in ("ledger.db", "ledger.db-wal", "ledger.db-shm"):
        (tmp_path / "state" / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "kept" / "ledger.db", ledger)

    assert here.row("before.svs").state == State.DONE
    (here.folder / "new.svs").write_bytes(slide.read_bytes() + b"new")
    here.change(second.id, state=State.READY, ready=0.0)  # what reconcile makes of a run that nobody has
    assert set(convert(here)) == {State.DONE}
    assert {row.path: row.state for row in here.rows()} == dict.fromkeys(
        ("before.svs", "under-way.svs", "after.svs", "new.svs"), State.DONE
    )
    now = {path.name: path.stat().st_ino for path in (tmp_path / "out").iterdir()}
    assert {name: now.get(name) for name in stores} == stores  # found to be what they would be made, and left alone
    assert set(now) - set(stores) == {"new.ome.zarr"}


def test_it_refuses(here: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    for name, code, said in (("there", 5, "exists"), ("link", 5, "exists"), ("none/x", 2, "is no folder")):
        assert run(["backup", str(tmp_path / name)]) == code
        assert said in capsys.readouterr().err
    monkeypatch.setattr(shutil, "disk_usage", full)
    assert run(["backup", str(tmp_path / "kept")]) == 5
    assert "MB are needed" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize("content", [b"no database at all, but a text " * 400, b""])
def test_what_is_no_ledger_is_not_kept(
    here: Bench, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    here.close()
    for name in ("ledger.db-wal", "ledger.db-shm"):
        (tmp_path / "state" / name).unlink(missing_ok=True)
    (tmp_path / "state" / "ledger.db").write_bytes(content)
    assert run(["backup", str(tmp_path / "kept")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not (tmp_path / "kept").exists()
    assert not list(tmp_path.glob(".kept*"))


def zeroed(ledger: Path) -> None:
    """A page of zeros in the middle."""
    data = bytearray(ledger.read_bytes())
    size = int.from_bytes(data[16:18], "big")
    data[size : 3 * size] = bytes(2 * size)
    ledger.write_bytes(data)


def crossed(ledger: Path) -> None:
    """An index that holds other values than its table: nothing that is merely copied and counted tells."""
    connection = sqlite3.connect(ledger)
    connection.execute("PRAGMA writable_schema=ON").close()
    other = "CREATE INDEX slides_by_state ON slides (path)"
    connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = 'slides_by_state'", (other,)).close()
    connection.commit()
    connection.close()


@pytest.mark.parametrize("damage", [zeroed, crossed])
def test_damage_is_told_and_not_kept(
    here: Bench, slide: Path, capsys: pytest.CaptureFixture[str], damage: Callable[[Path], None]
) -> None:
    submitted(here, slide)
    here.close()
    damage(here.place / "state" / "ledger.db")
    assert run(["backup", str(here.place / "kept")]) == 1
    assert re.search("is damaged|malformed", capsys.readouterr().err)
    assert not (here.place / "kept").exists()


def test_with_postgresql_it_says_what_to_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "x.toml").write_text('ledger = "postgresql+psycopg://me:secret@db:5433/mill"\n')
    monkeypatch.delenv("SLIDEMILL_CONFIG", raising=False)
    assert run(["backup", str(tmp_path / "kept"), "--config", str(tmp_path / "x.toml"), "--json"]) == 1
    out, err = capsys.readouterr()
    command = f"pg_dump --format=custom --file={tmp_path}/kept/ledger.dump --dbname=postgresql://me@db:5433/mill"
    assert json.loads(out)["run"] == command
    assert command in err
    assert "secret" not in out + err
    assert {path.name for path in (tmp_path / "kept").iterdir()} == {"slidemill.toml", "backup.json"}
