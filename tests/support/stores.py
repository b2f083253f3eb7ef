"""Making stores in tests, reading them back with zarr-python, and every validator that we did not write."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from converter.convert import Conversion, convert
from converter.options import Options
from converter.receipt import Receipt
from drivers.model import Level, Scene, Slide
from tests.support.memory_driver import memory_level, memory_scene, memory_slide

Array = NDArray[Any]
CHECKER = Path(__file__).resolve().parents[3] / "shared" / "tools" / "check_store.py"
SMALL: dict[str, Any] = {"chunk": 64, "shard": 128, "codec": "blosc-lz4-5", "workers": 2}
"""Options that give a small image several chunks, shards and levels."""


def texture(shape: Sequence[int], dtype: str = "uint8", seed: int = 1) -> Array:
    """A five-axis array: a smooth pattern with some noise, different in every plane, never the fill value."""
    random = np.random.default_rng(seed)
    t, c, z, y, x = np.ogrid[tuple(slice(0, n) for n in shape)]
    wave = np.sin(y / 17 + c) + np.cos(x / 23 + z) + np.sin((x + y) / 51 + t)
    values = (wave + 3) / 6 + 0.03 * random.random(tuple(shape))
    kind = np.dtype(dtype)
    if kind.kind == "f":
        return (values * 1000 - 300).astype(kind)
    info = np.iinfo(kind)
    low, high = max(info.min, -30000) + 1, min(info.max, 60000) - 1
    return (low + values * 0.9 * (high - low)).astype(kind)


def by_mean(array: Array) -> Array:
    """The next level by definition: sums of two by two in exact arithmetic, rounded half up for integers."""
    y, x = array.shape[-2:]
    if y == 1:
        array = np.concatenate([array, array], axis=-2)
    if x == 1:
        array = np.concatenate([array, array], axis=-1)
    rows, columns = array.shape[-2] // 2 * 2, array.shape[-1] // 2 * 2
    cut = array[..., :rows, :columns]
    if array.dtype.kind == "f":
        wide = cut.astype(np.float64)
    else:
        wide = cut.astype(object) if array.dtype.itemsize == 8 else cut.astype(np.int64)
    total = wide[..., ::2, ::2] + wide[..., 1::2, ::2] + wide[..., ::2, 1::2] + wide[..., 1::2, 1::2]
    return (total / 4 if array.dtype.kind == "f" else (total + 2) // 4).astype(array.dtype)


def averaged(array: Array, factor: int) -> Array:
    """What a scanner stores as a coarse level: means of factor x factor pixels, sizes rounded down."""
    t, c, z, y, x = array.shape
    h, w = y // factor, x // factor
    blocks = array[..., : h * factor, : w * factor].reshape(t, c, z, h, factor, w, factor).astype(np.float64)
    mean = blocks.mean(axis=(4, 6))
    return (mean if array.dtype.kind == "f" else np.rint(mean)).astype(array.dtype)


def pyramid(array: Array, factors: Sequence[int] = (1,), tile: tuple[int, int] = (64, 64), **level: Any) -> list[Level]:
    """Memory levels of `array`, averaged by the given factors."""
    return [memory_level(array if f == 1 else averaged(array, f), tile, scale=float(f), **level) for f in factors]


def slide_of(folder: Path, scenes: Sequence[Scene] | Scene, **facts: Any) -> Slide:
    """A slide in memory that has a file of its own, as conversions look at the file for its identity."""
    path = folder / "memory.slide"
    if not path.exists():
        path.write_bytes(b"memory slide")
    found = [scenes] if isinstance(scenes, Scene) else list(scenes)
    return memory_slide(found, path=path, files=[path], **facts)


def simple_slide(folder: Path, array: Array, factors: Sequence[int] = (1,), **facts: Any) -> Slide:
    """A slide with one scene out of one array."""
    interleaved = bool(facts.get("rgb"))
    levels = pyramid(array, factors, interleaved=interleaved, fill=255 if interleaved else 0)
    return slide_of(folder, memory_scene(levels, **facts))


def converted(slide: Slide, target: Path, **options: Any) -> Receipt:
    """Convert a slide in memory to `target`; small chunks and shards unless told otherwise."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("converter.pace.open_slide", lambda _path: slide)
        return convert(slide.path, target, Conversion(Options(**{**SMALL, **options})))


