"""A great many files at once: written down page by page, asked about as long as a pass may take, none lost between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Engine, event

from flows.watching import asking
from flows.watching import scan as scanning
from flows.watching.memory import Memory
from flows.watching.probe import Prober
from flows.watching.scan import Found, scan
from tests.flows.parts import Bench, bench
from tests.flows.test_memory import Answers


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Bench]:
    found = bench(tmp_path)
    found.prober = cast("Prober", Answers())
    yield found
    found.close()


def longest_write(engine: Engine) -> list[int]:
    """The most rows that one transaction has written by their keys, from now on."""
    found, now = [0], [0]

    def executed(_connection: Any, _cursor: Any, _statement: str, parameters: Any, _context: Any, many: bool) -> None:
        now[0] += len(parameters) if many else 1
        found[0] = max(found[0], now[0])

    def ended(_connection: Any) -> None:
        now[0] = 0

    event.listen(engine, "after_cursor_execute", executed)
    for end in ("commit", "rollback"):
        event.listen(engine, end, ended)
    return found


@pytest.mark.parametrize(
    ("folders", "each", "page"),
    [(20, 100, 300), pytest.param(1000, 100, None, marks=[pytest.mark.slow, pytest.mark.timeout(900)])],
)
def test_many_files_at_once(here: Bench, monkeypatch: pytest.MonkeyPatch, folders: int, each: int, page: int | None) -> None:
    if page is not None:
        monkeypatch.setattr(scanning, "_PAGE", page)
        monkeypatch.setattr(asking, "_PAGE", page)
    for i in range(folders):
        (here.folder / f"{i:04d}").mkdir()
        for j in range(each):
            (here.folder / f"{i:04d}" / f"{j:03d}.{'tiff' if j % 50 == 0 else 'txt'}").touch()
    count, rows, memory = folders * each, longest_write(here.engine), Memory()

    def look(budget: float) -> Found:
        return scan(here.engine, here.settings, here.prober, budget=budget, memory=memory)

    assert (look(0.0).new, look(0.0).unasked) == (count, count), "no time to ask: nothing is lost"
    found = Found(unasked=1)
    while found.unasked:
        found = look(20.0)
    assert rows[0] <= (page or 5000) + 100, "others wait no longer for the ledger than one page takes"
    assert set(here.states().values()) == {"ready"}
    assert len(here.rows()) == count // 50
    with here.engine.connect() as connection:
        assert connection.exec_driver_sql("select count(*) from files where slide is null").scalar_one() == 0
        assert connection.exec_driver_sql("select count(*) from files").scalar_one() == count
    asked = len(cast("Answers", here.prober).asked)
    assert look(5.0).new == 0
    assert asked == count, "each was asked about once"
