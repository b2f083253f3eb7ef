"""Zeiss AxioVision ZVI: every position a scene, the tiles of a mosaic one scene.

The file is a compound file; each of its image items holds one plane, or a tile of one, and tags that describe it. Items that
differ in their pixels (a colour image among fluorescence channels) are scenes of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drivers.errors import DriverError
from drivers.files import ByteSource, closed_on_error, open_source
from drivers.model import ALPHA, RGB_CHANNELS, PixelSize, Scene, Slide
from drivers.zvi.claims import positions_of, without_copies
from drivers.zvi.compound import Compound, open_compound
from drivers.zvi.item import Item, items_of, tags_of
from drivers.zvi.level import Axes, axes_of, level_of
from drivers.zvi.metadata import (
    channels_of,
    facts_of,
    magnification_of,
    pixel_size_of,
    position_of,
    raw_of,
    said_of,
    time_step_of,
)
from drivers.zvi.placing import Placed, placed, tile_of
from drivers.zvi.thumbnail import thumbnail_of
from drivers.zvi.values import NoValue, Value, read_value

_SAMPLES = (*RGB_CHANNELS, ALPHA)
_COUNT = 8
"""Place of the number of items among the values of the image's `Contents`."""


def open_slide(path: Path) -> Slide:
    """Open a ZVI; directory, item headers and tags are read now, pixels when they are asked for."""
    source = open_source(path)
    with closed_on_error(path, source.close):
        return _slide(path, source)


def _slide(path: Path, source: ByteSource) -> Slide:
    compound = open_compound(source)
    items, warnings = items_of(compound)
    tags = tags_of(compound, "Image")
    stated = _stated_count(compound)
    if stated is not None and stated > len(items):
        # Not an error: files exist that count more items than they hold (slideio), and Bio-Formats never looks.
        warnings.append(f"{stated} image items are counted, {len(items)} are stored; planes that are missing show nothing")
    image = _Image(path, tags, pixel_size_of(compound, tags), warnings)
    scenes = list(image.scenes(items))
    associated, lost = _associated(compound)
    return Slide(
        path=path,
        driver="zvi",
        files=[path],
        scenes=scenes,
        associated=associated,
        close=source.close,
        raw_metadata=raw_of(tags, items),
        warnings=[*warnings, *lost],
    )


def _stated_count(compound: Compound) -> int | None:
    stream = compound.stream("Image/Contents")
    data = b"" if stream is None else stream.read(0, min(stream.size, 4096))
    value, at = None, 0
    try:
        for _ in range(_COUNT + 1):
            value, at = read_value(data, at)
    except NoValue:
        return None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _associated(compound: Compound) -> tuple[dict[str, Scene], list[str]]:
    """(images by role, warnings). A thumbnail that cannot be read costs a warning, not the slide."""
    try:
        thumbnail = thumbnail_of(compound)
    except DriverError as error:
        return {}, [f"the thumbnail is left out: {error}"]
    return ({} if thumbnail is None else {"thumbnail": thumbnail}), []


@dataclass(frozen=True, slots=True)
class _Image:
    """What the scenes of a file share."""

    path: Path
    tags: Mapping[int, Value]
    pixel: PixelSize
    warnings: list[str]

    def scenes(self, items: Sequence[Item]) -> Iterator[Scene]:
        """The scenes that the items make."""
        groups = list(self._groups(items))
        for i, (group, mosaic) in enumerate(groups):
            name = self.path.stem if len(groups) == 1 else f"{self.path.stem}, image {i + 1}"
            alone, repeats = without_copies(group)
            self.warnings.extend(repeats)
            yield self._scene(name, alone, mosaic)

    def _groups(self, items: Sequence[Item]) -> Iterator[tuple[list[Item], Placed | None]]:
        """Items of one scene each. Channels of colour are images of their own."""
        for group in _split(items, lambda item: (item.scene, item.kind, item.c if item.kind.channels > 1 else 0)):
            mosaic = placed(group, self.tags, self.pixel)
            if mosaic is not None:
                yield group, mosaic
                continue
            for part in _split(group, lambda item: (tile_of(item), item.size)):
                for position in positions_of(part):
                    yield position, None

    def _scene(self, name: str, items: Sequence[Item], mosaic: Placed | None) -> Scene:
        axes = axes_of(items)
        level = level_of(self.path.name, items, axes, mosaic)
        rgb = items[0].kind.channels > 1
        first = min(items, key=lambda item: (item.t, item.z, item.c, item.number))
        said = said_of(first, self.tags)
        tiles = list({tile_of(item): item for item in reversed(items)}.values())
        return Scene(
            name=name,
            levels=[level],
            rgb=rgb,
            channels=_SAMPLES[: items[0].kind.samples] if rgb else tuple(channels_of(_firsts(items, axes), self.tags)),
            pixel_size=self.pixel if level.shape.z > 1 else PixelSize(self.pixel.y_um, self.pixel.x_um),
            magnification=magnification_of(said),
            position=position_of(tiles, self.pixel),
            time_step_s=time_step_of(_frames(items, axes)),
            significant_bits=_bits(items),
            facts=facts_of(said),
            alpha=3 if items[0].kind.samples == 4 else None,
        )


def _split(items: Sequence[Item], key: Callable[[Item], Hashable]) -> list[list[Item]]:
    groups: dict[Hashable, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return list(groups.values())


def _firsts(items: Sequence[Item], axes: Axes) -> list[Item]:
    """The first item of each channel."""
    found: dict[int, Item] = {}
    for item in items:
        found.setdefault(item.c, item)
    return [found[c] for c in axes.c]


def _frames(items: Sequence[Item], axes: Axes) -> list[Item]:
    """An item of each time, all of one channel, slice and tile; empty where a time has none."""
    first = items[0]
    same = (first.c, first.z, tile_of(first))
    found = {item.t: item for item in reversed(items) if (item.c, item.z, tile_of(item)) == same}
    return [found[t] for t in axes.t] if len(found) == len(axes.t) else []


def _bits(items: Sequence[Item]) -> int | None:
    """Bits of a sample that carry information, where they are fewer than it has; colours may be counted together."""
    kind, bits = items[0].kind, max(item.valid_bits for item in items)
    whole = kind.dtype.itemsize * 8
    if bits > whole and kind.samples > 1:
        bits //= kind.samples
    return bits if kind.dtype.kind == "u" and 1 < bits < whole else None
