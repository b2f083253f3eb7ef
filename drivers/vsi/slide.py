"""A slide out of a .vsi file: scenes and associated images, each from its ETS file or from a page of the file itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drivers.associated import OF_THE_SYSTEM, free_role, left_out
from drivers.errors import Damaged, DriverError, Unsupported
from drivers.files import ByteSource, open_source
from drivers.limits import LIMITS, check
from drivers.model import PixelSize, Scene, Slide
from drivers.tiff.container import check_tiff
from drivers.vsi.ets import Ets, read_ets
from drivers.vsi.frames import chosen, frame_files, unnamed_folders
from drivers.vsi.images import MACRO, OVERVIEW, Image, images_of
from drivers.vsi.levels import axes_of, channels_of, levels_of, outside
from drivers.vsi.tags import Node, read_tags

if TYPE_CHECKING:
    from drivers.tiff.container import OpenTiff

_ROLES = {OVERVIEW: "overview", MACRO: "macro"}
_USUAL = {"label", "macro", "overview"}


@dataclass(slots=True)
class _Set:
    """The files of a slide while they are being opened."""

    path: Path
    sources: list[ByteSource] = field(default_factory=list[ByteSource])
    tiff: OpenTiff | None = None
    warnings: list[str] = field(default_factory=list[str])
    beside: dict[str, Scene] = field(default_factory=dict[str, Scene])
    """Images with the tiles that lie outside the size of theirs, by role."""

    def open(self, path: Path) -> ByteSource:
        source = open_source(path)
        self.sources.append(source)
        return source

    def close(self) -> None:
        for source in self.sources:
            source.close()
        self.sources.clear()
        if self.tiff is not None:
            self.tiff.close()


def open_vsi(path: Path, driver: str) -> Slide:
    """Open a .vsi file. Every error names it."""
    files = _Set(path)
    try:
        return _slide(files, driver)
    except DriverError as error:
        files.close()
        raise error if path.name in str(error) else type(error)(f"{path.name}: {error}") from error
    except BaseException:
        files.close()
        raise


def _slide(files: _Set, driver: str) -> Slide:
    path = files.path
    source = files.open(path)
    check(f"{path.name}: the number of its bytes", source.size, 16 * LIMITS.metadata_bytes)
    root = read_tags(source.read(0, source.size), path.name)
    scenes: list[Scene] = []
    associated: dict[str, Scene] = {}
    lost: list[DriverError] = []
    images = images_of(root)
    files.warnings += [*_own_pictures(path), *unnamed_folders(path, images)]
    for image in images:
        role = _role(image)
        try:
            found = _scenes(files, image)
        except DriverError as error:
            if role is None or isinstance(error, OF_THE_SYSTEM):
                raise
            files.warnings.append(left_out(role, error))
            lost.append(error)
            continue
        if not found:
            files.warnings.append(f"image {image.name or image.index} has no pixels that are read")
        elif role is None or (role in _USUAL and role in associated):
            scenes += found
        else:
            role = free_role(role, associated)
            associated[role] = replace(found[0], name=role)
            if image.kind not in (0, *_ROLES):
                files.warnings.append(f"the {image.kind_name} {image.name or image.index}: --associated {role} writes it")
    if not scenes and associated:  # a slide of which only the overview was taken
        scenes, associated = [replace(scene, name=role) for role, scene in associated.items()], {}
    if not scenes:
        raise lost[0] if lost else Unsupported(f"{path.name}: lists no image with pixels")
    paths = [s.path for s in files.sources]
    raw = "\n".join(_lines(root, "")) or None
    associated = {**files.beside, **associated}
    return Slide(path, driver, paths, _apart(scenes), associated, files.close, raw, files.warnings)


def _own_pictures(path: Path) -> list[str]:
    """A warning where the small pictures behind the tags cannot be: the file lacks its end."""
    try:
        check_tiff(path)
    except DriverError as error:
        reason = str(error).removeprefix(f"{path.name}: ")
        return [f"the pictures in the file itself cannot be read, it may be cut short: {reason}"]
    return []


def _role(image: Image) -> str | None:
    """Role of an image that is not the specimen as it was acquired; None for one that is."""
    name = (image.name or "").lower()
    if image.kind in _ROLES or name in _USUAL:
        return _ROLES.get(image.kind, name)
    return image.kind_name.replace(" ", "-").lower() if image.kind else None


def _apart(scenes: list[Scene]) -> list[Scene]:
    """Scenes under names that differ: a slide may hold several called "40x"."""
    names = [scene.name for scene in scenes]
    return [
        replace(scene, name=f"{scene.name} {names[:i].count(scene.name) + 1}") if names.count(scene.name) > 1 else scene
        for i, scene in enumerate(scenes)
    ]


def _scenes(files: _Set, image: Image) -> list[Scene]:
    if image.external:
        return [_external(files, image, ets) for ets in _frames(files, image)]
    return [] if image.page is None else [_internal(files, image, image.page)]


def _external(files: _Set, image: Image, ets: Ets) -> Scene:
    try:
        axes = axes_of(ets, image)
        levels, repeats = levels_of(ets, image, axes)
    except DriverError as error:
        raise type(error)(f"{ets.source.path.parent.name}/{ets.source.path.name}: {error}") from error
    files.warnings += [f"{ets.source.path.parent.name}/{ets.source.path.name}: {repeat}" for repeat in repeats]
    channels, rgb = channels_of(image, axes, ets.header.components)
    z = next((d.z_step_um for d in image.dimensions if d.z_step_um is not None), None)
    bits = ets.header.dtype.itemsize * 8
    scene = Scene(
        name=image.name or files.path.stem,
        levels=levels,
        rgb=rgb,
        channels=channels,
        pixel_size=PixelSize(image.pixel_size.y_um, image.pixel_size.x_um, z),
        magnification=image.magnification,
        position=image.position,
        time_step_s=next((d.time_step_s for d in image.dimensions if d.time_step_s is not None), None),
        significant_bits=image.bits if image.bits and image.bits < bits and ets.header.dtype.kind in "ui" else None,
        facts=image.facts,
    )
    _keep_outside(files, image, ets, scene)
    return scene


def _keep_outside(files: _Set, image: Image, ets: Ets, scene: Scene) -> None:
    """Keep an image of all tiles beside the one of the size that the tags state, where some lie outside it; and say so."""
    count = outside(ets, image)
    if not count:
        return
    words = f"{count} tiles of {scene.name!r} lie outside the size that its tags state"
    role = _role(image)
    role = free_role("all-tiles" if role is None else f"{role}-all-tiles", files.beside)
    try:
        levels, _ = levels_of(ets, replace(image, size=None), axes_of(ets, image))
    except DriverError as error:
        files.warnings.append(f"{words} and are left out: {error}")
        return
    files.beside[role] = replace(scene, name=role, levels=levels[:1])
    files.warnings.append(f"{words}: --associated {role} writes the image with them")


def _frames(files: _Set, image: Image) -> list[Ets]:
    """The .ets files of an image: nearly always one."""
    candidates = [read_ets(files.open(path)) for path in frame_files(files.path, image)]
    kept = chosen(candidates, image)
    what = f"image {image.name or image.index}"
    for ets in candidates:
        if not any(ets is other for other in kept):
            files.sources.remove(ets.source)
            ets.source.close()
            files.warnings.append(f"{ets.source.path.name} beside the pixels of {what} has another size and is left out")
    if len(kept) > 1:
        files.warnings.append(f"the pixels of {what} lie in {len(kept)} files that are not told apart; each is a scene")
    return kept


def _internal(files: _Set, image: Image, page: int) -> Scene:
    """An image in a TIFF page of the .vsi file: a snapshot."""
    from tifffile import TiffPage

    from drivers.tiff.container import open_tiff
    from drivers.tiff.level import build_level, plane_of, storage_of
    from drivers.tiff.samples import samples_of

    if files.tiff is None:
        files.tiff = open_tiff(files.path)
    pages = files.tiff.tiff.pages
    found = pages[page] if 0 <= page < len(pages) else None
    if not isinstance(found, TiffPage):
        raise Damaged(f"image {image.name or image.index} is page {page} of {len(pages)}")
    samples, storage = samples_of(found), storage_of(found)
    planes = np.empty((1, 1, 1), object)
    planes[0, 0, 0] = plane_of(found, storage, files.tiff.source)
    level = build_level(files.tiff.source, storage, planes, samples.facts(1.0))
    described = next((d.channels for d in image.dimensions if len(d.channels) == level.shape.c), None)
    return Scene(
        name=image.name or files.path.stem,
        levels=[level],
        rgb=samples.rgb,
        channels=samples.described if samples.rgb else described or samples.described,
        pixel_size=image.pixel_size,
        magnification=image.magnification,
        position=image.position,
        significant_bits=samples.significant_bits,
        facts=image.facts,
        alpha=samples.alpha,
    )


def _lines(node: Node, path: str) -> Iterable[str]:
    """Every value of the tree with the tags that lead to it; look-up tables and the like shortened."""
    for child in node.children:
        where = f"{path}/{child.tag}" + (f"[{child.index}]" if child.index is not None else "")
        if child.value is not None:
            shown = child.value[:16] if isinstance(child.value, tuple) else child.value
            yield f"{where} = {shown}"
        yield from _lines(child, where)
