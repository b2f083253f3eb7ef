"""Several slides in one call: how they share the threads, what is told in which order, and what the screen shows."""

from __future__ import annotations

import io
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from converter.convert import Conversion
from converter.errors import Cancelled
from converter.options import Options
from converter.receipt import Receipt
from converter.writing.run import Amount
from drivers.errors import Damaged
from drivers.location import Location
from flows.commands import batch
from flows.commands.batch import SMALL_BYTES, Job, Outcome, convert_all
from flows.commands.screen import Screen
from flows.commands.summary import batch_total, counts, summary_line, table_lines

LONG_S = 60.0
"""A wait this long means that it would never end."""


def _wait(barrier: threading.Barrier) -> None:
    barrier.wait()


def receipt(slide: Location, conversion: Conversion) -> Receipt:
    return Receipt(str(slide), "out", "done", 0.1, "1", conversion.options, bytes=10, objects=2)


def job(name: str, size: int | None = 1) -> Job:
    return Job(Path(name), Path("out"), size)


@pytest.fixture
def converting(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str, Conversion], None]], None]:
    """Put something in the place of the conversion, which is told the slide's name."""

    def put(does: Callable[[str, Conversion], None]) -> None:
        def convert(slide: Location, _target: Location, conversion: Conversion) -> Receipt:
            does(slide.name, conversion)
            return receipt(slide, conversion)

        monkeypatch.setattr(batch, "convert", convert)

    return put


Converting = Callable[[Callable[[str, Conversion], None]], None]


def told(jobs: list[Job], workers: int, **more: object) -> list[Outcome]:
    found: list[Outcome] = []
    ended = convert_all(jobs, Options(workers=workers, **more), Screen(), found.append)
    assert ended == found
    return found


def test_small_slides_are_converted_at_a_time(converting: Converting) -> None:
    both = threading.Barrier(2, timeout=LONG_S)
    converting(lambda _name, _conversion: _wait(both))
    outcomes = told([job(name) for name in "abcd"], workers=2)
    assert [outcome.receipt.path for outcome in outcomes] == list("abcd")
    assert [outcome.receipt.options.workers for outcome in outcomes] == [1, 1, 1, 1]


def test_few_small_slides_share_all_threads(converting: Converting) -> None:
    converting(lambda _name, _conversion: None)
    assert [o.receipt.options.workers for o in told([job("a")], workers=8)] == [8]
    first, *_ = told([job("a"), job("b")], workers=8)
    assert first.receipt.options.workers == 4


@pytest.mark.parametrize("more", [{}, {"memory": 1 << 30}])
def test_a_large_slide_has_all_threads_to_itself(converting: Converting, more: dict[str, object]) -> None:
    running: set[str] = set()
    beside: dict[str, set[str]] = {}

    def does(name: str, conversion: Conversion) -> None:
        beside[name] = set(running)
        running.add(name)
        assert conversion.options.workers == 3 or name != "large"
        running.discard(name)

    converting(does)
    small = 1 if not more else SMALL_BYTES + 1
    outcomes = told([job("a", small), job("large", SMALL_BYTES + 1), job("unknown", None), job("b", small)], 3, **more)
    assert [outcome.code for outcome in outcomes] == [0] * 4
    assert beside["large"] == beside["unknown"] == set()
    assert outcomes[2].receipt.options.workers == 3


def test_outcomes_come_in_the_order_of_the_slides(converting: Converting) -> None:
    later = threading.Event()

    def does(name: str, _conversion: Conversion) -> None:
        if name == "a":
            assert later.wait(LONG_S)
        if name == "b":
            later.set()
            raise Damaged("b: is cut short")

    converting(does)
    outcomes = told([job("a"), job("b"), Job(Path("c"), Path("out"), fault=Damaged("c: no")), job("d")], workers=2)
    assert [(o.receipt.path, o.receipt.status, o.code) for o in outcomes] == [
        ("a", "done", 0), ("b", "failed", 4), ("c", "failed", 4), ("d", "done", 0),
    ]  # fmt: skip


def test_an_interrupt_stops_what_runs_and_begins_nothing(converting: Converting) -> None:
    """The slide that is done is told as done, those under way are stopped, the others are not begun."""
    begun: list[str] = []
    both = threading.Barrier(2, timeout=LONG_S)

    def does(name: str, conversion: Conversion) -> None:
        begun.append(name)
        if name == "a":
            return
        if both.wait() == 0:
            os.kill(os.getpid(), signal.SIGINT)
        assert conversion.stop.wait(LONG_S)
        raise Cancelled("stopped")

    converting(does)
    outcomes = told([job(name) for name in "abcdef"], workers=2)
    assert [(o.receipt.path, o.code) for o in outcomes] == [("a", 0), ("b", 130), ("c", 130)]
    assert sorted(begun) == ["a", "b", "c"]
    total = batch_total(outcomes, 6, 1.0)
    assert (total["done"], total["failed"], total["not_done"]) == (1, 0, 5)
    assert counts(total) == "1 done, 5 not done"


