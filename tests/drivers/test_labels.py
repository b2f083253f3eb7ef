"""Label images (segmentations) of OME-Zarr stores: told, and written when asked for. Truth: the arrays that zarr wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import zarr

from converter.convert import Conversion, convert
from converter.options import Options
from drivers import open_slide
from tests.support.stores import SMALL

pytestmark = pytest.mark.usefixtures("files_closed")
LABELS = {
    name: np.random.default_rng(i).integers(0, 70_000, (70, 90)).astype("u4") for i, name in enumerate(("cells", "Nu clei"))
}


def multiscale(group: Any, values: Any, version: int) -> None:
    """An image of one level."""
    group.create_array("0", data=values)
    axes = [{"name": name, "type": "space"} for name in "yx"]
    paths = [{"path": "0", "coordinateTransformations": [{"type": "scale", "scale": [1.0, 1.0]}]}]
    entry = {"axes": axes, "datasets": paths} | ({"version": "0.4"} if version == 2 else {})
    describe(group, version, {"multiscales": [entry]})


def describe(group: Any, version: int, content: dict[str, Any]) -> None:
    """Attributes of 0.4 or 0.5."""
    group.attrs.update(content if version == 2 else {"ome": {"version": "0.5"} | content})


def labelled(image: Any, version: int, *, listed: bool = True) -> None:
    """Put the label images below an image."""
    folder = image.create_group("labels")
    if listed:
        describe(folder, version, {"labels": list(LABELS)})
    for name, values in LABELS.items():
        group = folder.create_group(name)
        multiscale(group, values, version)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("listed", [True, False])
def test_labels_of_one_image(tmp_path: Path, *, version: int, listed: bool) -> None:
    path = tmp_path / "a.ome.zarr"
    root = zarr.create_group(path, zarr_format=cast(Any, version))
    multiscale(root, np.ones((70, 90), "u1"), version)
    labelled(root, version, listed=listed)
    with open_slide(path) as slide:
        assert len(slide.scenes) == 1
        for name, role in (("cells", "labels-cells"), ("Nu clei", "labels-nu-clei")):
            assert [word for word in slide.warnings if f"--associated {role} writes it" in word]
            found = slide.associated[role]
            assert (found.rgb, found.dtype) == (False, np.uint32)
            np.testing.assert_array_equal(found.read_block(), LABELS[name])
    options = Options(**SMALL, associated=("labels-cells",), downsample="nearest")
    convert(path, tmp_path / "b.zarr", Conversion(options))
    with open_slide(tmp_path / "b.zarr") as slide:
        written = slide.associated["labels-cells"]
        np.testing.assert_array_equal(written.read_block(), LABELS["cells"])
        for level in range(1, len(written.levels)):
            coarse = written.read_block_from_level(level, None, None)
            assert set(np.unique(coarse)) <= set(np.unique(LABELS["cells"]))


def test_labels_of_several_images(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    root = zarr.create_group(path, zarr_format=2)
    root.attrs["bioformats2raw.layout"] = 3
    for i in range(3):
        multiscale(root.create_group(str(i)), np.full((70, 90), i, "u1"), 2)
    labelled(root["1"], 2)
    with open_slide(path) as slide:
        assert sorted(slide.associated) == ["labels-1-cells", "labels-1-nu-clei"]
        np.testing.assert_array_equal(slide.associated["labels-1-cells"].read_block(), LABELS["cells"])


def test_labels_that_are_broken_are_told(tmp_path: Path) -> None:
    path = tmp_path / "a.ome.zarr"
    root = zarr.create_group(path, zarr_format=2)
    multiscale(root, np.ones((70, 90), "u1"), 2)
    labelled(root, 2)
    (path / "labels" / "cells" / "0" / ".zarray").unlink()
    with open_slide(path) as slide:
        assert sorted(slide.associated) == ["labels-nu-clei"]
        assert [word for word in slide.warnings if word.startswith("the labels-cells image cannot be read and is left out")]
