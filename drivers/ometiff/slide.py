"""OME-TIFF: every Image of the OME-XML a scene, in one file or a set of files, with SubIFD pyramids.

Planes are mapped from TiffData here, not by tifffile, which shows planes of absent files as zeros. Format: OME Model
and Formats documentation, "OME-TIFF specification".
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.errors import Damaged
from drivers.files import ByteSource, closed_on_error, open_source, read_head
from drivers.limits import LIMITS, check
from drivers.members.files import confined
from drivers.metadata.omexml import (
    Pixels,
    channels_of,
    facts_of,
    instrument_of,
    pixel_size_of,
    pixels_of,
    position_of,
    significant_bits_of,
    time_step_of,
)
from drivers.metadata.xmltree import child, children, parse_xml
from drivers.model import Channel, Scene, Slide
from drivers.ometiff.planes import FileSet, Planes, names_of, planes_of
from drivers.tiff.container import OpenTiff, is_tiff, open_tiff
from drivers.tiff.level import build_level
from drivers.tiff.metadata import icc_of, tag, text
from drivers.tiff.opening import open_with
from drivers.tiff.samples import Samples, samples_of
from drivers.tiff.stack import Stack, add_reduced, layer_of, scale_of, subpages

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
    return _of_companion(path) if _is_xml(path) else open_with(path, _slide)


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
        first = confined(path.parent, next(name for name in names if name in names_of(root)))

        def opened(_member: Path, file: OpenTiff) -> Slide:
            own = parse_xml(text(file.tiff.pages.first, 270) or "<OME/>")
            return _closing(path, FileSet(file, own.get("UUID"), names_of(root)), (xml, root), [first])

        return open_with(first, opened)


def _nothing() -> None:
    """Nothing is open yet."""


def _slide(path: Path, file: OpenTiff) -> Slide:
    own = parse_xml(text(file.tiff.pages.first, 270) or "")
    xml, root, extra = _document(path, text(file.tiff.pages.first, 270) or "", own)
    return _closing(path, FileSet(file, own.get("UUID"), names_of(root)), (xml, root), extra)


def _closing(path: Path, files: FileSet, document: tuple[str, Element], extra: list[Path]) -> Slide:
    """The slide; an error closes the other files of the set."""
    try:
        return _scenes(path, files, document, extra)
    except BaseException:
        for other in files.opened.values():
            other.close()
        raise


def _document(path: Path, xml: str, own: Element) -> tuple[str, Element, list[Path]]:
    """The OME-XML of the set: the file's own, or that of the file which BinaryOnly refers to, then with its path."""
    reference = child(own, "BinaryOnly")
    name = reference.get("MetadataFile") if reference is not None else None
    if not name:
        return xml, own, []
    companion = confined(path.parent, name)
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
    for p in images:
        planes = planes_of(p, files)
        if planes is None:
            files.warnings.append(f"image {p.index} has no planes and is left out")
            continue
        scene = _scene(path, p, _stack(p, planes, files), document, files.main.source)
        role = _ROLES.get(scene.name.lower())
        if role is not None and role not in associated and len(images) > 1:
            associated[role] = scene
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


def _stack(p: Pixels, planes: Planes, files: FileSet) -> Stack:
    sources = planes.sources
    stack = Stack([layer_of(planes.pages, sources)])
    stored = [index for index in zip(planes.pages.flat, planes.files.flat, strict=True) if index[0] is not None]
    add_reduced(stack, [list(subpages(page, file.chain)) for page, file in stored], sources)
    stack.warnings += [f"a SubIFD of {s.imagewidth}x{s.imagelength} is no level and is left out" for s in stack.spare]
    stack.warnings += samples_of(stack.layers[0].page, indexed=True).warnings
    size = (p.size("Y"), p.size("X"))
    if stack.layers[0].size != size:
        stack.warnings.append(f"the OME-XML speaks of {size[1]}x{size[0]} pixels; the size of the pages is used")
    if tag(stack.layers[0].page, 274) not in (None, 1):
        stack.warnings.append("the orientation tag is ignored, as OME-TIFF readers do")
    files.warnings += [f"image {p.index}: {warning}" for warning in stack.warnings]
    return stack


def _scene(path: Path, p: Pixels, stack: Stack, document: tuple[str, Element], source: ByteSource) -> Scene:
    xml, root = document
    base = stack.layers[0]
    samples = samples_of(base.page, indexed=True)
    levels = [
        build_level(source, layer.storage, layer.planes, samples_of(layer.page, indexed=True).facts(scale))
        for layer in stack.layers
        for scale in [scale_of(stack, layer)]
    ]
    count = levels[0].shape.c
    alpha = None if _named(p) else samples.alpha_of(count)
    rgb = samples.rgb and count == samples.channels and alpha == samples.alpha
    instrument = instrument_of(root, p)
    return Scene(
        name=p.name or path.stem,
        levels=levels,
        rgb=rgb,
        channels=samples.described if rgb else _channels(p, samples, count),
        pixel_size=pixel_size_of(p),
        magnification=instrument.magnification,
        position=position_of(p),
        time_step_s=time_step_of(p),
        significant_bits=significant_bits_of(p, levels[0].dtype.itemsize * 8) or samples.significant_bits,
        icc=icc_of(base.page)[0],
        facts=facts_of(root, p, instrument, xml),
        alpha=alpha,
    )


def _named(p: Pixels) -> bool:
    """Whether the OME-XML names channels one by one: then each holds what its name says, whatever the tags call it."""
    channels = children(p.pixels, "Channel")
    return len(channels) > 1 and any(channel.get("Name") for channel in channels)


def _channels(p: Pixels, samples: Samples, count: int) -> tuple[Channel, ...]:
    """Those of the OME-XML, where it speaks of as many; what the tags say stays."""
    elements, described = len(children(p.pixels, "Channel")), samples.channels_for(count)
    found = channels_of(p, 1 if elements == count else samples.channels)
    if len(found) != count:
        return described
    alike = elements == 1
    pairs = enumerate(zip(found, described, strict=True))
    return tuple(d if alike and i == samples.alpha else replace(f, inverted=d.inverted) for i, (f, d) in pairs)
