"""One slide, measured: commands in rounds, each conversion right after the floor it is held against."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.floor import Floor, floor
from tests.bench.measure import Run, run
from tests.bench.stores import Store, examine
from tests.bench.subjects import Subject
from tests.bench.table import Line


def say(text: str) -> None:
    """Tell how far it has come, on standard error: standard output has the table alone."""
    print(text, file=sys.stderr, flush=True)


@dataclass(slots=True)
class Session:
    """What all measurements of a slide share. `folder` is the session's own and holds what is written."""

    slide: Path
    folder: Path
    runs: int
    timeout_s: float
    threads: int
    floors: dict[tuple[str, int], Line] = field(default_factory=dict[tuple[str, int], Line])
    failed: set[str] = field(default_factory=set[str])
    """Names of our own rows that failed or whose level 0 is not the slide's."""

    def conversions(self, subjects: Sequence[Subject], keep: str = "") -> tuple[list[Line], dict[str, list[float]]]:
        """A line per subject, and per name of ours the seconds of its writing stage. The store of `keep` stays."""
        lines = {subject.name: Line(subject.name, subject.tool, subject.variant) for subject in subjects}
        writing: dict[str, list[float]] = {}
        for i in range(self.runs):
            for subject in subjects:
                line = lines[subject.name]
                if line.note:  # it failed: once is enough
                    continue
                say(f"{self.slide.name}: {subject.tool} {subject.variant} ({i + 1} of {self.runs})")
                ground = self._floor(subject)
                done = self._convert(subject, line, ground)
                if done is not None and subject.ours:
                    receipt = json.loads(done.stdout.splitlines()[-1])
                    writing.setdefault(subject.name, []).append(receipt["timings_s"]["write"])
                if i == 0 and done is not None:
                    self._examine(subject, line)
                if subject.name != keep:
                    self._clear(subject)
        return list(lines.values()), writing

    def readings(self, subjects: Sequence[Subject], store: Path) -> list[Line]:
        """A line per command that writes nothing. `store` is a finished one of ours."""
        lines = {subject.name: Line(subject.name, subject.tool, subject.variant) for subject in subjects}
        for i in range(self.runs):
            for subject in subjects:
                line = lines[subject.name]
                if line.note:
                    continue
                say(f"{self.slide.name}: {subject.tool} {subject.variant} ({i + 1} of {self.runs})")
                self._measure(subject, line, {"slide": self.slide, "store": store}, None)
        return list(lines.values())

    def store(self, subject: Subject) -> Path:
        """Where a subject writes."""
        return self.folder / subject.name / "slide.ome.zarr"

    def warm(self) -> None:
        """Read the slide once, so that the first command finds it in the page cache as the later ones do."""
        with self.slide.open("rb") as file:
            while file.read(1 << 20):
                pass

    def _convert(self, subject: Subject, line: Line, ground: Floor | None) -> Run | None:
        self._clear(subject)
        out = self.store(subject)
        out.parent.mkdir(parents=True)
        return self._measure(subject, line, {"slide": self.slide, "out": out, "folder": out.parent}, ground)

    def _measure(self, subject: Subject, line: Line, places: Mapping[str, Path], ground: Floor | None) -> Run | None:
        os.sync()  # what an earlier command left to be written would be charged to this one
        try:
            done = run(subject.filled(places), self.timeout_s)
        except OSError as error:
            line.note = f"could not be started: {error.strerror}"
        else:
            line.note = done.trouble
            if not line.note:
                line.add(done, ground)
                return done
        if subject.ours:
            self.failed.add(subject.name)
        return None

    def _floor(self, subject: Subject) -> Floor | None:
        if subject.codec is None:
            return None
        threads = subject.threads or self.threads
        key = (subject.codec, threads)
        if key not in self.floors:
            plural = "" if threads == 1 else "s"
            self.floors[key] = Line(
                f"floor-{subject.codec}-{threads}", "codec floor", f"{subject.codec}, {threads} thread{plural}"
            )
        line = self.floors[key]
        if line.note:
            return None
        try:
            found = floor(self.slide, subject.codec, threads, self.timeout_s)
        except RuntimeError as error:
            line.note = str(error)
            return None
        line.walls.append(found.floor_s)
        line.cpus.append(found.cpu_s)
        return found

    def _examine(self, subject: Subject, line: Line) -> None:
        found = examine(self.folder / subject.name, self.slide, self.timeout_s)
        if isinstance(found, Store):
            line.store = found
        else:
            line.note = found
        if subject.ours and not (line.store and line.store.same == line.store.compared):
            self.failed.add(subject.name)

    def _clear(self, subject: Subject) -> None:
        shutil.rmtree(self.folder / subject.name, ignore_errors=True)
