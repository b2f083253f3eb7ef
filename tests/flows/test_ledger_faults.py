"""A ledger that is damaged, locked, full, read-only, of another version: one line, the right code, nothing lost."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.exc import DBAPIError

from flows.cli import run
from flows.engine.databases import DatabaseWatch
from flows.ledger.database import LedgerBroken, LedgerUnavailable, connect, is_away
from flows.ledger.faults import require_usable, told, try_writing
from flows.ledger.migrate import migrate
from flows.reports.metrics import serve_metrics
from flows.service.dispatch import EngineUnavailable
from tests.flows.parts import Bench, bench
from tests.service.postgres import free_port

PAGE = 4096


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    """A bench with an empty ledger of this version, which nobody has open."""
    found = bench(tmp_path, rest=f"port = {free_port()}")
    monkeypatch.setenv("SLIDEMILL_CONFIG", str(tmp_path / "slidemill.toml"))
    with found.engine.begin() as connection:
        for number in range(200):
            connection.exec_driver_sql(f"insert into files values ('in', '{number}.txt', 1, 1, {number}, 1, 2, '')")
    found.engine.dispose()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield found
    for number, handler in before.items():
        signal.signal(number, handler)
    found.close()


def ledger(here: Bench) -> Path:
    return here.settings.state / "ledger.db"


def a_text(file: Path) -> None:
    file.write_text("milk, bread, eggs\n" * 500)


def no_header(file: Path) -> None:
    file.write_bytes(bytes(16) + file.read_bytes()[16:])


def cut_in_a_page(file: Path) -> None:
    os.truncate(file, PAGE + 1000)


def half(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2 // PAGE * PAGE)


def noise(file: Path) -> None:
    pages = file.stat().st_size // PAGE
    file.write_bytes(file.read_bytes()[: 2 * PAGE] + b"\xa5" * PAGE * (pages - 2))


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def newer(file: Path) -> None:
    with sqlite3.connect(file) as database:
        database.execute("UPDATE alembic_version SET version_num = '0999'")
    database.close()


def of_prefect(file: Path) -> None:
    with sqlite3.connect(file) as database:
        database.execute("UPDATE alembic_version SET version_num = 'dfa48c05f3fc'")
    database.close()


DAMAGED = [a_text, no_header, cut_in_a_page, half, noise]
COMMANDS = [
    "status",
    "status --check",
    "list",
    "list --state unknown",
    "quarantine list",
    "retry --all",
    "audit",
    "pause",
    "up",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize(
    ("break_it", "words"),
    [*((one, "damaged") for one in DAMAGED), (a_folder, "cannot be written"), (newer, "0999"), (of_prefect, "dfa48c05f3fc")],
)
def test_one_line_says_it(
    here: Bench, capfd: pytest.CaptureFixture[str], break_it: Callable[[Path], None], words: str, command: str
) -> None:
    break_it(ledger(here))
    before = ledger(here).read_bytes() if ledger(here).is_file() else b""
    assert run(command.split()) == 1
    said = capfd.readouterr()
    assert said.out == ""
    (line,) = said.err.splitlines()
    assert words in line
    assert "report" not in line
    assert not here.settings.state.joinpath("prefect").exists(), "the server was not even started"
    assert not ledger(here).is_file() or ledger(here).read_bytes() == before, "nothing of it is lost"


@pytest.mark.parametrize(("break_it", "retryable"), [(noise, False), (newer, False), (a_folder, True)])
def test_programs_learn_whether_waiting_helps(
    here: Bench, capsys: pytest.CaptureFixture[str], break_it: Callable[[Path], None], retryable: bool
) -> None:
    break_it(ledger(here))
    assert run(["status", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)["error"]
    assert (found["kind"], found["retryable"]) == ("ledger", retryable)


def test_a_damaged_page_that_nobody_asks_for_is_found_at_the_start(here: Bench) -> None:
    with sqlite3.connect(ledger(here)) as database:
        (root,) = database.execute("SELECT rootpage FROM sqlite_master WHERE name = 'slides_by_output'").fetchone()
    database.close()
    with ledger(here).open("r+b") as file:
        file.seek((root - 1) * PAGE)
        file.write(b"\x0a" + b"\xff" * 60)
    assert run(["status"]) == 0
    with pytest.raises(LedgerBroken, match="damaged"), told(here.settings.ledger_url):
        require_usable(here.engine)


WITHOUT_RIGHTS = [
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search",
    "--inh-caps=-dac_override,-dac_read_search",
    "--",
]


@pytest.mark.parametrize(
    ("modes", "command", "code", "words"),
    [
        ((0o444, 0o755), "pause", 1, "cannot be written"),
        ((0o444, 0o755), "up", 1, "cannot be written"),
        ((0o444, 0o755), "status", 0, ""),
        ((0o444, 0o555), "status", 1, "cannot be written"),
        ((0o600, 0o555), "up", 1, "cannot be written: Permission denied"),
        ((0o600, 0o000), "status", 1, "cannot be looked at: Permission denied"),
        ((0o600, 0o000), "pause", 1, "cannot be looked at: Permission denied"),
    ],
)
def test_rights(here: Bench, modes: tuple[int, int], command: str, code: int, words: str) -> None:
    ledger(here).chmod(modes[0])
    here.settings.state.chmod(modes[1])
    root = WITHOUT_RIGHTS if os.getuid() == 0 else []
    done = subprocess.run([*root, sys.executable, "-m", "flows.cli", command], capture_output=True, text=True, check=False)
    here.settings.state.chmod(0o755)
    if root and "setpriv" in done.stderr:
        pytest.skip("rights cannot be taken away here")
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == (1 if words else 0)


def one_page_more(engine: Engine) -> None:
    """SQLite itself says that there is no room, as where its disk is full."""

    def prepare(connection: sqlite3.Connection, _record: object) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}").close()

    event.listen(engine, "connect", prepare)


def test_full(here: Bench) -> None:
    one_page_more(here.engine)
    with pytest.raises(LedgerUnavailable, match="disk is full; make room") as found, told(here.settings.ledger_url):  # noqa: SIM117
        with here.engine.begin() as connection:
            connection.exec_driver_sql("insert into marks values ('big', 1, ?)", ("x" * 100_000,))
    assert found.value.retryable
    assert is_away(found.value.__cause__ or found.value), "what waits for the ledger waits on"


@pytest.fixture
def watched(here: Bench) -> Iterator[tuple[DatabaseWatch, list[str], Bench]]:
    """A watch whose ledger was looked at long ago, what it said, and the bench."""
    engine, said = connect(here.settings.ledger_url, 0.1), list[str]()
    with engine.begin() as connection:
        connection.exec_driver_sql("insert into marks values ('scan', 5, null)")
    yield DatabaseWatch(engine, here.settings.ledger_url, here.settings.state, said.append, 10.0), said, here
    engine.dispose()


def test_a_ledger_that_is_locked_meanwhile_is_told_once_and_its_return(
    watched: tuple[DatabaseWatch, list[str], Bench],
) -> None:
    watch, said, here = watched
    other = sqlite3.connect(ledger(here), isolation_level=None)
    watch.look()
    assert said == []
    other.execute("BEGIN EXCLUSIVE")
    for _ in range(3):
        watch.look()
    assert len(said) == 1
    assert "another program has it locked" in said[0]
    other.execute("ROLLBACK")
    other.close()
    watch.look()
    watch.look()
    assert said[1:] == ["the ledger works again"]
    watch.require_whole()


@pytest.mark.parametrize("break_it", [noise, newer, a_text])
def test_a_ledger_that_breaks_meanwhile_ends_the_service(
    watched: tuple[DatabaseWatch, list[str], Bench], break_it: Callable[[Path], None]
) -> None:
    watch, _, here = watched
    watch.look()
    watch.require_whole()
    watch.engine.dispose()
    break_it(ledger(here))
    watch.look()
    with pytest.raises(LedgerBroken):
        watch.require_whole()


def test_a_database_of_prefect_that_is_locked_or_breaks_meanwhile(
    watched: tuple[DatabaseWatch, list[str], Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, said, here = watched
    monkeypatch.setattr("flows.engine.prefect_database._BUSY_S", 0.1)
    file = here.settings.state / "prefect" / "prefect.db"
    file.parent.mkdir()
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("CREATE TABLE log (words TEXT)")
    other.execute("BEGIN EXCLUSIVE")
    watch.look()
    watch.look()
    assert len(said) == 1
    assert said[0].startswith("Prefect's database")
    assert "another program has it locked" in said[0]
    other.execute("ROLLBACK")
    other.close()
    watch.look()
    watch.require_whole()
    assert said[1:] == ["Prefect's database works again"]
    a_text(file)
    watch.look()
    with pytest.raises(EngineUnavailable, match="is damaged"):
        watch.require_whole()


def test_a_ledger_that_is_removed_meanwhile_ends_the_service(watched: tuple[DatabaseWatch, list[str], Bench]) -> None:
    watch, _, here = watched
    watch.engine.dispose()
    ledger(here).unlink()
    watch.look()
    with pytest.raises(LedgerBroken, match="of another version"):
        watch.require_whole()


def test_up_says_what_is_wrong_with_the_database_of_prefect(here: Bench, capfd: pytest.CaptureFixture[str]) -> None:
    place = here.settings.state / "prefect"
    place.mkdir()
    a_text(place / "prefect.db")
    assert run(["up"]) == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert "Prefect's database" in line
    assert "is damaged" in line


def test_metrics_say_that_the_ledger_is_broken(here: Bench) -> None:
    noise(ledger(here))
    port = free_port()
    stop = serve_metrics(here.engine, port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
    finally:
        stop()
    assert "slidemill_ledger_up 0.0" in text


def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    url = f"postgresql+psycopg://slidemill:secret@127.0.0.1:{free_port()}/ledger"
    engine = connect(url)
    with pytest.raises(LedgerUnavailable, match=r"ledger at 127\.0\.0\.1:.* does not answer: .*refused") as found, told(url):
        migrate(engine)
    assert "secret" not in str(found.value)
    with pytest.raises(LedgerUnavailable, match="cannot be made: Not a directory"):
        connect(f"sqlite:///{_a_file(tmp_path)}/state/ledger.db")


def _a_file(folder: Path) -> Path:
    (folder / "file").touch()
    return folder / "file"


def test_trying_is_all_that_is_written(here: Bench) -> None:
    try_writing(here.engine)
    try_writing(here.engine)
    with here.engine.connect() as connection:
        assert connection.exec_driver_sql("select count(*) from marks").scalar_one() == 1
    assert not isinstance(LedgerUnavailable("x"), DBAPIError)
