"""Scenes out of sub-blocks: which blocks are one raster, its levels, and what the XML says of it.

A scene is what has one scene index, one pixel type and one index of view, illumination, rotation and acquisition block.
Of phases (the detectors of an Airyscan) the first is shown, with a warning: they are raw data of one image, not images. The
others can be asked for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from drivers.associated import associated_images, free_role
from drivers.czi.claims import settled_level
from drivers.czi.directory import OTHERS, Block
from drivers.czi.levels import Frame, build_level
from drivers.czi.metadata import ChannelNote, Notes, SceneNote
from drivers.czi.pixels import PixelType, pixel_type
from drivers.czi.planes import with_planes
from drivers.czi.pyramid import factors_of
from drivers.czi.segments import Region
from drivers.errors import Damaged
from drivers.model import ALPHA, RGB_CHANNELS, Channel, Level, PixelSize, Position, Scene

_WORDS = dict(zip("HVIRB", ("phase", "view", "illumination", "rotation", "block"), strict=True))
_SAMPLES = (*RGB_CHANNELS, ALPHA)


@dataclass(frozen=True, slots=True)
class Group:
    """Blocks of one scene."""

    scene: int
    pixel_type: int
    others: tuple[tuple[str, int], ...]
    """Dimension and start, for dimensions that take several values in the file."""
    blocks: Sequence[Block]


@dataclass(frozen=True, slots=True)
class Stored:
    """What the file holds of a scene."""

    name: str
    group: Group
    by_factor: Mapping[int, Sequence[Block]]
    """Its blocks; 1: of full resolution."""

    @classmethod
    def of(cls, group: Group, name: str) -> Stored:
        """Raises Damaged where nothing is stored at full resolution."""
        return cls(name, group, _by_factor(group, name))


def groups_of(blocks: Sequence[Block], warnings: list[str]) -> list[Group]:
    """The blocks of each scene, in the order of their names; raises Damaged where there are none."""
    if not blocks:
        raise Damaged("holds no image: its sub-block directory is empty")
    phases = {b.others[0] for b in blocks}
    if len(phases) > 1:
        warnings.append(
            f"of {len(phases)} phases (Airyscan detectors) only the first is shown: --associated phase-{max(phases)} and the "
            "like write others"
        )
        blocks = _first_phase(blocks)
    varying = [i for i in range(1, len(OTHERS)) if len({b.others[i] for b in blocks}) > 1]
    found: defaultdict[tuple[int, int, tuple[int, ...]], list[Block]] = defaultdict(list)
    for block in blocks:
        found[block.scene, block.pixel_type, tuple(block.others[i] for i in varying)].append(block)
    letters = [OTHERS[i] for i in varying]
    return [
        Group(scene, kind, tuple(zip(letters, starts, strict=True)), members)
        for (scene, kind, starts), members in sorted(found.items(), key=lambda item: item[0])
    ]


def phases_of(parts: Mapping[int, Region], blocks: Sequence[Block], notes: Notes) -> tuple[dict[str, Scene], list[str]]:
    """(the phases that the scenes do not show, each as an image of its own, by role; warnings on those that are not read)."""
    shown = {id(b) for b in _first_phase(blocks)}
    others: defaultdict[int, list[Block]] = defaultdict(list)
    for b in blocks:
        if id(b) not in shown:
            others[b.others[0]].append(b)
    makers: dict[str, Callable[[], Scene]] = {}
    for phase, members in sorted(others.items()):
        groups = groups_of(members, [])
        for number, group in enumerate(groups):
            role = f"phase-{phase}" if len(groups) == 1 else f"phase-{phase}-{number}"
            makers[role] = partial(_phase, parts, group, notes, role)
    warnings: list[str] = []
    return associated_images(makers, warnings), warnings


def _phase(parts: Mapping[int, Region], group: Group, notes: Notes, role: str) -> Scene:
    return _scene(parts, Stored.of(group, role), notes, None)


def _first_phase(blocks: Sequence[Block]) -> list[Block]:
    first: dict[tuple[int, int], int] = {}
    for b in blocks:
        first[b.scene, b.c] = min(b.others[0], first.get((b.scene, b.c), b.others[0]))
    return [b for b in blocks if b.others[0] == first[b.scene, b.c]]


def stored_of(blocks: Sequence[Block], notes: Notes, stem: str) -> tuple[list[Stored], list[str]]:
    """(scenes of a file in the order of their names, warnings)."""
    warnings: list[str] = []
    groups = groups_of(blocks, warnings)
    return [Stored.of(g, name) for g, name in zip(groups, _names(groups, notes, stem), strict=True)], warnings


def scenes_of(parts: Mapping[int, Region], stored: Sequence[Stored], notes: Notes) -> tuple[list[Scene], list[str]]:
    """(scenes, warnings)."""
    warnings: list[str] = []
    return [_scene(parts, one, notes, warnings) for one in stored], warnings


def reduced_of(parts: Mapping[int, Region], stored: Sequence[Stored], notes: Notes) -> tuple[dict[str, Scene], list[str]]:
    """(planes that are stored reduced and not in full, as images of their own, by role; warnings on them)."""
    makers: dict[str, Callable[[], Scene]] = {}
    warnings: list[str] = []
    for one in stored:
        for factor, members in _only_reduced(one.by_factor).items():
            role = free_role(f"reduced-{factor}", makers)
            makers[role] = partial(_reduced, parts, Stored(role, one.group, {factor: members}), notes)
            planes = len({(b.t, b.c, b.z) for b in members})
            words = f"{planes} planes are stored reduced by {factor} and not in full"
            warnings.append(f"scene {one.name!r}: {words}: --associated {role} writes them")
    return associated_images(makers, warnings), warnings


def _only_reduced(by_factor: Mapping[int, Sequence[Block]]) -> dict[int, list[Block]]:
    """By factor, the blocks of planes that no finer level has."""
    known: set[tuple[int, int, int]] = set()
    found: dict[int, list[Block]] = {}
    for factor in sorted(by_factor):
        blocks = [b for b in by_factor[factor] if (b.t, b.c, b.z) not in known]
        known |= {(b.t, b.c, b.z) for b in blocks}
        if factor > 1 and blocks:
            found[factor] = blocks
    return found


def _reduced(parts: Mapping[int, Region], stored: Stored, notes: Notes) -> Scene:
    """Blocks of one reduced level as an image of its own, with its own pixel size."""
    ((factor, blocks),) = stored.by_factor.items()
    frame = Frame.of(blocks)

    def levels(fill: float) -> list[Level]:
        kept, told = settled_level(parts, sorted(blocks, key=lambda b: b.order), frame, factor)
        if kept is None:
            raise Damaged("; ".join(told))
        return [replace(build_level(parts, kept, frame, factor, fill), scale=1.0)]

    scene = _described(stored, frame, notes, levels)
    y, x = (None if um is None else um * factor for um in (scene.pixel_size.y_um, scene.pixel_size.x_um))
    return replace(scene, pixel_size=replace(scene.pixel_size, y_um=y, x_um=x))


def _names(groups: Sequence[Group], notes: Notes, stem: str) -> list[str]:
    """The names the file gives; a number behind those that occur twice."""
    scenes, kinds = {g.scene for g in groups}, {g.pixel_type for g in groups}
    names: list[str] = []
    for group in groups:
        default = stem if len(scenes) == 1 else f"Scene {group.scene}" if group.scene >= 0 else "no scene"
        words = [notes.scenes.get(group.scene, SceneNote()).name or default]
        words += [f"{_WORDS[letter]} {start}" for letter, start in group.others]
        words += [pixel_type(group.pixel_type).name] if len(kinds) > 1 else []
        names.append(", ".join(words))
    for name in {n for n in names if names.count(n) > 1}:
        for number, i in enumerate([i for i, n in enumerate(names) if n == name]):
            names[i] = f"{name} ({number})"
    return names


def _scene(parts: Mapping[int, Region], stored: Stored, notes: Notes, warnings: list[str] | None) -> Scene:
    """The scene; without `warnings` nothing is told, and nothing read of its single planes."""
    full = stored.by_factor[1]
    frame = Frame.of(full)
    told = (stored.name, [] if warnings is None else warnings)
    scene = _described(stored, frame, notes, partial(_levels, parts, stored.by_factor, frame, told))
    return scene if warnings is None else with_planes(scene, parts, full, frame)


def _described(stored: Stored, frame: Frame, notes: Notes, levels: Callable[[float], list[Level]]) -> Scene:
    """What the file says of a scene, with its levels; `levels` makes them, with the fill value."""
    group = stored.group
    kind = pixel_type(group.pixel_type)
    described = [notes.channels[c] for c in sorted(frame.channels) if 0 <= c < len(notes.channels)]
    rgb = kind.samples >= 3 and frame.shape.c == kind.samples
    return Scene(
        name=stored.name,
        levels=levels(_fill(kind, described)),
        rgb=rgb,
        channels=_SAMPLES[: kind.samples] if rgb else _channels(frame, notes, kind),
        pixel_size=notes.pixel_size,
        magnification=notes.magnification,
        position=_position(notes.scenes.get(group.scene), frame, notes.pixel_size),
        time_step_s=notes.time_step_s,
        significant_bits=_bits(kind, described, len(frame.channels)),
        facts=notes.facts,
        alpha=3 if rgb and kind.samples == 4 else None,
    )


def _by_factor(group: Group, name: str) -> Mapping[int, Sequence[Block]]:
    found: defaultdict[int, list[Block]] = defaultdict(list)
    for block, factor in zip(group.blocks, factors_of(group.blocks), strict=True):
        found[int(factor)].append(block)
    if 1 not in found:
        raise Damaged(f"scene {name!r} has no pixels of full resolution: its finest level is reduced by {min(found)}")
    return found


def _fill(kind: PixelType, described: Sequence[ChannelNote]) -> float:
    """White in brightfield: 8 bit colour that is not said to be fluorescence."""
    fluorescent = any(note.fluorescent for note in described)
    return 255.0 if kind.dtype == np.uint8 and kind.samples >= 3 and not fluorescent else 0.0


def _bits(kind: PixelType, described: Sequence[ChannelNote], channels: int) -> int | None:
    """The most that a channel uses, where all say it and it is less than the type."""
    bits = [note.bits for note in described if note.bits is not None]
    if len(bits) != channels or kind.dtype.kind != "u" or max(bits) >= kind.dtype.itemsize * 8:
        return None
    return max(bits)


def _levels(
    parts: Mapping[int, Region],
    by_factor: Mapping[int, Sequence[Block]],
    frame: Frame,
    report: tuple[str, list[str]],
    fill: float,
) -> list[Level]:
    """Levels from fine to coarse. Those that lack planes, or are no smaller than the finer one, are left out."""
    name, warnings = report
    planes = {(b.t, b.c, b.z) for b in by_factor[1]}
    levels: list[Level] = []
    for factor in sorted(by_factor):
        blocks = sorted(by_factor[factor], key=lambda b: b.order)
        blocks = [b for b in blocks if (b.t, b.c, b.z) in planes]
        kept, told = settled_level(parts, blocks, frame, factor)
        warnings.extend(f"scene {name!r}: {warning}" for warning in told)
        if kept is None:
            continue
        blocks = kept
        lacking = len(planes) - len({(b.t, b.c, b.z) for b in blocks})
        if lacking:
            warnings.append(f"scene {name!r}: the level reduced by {factor} lacks {lacking} planes and is left out")
            continue
        level = build_level(parts, blocks, frame, factor, fill)
        if not levels or level.shape.y * level.shape.x < levels[-1].shape.y * levels[-1].shape.x:
            levels.append(level)
    return levels


def _channels(frame: Frame, notes: Notes, kind: PixelType) -> tuple[Channel, ...]:
    found: list[Channel] = []
    for c in sorted(frame.channels):
        note = notes.channels[c] if 0 <= c < len(notes.channels) else None
        if note is None:
            found += [Channel()] * kind.samples
        elif kind.samples == 1:
            top = float(np.iinfo(kind.dtype).max) if kind.dtype.kind == "u" else None
            limits = note.display if top is not None else None
            window = None if limits is None or top is None else (round(limits[0] * top, 3), round(limits[1] * top, 3))
            found.append(replace(note.channel, window=window))
        else:
            found += [
                replace(note.channel, name=_part(note.channel.name, c.name), color=c.color) for c in _SAMPLES[: kind.samples]
            ]
    return tuple(found)


def _part(name: str | None, color: str | None) -> str | None:
    return color if name is None else f"{name} {color}"


def _position(note: SceneNote | None, frame: Frame, size: PixelSize) -> Position | None:
    """Upper left corner: the stated centre less half the extent."""
    if note is None or note.center_um is None or size.x_um is None or size.y_um is None:
        return None
    x, y = note.center_um
    return Position(y - frame.shape.y * size.y_um / 2, x - frame.shape.x * size.x_um / 2)
