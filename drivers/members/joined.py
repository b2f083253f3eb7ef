"""Slides that are lists of files, one per channel (NDPIS, AFI): their scenes made one."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from drivers.claims import same_bytes
from drivers.errors import Damaged, DriverError
from drivers.files import ByteSource, open_source
from drivers.fill import same_fill
from drivers.geometry import Box
from drivers.model import Channel, Level, Pixels, Scene, Slide
from drivers.tiles import Tile


def joined(path: Path, driver: str, files: Sequence[Path], opener: Callable[[Path], Slide], text: str) -> Slide:
    """The listed files as one slide, which closes them all."""
    _check_once(path, files)
    with ExitStack() as stack:
        stack.callback(open_source(path).close)  # the list stays open as the files do: one rule for what a slide holds
        slides = [stack.enter_context(_member(path, file, opener)) for file in files]
        warnings = [
            f"{file.name}: {warning}" for file, slide in zip(files, slides, strict=True) for warning in slide.warnings
        ]
        warnings += _copies(files)
        scenes = [scene for slide in slides for scene in slide.scenes]
        if _alike(scenes):
            scene, left_out = _merged(path.stem, scenes)
            scenes, warnings = [scene], warnings + left_out
        else:
            warnings.append("the files differ in size or kind: each is a scene of its own")
        return Slide(
            path=path,
            driver=driver,
            files=[path, *files],
            scenes=scenes,
            associated=_associated(slides),
            close=stack.pop_all().close,
            raw_metadata=text,
            warnings=warnings,
        )
    raise AssertionError  # the stack lets no exception pass


def _check_once(path: Path, files: Sequence[Path]) -> None:
    """Raise Damaged where a file is listed twice, also by way of a link: one of its channels would be another's."""
    names: dict[Path, str] = {}
    for file in files:
        known = names.setdefault(file.resolve(), file.name)
        if known != file.name:
            raise Damaged(f"{path.name}: lists one file twice, as {known} and {file.name}")
    if len(names) != len(files):
        twice = next(file.name for i, file in enumerate(files) if file in files[:i])
        raise Damaged(f"{path.name}: lists a file twice: {twice}")


def _copies(files: Sequence[Path]) -> list[str]:
    """Warnings on files of the same content: which of their names is the true one is not known, so all stay."""
    with ExitStack() as stack:
        first: list[ByteSource] = []
        warnings: list[str] = []
        for file in files:
            source = open_source(file)
            stack.callback(source.close)
            alike = (one for one in first if one.size == source.size)
            twin = next((one for one in alike if same_bytes(one, source, (0, 0), source.size)), None)
            if twin is None:
                first.append(source)
            else:
                warnings.append(f"{file.name} is a copy of {twin.path.name}: the same pixels are shown under both names")
        return warnings
    raise AssertionError  # the stack lets no exception pass


def _member(path: Path, file: Path, opener: Callable[[Path], Slide]) -> Slide:
    try:
        return opener(file)
    except DriverError as error:
        raise type(error)(f"{path.name}: {error}") from error


def _associated(slides: Sequence[Slide]) -> Mapping[str, Scene]:
    """The first of each role: every file of a set shows the same glass."""
    found: dict[str, Scene] = {}
    for slide in slides:
        for role, scene in slide.associated.items():
            found.setdefault(role, scene)
    return found


def _alike(scenes: Sequence[Scene]) -> bool:
    first = scenes[0]
    return all((s.shape._replace(c=0), s.dtype) == (first.shape._replace(c=0), first.dtype) for s in scenes)


def _merged(name: str, scenes: Sequence[Scene]) -> tuple[Scene, list[str]]:
    """One scene with the channels of all; (scene, warnings). Levels that not all have are left out."""
    first = scenes[0]
    levels, left_out = joint_levels([scene.levels for scene in scenes])
    warnings = [f"level {level.shape.x}x{level.shape.y} is in {n} of {len(scenes)} files: left out" for level, n in left_out]
    rgb = first.rgb and len(scenes) == 1
    channels = [channel for scene in scenes for channel in _channels(scene, keep=rgb)]
    return replace(first, name=name, levels=levels, rgb=rgb, channels=channels), warnings


def _channels(scene: Scene, *, keep: bool) -> list[Channel]:
    """Those of a colour file in a set lose nothing but are named after it."""
    if not scene.rgb or keep:
        return list(scene.channels)
    return [replace(channel, name=f"{scene.name} {channel.name}") for channel in scene.channels]


def joint_levels(parts: Sequence[Sequence[Level]]) -> tuple[list[Level], list[tuple[Level, int]]]:
    """Levels with the channels of all parts one behind the other; those that not all parts have, and how many do."""
    levels: list[Level] = []
    left_out: list[tuple[Level, int]] = []
    for level in parts[0]:
        members = [one for one in (_twin(level, part) for part in parts) if one is not None]
        if len(members) == len(parts):
            levels.append(_joint(members))
        else:
            left_out.append((level, len(members)))
    return levels, left_out


def _twin(level: Level, part: Sequence[Level]) -> Level | None:
    wanted = level.shape._replace(c=0)
    return next((one for one in part if one.shape._replace(c=0) == wanted and one.scale == level.scale), None)


@dataclass(frozen=True, slots=True)
class _Members:
    """The levels of all files, their channels one behind the other: their `TileIndex` and `Level.read` in one.

    A key is (number of the file, key in its level).
    """

    levels: tuple[Level, ...]
    starts: tuple[int, ...]
    """The first channel of each."""

    def tiles(self, box: Box) -> Iterator[Tile]:
        """Tiles of every file that has channels in `box`."""
        for number, (level, start) in enumerate(zip(self.levels, self.starts, strict=True)):
            inside = _moved(box, -start) & Box.of(level.shape)
            if inside:
                for tile in level.index.tiles(inside):
                    yield Tile(_moved(tile.box, start), (number, tile.key), tile.crop)

    def gaps(self) -> Sequence[Box]:
        """Those of all files."""
        pairs = zip(self.levels, self.starts, strict=True)
        return [_moved(gap, start) for level, start in pairs for gap in level.index.gaps()]

    def read(self, key: Hashable) -> Pixels:
        """A block of one of the files."""
        number, inner = cast("tuple[int, Hashable]", key)
        return self.levels[number].read(inner)


def _moved(box: Box, channels: int) -> Box:
    return Box(*(corner._replace(c=corner.c + channels) for corner in (box.start, box.stop)))


def _joint(levels: Sequence[Level]) -> Level:
    """The levels of all files as one, their channels one behind the other."""
    if len(levels) == 1:
        return levels[0]
    starts = [sum(level.shape.c for level in levels[:i]) for i in range(len(levels) + 1)]
    members = _Members(tuple(levels), tuple(starts[:-1]))
    first = levels[0]
    return replace(
        first,
        shape=first.shape._replace(c=starts[-1]),
        index=members,
        read=members.read,
        fill=first.fill if all(same_fill(first.fill, level.fill, first.dtype) for level in levels) else 0,
        interleaved=False,
    )
