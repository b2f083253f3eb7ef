"""OME-Zarr stores made by the tests with zarr-python: every version that is read, sharded or not, in every codec.

`STORES` is to OME-Zarr what `MADE` is to formats of one file: a store is a folder.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec, GzipCodec, TransposeCodec, ZstdCodec

from tests.made.svs import reduced, tissue

Image = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Store:
    """What to make."""

    version: str = "0.5"
    axes: str = "cyx"
    size: tuple[int, ...] = (3, 300, 421)
    chunk: tuple[int, ...] = (1, 128, 128)
    shard: tuple[int, ...] | None = None
    codec: str = "zstd"
    dtype: str = "u1"
    levels: int = 3
    step: float = 2.0
    """Stated factor between levels, which all are reduced by 2."""
    unit: str | None = "micrometer"
    scale: bool = True
    omero: bool = True
    separator: str | None = None
    """None: as the version asks for."""
    order: str = "C"
    blank: bool = False
    """Whether a part of the picture is fill, whose chunks are not written."""
    fill: int = 0
    name: str | None = "picture"


def picture(store: Store) -> list[Image]:
    """Every level on the store's axes."""
    height, width = store.size[-2:]
    planes = int(np.prod(store.size[:-2], dtype=int))
    images = [np.ascontiguousarray(tissue(height, width, 70 + i // 3)[..., i % 3]) for i in range(planes)]
    levels: list[Image] = []
    for level in range(store.levels):
        shown = [reduced(image[..., None], 2**level) if level else image for image in images]
        array = np.stack(shown).reshape(*store.size[:-2], *shown[0].shape[:2]).astype(store.dtype)
        if np.dtype(store.dtype).itemsize > 1:
            array = array * 7 - (300 if np.dtype(store.dtype).kind != "u" else 0)
            array = array.astype(store.dtype)
        if store.blank:
            array[..., : array.shape[-2] // 2, :] = store.fill
        levels.append(array)
    return levels


def make_store(path: Path, store: Store) -> Path:
    """Write the store."""
    newer = store.version == "0.5"
    group = zarr.create_group(path, zarr_format=3 if newer else 2, overwrite=True)
    write_image(group, store)
    return path


def write_image(group: zarr.Group, store: Store) -> None:
    """Arrays and metadata of an image into a group."""
    for number, array in enumerate(picture(store)):
        _write_array(group, str(number), array, store)
    attributes = ome(store)
    if store.version == "0.5":
        group.attrs.update({"ome": {"version": "0.5", **attributes}})
    else:
        group.attrs.update(attributes)


def ome(store: Store) -> dict[str, Any]:
    """multiscales and omero as the version has them."""
    datasets: list[dict[str, Any]] = []
    for number in range(store.levels):
        dataset: dict[str, Any] = {"path": str(number)}
        if store.version in ("0.4", "0.5") and store.scale:
            factor = store.step**number
            lengths = {"t": 1.5, "c": 1.0, "z": 2.0, "y": 0.25 * factor, "x": 0.25 * factor}
            dataset["coordinateTransformations"] = [{"type": "scale", "scale": [lengths[a] for a in store.axes]}]
        datasets.append(dataset)
    multiscale: dict[str, Any] = {"datasets": datasets}
    if store.name:
        multiscale["name"] = store.name
    if store.version != "0.5":
        multiscale["version"] = store.version
    if store.version == "0.3":
        multiscale["axes"] = list(store.axes)
    elif store.version in ("0.4", "0.5"):
        multiscale["axes"] = [_axis(store, axis) for axis in store.axes]
    attributes: dict[str, Any] = {"multiscales": [multiscale]}
    if store.omero and "c" in store.axes:
        attributes["omero"] = {"channels": channels(store.size[store.axes.index("c")])}
    return attributes


def _axis(store: Store, axis: str) -> dict[str, str]:
    kind = {"t": "time", "c": "channel"}.get(axis, "space")
    unit = {"t": "second", "c": None}.get(axis, store.unit) if store.unit else None
    return {"name": axis, "type": kind} | ({"unit": unit} if unit else {})


def channels(count: int) -> list[dict[str, Any]]:
    """omero.channels of stains."""
    colors = ["0000ff", "00FF00", "#FF8800", "FFFFFF"]
    window = {"min": 0, "max": 255, "start": 10, "end": 200}
    return [{"label": f"Stain {i}", "color": colors[i % 4], "window": window, "active": True} for i in range(count)]


V2_CODECS: dict[str, Any] = {
    "none": None,
    "blosc": numcodecs.Blosc("lz4", 5, numcodecs.Blosc.SHUFFLE),
    "blosc-zstd": numcodecs.Blosc("zstd", 3, numcodecs.Blosc.BITSHUFFLE),
    "zstd": numcodecs.Zstd(3),
    "gzip": numcodecs.GZip(3),
    "zlib": numcodecs.Zlib(3),
    "lz4": numcodecs.LZ4(),
    "bz2": numcodecs.BZ2(3),
    "lzma": numcodecs.LZMA(preset=1),
    "shuffle": numcodecs.Zlib(3),
    "delta": numcodecs.Zstd(3),
}
V3_CODECS: dict[str, Any] = {
    "none": (),
    "zstd": ZstdCodec(),
    "zstd-checksum": ZstdCodec(checksum=True),
    "gzip": GzipCodec(),
    "blosc": BloscCodec(cname="zstd", shuffle="bitshuffle"),
}


def _write_array(group: zarr.Group, name: str, array: Image, store: Store) -> None:
    common: dict[str, Any] = {"name": name, "shape": array.shape, "dtype": array.dtype, "fill_value": store.fill}
    common["chunks"] = tuple(min(c, max(n, 1)) for c, n in zip(store.chunk, array.shape, strict=True))
    separator = store.separator or ("." if store.version == "0.1" else "/")
    if store.version == "0.5":
        common |= {"chunks": store.chunk, "shards": store.shard, "compressors": V3_CODECS[store.codec]}
        written = group.create_array(
            **common,
            dimension_names=tuple(store.axes),
            chunk_key_encoding={"name": "default", "separator": separator},
            filters=(TransposeCodec(order=tuple(range(array.ndim))[::-1]),) if store.order == "F" else (),
        )
    else:
        filters: dict[str, Any] = {"shuffle": numcodecs.Shuffle(array.itemsize), "delta": numcodecs.Delta(array.dtype)}
        common |= {"compressors": V2_CODECS[store.codec]}
        common |= {"filters": [filters[store.codec]]} if store.codec in filters else {"filters": None}
        written = group.create_array(**common, chunk_key_encoding={"name": "v2", "separator": separator}, order=store.order)
        if store.version == "0.1":
            _forget_separator(group, name)
    written[...] = array


def _forget_separator(group: zarr.Group, name: str) -> None:
    """Stores of 0.1 do not state their separator."""
    path = Path(str(group.store_path.store.root), group.path, name, ".zarray")  # type: ignore[attr-defined]
    document = json.loads(path.read_text())
    document.pop("dimension_separator", None)
    path.write_text(json.dumps(document))


def make_layout(path: Path, stores: Sequence[tuple[str, Store]], xml: str, *, series: bool = True) -> Path:
    """A bioformats2raw layout of version 0.4 with its OME-XML."""
    root = zarr.create_group(path, zarr_format=2, overwrite=True)
    root.attrs["bioformats2raw.layout"] = 3
    for name, store in stores:
        write_image(root.create_group(name), store)
    folder = root.create_group("OME")
    if series:
        folder.attrs["series"] = [name for name, _ in stores]
    (path / "OME" / "METADATA.ome.xml").write_text(xml)
    return path


def make_plate(path: Path, store: Store) -> Path:
    """Two wells of one and two fields."""
    root = zarr.create_group(path, zarr_format=2, overwrite=True)
    wells = {"A/1": 1, "B/2": 2}
    root.attrs["plate"] = {"version": "0.4", "wells": [{"path": well} for well in wells]}
    for well, fields in wells.items():
        group = root.create_group(well)
        group.attrs["well"] = {"images": [{"path": str(i)} for i in range(fields)]}
        for i in range(fields):
            write_image(group.create_group(str(i)), store)
    return path


STORES: list[tuple[str, Callable[[Path], Path], dict[str, Any]]] = []
_SIZES = [(1, 3, 1, 300, 421), (1, 3, 1, 150, 210), (1, 3, 1, 75, 105)]
_FACTS = {"levels": _SIZES, "scales": [1, 2, 4], "dtype": "uint8", "pixel_size_um": 0.25, "tile": (1, 1, 1, 128, 128)}


def _listed(name: str, store: Store, **facts: Any) -> None:
    STORES.append((name, lambda path: make_store(path, store), _FACTS | facts))


_FIVE = {"axes": "tczyx", "size": (1, 3, 1, 300, 421), "chunk": (1, 1, 1, 128, 128)}
_listed("0.1.zarr", Store(version="0.1", codec="blosc", **_FIVE), pixel_size_um=None)
_listed("0.2.zarr", Store(version="0.2", codec="zlib", **_FIVE), pixel_size_um=None)
_listed("0.3.zarr", Store(version="0.3", codec="lz4"), pixel_size_um=None)
_listed("0.4.ome.zarr", Store(version="0.4", codec="blosc-zstd"))
_listed("0.5.ome.zarr", Store(codec="gzip"))
_listed("sharded.zarr", Store(shard=(3, 256, 512), codec="blosc"))
_listed("sparse.zarr", Store(shard=(1, 128, 128), blank=True, fill=9))
_listed(
    "five-axes.zarr",
    Store(version="0.4", axes="tczyx", size=(2, 3, 2, 70, 81), chunk=(1, 2, 1, 32, 40), levels=2, dtype="u2"),
    levels=[(2, 3, 2, 70, 81), (2, 3, 2, 35, 40)],
    scales=[1, 2],
    dtype="uint16",
    tile=(1, 2, 1, 32, 40),
)
