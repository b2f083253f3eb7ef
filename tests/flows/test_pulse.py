"""What takes long at the end of a conversion holds nothing of the ledger: all others can say meanwhile that they live."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine

from converter.publishing import object_stage, publish, stage
from flows.ledger import attempts
from flows.ledger.attempts import Ticket
from flows.ledger.tables import State
from flows.service import attempt, putting
from flows.service.process import this_process
from tests.flows.parts import Bench, bench, submitted
from tests.flows.test_attempt import run
from tests.made.svs import MADE as SVS

pytest_plugins = ["tests.support.object_server"]
Made = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Bench]:
    found = bench(tmp_path, folder=f'original = "move"\nmove_to = "{tmp_path}/moved"')
    yield found
    found.close()


@pytest.fixture
def impatient(here: Bench) -> Iterator[Engine]:
    """Another process's way to the ledger: it does not wait for a lock."""
    found = create_engine(here.settings.ledger_url, connect_args={"timeout": 0})
    yield found
    found.dispose()


@pytest.fixture
def slides(here: Bench, made: Made) -> tuple[Ticket, Ticket]:
    """A slide to be converted over an output that is there, and one that another process converts."""
    name, maker, _ = SVS[0]
    slide = made(name, maker)
    (other_name, other_maker, _) = SVS[1]
    mine = submitted(here, slide)
    other = submitted(here, made(other_name, other_maker), "b.svs")
    assert attempts.start(here.engine, other, this_process()) is not None
    return mine, other


def replacing(here: Bench, mine: Ticket, output: str) -> None:
    """Let there be an older store at `output`, which this attempt replaces."""
    from converter.convert import Conversion, convert
    from converter.options import Options
    from drivers.location import location

    here.change(mine.slide, output=output, options={**here.row("a.svs").options, "exists": "replace"})
    older = Options.model_validate({"exists": "replace", "codec": "none"})
    convert(here.folder / "b.svs", location(output), Conversion(older))


def watch(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, beat: Callable[[], bool], seen: dict[str, bool]) -> None:
    """Beat while that step is under way."""
    really = getattr(owner, name)

    def step(*arguments: Any, **more: Any) -> Any:
        seen[name] = seen.get(name, True) and beat()
        return really(*arguments, **more)

    monkeypatch.setattr(owner, name, step)


LOCAL = ((stage, "_remove"), (publish.LocalPublishing, "settle"), (putting, "put_away"), (attempt, "fingerprint"))
OBJECTS = (
    (object_stage.ObjectStage, "swap"),
    (object_stage.ObjectStage, "settle"),
    (object_stage.ObjectStage, "discard"),
    (object_stage.ObjectStage, "sync"),
)


def check(
    here: Bench, slides: tuple[Ticket, Ticket], impatient: Engine, watched: Callable[[Callable[[], bool]], None]
) -> None:
    mine, other = slides
    progress = iter(range(1, 1000))
    watched(lambda: attempts.beat(impatient, other, next(progress) / 1000))
    assert run(here, mine) == State.DONE


def test_local(
    here: Bench, slides: tuple[Ticket, Ticket], impatient: Engine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    replacing(here, slides[0], str(tmp_path / "out" / "a.ome.zarr"))
    seen = dict[str, bool]()
    check(here, slides, impatient, lambda beat: [watch(monkeypatch, *step, beat, seen) for step in LOCAL] and None)
    assert seen == {name: True for _, name in LOCAL}


def test_objects(
    here: Bench, slides: tuple[Ticket, Ticket], impatient: Engine, monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    replacing(here, slides[0], f"{prefix}/a.ome.zarr")
    seen = dict[str, bool]()
    check(here, slides, impatient, lambda beat: [watch(monkeypatch, *step, beat, seen) for step in OBJECTS] and None)
    assert seen == {name: True for _, name in OBJECTS}
