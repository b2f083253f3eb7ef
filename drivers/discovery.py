"""Finding drivers and the one that reads a file. A format is one file in drivers/formats, or an entry point."""

from __future__ import annotations

import errno
import importlib
import os
import pkgutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from os import PathLike
from pathlib import Path

from drivers import formats
from drivers.errors import Damaged, DriverError, Incomplete, LimitExceeded, OutsideKind, Unreadable, UnsafePath, Unsupported
from drivers.files import read_head
from drivers.location import Location, Url, check_url, location
from drivers.model import Driver, Scene, Slide
from drivers.slideio_names import AUTO, named

GROUP = "slidemill.drivers"
_STORE = ("zarr.json", ".zgroup", ".zattrs", ".zarray")


@dataclass(frozen=True, slots=True)
class Found:
    """A driver, or the reason why it could not be loaded."""

    name: str
    driver: Driver | None
    error: str | None = None


def find_drivers() -> list[Found]:
    """All drivers, sorted by name. A driver that fails to load is listed with its reason; the others still work."""
    own = [_load(m.name, f"{formats.__name__}.{m.name}", "DRIVER") for m in pkgutil.iter_modules(formats.__path__)]
    others = [_load(point.name, point.module, point.attr or "DRIVER") for point in _points(tuple(sys.path))]
    return sorted(own + others, key=lambda f: f.name)


@cache
def _points(_search: tuple[str, ...]) -> tuple[EntryPoint, ...]:
    """Those of all distributions on the search path, looked up once a process: with 200 installed it takes 7 ms."""
    return tuple(entry_points(group=GROUP))


def _load(name: str, module: str, attribute: str) -> Found:
    try:
        driver = getattr(importlib.import_module(module), attribute)
    except Exception as error:  # noqa: BLE001 - whatever a plug-in raises must not take the others down
        return Found(name, None, f"{type(error).__name__}: {error}")
    if not isinstance(driver, Driver):
        return Found(name, None, f"{module}.{attribute} is {type(driver).__name__}, not a Driver")
    return Found(driver.name, driver)


def driver_for(path: Path, drivers: Sequence[Driver]) -> Driver:
    """The one driver that reads `path`; raises Unsupported when none does, or when two claim it equally.

    Raises Incomplete for the index file of a format with companions that no specific driver recognises.

    A folder is shown to the drivers with an empty head; one that no driver takes is refused as no regular file.
    """
    try:
        folder = path.is_dir()
    except OSError as error:  # a name that is too long, a server that does not answer
        raise Unreadable(f"{path.name[:80]}: cannot be looked at: {error.strerror}") from error
    claims = [d for d in drivers if d.matches(path, b"")] if folder else []
    if folder and not claims and path.suffix.lower() == ".zarr":
        raise _no_store(path)
    head = b"" if claims else read_head(path)
    if not head and not claims:
        raise Damaged(f"{path.name}: the file is empty; copy it again")
    claims = claims or [d for d in drivers if d.matches(path, head)]
    best = [d for d in claims if d.specific]
    if not best:
        _require_companions(path, drivers)
    best = best or claims
    if not best:
        raise Unsupported(f"{path.name}: no driver recognises this file; `slidemill drivers` lists what can be read")
    if len(best) > 1:
        names = ", ".join(sorted(d.name for d in best))
        raise Unsupported(f"{path.name}: claimed by several drivers ({names}); remove one of them")
    return best[0]


def _no_store(folder: Path) -> DriverError:
    """What is wrong with a folder that is named as a Zarr store."""
    odd = next((name for name in _STORE if os.path.lexists(folder / name)), None)
    if odd is not None:
        return UnsafePath(f"{folder.name}: its {odd} is no regular file")
    return Incomplete(f"{folder.name}: is a Zarr store without its zarr.json, .zgroup or .zattrs; copy the whole store")


def _require_companions(path: Path, drivers: Sequence[Driver]) -> None:
    """Raise Incomplete where the file's name is that of an index: alone it is a thumbnail at best, not the slide.

    Raises Unsupported where it is that of a part of a slide.
    """
    for driver in drivers:
        for end, others in driver.claims.items():
            if path.name.lower().endswith(end):
                needed = others.format(stem=path.stem)
                raise Incomplete(f"{path.name}: is an index of {driver.name} and needs {needed}; put all of it beside it")
        for end, whole in driver.parts.items():
            if path.name.lower().endswith(end):
                raise Unsupported(f"{path.name}: is a part of {whole}; give that")


