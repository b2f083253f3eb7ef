"""OME-TIFF: every Image of the OME-XML a scene, in one file or a set of files, with SubIFD pyramids.

Planes are mapped from TiffData here, not by tifffile, which shows planes of absent files as zeros. Format: OME Model
and Formats documentation, "OME-TIFF specification".
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.associated import OF_THE_SYSTEM, left_out
from drivers.errors import Damaged, DriverError, Incomplete
from drivers.files import closed_on_error, open_source, read_head
from drivers.limits import LIMITS, check
from drivers.members.files import confined
from drivers.metadata.omexml import (
    Pixels,
    facts_of,
    instrument_of,
    pixel_size_of,
    pixels_of,
    position_of,
    significant_bits_of,
    time_step_of,
)
from drivers.metadata.omexml import planes_of as described_planes
from drivers.metadata.xmltree import child, parse_xml
from drivers.model import Scene, Slide
from drivers.ometiff.claims import Planes
from drivers.ometiff.described import channels_for, named
from drivers.ometiff.files import FileSet, master_of, names_of
from drivers.ometiff.planes import claimed_by, planes_of, runs_of
from drivers.ometiff.reduced import Reduced, holders, masks_in_chain, reduced_in_chain, unclaimed
from drivers.ometiff.stacks import Group, groups_of, levels_of
from drivers.ometiff.tiffdata import Run
from drivers.tiff.container import OpenTiff, is_tiff, open_tiff
from drivers.tiff.mask import Held, held, masked
from drivers.tiff.metadata import icc_of, text
from drivers.tiff.opening import open_with

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element


_ROLES = {
    "label": "label",
    "label image": "label",
    "macro": "macro",
    "macro image": "macro",
    "thumbnail": "thumbnail",
    "thumbnail image": "thumbnail",
}
"""Names that Bio-Formats and QuPath give the images which are not the specimen."""


def open_slide(path: Path) -> Slide:
    """Open an OME-TIFF and the files of its set, which must lie in its folder; or the companion that names them."""
    return _of_companion(path) if _is_xml(path) else open_with(path, _slide, general=True)


def _is_xml(path: Path) -> bool:
    return read_head(path).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<")


def _of_companion(path: Path) -> Slide:
    """The set by way of its `.companion.ome`: the first file that it names stands where an OME-TIFF itself would."""
    with closed_on_error(path, _nothing):
        xml = _companion_xml(path)
        root = parse_xml(xml)
        names = [uuid.get("FileName") or "" for uuid in root.iter() if uuid.tag.rpartition("}")[2] == "UUID"]
        if not names_of(root) or "" in names_of(root):
            raise Damaged("does not name the OME-TIFF file of every plane; a companion holds none itself")
        named = [name for name in names if name in names_of(root)]
        first = _first(path.parent, named)

        def opened(_member: Path, file: OpenTiff) -> Slide:
            own = parse_xml(text(file.tiff.pages.first, 270) or "<OME/>")
            return _closing(path, FileSet(file, own.get("UUID"), names_of(root)), (xml, root), [first])

        return open_with(first, opened, general=True)


def _first(folder: Path, names: list[str]) -> Path:
    """The first file that is there: of a set without the file of its label the other ones are read."""
    try:
        return confined(folder, names[0])
    except Incomplete:
        there = next((name for name in names if (folder / name).exists()), None)
        if there is None:
            raise
        return confined(folder, there)


def _nothing() -> None:
    """Nothing is open yet."""


def _slide(path: Path, file: OpenTiff) -> Slide:
    own = parse_xml(text(file.tiff.pages.first, 270) or "")
    told: list[str] = []
    xml, root, extra = _document(path, text(file.tiff.pages.first, 270) or "", own, told)
    return _closing(path, FileSet(file, own.get("UUID"), names_of(root), warnings=told), (xml, root), extra)


def _closing(path: Path, files: FileSet, document: tuple[str, Element], extra: list[Path]) -> Slide:
    """The slide; an error closes the other files of the set."""
    try:
        return _scenes(path, files, document, extra)
    except BaseException:
        for other in files.opened.values():
            other.close()
        raise


def _document(path: Path, xml: str, own: Element, warnings: list[str]) -> tuple[str, Element, list[Path]]:
    """The OME-XML of the set: the file's own, or that of the file which BinaryOnly refers to, then with its path."""
    reference = child(own, "BinaryOnly")
    name, uuid = (None, None) if reference is None else (reference.get("MetadataFile"), reference.get("UUID"))
    if not name and not uuid:
        return xml, own, []
    companion = master_of(path, name, uuid, warnings)
    xml = _companion_xml(companion)
    return xml, parse_xml(xml), [companion]