# -- the screen --


def a_screen(running: int, total: int) -> Screen:
    screen = Screen()
    screen.expect(total, 100 * total)
    for i in range(3):
        screen.end(screen.begin(Path(f"ended-{i}.svs"), 100), "failed" if i == 2 else "done")
    for i in range(running):
        lane = screen.begin(Path(f"{'漢字 long ' * 9}{i}.svs"), 100)
        lane.observe("0", Amount(50, 100, 7))
    return screen


@pytest.mark.parametrize(("width", "height"), [(200, 50), (80, 24), (30, 6), (10, 3)])
def test_the_live_lines_fit(width: int, height: int) -> None:
    from rich.cells import cell_len

    lines = a_screen(40, 60).lines(width, height)
    assert len(lines) <= height
    assert all(cell_len(line) <= width for line in lines)
    assert not any("ended" in line for line in lines)


def test_the_live_lines_say_where_it_is() -> None:
    lines = a_screen(2, 22).lines(200, 24)
    assert len(lines) == 3
    assert lines[-1].startswith("slide 5 of 22 · 2 done · 1 failed · ")
    assert all("50%" in line for line in lines[:-1])
    looking = Screen()
    looking.found(300)
    assert looking.lines(80, 24) == ["looking for slides ... 300"]


def test_slides_that_are_tiny_count_for_the_time_that_is_left() -> None:
    """One large slide and 99 tiny ones: when the large one has ended, not all is done."""
    screen = Screen(total=100)
    screen.expect(100, 2_000_000 + 99 * 2_000)
    screen._start -= 10  # pyright: ignore[reportPrivateUsage]
    screen.end(screen.begin(Path("large.svs"), 2_000_000), "done")
    left = screen.lines(200, 24)[-1].rpartition(" · ")[2]
    assert left.startswith("about ")
    minutes, seconds = map(int, left.split()[1].split(":"))
    assert 60 * minutes + seconds > 60


def test_without_a_terminal_lines_go_where_they_belong() -> None:
    stream = io.StringIO()
    Screen().say("a line", stream)
    assert stream.getvalue() == "a line\n"


# -- the end --


def test_the_table_of_many_shows_what_wants_to_be_looked_at() -> None:
    options = Options()
    done = [Outcome(Receipt(f"{i}.svs", "o", "done", 1.0, "1", options, bytes=10**9, objects=7), 0) for i in range(80)]
    noted = Outcome(Receipt("noted.svs", "o", "done", 1.0, "1", options, warnings=["w"]), 0)
    lines = list(table_lines([*done, noted], None))
    assert [line.split()[-1] for line in lines] == ["slide", "noted.svs"]
    assert len(list(table_lines(done[:5], None))) == 6
    assert list(table_lines(done, None)) == []
    many = [replace(noted, receipt=replace(noted.receipt, path=f"noted-{i}.svs")) for i in range(60)]
    failed = Outcome(replace(done[0].receipt, path="bad.svs", status="failed"), 4)
    lines = list(table_lines([*many, failed], None))
    assert (lines[1].split()[-1], lines[-1]) == ("bad.svs", "and 11 more that failed or have notes")


@pytest.mark.parametrize("width", [20, 40, 60, 79, 80, 200])
def test_the_table_of_a_narrow_terminal_still_names_the_slides(width: int) -> None:
    name = "a slide with a long name.svs"
    outcome = Outcome(Receipt(name, "o", "done", 1.0, "1", Options(), bytes=10**9, objects=7), 0)
    head, row = table_lines([outcome], width)
    assert max(len(head), len(row)) <= width
    assert row.endswith(name) == (width >= 40)
    assert ("objects" in head) == (width >= 70)


def test_the_line_of_many() -> None:
    done = [Outcome(Receipt(f"{i}.svs", "o", "done", 1.0, "1", Options(), bytes=10**9, objects=7), 0) for i in range(80)]
    assert summary_line(batch_total(done[:1], 1, 1.0)) == "1 slide: 1 done; 1.0 GB in 7 objects, 1.0 s"
    total = batch_total(done, 80, 61.0)
    assert summary_line(total) == "80 slides: 80 done; 80.0 GB in 560 objects, 61.0 s"
