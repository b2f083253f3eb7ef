"""Further formats: each made slide converted right after its own floor, and read by one thread and by two."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.aims import Aim, least
from tests.bench.floor import floor
from tests.bench.formats import KINDS, making
from tests.bench.measure import Run, run
from tests.bench.session import say
from tests.bench.subjects import DEFAULT_CODEC, slidemill
from tests.bench.table import Line

_WHOLE, _CONVERSION, _READING = 0.5, 0.5, 1.7


@dataclass(slots=True)
class Others:
    """What the measurements share. `cache` keeps made slides and compiled code, `folder` is the session's own."""

    source: Path
    """The SVS that the slides are made of."""
    cache: Path
    folder: Path
    runs: int
    timeout_s: float
    threads: int
    aims: list[Aim] = field(default_factory=list[Aim])
    failed: set[str] = field(default_factory=set[str])

    def measured(self) -> list[Line]:
        """Lines of all kinds."""
        return [line for kind in KINDS for line in self._kind(kind)]

    def _kind(self, kind: str) -> list[Line]:
        slide, store = self._made(kind), self.folder / kind / "first.ome.zarr"
        ground = Line(f"{kind}-floor", "codec floor", f"{kind}: {DEFAULT_CODEC}, {self.threads} threads")
        whole = Line(kind, "slidemill", f"{kind}: whole command")
        inner = Line(f"{kind}-conversion", "slidemill", f"{kind}: without start and end of Python")
        writing = Line(f"{kind}-writing", "slidemill", f"{kind}: writing stage alone")
        first = self._convert(slide, store)  # compiles, warms, and gives the chunks of the floor
        if first.trouble:
            whole.note = first.trouble
            self.failed.add(kind)
            return [whole]
        for i in range(self.runs):
            say(f"{kind} ({i + 1} of {self.runs})")
            found = floor(slide, DEFAULT_CODEC, self.threads, self.timeout_s, store)
            ground.walls.append(found.floor_s)
            ground.cpus.append(found.cpu_s)
            done = self._convert(slide, self.folder / kind / "slide.ome.zarr")
            if done.trouble:
                whole.note = done.trouble
                self.failed.add(kind)
                break
            whole.add(done, found)
            receipt = json.loads(done.stdout.splitlines()[-1])
            for line, seconds in ((inner, receipt["seconds"]), (writing, receipt["timings_s"]["write"])):
                line.walls.append(seconds)
                line.floors.append(found.floor_s)
        shutil.rmtree(self.folder / kind)
        self.aims.append(least(f"{kind}: whole command, of its floor", _WHOLE, whole.of_floor))
        self.aims.append(least(f"{kind}: conversion, of its floor", _CONVERSION, inner.of_floor))
        return [ground, whole, inner, writing, *self._reading(kind, slide)]

    def _made(self, kind: str) -> Path:
        path = self.cache / f"{self.source.stem}-{kind}{KINDS[kind].suffix}"
        if not path.exists():
            say(f"making {path.name}")
            part = path.with_name(f"part-{path.name}")
            shutil.rmtree(part, ignore_errors=True)
            done = run(making(kind, part, self.source), self.timeout_s)
            if done.trouble:
                raise SystemExit(f"{path.name} could not be made: {done.trouble}")
            part.rename(path)
        return path

    def _convert(self, slide: Path, store: Path) -> Run:
        shutil.rmtree(store, ignore_errors=True)
        store.parent.mkdir(parents=True, exist_ok=True)
        os.sync()  # what an earlier command left to be written would be charged to this one
        return run([*slidemill(), "convert", str(slide), "-o", str(store), "--json"], self.timeout_s, self._environment())

    def _environment(self) -> Mapping[str, str]:
        """Ours, with compiled code kept, as it is where the package is installed."""
        own = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return own | {"PYTHONPYCACHEPREFIX": str(self.cache / "compiled")}

    def _reading(self, kind: str, slide: Path) -> list[Line]:
        say(f"{kind}: reading")
        done = run([sys.executable, "-m", "tests.bench.reading", str(slide), "--threads", "2"], self.timeout_s)
        if done.trouble:
            self.failed.add(kind)
            return [Line(f"{kind}-reading", "slidemill", f"{kind}: reading", note=done.trouble)]
        found = json.loads(done.stdout)
        driver, codec = found["driver"], found["codec"]
        self.aims.append(least(f"{kind}: two threads read as fast as so many times one", _READING, driver["times_as_fast"]))
        note = f"2 threads {driver['times_as_fast']:.2f} times as fast as 1; the codec alone {codec['times_as_fast']:.2f}"
        lines = [
            Line(f"{kind}-read-{n}", "slidemill", f"{kind}: decoding all tiles, {n} threads", walls=[seconds])
            for n, seconds in zip((1, 2), driver["seconds"], strict=True)
        ]
        lines[-1].note = note
        return lines
