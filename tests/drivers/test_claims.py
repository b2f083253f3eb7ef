"""Two stored blocks that claim one place, in OME-TIFF and the tile table of VSI: refused with both names."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile

from drivers import open_slide, paint
from drivers.errors import Damaged
from drivers.geometry import Box
from drivers.vsi.levels import _check_claims  # pyright: ignore[reportPrivateUsage]

XML = (
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0"><Pixels ID="Pixels:0" Type="uint8" '
    'DimensionOrder="XYZCT" SizeX="64" SizeY="64" SizeZ="2" SizeC="1" SizeT="1"><Channel ID="Channel:0:0"/>{}</Pixels>'
    "</Image></OME>"
)


def ome(path: Path, entries: list[tuple[int, int]]) -> Path:
    """Two pages of 10 and 20, given by (z, page)."""
    data = "".join(f'<TiffData FirstZ="{z}" FirstC="0" FirstT="0" IFD="{page}" PlaneCount="1"/>' for z, page in entries)
    with tifffile.TiffWriter(path, ome=False) as file:
        file.write(np.full((64, 64), 10, "u1"), description=XML.format(data), metadata=None)
        file.write(np.full((64, 64), 20, "u1"), metadata=None)
    return path


def test_a_plane_of_two_pages_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Damaged, match=r"page 0 of a\.ome\.tif and to page 1 of a\.ome\.tif"):
        open_slide(ome(tmp_path / "a.ome.tif", [(0, 0), (0, 1)]))


@pytest.mark.parametrize("entries", [[(0, 0), (1, 1)], [(0, 0), (1, 1), (0, 0)]])
def test_a_plane_named_twice_is_no_claim(tmp_path: Path, entries: list[tuple[int, int]]) -> None:
    with open_slide(ome(tmp_path / "a.ome.tif", entries)) as slide:
        level = slide.scenes[0].levels[0]
        assert paint(level, Box.of(level.shape))[0, 0, :, 0, 0].tolist() == [10, 20]


@pytest.mark.parametrize(("offsets", "wrong"), [([0, 9, 9], False), ([0, 9, 10], True)])
def test_two_tiles_of_one_place(offsets: list[int], wrong: bool) -> None:
    ets: Any = SimpleNamespace(offsets=np.array(offsets), source=SimpleNamespace(path=Path("frame_t.ets")))
    chosen, shown = np.array([0, 1, 2]), np.array([0, 2, 2], np.int32)
    if not wrong:
        _check_claims(ets, chosen, shown)
        return
    with pytest.raises(Damaged, match=r"frame_t\.ets: entries 1 and 2"):
        _check_claims(ets, chosen, shown)
