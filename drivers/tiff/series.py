"""tifffile's series as stacks: the one place that maps its axes to t, c, z.

Used for the kinds whose page order only metadata tells: ImageJ, LSM, MetaMorph STK, FluoView and so on. T, C, Z, Y, X
are themselves; S (samples in planes of their own) belongs to c. An axis of any other kind (I, Q: a sequence; P, M:
positions; R, V: rotations) becomes t where nothing else is, else it is folded into c, slower than what is there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import Damaged, Unsupported
from drivers.limits import check
from drivers.tiff.container import OpenTiff
from drivers.tiff.directory import layout_of, read_directory, value_of
from drivers.tiff.leftover import told
from drivers.tiff.stack import PLANES, Layer, Stack, add_reduced, layer_of, sources_of, subpages
from drivers.tiff.storage import Plane, storage_of
from drivers.tiff.subfile import MASK, TAG, is_mask

if TYPE_CHECKING:
    from tifffile import TiffPage, TiffPageSeries

KINDS = ("shaped", "lsm", "mmstack", "imagej", "fluoview", "stk", "sis", "scanimage", "nih", "flimage", "eer")


def kind_of(file: OpenTiff) -> str | None:
    """The kind of metadata that orders the pages, None where there is none."""
    return next((kind for kind in KINDS if getattr(file.tiff, f"is_{kind}")), None)


def series_stacks(file: OpenTiff, kind: str) -> list[Stack]:
    """Stacks of the series of a kind; empty where its metadata do not fit the pages: they are then grouped without."""
    every = list(file.tiff.series(kind=kind, squeeze=False))
    found = [series for series in every if not _thumbnail(series)]
    if kind == "imagej" and not found:
        _check_imagej(file)
    if any(_leading(series) is None for series in found):
        return []
    stacks = [_stack(file, series, len(found) > 1) for series in found]
    if stacks:
        stacks[0].masks += _masks(file, every)
        stacks[0].warnings += told(file, kind, every, stacks)
    return stacks


def _masks(file: OpenTiff, every: Sequence[TiffPageSeries]) -> list[TiffPage]:
    """Transparency masks in the main chain, also where tifffile has them in a series of images; not a series of masks."""
    found = {offset for offset in file.chain if _subfile(file, offset) & MASK}
    if found:
        apart = [series for series in every if is_mask(series.keyframe)]
        found -= {page.offset for series in apart for page in series if page is not None}
    return [page.aspage() for page in file.tiff.pages if page.offset in found] if found else []


def _subfile(file: OpenTiff, offset: int) -> int:
    """NewSubfileType of a directory, read by hand: tifffile's frames have that of their first page."""
    layout = layout_of(file.source)
    for entry in read_directory(file.source, layout, offset)[0]:
        if entry.code == TAG:
            return int.from_bytes(value_of(file.source, layout, entry), "little" if layout.order == "<" else "big")
    return 0


def _check_imagej(file: OpenTiff) -> None:
    """Raise Damaged where ImageJ promises more planes than there are: tifffile then has no series, and no error."""
    meta, page = file.tiff.imagej_metadata or {}, file.tiff.pages.first
    lengths = [meta.get(name, 1) for name in ("frames", "slices", "channels")]
    planes = math.prod(n for n in lengths if isinstance(n, int) and n > 0)
    if planes > len(file.chain) * page.samplesperpixel:
        raise Damaged(f"ImageJ's metadata speak of {planes} planes, which the file does not hold: it is truncated")


def _thumbnail(series: TiffPageSeries) -> bool:
    return bool(series.keyframe.subfiletype & 1) and series.kind == "lsm"


def _leading(series: TiffPageSeries) -> list[tuple[str, int]] | None:
    """Axes before Y, X with their lengths; None where the rest is not one page."""
    at, page = series.axes.find("Y"), series.keyframe
    if at < 0 or series.axes[at : at + 2] != "YX" or series.axes[at + 2 :] not in ("", "S", "C"):
        return None
    samples = series.shape[at + 2] if len(series.axes) > at + 2 else 1
    contiguous = page.samplesperpixel if page.planarconfig == 1 else 1
    if series.shape[at : at + 2] != (page.imagelength, page.imagewidth) or samples != contiguous:
        return None
    return list(zip(series.axes[:at], series.shape[:at], strict=True))


