"""Wall and CPU time, memory, bytes and files of every way to convert one slide, in one table."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from converter.codec import parse_codec
from converter.errors import OptionError
from converter.version import product_version
from tests.bench.aims import aims
from tests.bench.measure import run
from tests.bench.others import Others
from tests.bench.session import Session, say
from tests.bench.slide import maker, making
from tests.bench.subjects import Subject, our_conversions, our_readings, peers, scaled
from tests.bench.table import Line, as_json, markdown

_MAKING_S = 1800
_LEGEND = (
    "`of floor`: the codec floor over the wall time, pair by pair. Peers are held against the floor of blosc-zstd-1, "
    "though they use their own. Above 1: fewer levels than the floor counts, or a machine that was busier during the floor.\n"
    "`× default`: the wall time over that of our default."
)


def _main() -> int:
    given = _arguments()
    conversions, readings, others = _chosen(given)
    if given.list:
        print("\n".join(f"{s.name:24} {s.tool} {s.variant}" for s in [*conversions, *readings, *others]))
        return 0
    with _workplace(given.work) as (cache, folder):
        slide = given.slide or _made(cache, given.size)
        if given.formats:
            return _formats(given, slide, (cache, folder))
        session = Session(slide, folder, given.runs, given.timeout, _processors())
        lines = _measured(session, (conversions, readings, others))
        big = _big(session, conversions, cache) if given.big else None
    absent = {} if given.peers == "none" or given.scaling else peers(os.environ)[1]
    lines += [big[1]] if big else []
    _report(given, session, lines, absent)
    return 1 if session.failed else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--slide", type=Path, help="the slide to convert; default: one is made")
    parser.add_argument("--size", type=int, default=20000, help="side of the made slide in pixels (20000)")
    parser.add_argument("--runs", type=int, default=3, help="runs of each command; the table has their median (3)")
    parser.add_argument("--codec", default="blosc-zstd-1,blosc-lz4-5", help="codecs; the first is taken for all other rows")
    parser.add_argument("--peers", choices=("auto", "none"), default="auto", help="other converters: those found, or none")
    parser.add_argument("--only", help="names of rows or tools, comma separated; --list shows them")
    parser.add_argument("--list", action="store_true", help="show the names of all rows and end")
    parser.add_argument("--big", action="store_true", help="also a slide of twice the side: memory must stay within 20 %%")
    parser.add_argument("--scaling", action="store_true", help="the default conversion with 1 and 2 workers, nothing else")
    parser.add_argument("--formats", action="store_true", help="the slide as CZI and as DICOM instead, against their floors")
    parser.add_argument("--timeout", type=float, default=300, help="seconds after which a command is stopped (300)")
    parser.add_argument("--work", type=Path, help="folder for made slides, which stay, and outputs, which do not")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all facts there too, single runs included")
    given = parser.parse_args()
    given.codec = [name.strip() for name in given.codec.split(",") if name.strip()]
    try:
        for name in given.codec:
            parse_codec(name)
    except OptionError as error:
        parser.error(str(error))
    if given.runs < 1 or not given.codec:
        parser.error("--runs is at least 1, and --codec names at least one")
    if given.slide and not given.slide.is_file():
        parser.error(f"--slide {given.slide}: no such file")
    if given.only:
        given.only = {name.strip() for name in given.only.split(",")}
        unknown = given.only - _names([s for subjects in _subjects(given) for s in subjects])
        if unknown:
            parser.error(f"--only: no row or tool {', '.join(sorted(unknown))}; --list shows them")
    return given


type Subjects = tuple[list[Subject], list[Subject], list[Subject]]
"""Our conversions, our commands that write nothing, and the peers."""


def _subjects(given: argparse.Namespace) -> Subjects:
    if given.scaling:
        return scaled(given.codec[0], (1, 2)), [], []
    return our_conversions(given.codec), our_readings(), [] if given.peers == "none" else peers(os.environ)[0]


def _chosen(given: argparse.Namespace) -> Subjects:
    ours, readings, others = _subjects(given)
    if not given.only:
        return ours, readings, others

    def kept(subjects: Sequence[Subject]) -> list[Subject]:
        return [subject for subject in subjects if _names([subject]) & given.only]

    return kept(ours), kept(readings), kept(others)


def _names(subjects: Sequence[Subject]) -> set[str]:
    return {s.name for s in subjects} | {s.tool.partition(" ")[0] for s in subjects}


@contextmanager
def _workplace(given: Path | None) -> Generator[tuple[Path, Path]]:
    """The folder of made slides, and a new one inside it for outputs, which is removed."""
    cache = given or Path(tempfile.gettempdir()) / f"slidemill-bench-{os.getuid()}"
    cache.mkdir(mode=0o700, parents=True, exist_ok=True)
    if given is None and cache.stat().st_uid != os.getuid():
        raise SystemExit(f"{cache} belongs to somebody else; name a folder with --work")
    folder = Path(tempfile.mkdtemp(prefix="out-", dir=cache))
    try:
        yield cache, folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _made(cache: Path, size: int) -> Path:
    """The made slide of that size, from an earlier call where there was one."""
    path = cache / f"{maker()}-{size}.svs"
    if not path.exists():
        say(f"making a slide of {size} x {size} pixels")
        part = path.with_name(f"{path.stem}.part.svs")
        done = run(making(part, size), _MAKING_S)
        if done.trouble:
            raise SystemExit(f"the slide could not be made: {done.trouble}")
        part.rename(path)
    return path


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _measured(session: Session, subjects: Subjects) -> list[Line]:
    """Floors first, then ours, each with its writing stage below where it was measured, then the peers."""
    conversions, readings, others = subjects
    session.warm()
    verified = [s for s in readings if "{store}" in s.command]
    keep = conversions[:1]
    if verified and not keep:
        keep = our_conversions(["blosc-zstd-1"])[:1]
        replace(session, runs=1).conversions(keep, keep[0].name)
    lines, writing = session.conversions([*conversions, *others], keep[0].name if keep else "")
    found = list(session.floors.values())
    for line in lines:
        found.append(line)
        if line.name in writing:
            found.append(_writing(line, writing[line.name]))
    at = len(found) - len([line for line in lines if line.name in {s.name for s in others}])
    found[at:at] = session.readings(readings, session.store(keep[0]) if keep else session.folder)
    return found


def _writing(line: Line, seconds: list[float]) -> Line:
    return Line(f"{line.name}-writing", line.tool, f"{line.variant}: writing stage alone", walls=seconds, floors=line.floors)


def _big(session: Session, conversions: Sequence[Subject], cache: Path) -> tuple[Session, Line]:
    """The default conversion of a slide of twice the side, once: memory is what it is for."""
    import tifffile

    with tifffile.TiffFile(session.slide) as slide:
        size = 2 * max(slide.pages[0].shape[:2])
    big = replace(session, slide=_made(cache, size), runs=1, timeout_s=4 * session.timeout_s, floors={})
    big.warm()
    subject = conversions[0] if conversions else our_conversions(["blosc-zstd-1"])[0]
    lines, _ = big.conversions([subject])
    line = lines[0]
    line.name, line.variant = "big", f"{line.variant}, slide of {size}×{size}"
    return big, line


def _formats(given: argparse.Namespace, slide: Path, places: tuple[Path, Path]) -> int:
    """The table of the slide in further formats."""
    others = Others(slide, *places, given.runs, given.timeout, _processors())
    lines = others.measured()
    print(_headline(given, others.threads))
    print(f"Made of {slide.name}\n\n{markdown(lines, None)}\n")
    for aim in others.aims:
        print(aim)
    if given.json:
        given.json.write_text(
            json.dumps({"rows": [as_json(line, None) for line in lines]}, indent=1) + "\n", encoding="utf-8"
        )
    return 1 if others.failed else 0


def _headline(given: argparse.Namespace, threads: int) -> str:
    runs = f"{given.runs} run{'s' if given.runs > 1 else ''}: median of times, highest peak"
    version = f"slidemill {product_version()}, Python {platform.python_version()}"
    return f"{version}, {platform.system()} {platform.machine()}, {threads} processors; {runs}"


def _report(given: argparse.Namespace, session: Session, lines: list[Line], absent: dict[str, str]) -> None:
    named = {line.name: line for line in lines}
    default = named.get("default")
    size = session.slide.stat().st_size / 1e6
    print(_headline(given, session.threads))
    print(f"Slide: {session.slide.name}, {size:.1f} MB\n")
    print(markdown(lines, default))
    print(f"\n{_LEGEND}\n")
    bounds = [] if given.scaling else aims(named)
    if bounds:
        print("Bounds, meant for a made slide of 20000×20000 on two quiet processors:\n")
    for note in [*bounds, *(f"- not here: {peer}: {reason}" for peer, reason in absent.items())]:
        print(note)
    if given.json:
        found = {
            "version": product_version(),
            "python": platform.python_version(),
            "machine": f"{platform.system()} {platform.machine()}",
            "processors": session.threads,
            "slide": {"name": session.slide.name, "bytes": session.slide.stat().st_size},
            "rows": [as_json(line, default) for line in lines],
            "aims": [{"what": a.what, "bound": a.bound, "measured": a.measured, "held": a.held} for a in bounds],
            "absent": absent,
        }
        given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _as_interrupt(_signal: int, _frame: object) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _as_interrupt)
    try:
        sys.exit(_main())
    except KeyboardInterrupt:
        sys.exit(130)
