"""Planning a whole slide: which scenes and associated images go where, and what it will cost."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from converter.alpha import dropped_words, is_dropped, shown
from converter.codec import parse_codec
from converter.errors import OptionError
from converter.options import Options
from converter.planning.associated import decodable
from converter.planning.image import ImagePlan, Place, in_axes, plan_image
from converter.planning.memory import peak_memory
from converter.planning.privacy import roles
from converter.planning.trust import assess
from drivers.model import Slide

_RANGE = re.compile(r"(\d{1,9})-(\d{1,9})?")
_LOSSY = {"jpeg", "jpeg2000", "webp", "jpegxr"}


@dataclass(frozen=True, slots=True)
class SlidePlan:
    """Everything that will be written of one slide."""

    path: str
    driver: str
    options: Options
    layout: str
    images: tuple[ImagePlan, ...]
    dropped_roles: tuple[str, ...]
    warnings: tuple[str, ...]
    raw_bytes: int
    estimated_bytes: int
    objects: int
    peak_memory_bytes: int
    root_attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    """Filled while the images are written."""

    @property
    def ome_zarr(self) -> str:
        """Version to write."""
        return self.options.ome_zarr

    def as_json(self) -> dict[str, Any]:
        """The shape of CLI.md."""
        return {
            "path": self.path,
            "driver": self.driver,
            "ome_zarr": self.ome_zarr,
            "layout": self.layout,
            "scenes": [_scene_json(image) for image in self.images if image.index is not None],
            "associated": [image.name for image in self.images if image.index is None],
            "removed": list(self.dropped_roles),
            "raw_bytes": self.raw_bytes,
            "estimated_bytes": self.estimated_bytes,
            "objects": self.objects,
            "peak_memory_bytes": self.peak_memory_bytes,
            "warnings": list(self.warnings),
        }


def _scene_json(image: ImagePlan) -> dict[str, Any]:
    levels = [
        {
            "path": level.path,
            "y": level.shape.y,
            "x": level.shape.x,
            "scale": max(level.factor),
            "source": str(level.source),
            "chunk": in_axes(level.chunk, image.axes),
            "shard": None if level.shard is None else in_axes(level.shard, image.axes),
        }
        for level in image.levels
    ]
    refused = [{"level": r.level, "reason": r.reason} for r in image.refused]
    return {"index": image.index, "group": image.group, "name": image.name, "levels": levels, "refused_native": refused}


def plan_slide(slide: Slide, options: Options) -> SlidePlan:
    """Plan the chosen scenes and associated images. Reads the pixels that `assess` compares, and associated images.

    Raises OptionError for scenes or roles that are not there, DriverError where the slide cannot be read.
    """
    stored, slide = slide, shown(slide, options.alpha)
    chosen = choose_scenes(slide, options)
    layout = options.layout if options.layout != "auto" else ("image" if len(chosen) == 1 else "bioformats2raw")
    if layout == "image" and len(chosen) != 1:
        raise OptionError(f"--layout image holds one scene, and {len(chosen)} are chosen; use --scenes or bioformats2raw")
    wanted, dropped = roles(slide, options)
    kept, unreadable = decodable(slide, wanted)
    images: list[ImagePlan] = []
    for order, index in enumerate(chosen):
        scene = slide.scenes[index]
        group = "" if layout == "image" else str(order)
        images.append(plan_image(scene, assess(scene, options), options, Place(index, group)))
    for role in kept:
        scene = slide.associated[role]
        images.append(plan_image(scene, assess(scene, options), options, Place(None, f"associated/{role}")))
    warnings = [*unreadable, *_without_alpha(stored, images, options), *_warnings(slide, chosen, images)]
    raw = sum(image.raw_bytes for image in images)
    return SlidePlan(
        path=str(slide.path),
        driver=slide.driver,
        options=options,
        layout=layout,
        images=tuple(images),
        dropped_roles=tuple(dropped),
        warnings=tuple(warnings),
        raw_bytes=raw,
        estimated_bytes=int(raw * _ratio(slide, options)),
        objects=sum(level.objects + 1 for image in images for level in image.levels) + 3,
        peak_memory_bytes=peak_memory(slide, images, options),
    )


def _without_alpha(slide: Slide, images: Sequence[ImagePlan], options: Options) -> list[str]:
    pairs = [(i, slide.associated[i.name] if i.index is None else slide.scenes[i.index]) for i in images]
    return [dropped_words(image.name) for image, scene in pairs if is_dropped(scene, options.alpha)]


def choose_scenes(slide: Slide, options: Options) -> list[int]:
    """Indices of the scenes that `--scenes` names, in the slide's order for "all". Raises OptionError."""
    if options.scenes == ("all",):
        return list(range(len(slide.scenes)))
    chosen = [index for word in options.scenes for index in _named(slide, word)]
    return list(dict.fromkeys(chosen))


def _named(slide: Slide, word: str) -> Sequence[int]:
    """Indices that one word means: an index, a name, or a range (2-5 with both ends, 2- to the last). Raises OptionError."""
    names = [scene.name for scene in slide.scenes]
    if word.isdecimal() and int(word) < len(names):
        return [int(word)]
    if names.count(word) == 1:
        return [names.index(word)]
    found = _RANGE.fullmatch(word)
    if found is not None and word not in names:
        first, last = int(found[1]), int(found[2] or len(names) - 1)
        if first <= last < len(names):
            return range(first, last + 1)
        raise OptionError(f"scenes {word!r} are not all in {slide.path.name}: it has the scenes 0 to {len(names) - 1}")
    known = ", ".join(f"{i} ({name})" for i, name in enumerate(names[:20]))
    raise OptionError(f"scene {word!r} is not in {slide.path.name}, or is ambiguous; there are: {known}")


def _warnings(slide: Slide, chosen: Sequence[int], images: Sequence[ImagePlan]) -> list[str]:
    found: list[str] = []
    for index in chosen:
        scene = slide.scenes[index]
        if scene.pixel_size.x_um is None:
            found.append(f"scene {index}: the slide states no pixel size; scales are in pixels, without a unit")
        if scene.dtype.name in ("int64", "uint64"):
            found.append(
                f"scene {index}: OME-XML has no {scene.dtype.name} and says double; the arrays are {scene.dtype.name}"
            )
        gaps = len(scene.levels[0].index.gaps())
        if gaps:
            found.append(f"scene {index}: {gaps} tiles of level 0 are not stored; they show the background")
    for image in images:
        found += [f"{image.name}: native level {r.level} is not reused: {r.reason}" for r in image.refused]
    return found


def _ratio(slide: Slide, options: Options) -> float:
    """Expected compressed share of the raw bytes: half for tissue that was lossily compressed, more for noise."""
    if parse_codec(options.codec).family == "none":
        return 1.0
    lossy = all(scene.compression in _LOSSY for scene in slide.scenes)
    return 0.5 if lossy else 0.8