def stored(store: Path, path: str) -> Array:
    """A whole level, read by zarr-python."""
    array = zarr.open_array(str(store / path), mode="r")
    return np.asarray(array[...])


def five(array: Array, axes: str) -> Array:
    """A stored array with the axes it lacks put back."""
    shape = dict(zip(axes, array.shape, strict=True))
    return array.reshape([shape.get(axis, 1) for axis in "tczyx"])


def ome(folder: Path) -> dict[str, Any]:
    """OME attributes of a group, of either version."""
    if (folder / "zarr.json").exists():
        found: dict[str, Any] = json.loads((folder / "zarr.json").read_text())["attributes"]
        return found["ome"]
    return json.loads((folder / ".zattrs").read_text())


def own(store: Path) -> dict[str, Any]:
    """The receipt in the store."""
    if (store / "zarr.json").exists():
        return json.loads((store / "zarr.json").read_text())["attributes"]["slidemill"]
    return json.loads((store / ".zattrs").read_text())["slidemill"]


def axes_of(folder: Path) -> str:
    """Axis names of an image."""
    return "".join(axis["name"] for axis in ome(folder)["multiscales"][0]["axes"])


def violations(store: Path) -> list[str]:
    """What yaozarrs, ome-zarr-models, ome-types with its schema, and check_store.py (where it is) say against a store."""
    found: list[str] = []
    for name, validator in (("yaozarrs", _yaozarrs), ("ome-zarr-models", _ome_zarr_models), ("ome-types", _ome_types)):
        try:
            validator(store)
        except Exception as error:  # noqa: BLE001 - whatever a validator raises is its verdict
            found.append(f"{name}: {type(error).__name__}: {error}")
    if CHECKER.exists():
        check = _checker().Check(store, 4)
        with np.errstate(all="ignore"):  # it subtracts infinities
            check.run()
        found += [f"check_store: {line}" for line in check.bad]
    return found


@cache
def _checker() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_store", CHECKER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["check_store"] = module
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True  # that folder is not ours
    try:
        spec.loader.exec_module(module)
    finally:
        sys.dont_write_bytecode = before
    return module


def _yaozarrs(store: Path) -> None:
    import yaozarrs

    yaozarrs.validate_zarr_store(str(store))


def _ome_zarr_models(store: Path) -> None:
    """Its image models, for every image of the store: it does not read a bioformats2raw root."""
    import ome_zarr_models.v04
    import ome_zarr_models.v05

    v05 = (store / "zarr.json").exists()
    model = ome_zarr_models.v05.Image if v05 else ome_zarr_models.v04.Image
    for folder in images(store):
        model.from_zarr(zarr.open_group(str(folder), mode="r", zarr_format=3 if v05 else 2))


def _ome_types(store: Path) -> None:
    import ome_types

    text = (store / "OME" / "METADATA.ome.xml").read_text()
    document = ome_types.from_xml(text)
    for image in document.images:
        assert image.pixels.metadata_only
        assert not image.pixels.tiff_data_blocks
    schema().assertValid(parsed(text))


def parsed(text: str) -> Any:
    """An XML document as lxml has it."""
    from lxml import etree

    return etree.fromstring(text.encode())


@cache
def schema() -> Any:
    """The schema of OME-XML 2016-06 that ome-types brings along."""
    import ome_types
    from lxml import etree

    found = sorted(Path(ome_types.__file__).parent.rglob("ome*.xsd"))
    assert found, "ome-types no longer brings the schema"
    return etree.XMLSchema(etree.parse(found[-1]))


def images(store: Path) -> list[Path]:
    """Folders of all images of a store."""
    groups = {path.parent for name in ("zarr.json", ".zattrs") for path in store.rglob(name)}
    return sorted(folder for folder in groups if _is_image(folder))


def _is_image(folder: Path) -> bool:
    try:
        return "multiscales" in ome(folder)
    except (KeyError, OSError, NotADirectoryError):
        return False
