"""Positions and times of the planes of CZI, out of what each sub-block says: held against the values put there."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from drivers import open_slide
from drivers.model import PlaneFacts, Position
from tests.made.czi import Block, Czi, cells, document, make

SIZE_UM = 0.325
CORNER = (50 * SIZE_UM / 2, 60 * SIZE_UM / 2)


def said(y: float | None, x: float | None, z: float | None, taken: str = "") -> bytes:
    """As ZEN writes it."""
    tags = "".join(
        f"<{name}Position>{value:+021.4f}</{name}Position>"
        for name, value in (("StageX", x), ("StageY", y), ("Focus", z))
        if value is not None
    )
    return f"<METADATA><Tags>{tags}<AcquisitionTime>{taken}</AcquisitionTime></Tags></METADATA>".encode()


def stack(path: Path, notes: dict[tuple[int, int, int], bytes], **at: int) -> tuple[PlaneFacts, ...]:
    """The planes of a scene of 50 x 60 pixels whose sub-blocks say `notes`, by (t, c, z)."""
    blocks = [
        Block(cells(50, 60), "Gray16", "none", {"T": t, "C": c, "Z": z, "X": -7, "Y": 1000} | at, note=note)
        for (t, c, z), note in notes.items()
    ]
    with open_slide(make(path / "a.czi", Czi(blocks, document()))) as slide:
        return tuple(slide.scenes[0].planes)


def test_a_stage_that_moves(tmp_path: Path) -> None:
    places = list(product(range(2), range(2), range(3)))
    notes = {(t, c, z): said(100.0 + 10 * t, -20.0 - t, 7.5 + z) for t, c, z in places}
    found = {(p.t, p.c, p.z): p.position for p in stack(tmp_path, notes)}
    for t, c, z in places:
        place = found[t, c, z]
        assert place is not None
        expected = (100.0 + 10 * t - CORNER[0], -20.0 - t - CORNER[1], 7.5 + z)
        assert (place.y_um, place.x_um, place.z_um) == pytest.approx(expected)


@pytest.mark.parametrize(
    "note", [b"", b"<METADATA/>", b"<METADATA><Tags/>", b"<a", said(1.0, 2.0, 3.0), said(None, None, None)]
)
def test_one_place_or_none_is_not_told_for_each_plane(tmp_path: Path, note: bytes) -> None:
    planes = stack(tmp_path, dict.fromkeys(product(range(2), range(2), range(3)), note))
    assert planes == ()


def test_each_plane_has_its_time(tmp_path: Path) -> None:
    notes = {(t, 0, z): said(1, 2, 3, f"2024-05-06T07:0{t}:0{z}.2500000Z") for t, z in product(range(2), range(3))}
    planes = stack(tmp_path, notes)
    assert {(p.t, p.z): p.delta_t_s for p in planes} == {(t, z): 60.0 * t + z for t, z in product(range(2), range(3))}
    assert {p.position for p in planes} == {None}


def test_tiles_of_a_mosaic_tell_the_focus(tmp_path: Path) -> None:
    scenes = '<Scene Index="0"><CenterPosition>500,300</CenterPosition></Scene>'
    blocks = [
        Block(cells(50, 60), "Gray16", "none", {"Z": z, "C": 0, "S": 0, "M": m, "X": 60 * m, "Y": 0}, note=said(300, 500, z))
        for z, m in product(range(2), range(2))
    ]
    with open_slide(make(tmp_path / "a.czi", Czi(blocks, document(scenes)))) as slide:
        (scene,) = slide.scenes
        corner = (300 - CORNER[0], 500 - 120 * SIZE_UM / 2)
        assert [p.position for p in scene.planes] == [Position(*corner, 0.0), Position(*corner, 1.0)]