def open_slide(path: str | PathLike[str] | Url, driver: str | Sequence[Driver] | None = AUTO) -> Slide:
    """Open a slide, a path or a URL, with the driver that recognises it. The caller closes it (`with open_slide(p) as s`).

    `driver` names the one to use, by slideio's ID ("SVS", "DCM", ...) or by its own name; or it gives those to choose from.
    Raises a DriverError whose message is one line: Unsupported, Damaged, Incomplete, Unreadable, LimitExceeded or
    UnsafePath.
    """
    place = location(path)
    drivers = _chosen(place, driver)
    opened = _opener(place, drivers)
    try:
        return _pathed(opened())
    except OutsideKind as outside:
        return _pathed(_handed_on(place, drivers, outside))
    except DriverError:
        raise
    except Exception as error:
        raise translated(error, place.name) from error


def _chosen(place: Location, driver: str | Sequence[Driver] | None) -> Sequence[Driver]:
    if driver is not None and not isinstance(driver, str):
        return driver
    every = [found.driver for found in find_drivers() if found.driver is not None]
    word = driver or AUTO
    chosen = named(word, every)
    if isinstance(place, Path) and len(chosen) < len(every):
        _require_kind(place, word, chosen, every)
    return chosen


def _require_kind(place: Path, word: str, chosen: Sequence[Driver], every: Sequence[Driver]) -> None:
    """Raise what is wrong with a file that the chosen drivers do not take, and name the one that does."""
    try:
        driver_for(place, chosen)
    except Unsupported as error:
        try:
            other = driver_for(place, every).name
        except DriverError as wrong:
            raise wrong from error
        raise Unsupported(f"{place.name}: is none of {word}; the driver {other} reads it: name that, or {AUTO}") from error


def _pathed(slide: Slide) -> Slide:
    """The slide with its path in every scene that does not know its file."""

    def pathed(scene: Scene) -> Scene:
        return scene if scene.file_path is not None else replace(scene, file_path=str(slide.path))

    if not slide.scenes and not slide.associated:
        return slide
    scenes = [pathed(scene) for scene in slide.scenes]
    return replace(slide, scenes=scenes, associated={role: pathed(scene) for role, scene in slide.associated.items()})


def _handed_on(place: Location, drivers: Sequence[Driver], outside: OutsideKind) -> Slide:
    """The slide as the general driver reads it, with the reason as its first warning. Raises what both say."""
    general = [driver for driver in drivers if not driver.specific]
    head = read_head(place) if isinstance(place, Path) else b""
    if not isinstance(place, Path) or not any(driver.matches(place, head) for driver in general):
        raise outside
    driver = driver_for(place, general)
    reason = str(outside).removeprefix(f"{place.name}: ")
    try:
        slide = driver.open(place)
    except DriverError as error:
        raise _both(place.name, reason, driver.name, error) from error
    except Exception as error:
        raise _both(place.name, reason, driver.name, translated(error, place.name)) from error
    return replace(slide, warnings=[f"read by the general driver {driver.name}: {reason}", *slide.warnings])


def _both(name: str, reason: str, general: str, error: DriverError) -> DriverError:
    """The error of the general driver, with the specific driver's reason in front where it is another."""
    other = str(error).removeprefix(f"{name}: ")
    kind = Unsupported if isinstance(error, OutsideKind) else type(error)
    return kind(f"{name}: {reason}" if other == reason else f"{name}: {reason}; the general driver {general}: {other}")


def _opener(place: Location, drivers: Sequence[Driver]) -> Callable[[], Slide]:
    if isinstance(place, Path):
        driver = driver_for(place, drivers)
        return lambda: driver.open(place)
    check_url(place)
    ready = [d.open_url for d in drivers if d.open_url is not None]
    if len(ready) != 1:
        raise Unsupported(f"{place.name}: {'no driver' if not ready else 'more than one driver'} reads URLs")
    return lambda: ready[0](place)


def translated(error: Exception, where: str) -> DriverError:
    """The typed error for what a vendor library raised on `where`: a damaged file, unless the system is to blame."""
    if isinstance(error, DriverError):
        return error
    text = " ".join(str(error).split())[:300] or "no message"
    if isinstance(error, MemoryError):
        return LimitExceeded(f"{where}: asks for more memory than there is ({text})")
    # EINVAL is what a seek to a damaged, negative offset gives: no fault of the system, and no retry helps.
    if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
        return Unreadable(f"{where}: {error.strerror or text}")
    return Damaged(f"{where}: cannot be read: {type(error).__name__}: {text}")
