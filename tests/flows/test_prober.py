"""The process that opens what arrives: kept for the next file, replaced where it is worn out, never mistaken."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from flows.watching import probe
from flows.watching.probe import Prober, ReaderCrashed


@pytest.fixture
def prober() -> Iterator[Prober]:
    with Prober(60) as found:
        yield found


def pid(prober: Prober) -> int | None:
    process = prober._process
    return None if process is None else process.pid


def test_it_is_kept(prober: Prober, slide: Path) -> None:
    answers = [prober.ask(slide.parent, slide).driver]
    first = pid(prober)
    answers += [prober.ask(slide.parent, slide).driver for _ in range(3)]
    prober.rest()
    assert answers == ["aperio"] * 4
    assert first is not None
    assert pid(prober) == first


def test_it_ends_where_nobody_asks(prober: Prober, slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prober.ask(slide.parent, slide)
    monkeypatch.setattr(probe, "_IDLE_S", -1.0)
    prober.rest()
    assert pid(prober) is None
    assert prober.ask(slide.parent, slide).driver == "aperio"


def test_one_that_was_ended_between_is_no_fault_of_the_next_file(prober: Prober, slide: Path) -> None:
    prober.ask(slide.parent, slide)
    process = prober._process
    assert process is not None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert prober.ask(slide.parent, slide).driver == "aperio"


def test_one_that_has_grown_is_replaced(prober: Prober, slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grown = {"path": os.fsencode(slide).hex(), "driver": "aperio", "grown": True}
    monkeypatch.setattr(probe.json, "loads", lambda _: grown)
    assert prober.ask(slide.parent, slide).driver == "aperio"
    assert pid(prober) is None


def test_a_question_that_was_broken_off_answers_no_other(
    prober: Prober, slide: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else each file would get the answer of the one before."""

    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(probe, "_MOMENT_S", 0.0)
    with pytest.raises(KeyboardInterrupt):
        prober.ask(slide.parent, slide.parent / "nowhere.svs", interrupted)
    assert prober.ask(slide.parent, slide).driver == "aperio"


def test_a_slow_answer_leaves_time_for_other_things(prober: Prober, slide: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "_MOMENT_S", 0.0)
    calls = list[int]()
    assert prober.ask(slide.parent, slide, lambda: calls.append(1)).driver == "aperio"
    assert calls == [1]


def test_messages_can_be_written_down(prober: Prober, tmp_path: Path) -> None:
    """A name that is no UTF-8 stands in what a driver says of the file."""
    broken = tmp_path / os.fsdecode(b"caf\xe9.svs")
    broken.write_bytes(b"II*\0" + bytes(40))
    message = prober.ask(tmp_path, broken).message
    assert message is not None
    assert "caf" in message
    message.encode("utf-8")


def test_a_crash_can_be_written_down(tmp_path: Path) -> None:
    with Prober(1e-9) as prober, pytest.raises(ReaderCrashed) as caught:
        prober.ask(tmp_path, tmp_path / os.fsdecode(b"caf\xe9.svs"))
    str(caught.value).encode("utf-8")
