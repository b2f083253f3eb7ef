"""Binary layers of ND2 files as associated images. Truth: the labels that were written, and what nd2 reads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nd2
import numpy as np
import pytest

from converter.convert import Conversion, convert
from converter.options import Options
from drivers import open_slide
from drivers.errors import Damaged
from tests.made.nd2 import STACK, Image, Nd2, make_nd2, numbers, place_loop
from tests.support.stores import SMALL

pytestmark = pytest.mark.usefixtures("files_closed")


def labels(seed: int, height: int = 33, width: int = 47) -> Image:
    """Objects in pieces, some of numbers over 8 bits, with gaps between."""
    random = np.random.default_rng(seed)
    return random.choice(np.array([0, 0, 1, 2, 700], "u4"), (height, width))


CELLS = {i: labels(i) for i in range(6)}
NUCLEI = {4: labels(9)}
MASKED = replace(STACK, masks={"Cells (1)": CELLS, "nuclei": NUCLEI})


def test_layers_of_a_stack(tmp_path: Path) -> None:
    path = make_nd2(tmp_path / "a.nd2", MASKED)
    with nd2.ND2File(path) as file:
        told = file.binary_data
        assert told is not None
        whole = told[0].asarray()
    with open_slide(path) as slide:
        assert list(slide.associated) == ["binary-cells-1", "binary-nuclei"]
        for name, role in (("Cells (1)", "binary-cells-1"), ("nuclei", "binary-nuclei")):
            assert any(f"{name!r} (masks of NIS-Elements) is not written: --associated {role} " in w for w in slide.warnings)
        cells = slide.associated["binary-cells-1"]
        assert cells.shape == (2, 1, 3, 33, 47)
        block = cells.read_block(slices=(0, 3), frames=(0, 2))
        np.testing.assert_array_equal(block, np.stack(list(CELLS.values())).reshape(2, 3, 33, 47))
        np.testing.assert_array_equal(block, whole)
        block = slide.associated["binary-nuclei"].read_block(slices=(0, 3), frames=(0, 2))
        np.testing.assert_array_equal(block[1, 1], NUCLEI[4])
        assert np.count_nonzero(block) == np.count_nonzero(NUCLEI[4])


def test_layers_of_several_positions(tmp_path: Path) -> None:
    made = Nd2(
        numbers(2, 33, 47, 1), [place_loop("a", "b")], masks={"cells": {0: labels(1), 1: labels(2)}, "rim": {1: labels(3)}}
    )
    with open_slide(make_nd2(tmp_path / "a.nd2", made)) as slide:
        assert list(slide.associated) == ["binary-0-cells", "binary-1-cells", "binary-1-rim"]
        for role, seed in zip(slide.associated, (1, 2, 3), strict=True):
            np.testing.assert_array_equal(slide.associated[role].read_block(), labels(seed))


def test_a_layer_is_written_when_asked_for(tmp_path: Path) -> None:
    path = make_nd2(tmp_path / "a.nd2", MASKED)
    convert(path, tmp_path / "a.zarr", Conversion(Options(**SMALL, associated=("binary-cells-1",))))
    with open_slide(tmp_path / "a.zarr") as slide:
        block = slide.associated["binary-cells-1"].read_block(slices=(0, 3), frames=(0, 2))
        np.testing.assert_array_equal(block, np.stack(list(CELLS.values())).reshape(2, 3, 33, 47))


def test_a_mask_of_another_size(tmp_path: Path) -> None:
    made = Nd2(numbers(1, 33, 47, 1), masks={"cells": {0: labels(1, 33, 48)}})
    with open_slide(make_nd2(tmp_path / "a.nd2", made)) as slide, pytest.raises(Damaged, match="a mask of 48x33 pixels"):
        slide.associated["binary-cells"].read_block()


def test_a_layer_without_its_metadata(tmp_path: Path) -> None:
    path = make_nd2(tmp_path / "a.nd2", MASKED)
    path.write_bytes(path.read_bytes().replace(b"CustomDataVar|BinaryMetadata_v1!", b"CustomDataVar|BinaryMetadata_v2!"))
    with open_slide(path) as slide:
        assert list(slide.associated) == ["binary-rlezipbinarysequence-1-v1", "binary-rlezipbinarysequence-2-v1"]