def _companion_xml(path: Path) -> str:
    source = open_source(path)
    try:
        if not is_tiff(source.read(0, min(4, source.size))):
            check("the length of the XML", source.size, LIMITS.metadata_bytes)
            return source.read(0, source.size).decode("utf-8", "replace")
    finally:
        source.close()
    file = open_tiff(path)
    try:
        return text(file.tiff.pages.first, 270) or ""
    finally:
        file.close()


def _scenes(path: Path, files: FileSet, document: tuple[str, Element], extra: list[Path]) -> Slide:
    xml, root = document
    scenes: list[Scene] = []
    associated: dict[str, Scene] = {}
    images = pixels_of(root)
    for p, planes, chained, masks in _stored(images, files):
        role = _role(p, images)
        try:
            scene = _scene(path, p, groups_of(p, planes, files, chained), document, files)
        except DriverError as error:
            _spare(role, error, files)
            continue
        found = masked(scene, masks, 1, associated)
        scene, files.warnings[:] = found.scene, [*files.warnings, *found.warnings]
        associated |= found.associated
        if role is not None and role not in associated:
            associated[role] = replace(scene, name=role)
        else:
            scenes.append(scene)
    if not scenes:
        raise Damaged("the OME-XML describes no image that is stored")
    files.close_directories()
    others = [f.source.path for f in files.opened.values()]
    return Slide(
        path=path,
        driver="ometiff",
        files=list(dict.fromkeys([path, *extra, *others])),
        scenes=scenes,
        associated=associated,
        close=files.close,
        raw_metadata=xml,
        warnings=list(dict.fromkeys(files.warnings)),
    )


def _stored(images: list[Pixels], files: FileSet) -> list[tuple[Pixels, Planes, Reduced, list[Held]]]:
    """Every Image that has planes, with the reduced images and the masks of the main chains."""
    runs: list[tuple[Pixels, list[Run]]] = []
    for p in images:
        try:
            runs.append((p, runs_of(p, files)))
        except DriverError as error:
            _spare(_role(p, images), error, files)
    claimed = claimed_by([run for _, own in runs for run in own])
    found: list[tuple[Pixels, Planes]] = []
    for p, own in runs:
        try:
            planes = planes_of(p, own, files, claimed)
        except DriverError as error:
            _spare(_role(p, images), error, files)
            continue
        if planes is None:
            files.warnings.append(f"image {p.index} has no planes and is left out")
        else:
            found.append((p, planes))
    chained = reduced_in_chain([planes for _, planes in found], [files.main, *files.opened.values()])
    if files.names:
        every = [files.main, *files.opened.values()]
        files.warnings += unclaimed([planes for _, planes in found], every, claimed, chained)
    masks: dict[int, list[Held]] = {}
    for file in holders([planes for _, planes in found], files):
        for number, pages in masks_in_chain([planes for _, planes in found], file).items():
            masks.setdefault(number, []).extend(held(pages, file.source))
    return [(p, planes, chained, masks.get(i, [])) for i, (p, planes) in enumerate(found)]


def _role(p: Pixels, images: list[Pixels]) -> str | None:
    """Role of an associated image; None for an Image of the specimen."""
    return _ROLES.get((p.name or "").lower()) if len(images) > 1 else None


def _spare(role: str | None, error: DriverError, files: FileSet) -> None:
    """A word about an associated image that cannot be read; the error of any other is raised."""
    if role is None or isinstance(error, OF_THE_SYSTEM):
        raise error
    files.warnings.append(left_out(role, error))


def _scene(path: Path, p: Pixels, groups: list[Group], document: tuple[str, Element], files: FileSet) -> Scene:
    xml, root = document
    samples, mixed = groups[0].samples, len(groups) > 1
    levels = levels_of(groups, files, p.index)
    count = levels[0].shape.c
    alpha = None if mixed or named(p) else samples.alpha_of(count)
    rgb = not mixed and samples.rgb and count == samples.channels and alpha == samples.alpha
    instrument = instrument_of(root, p)
    own_bits = None if mixed else samples.significant_bits
    return Scene(
        name=p.name or path.stem,
        levels=levels,
        rgb=rgb,
        channels=samples.described if rgb else channels_for(p, groups, files),
        pixel_size=pixel_size_of(p),
        magnification=instrument.magnification,
        position=position_of(p),
        time_step_s=time_step_of(p),
        planes=described_planes(p),
        significant_bits=significant_bits_of(p, levels[0].dtype.itemsize * 8) or own_bits,
        icc=None if mixed else icc_of(groups[0].page)[0],
        facts=facts_of(root, p, instrument, xml),
        alpha=alpha,
    )
