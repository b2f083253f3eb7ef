"""Two stored blocks of ND2, ZVI, NDPI, SVS and Micro-Manager that claim one place: a copy is named, all else is refused."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import nd2 as nikon
import numpy as np
import pytest
import tifffile

from drivers import open_slide
from drivers.errors import Damaged
from drivers.geometry import Box
from drivers.model import Pixels
from drivers.paint import paint
from tests.made.nd2 import DEFLATED, STACK, Nd2, make_nd2
from tests.made.ndpi import Ndpi, make_ndpi
from tests.made.zvi import Plane, Zvi, make_zvi, mosaic, numbers

pytestmark = pytest.mark.usefixtures("files_closed")


def shown(path: Path, scene: int = 0) -> Pixels:
    with open_slide(path) as slide:
        level = slide.scenes[scene].levels[0]
        return paint(level, Box.of(level.shape))


def warnings_of(path: Path) -> list[str]:
    with open_slide(path) as slide:
        return list(slide.warnings)


@pytest.mark.parametrize("made", [STACK, DEFLATED], ids=["raw", "deflated"])
class TestNd2:
    def test_a_frame_that_is_stored_twice_counts_once(self, tmp_path: Path, made: Nd2) -> None:
        plain = make_nd2(tmp_path / "plain.nd2", made)
        path = make_nd2(tmp_path / "x.nd2", replace(made, again={1: made.frames[1]}))
        np.testing.assert_array_equal(shown(path), shown(plain))
        np.testing.assert_array_equal(nikon.imread(path), nikon.imread(plain))
        (warning,) = warnings_of(path)
        assert re.fullmatch(r"the chunk of frame 1 at byte \d+ repeats the chunk of frame 1 at byte \d+ .*left out", warning)

    def test_another_frame_of_the_same_number_is_refused(self, tmp_path: Path, made: Nd2) -> None:
        path = make_nd2(tmp_path / "x.nd2", replace(made, again={1: made.frames[0]}))
        with pytest.raises(Damaged, match=r"the chunk of frame 1 at byte \d+ and the chunk of frame 1 at byte \d+ claim"):
            open_slide(path)

    def test_frames_beyond_the_loops_are_told(self, tmp_path: Path, made: Nd2) -> None:
        path = make_nd2(tmp_path / "x.nd2", replace(made, again={50: made.frames[0]}))
        assert warnings_of(path) == ["1 frames lie beyond the loops of the metadata and are left out"]


A, B, C = (numbers(30, 41, seed=seed) for seed in (1, 2, 3))


def at(y: float, x: float) -> dict[int, object]:
    return {2073: x, 2074: y}


@pytest.mark.parametrize("packed", ["", "zlib"])
class TestZvi:
    def test_a_copy_counts_once(self, tmp_path: Path, packed: str) -> None:
        planes = [Plane(A, c=0, packed=packed), Plane(B, c=1, packed=packed), Plane(B, c=1, packed=packed)]
        path = make_zvi(tmp_path / "a.zvi", Zvi(planes))
        np.testing.assert_array_equal(shown(path)[0, :, 0], np.stack([A, B]))
        item = "image item {} (z 0, c 1, t 0, position 0)"
        assert warnings_of(path) == [f"{item.format(2)} repeats {item.format(1)} at the same place and is left out"]

    def test_a_copy_in_another_coding_counts_once(self, tmp_path: Path, packed: str) -> None:
        other = "zlib" if not packed else ""
        planes = [Plane(A, c=0, packed=packed), Plane(B, c=1, packed=packed), Plane(B, c=1, packed=other)]
        path = make_zvi(tmp_path / "a.zvi", Zvi(planes))
        np.testing.assert_array_equal(shown(path)[0, :, 0], np.stack([A, B]))
        assert [word.split(" (")[0] for word in warnings_of(path)] == ["image item 2"]
        again = make_zvi(tmp_path / "b.zvi", Zvi([*planes[:2], Plane(C, c=1, packed=other)]))
        with pytest.raises(Damaged, match=r"image item 1 \(.*\) and image item 2 \(.*\) claim the same place and differ"):
            open_slide(again)

    @pytest.mark.parametrize("stage", [{}, at(1, 2)])
    def test_two_pictures_are_refused(self, tmp_path: Path, packed: str, stage: dict[int, object]) -> None:
        planes = [Plane(p, c=c, packed=packed, tags=stage) for p, c in ((A, 0), (B, 1), (C, 1))]
        with pytest.raises(Damaged, match=r"image item 1 \(.*\) and image item 2 \(.*\) claim the same place and differ"):
            open_slide(make_zvi(tmp_path / "a.zvi", Zvi(planes)))

    def test_the_stage_tells_them_apart(self, tmp_path: Path, packed: str) -> None:
        stored = [(A, 0, at(0, 0)), (B, 1, at(0, 0)), (C, 0, at(9, 5)), (A, 1, at(9, 5))]
        path = make_zvi(tmp_path / "a.zvi", Zvi([Plane(p, c=c, tags=tags, packed=packed) for p, c, tags in stored]))
        np.testing.assert_array_equal(shown(path, 0)[0, :, 0], np.stack([A, B]))
        np.testing.assert_array_equal(shown(path, 1)[0, :, 0], np.stack([C, A]))
        assert warnings_of(path) == []

    def test_a_stage_that_moves_with_time_tells_nothing(self, tmp_path: Path, packed: str) -> None:
        planes = [Plane(p, t=t, tags=at(0, 3 * t), packed=packed) for p, t in ((A, 0), (B, 1), (C, 1))]
        with pytest.raises(Damaged, match="claim the same place"):
            open_slide(make_zvi(tmp_path / "a.zvi", Zvi(planes)))

    @pytest.mark.parametrize("copy", [True, False])
    def test_tiles_of_a_mosaic(self, tmp_path: Path, packed: str, copy: bool) -> None:
        zvi, whole = mosaic(packed=packed)
        again = zvi.planes[0] if copy else replace(zvi.planes[0], pixels=zvi.planes[1].pixels)
        path = make_zvi(tmp_path / "a.zvi", replace(zvi, planes=[*zvi.planes, again]))
        if copy:
            np.testing.assert_array_equal(shown(path)[0, :, 0], whole)
            (warning,) = warnings_of(path)
            assert warning.startswith("image item 12 (")
            assert " repeats image item 0 (" in warning
            return
        with pytest.raises(Damaged, match=r"image item 0 \(.*\) and image item 12 \(.*\) claim the same place"):
            open_slide(path)


NDPI = Ndpi(size=(128, 64), stripe=0, steps=(2,), depths_nm=(0, 1000, 0), macro=False)


class TestNdpi:
    @pytest.mark.parametrize("codec", [{}, {"codec": "jpegxr", "filter": "FITC"}], ids=["jpeg", "jpegxr"])
    def test_a_copy_of_a_slice_counts_once(self, tmp_path: Path, codec: dict[str, str]) -> None:
        plain = make_ndpi(tmp_path / "plain.ndpi", replace(NDPI, depths_nm=(0, 1000), **codec))
        path = make_ndpi(tmp_path / "x.ndpi", replace(NDPI, pictures=(0, 1, 0), **codec))
        np.testing.assert_array_equal(shown(path), shown(plain))
        pages = [("page 2 (64x128", "page 0 (64x128"), ("page 5 (32x64", "page 3 (32x64")]
        where = ", z 0.0 micrometres)"
        told = [f"{copy}{where} repeats {kept}{where} at the same place and is left out" for copy, kept in pages]
        assert warnings_of(path) == told

    def test_two_pictures_of_one_focal_offset_are_refused(self, tmp_path: Path) -> None:
        path = make_ndpi(tmp_path / "x.ndpi", NDPI)
        with pytest.raises(Damaged, match=r"page 0 \(64x128, z 0\.0 .*\) and page 2 \(64x128, z 0\.0 .*\) claim the same"):
            open_slide(path)

    @pytest.mark.parametrize("depths", [(None, None), (1000, None), (None, 0)])
    def test_slices_without_a_focal_offset_are_in_file_order(self, tmp_path: Path, depths: tuple[int | None, ...]) -> None:
        path = make_ndpi(tmp_path / "x.ndpi", replace(NDPI, depths_nm=depths))
        plain = make_ndpi(tmp_path / "plain.ndpi", replace(NDPI, depths_nm=(0, 1000)))
        np.testing.assert_array_equal(shown(path), shown(plain))
        assert warnings_of(path) == ["the slices do not all state their focal offset: they are in file order"]


class TestSvs:
    @staticmethod
    def make(path: Path, slices: list[tuple[int, str]]) -> Path:
        """Pages of one value each, with what is said of their depth."""
        about = "Aperio Image Library v11\r\n64x64 [0,0 64x64] (32x32)|AppMag = 20|MPP = 0.5"
        with tifffile.TiffWriter(path) as writer:
            for value, depth in slices:
                pixels = np.full((64, 64, 3), value, "u1")
                writer.write(pixels, photometric="rgb", tile=(32, 32), description=about + depth, metadata=None)
        return path

    def test_a_copy_of_a_slice_counts_once(self, tmp_path: Path) -> None:
        path = self.make(tmp_path / "x.svs", [(10, "|OffsetZ = 1"), (20, "|OffsetZ = 0"), (10, "|OffsetZ = 1.000")])
        assert shown(path)[0, 0, :, 0, 0].tolist() == [20, 10]
        where = "(64x64, OffsetZ 1.0)"
        assert warnings_of(path) == [f"page 2 {where} repeats page 0 {where} at the same place and is left out"]

    def test_pictures_of_one_offset_are_all_shown(self, tmp_path: Path) -> None:
        path = self.make(tmp_path / "x.svs", [(10, "|OffsetZ = 1"), (20, "|OffsetZ = 0"), (30, "|OffsetZ = 1.000")])
        assert shown(path)[0, 0, :, 0, 0].tolist() == [10, 20, 30]
        assert warnings_of(path) == ["the slices state no OffsetZ of their own: they are in file order"]