def _stack(file: OpenTiff, series: TiffPageSeries, named: bool) -> Stack:
    if series.is_multifile:
        raise Unsupported("a series that is spread over several files is not read")
    leading = _leading(series)
    assert leading is not None
    check("the number of planes", math.prod(length for _, length in leading), PLANES)
    order = _order(leading, series.keyframe.samplesperpixel if series.keyframe.planarconfig == 2 else 1)
    virtual = _virtual(file, series, order)
    stack = Stack([virtual or _stored(file, series, order)], (series.name or None) if named else None)
    if len(series) >= order.size and stack.layers[0].page.subifds:
        pages = [None if page is None else page.aspage() for page in series]
        reduced = [list(subpages(page, file.chain)) for i in order.flat if (page := pages[i]) is not None]
        add_reduced(stack, reduced, sources_of(order, file.source))
    return stack


def _order(leading: list[tuple[str, int]], samples: int) -> NDArray[np.int64]:
    """Numbers of the pages, indexed [t, c, z]. `samples`: planes of a page, which are the last of the leading axes."""
    axes, lengths = [a for a, _ in leading], [n for _, n in leading]
    if samples > 1:
        if not lengths or lengths[-1] != samples:
            raise Unsupported(f"planes of {samples} samples in a series of {leading}")
        axes, lengths = axes[:-1], lengths[:-1]
    groups: dict[str, list[int]] = {"T": [], "C": [], "Z": []}
    for i, axis in enumerate(axes):
        if axis in "TCZ":
            groups[axis].append(i)
        elif axis == "S":
            groups["C"].append(i)
    taken = any(lengths[i] > 1 for i in groups["T"])
    for i, axis in enumerate(axes):
        if axis not in "TCZS":
            groups["C" if taken else "T"].insert(0, i)
            taken = taken or lengths[i] > 1
    numbers = np.arange(math.prod(lengths), dtype=np.int64).reshape(lengths)
    shape = [math.prod(lengths[i] for i in groups[axis]) for axis in "TCZ"]
    return numbers.transpose([i for axis in "TCZ" for i in groups[axis]]).reshape(shape)


def _virtual(file: OpenTiff, series: TiffPageSeries, order: NDArray[np.int64]) -> Layer | None:
    """Planes that lie one behind the other behind a single directory, as ImageJ writes files beyond 4 GB."""
    page, start = series.keyframe, series.dataoffset
    if start is None or len(series) == order.size > 1 or page.is_tiled:
        return None
    storage = storage_of(page)
    if storage.raw is None:
        return None
    storage = replace(storage, segment_height=storage.height)
    size = storage.height * storage.width * storage.rows.pixel_bytes
    parts = storage.samples if storage.planar else 1
    end = start + order.size * parts * size
    if end > file.source.size:
        raise Damaged(f"planes reach to byte {end}, the file ends at {file.source.size}: it is truncated; copy it again")
    return Layer(page, storage, _consecutive(order, start, size, parts))


def _consecutive(order: NDArray[np.int64], start: int, size: int, parts: int) -> NDArray[Any]:
    planes = np.empty(order.shape, object)
    for index in np.ndindex(order.shape):
        first = start + int(order[index]) * parts * size
        planes[index] = Plane([first + i * size for i in range(parts)], [size] * parts)
    return planes


def _stored(file: OpenTiff, series: TiffPageSeries, order: NDArray[np.int64]) -> Layer:
    if len(series) < order.size:
        raise Damaged(f"its metadata speak of {order.size} planes, the file has {len(series)}: it is truncated")
    # tifffile mends the offsets of LSM files in its frames, which whole pages would read anew
    kept = series.kind == "lsm"
    found = [page if page is None or kept or page.is_virtual else page.aspage() for page in series]
    pages = np.empty(order.shape, object)
    for index in np.ndindex(order.shape):
        pages[index] = found[int(order[index])]
    return layer_of(pages, sources_of(pages, file.source))
