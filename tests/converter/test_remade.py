"""`verify --depth full` computes every made level again: a changed sample is found, whatever the manifest says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import zarr

from converter.checking.verify import verify_store
from converter.receipt import SEAL, seal
from drivers.model import Slide
from tests.support.memory_driver import memory_scene
from tests.support.stores import converted, own, pyramid, slide_of, texture

pytestmark = pytest.mark.usefixtures("files_closed")


def make(folder: Path, dtype: str, factors: tuple[int, ...] = (1,), **options: str) -> tuple[Path, Slide]:
    array = texture((2, 3, 1, 139, 133), dtype)
    if array.dtype.kind == "f":
        array[0, 1, 0, 40:60, 7] = np.nan
        array[1, 2, 0, 9, 9] = np.inf
    slide = slide_of(folder, memory_scene(pyramid(array, factors)))
    store = folder / "x.zarr"
    with np.errstate(all="ignore"):
        converted(slide, store, **options)
    return store, slide


def changed(store: Path, level: str) -> None:
    """One sample of a level changed with zarr-python, manifest and seal made to fit."""
    array = zarr.open_array(str(store / level), mode="r+")
    place = (1, 2, 0, 17, 11)[-array.ndim :]
    array[place] = array[place] + 3  # pyright: ignore
    path = store / "OME" / "manifest.json"
    text = path.read_text()
    for file in (store / level).rglob("*"):
        name = file.relative_to(store).as_posix()
        if file.is_file() and f'"{name}"' in text:
            found = json.loads(text)
            for entry in found["files"]:
                if entry[0] == name:
                    data = file.read_bytes()
                    entry[1], entry[2] = len(data), hashlib.sha256(data).hexdigest()
            text = json.dumps(found)
    path.write_text(text)
    root = store / ("zarr.json" if (store / "zarr.json").exists() else ".zattrs")
    document = json.loads(root.read_text())
    record = document.get("attributes", document)["slidemill"]
    record["manifest"] = f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    record[SEAL] = seal(document)
    root.write_text(json.dumps(document))


KINDS = [
    ("uint8", "mean", "0.5"), ("float32", "mean", "0.4"), ("uint8", "mode", "0.5"), ("float32", "nearest", "0.4"),
    *(
        pytest.param(*kind, marks=pytest.mark.slow)
        for kind in (("uint16", "mean", "0.4"), ("uint64", "mean", "0.5"), ("float64", "mean", "0.4"))
    ),
]  # fmt: skip


@pytest.mark.parametrize(("dtype", "method", "version"), KINDS)
def test_made_levels_are_computed_again(tmp_path: Path, dtype: str, method: str, version: str) -> None:
    store, slide = make(tmp_path, dtype, downsample=method, ome_zarr=version)
    for source in (None, slide):
        assert verify_store(store, slide=source, depth="full").violations == []
    for level in [e["path"] for e in own(store)["scenes"][0]["levels"]][1:2]:
        changed(store, level)
        for source in (None, slide):
            found = verify_store(store, slide=source, depth="full").violations
            assert any(v.startswith(f"{level}: 1 samples are not the {method} of level 0") for v in found), found
