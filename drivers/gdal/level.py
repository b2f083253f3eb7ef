"""A level out of a GDAL dataset: which bands are colours, how they are shown, and in which blocks they are read."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drivers.errors import Damaged, Unreadable, Unsupported
from drivers.gdal import jp2
from drivers.gdal.dataset import MASK, Handles, Source
from drivers.gdal.kinds import Kind
from drivers.gdal.spool import SIDE, Spool, has_room, size_of
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import ALPHA, RGB_CHANNELS, Channel, Level, Pixels
from drivers.pictures.color import SHOWN_INVERTED, opaque, ycbcr_to_rgb
from drivers.tiles import Grid

BAND_SAMPLES = 20 << 20
"""Least size of a block of whole rows. The converter keeps blocks of this size in a file, so that each is decoded once."""
_BLOCK = 512
"""Least side of a block where blocks can be reached singly: smaller ones are joined."""
_UNTILED = 2048
_COEFFICIENT_BYTES = 2 << 30
"""What a progressive JPEG may take while it is decoded: one of 350 megapixels."""
_COLORS = ("red", "green", "blue")
_TWO_ALPHAS = (
    "the map has an alpha and a transparency mask: --associated mask writes the mask as an image beside it, of 0 and 255"
)
_UNNAMED_ALPHA = "nothing says what the fourth component is: it is taken for alpha, as viewers do"


@dataclass(frozen=True, slots=True)
class Bands:
    """Which bands of a dataset are shown, and how."""

    indexes: tuple[int, ...]
    """From 1, as GDAL counts; the mask of the dataset, as its alpha, is MASK."""
    dtype: np.dtype[Any]
    rgb: bool
    palette: NDArray[np.uint8] | None = None
    """Shape (256, 3), or 4 with the opacity of its colours."""
    significant_bits: int | None = None
    warnings: tuple[str, ...] = ()
    alpha: int | None = None
    """The last channel, where it is the one alpha of the others."""
    colors: bool = False
    """The first three channels are red, green and blue, whatever follows."""
    inverted: bool = False
    """To be shown with low values bright."""
    ycbcr: bool = False
    """The stored samples are sYCC."""
    clear: tuple[int, ...] | None = None
    """Samples of the one colour whose alpha is 0, where the alpha is not stored; all others are opaque."""
    mask_beside: bool = False
    """The dataset has a mask too, which is not among the bands: see `mask_only`."""

    @property
    def channels(self) -> int:
        """Channels as shown."""
        made = self.clear is not None
        return len(self.indexes) + made + (0 if self.palette is None else self.palette.shape[1] - 1)

    @property
    def described(self) -> tuple[Channel, ...]:
        """The channels, as far as the file describes them."""
        known = (RGB_CHANNELS if self.colors else ()) + ((ALPHA,) if self.alpha is not None else ())
        blank = [Channel(inverted=self.inverted)] * (self.channels - len(known))
        return (*known, *blank) if self.colors else (*blank, *known)

    @property
    def stored(self) -> np.dtype[Any]:
        """Type of the stored samples: colours, or the indices of a palette."""
        return self.dtype if self.palette is None else np.dtype("u1")


def bands_of(dataset: Any, source: Source) -> Bands:
    """The bands of a rasterio dataset, its one alpha last; raises Unsupported for what has no place in a scene.

    More than one band beside the colours is never alpha, whatever the file calls them: such files hold measured bands.
    """
    meanings, name = [color.name for color in dataset.colorinterp], source.name
    if not meanings:
        raise Unsupported(f"{name}: holds no raster bands of its own (a container of other data sets)")
    check("the number of bands", len(meanings), LIMITS.channels)
    if meanings.count("palette") == len(meanings):
        meanings = meanings[:1]  # GDAL gives the pictures of an animated GIF as bands
    dtypes = {np.dtype(dataset.dtypes[i]) for i in range(len(meanings))}
    dtype = dtypes.pop()
    if dtypes or dtype.kind not in "uif":
        raise Unsupported(f"{name}: bands of type {', '.join(sorted(set(dataset.dtypes)))} are not read")
    alpha, warnings = _alpha(meanings, dtype, source.kind)
    masked = _masked(dataset, source.kind)
    beside = masked and alpha is not None
    if beside:
        masked, warnings = False, (*warnings, _TWO_ALPHAS)
    kept = [i for i in range(len(meanings)) if i != alpha]
    if len(kept) == 1 and meanings[kept[0]] == "palette" and dtype == np.dtype("u1"):
        shown = _palette(dataset, kept[0], MASK if masked else None if alpha is None else alpha + 1)
        return replace(shown, warnings=warnings, mask_beside=beside)
    order = {meaning: i for i, meaning in enumerate(meanings)}
    named = all(color in order for color in _COLORS)
    rgb = len(kept) == 3 and (named or _unnamed_rgb(dataset, kept, meanings))
    if rgb and named:
        kept = [order[color] for color in _COLORS]
    if source.kind.ycbcr and (not rgb or dtype != np.dtype("u1")):
        raise Unsupported(
            f"{name}: sYCC with bands {', '.join(meanings)} of type {dtype} is not read; convert it to RGB first"
        )
    clear = source.kind.clear if alpha is None and len(source.kind.clear or ()) == len(kept) else None
    bits = _bits(dataset, kept[0], dtype)
    shown = tuple(i + 1 for i in (kept if alpha is None else [*kept, alpha]))
    shown = (*shown, MASK) if masked else shown
    inverted = dataset.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"
    return Bands(
        indexes=shown,
        dtype=dtype,
        rgb=rgb,
        significant_bits=bits,
        warnings=(*warnings, SHOWN_INVERTED) if inverted else warnings,
        alpha=None if alpha is None and clear is None and not masked else len(kept),
        colors=rgb or (meanings[:3] == list(_COLORS) and len(meanings) == 4),
        inverted=inverted,
        ycbcr=source.kind.ycbcr,
        clear=clear,
        mask_beside=beside,
    )


def mask_only() -> Bands:
    """The mask of a dataset, of 0 and 255, as an image of its own."""
    return Bands((MASK,), np.dtype("u1"), rgb=False)


def _alpha(meanings: list[str], dtype: np.dtype[Any], kind: Kind) -> tuple[int | None, tuple[str, ...]]:
    """(index of the one alpha of a grey or colour picture, warnings).

    A fourth component of JPEG 2000 that nothing describes is taken for alpha, as Pillow and other viewers do.
    """
    if len(meanings) not in (2, 4):
        return None, ()
    if meanings.count("alpha") == 1:
        return meanings.index("alpha"), ()
    colors = [*_COLORS, "undefined"], ["undefined"] * 4 if kind.bare else None
    if kind.driver == "JP2OpenJPEG" and dtype == np.dtype("u1") and meanings in colors:
        return 3, (_UNNAMED_ALPHA,)
    return None, ()


def _masked(dataset: Any, kind: Kind) -> bool:
    """Whether a map has a mask of its own, of all bands; one that GDAL makes of "no data" or of an alpha is none."""
    return kind.driver == "GTiff" and [flag.name for flag in dataset.mask_flag_enums[0]] == ["per_dataset"]


def _unnamed_rgb(dataset: Any, kept: list[int], meanings: list[str]) -> bool:
    """Three 8-bit components of a bare JPEG 2000 codestream, which names no colours, are taken for RGB as viewers do."""
    unnamed = {meanings[i] for i in kept} == {"undefined"}
    return dataset.driver == "JP2OpenJPEG" and unnamed and set(dataset.dtypes) == {"uint8"}


def _palette(dataset: Any, index: int, alpha: int | None) -> Bands:
    """`alpha`: the number of its band, or MASK."""
    table = np.zeros((256, 4), np.uint8)
    table[:, 3] = 255
    for entry, color in dataset.colormap(index + 1).items():
        if entry < 256:
            table[entry] = color
    indexes = (index + 1,) if alpha is None else (index + 1, alpha)
    clear = alpha is None and bool((table[:, 3] < 255).any())
    table = table if clear else table[:, :3]
    return Bands(
        indexes, np.dtype("u1"), rgb=True, colors=True, palette=table, alpha=3 if clear or alpha is not None else None
    )


def _bits(dataset: Any, index: int, dtype: np.dtype[Any]) -> int | None:
    text = dataset.tags(index + 1, ns="IMAGE_STRUCTURE").get("NBITS", "")
    bits = int(text) if text.isdigit() else 0
    return bits if 0 < bits < dtype.itemsize * 8 and dtype.kind in "ui" else None


@dataclass(frozen=True, slots=True)
class Reader:
    """`Level.read` of a grid of windows; the key is the grid position."""

    handles: Handles
    grid: Grid
    bands: Bands

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, Shape)
        box = self.grid.place(key)
        height, width = box.shape.y, box.shape.x
        bands = self.bands
        block = np.empty((height, width, len(bands.indexes)), bands.stored)
        self.handles.read(bands.indexes, (box.start.y, box.start.x, height, width), block.transpose(2, 0, 1))
        return _shown(block, bands)


@dataclass(frozen=True, slots=True)
class SpooledReader:
    """`Level.read` of a grid of blocks of a spool; the key is the grid position."""

    spool: Spool
    grid: Grid
    bands: Bands
    name: str

    def __call__(self, key: Hashable) -> Pixels:
        assert isinstance(key, Shape)
        try:
            return _shown(self.spool.read(self.grid.place(key)), self.bands)
        except Unreadable as error:
            raise Unreadable(f"{self.name}: {error}") from error


def _shown(block: Pixels, bands: Bands) -> Pixels:
    """A block (height, width, samples) on five axes, palette indices as colours."""
    most = opaque(bands.dtype, bands.significant_bits)
    if bands.indexes[-1] == MASK:
        block[..., -1] *= block.dtype.type(most)
    if bands.palette is not None:
        block = np.concatenate([bands.palette[block[..., 0]], block[..., 1:]], axis=2)
    if bands.clear is not None:  # as libpng's png_set_tRNS_to_alpha
        seen = (block != np.array(bands.clear, block.dtype)).any(axis=2, keepdims=True)
        block = np.concatenate([block, seen * np.array(most, block.dtype)], axis=2)
    if bands.ycbcr:
        block[..., :3] = ycbcr_to_rgb(block[..., :3])
    return block.transpose(2, 0, 1)[None, :, None]


def build_level(
    dataset: Any, source: Source, bands: Bands, scale: float, *, turned: bool = False
) -> tuple[Level, Handles | Spool]:
    """The level that `dataset` shows, and what it reads with, to be closed. `dataset` itself is not kept.

    `turned`: the rows will be wanted from the last to the first.
    """
    height, width = int(dataset.height), int(dataset.width)
    _check_size(source, bands, height, width)
    shape = Shape(1, bands.channels, 1, height, width)
    handles = Handles(source)
    spool = _spool(handles, bands, (height, width), turned)
    rows, columns = _block(dataset, source.kind, bands, turned) if spool is None else (SIDE, SIDE)
    tile = Shape(1, bands.channels, 1, min(rows, height), min(columns, width))
    grid = Grid(shape, tile)
    level = Level(
        shape=shape,
        dtype=bands.dtype,
        index=grid,
        read=Reader(handles, grid, bands) if spool is None else SpooledReader(spool, grid, bands, source.name),
        tile=tile,
        fill=255 if bands.rgb and bands.dtype == np.dtype("u1") else 0,
        scale=scale,
        compression=_compression(dataset, source.kind),
        interleaved=bands.channels > 1,
    )
    return level, handles if spool is None else spool


@dataclass(frozen=True, slots=True)
class Spooled:
    """A picture that is decoded once, whole: its level, its bands, and the spool, which must be closed."""

    level: Level
    bands: Bands
    spool: Spool


def spooled(spool: Spool, bands: Bands, source: Source) -> Spooled:
    """The picture that a spool decodes."""
    height, width, samples = spool.shape
    shape, tile = Shape(1, samples, 1, height, width), Shape(1, samples, 1, min(SIDE, height), min(SIDE, width))
    grid = Grid(shape, tile)
    read = SpooledReader(spool, grid, bands, source.name)
    fill = 255 if bands.rgb and bands.dtype == np.dtype("u1") else 0
    level = Level(shape, bands.dtype, grid, read, tile, fill, 1.0, source.kind.compression, interleaved=True)
    return Spooled(level, bands, spool)


def _spool(handles: Handles, bands: Bands, size: tuple[int, int], turned: bool) -> Spool | None:
    """A spool for a large picture that would be decoded again and again, where there is room for one."""
    kind, dtype = handles.source.kind, bands.stored
    shape = (*size, len(bands.indexes))
    at_once = kind.at_once and bands.palette is None and bands.indexes == tuple(range(1, shape[2] + 1))
    at_once = at_once and jp2.fits(math.prod(shape), dtype)
    if not at_once and not (kind.sequential and (turned or kind.progressive)):
        return None
    if math.prod(shape) < 2 * BAND_SAMPLES or not has_room(size_of(shape, dtype)):
        return None
    if at_once:
        return Spool(shape, dtype, lambda first: iter([jp2.decode(handles.source, shape, dtype)[first:]]))
    rows = max(1, BAND_SAMPLES // (shape[1] * shape[2]))

    def decode(first: int) -> Iterator[Pixels]:
        for top in range(first, shape[0], rows):
            block = np.empty((min(rows, shape[0] - top), *shape[1:]), dtype)
            handles.read(bands.indexes, (top, 0, block.shape[0], shape[1]), block.transpose(2, 0, 1))
            yield block
        handles.close()  # and with it what the decoder keeps

    return Spool(shape, dtype, decode, eager=kind.progressive)


def _check_size(source: Source, bands: Bands, height: int, width: int) -> None:
    if height < 1 or width < 1:
        raise Damaged(f"{source.name}: a picture of {width}x{height} pixels")
    check(f"{source.name}: the number of pixels", height * width, LIMITS.level_pixels)
    row = width * bands.channels * bands.dtype.itemsize
    check(f"{source.name}: the number of bytes of a row", row, LIMITS.tile_bytes)
    if source.kind.progressive:
        check(f"{source.name}: the number of bytes to decode a progressive JPEG", 2 * row * height, _COEFFICIENT_BYTES)
    if source.kind.whole:
        check(f"{source.name}: the number of bytes of the picture, decoded at once", row * height, LIMITS.tile_bytes)


def _block(dataset: Any, kind: Kind, bands: Bands, turned: bool) -> tuple[int, int]:
    """(rows, columns) of the blocks to read."""
    height, width = int(dataset.height), int(dataset.width)
    rows, columns = (int(n) for n in dataset.block_shapes[0])
    if kind.whole:
        return height, width
    if columns >= width and kind.driver != "JP2OpenJPEG":
        size = height * width * bands.channels
        each = BAND_SAMPLES if not turned else LIMITS.tile_bytes // bands.dtype.itemsize
        count = max(1, size // each) if not turned else -(-size // each)
        together = max(1, -(-height // max(1, count)))
        return (together if kind.sequential else -(-together // rows) * rows), width
    least = _UNTILED if kind.driver == "JP2OpenJPEG" and rows == columns == 1024 else _BLOCK
    return rows * max(1, least // rows), columns * max(1, least // columns)


def _compression(dataset: Any, kind: Kind) -> str:
    if kind.driver != "GTiff":
        return kind.compression
    compression = dataset.compression
    return compression.name.lower() if compression is not None else kind.compression
