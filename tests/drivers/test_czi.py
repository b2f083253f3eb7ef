"""CZI: pixels against libCZI and czifile, pyramids, scenes and real files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import czifile
import imagecodecs
import numpy as np
import pytest
from pylibCZIrw import czi as libczi

from drivers import open_slide, paint
from drivers.czi.directory import Block as Entry
from drivers.czi.pyramid import factors_of
from drivers.geometry import Box, Shape
from drivers.model import Level, Pixels, Scene, Slide
from tests.made.czi import (
    PLAIN,
    Block,
    Czi,
    cells,
    colours,
    document,
    encode,
    make,
    make_mosaic,
    make_plain,
    make_stack,
    make_thirds,
    picture,
    reduced,
    tiled,
)
from tests.support.oracles import by_libczi

pytestmark = pytest.mark.usefixtures("files_closed")
Made = Callable[[str, Callable[[Path], object]], Path]


def whole(level: Level) -> Pixels:
    """All of a level."""
    return paint(level, Box.of(level.shape))


def planes(scene: Scene) -> dict[tuple[int, int, int], Pixels]:
    """(height, width, samples) by (t, c, z), where c counts the file's channels."""
    pixels, step = whole(scene.levels[0]), 3 if scene.rgb else 1
    t, c, z = scene.shape[:3]
    places = [(i, j, k) for i in range(t) for j in range(c // step) for k in range(z)]
    return {p: pixels[p[0], p[1] * step : (p[1] + 1) * step, p[2]].transpose(1, 2, 0) for p in places}


def assert_as_libczi(path: Path, slide: Slide, white: bool = False) -> None:
    """Every plane of level 0 of every scene is what libCZI composes."""
    ours = [planes(scene) for scene in slide.scenes]
    left = {(number, place) for number, scene in enumerate(ours) for place in scene}
    for number, plane, theirs in by_libczi(path, white=white):
        scene = slide.scenes[number]
        # libCZI counts what coarse levels claim, rounded up to their factor.
        assert 0 <= theirs.shape[1] - scene.shape.x < scene.levels[-1].scale
        assert 0 <= theirs.shape[0] - scene.shape.y < scene.levels[-1].scale
        place = plane["T"], plane["C"], plane["Z"]
        np.testing.assert_array_equal(ours[number][place], theirs[: scene.shape.y, : scene.shape.x])
        left.discard((number, place))
    assert not left


# -- pixels --


@pytest.mark.parametrize(("kind", "codec"), PLAIN)
def test_types_and_compressions(made: Made, kind: str, codec: str) -> None:
    path = made(f"{kind}-{codec}.czi", lambda p: make_plain(p, kind, codec))
    with open_slide(path) as slide, czifile.CziFile(path) as file:
        ours = planes(slide.scenes[0])[0, 0, 0]
        theirs = file.subblock_directory[0].read_segment_data(file).data().reshape(70, 95, -1)
    stored = picture(kind, codec).pixels.reshape(70, 95, -1)[..., : ours.shape[2]]
    if codec == "jpeg":
        assert np.abs(ours.astype(int) - stored).max() < 40
        assert np.abs(ours.astype(int) - stored).mean() < 4
    elif codec != "jpegxr" or kind == "Bgr24":  # czifile and this driver share that decoder, libCZI has its own
        np.testing.assert_array_equal(ours, stored)
    np.testing.assert_array_equal(ours, theirs[..., : ours.shape[2]])


@pytest.mark.parametrize(
    ("kind", "codec"),
    [p for p in PLAIN if p[1] not in ("jpeg", "lzw") and p[0] not in ("Bgra32", "Gray32") and p != ("Bgr48", "zstd1-hilo")],
)
def test_types_and_compressions_against_libczi(made: Made, kind: str, codec: str) -> None:
    # libCZI reads neither JPEG nor LZW, and loses half of a hi-lo packed Bgr48 that it has written itself.
    path = made(f"{kind}-{codec}.czi", lambda p: make_plain(p, kind, codec))
    with open_slide(path) as slide:
        assert_as_libczi(path, slide)


@pytest.mark.parametrize("maker", [make_mosaic, make_stack, make_thirds])
def test_made_files_against_libczi(made: Made, maker: Callable[[Path], Path]) -> None:
    path = made(maker.__name__.removeprefix("make_") + ".czi", maker)
    with open_slide(path) as slide:
        assert_as_libczi(path, slide)


@pytest.mark.parametrize("options", [None, "zstd0:ExplicitLevel=3", "zstd1:ExplicitLevel=3;PreProcess=HiLoByteUnpack"])
@pytest.mark.parametrize("kind", ["u1", "u2", "f4", "rgb"])
def test_what_libczi_writes(tmp_path: Path, options: str | None, kind: str) -> None:
    """Two scenes of overlapping tiles far apart, at negative and at large positions."""
    path = tmp_path / "written.czi"
    image = colours(90, 120) if kind == "rgb" else cells(90, 120).astype(kind)
    with libczi.create_czi(str(path), compression_options=options) as writer:
        for scene, (x, y) in enumerate([(-5000, -70), (1_000_000, 2_000_000)]):
            for number, (dx, dy) in enumerate([(0, 0), (100, 10), (60, 70), (30, 40)]):
                data = np.ascontiguousarray(np.roll(image, 7 * number, 0))
                writer.write(data, (x + dx, y + dy), {"C": 0, "T": 0, "Z": 0}, scene=scene)
        writer.write_metadata(channel_names={0: "DAPI"}, scale_x=3.25e-7, scale_y=3.25e-7)
    with open_slide(path) as slide:
        assert [tuple(scene.shape) for scene in slide.scenes] == [(1, 3 if kind == "rgb" else 1, 1, 160, 220)] * 2
        assert_as_libczi(path, slide, white=slide.scenes[0].levels[0].fill == 255)
        assert slide.scenes[0].pixel_size.x_um == 0.325
        assert slide.scenes[0].channels[0].name == ("Red" if kind == "rgb" else "DAPI")


@pytest.mark.parametrize("ascending", [True, False])
def test_later_mosaic_tiles_cover_earlier_ones_whatever_their_order_in_the_file(tmp_path: Path, ascending: bool) -> None:
    blocks = [Block(np.full((40, 40, 1), 100 + m), "Gray16", "none", {"C": 0, "M": m, "X": 10 * m, "Y": 0}) for m in range(4)]
    path = make(tmp_path / "order.czi", Czi(blocks if ascending else blocks[::-1]))
    with open_slide(path) as slide:
        row = whole(slide.scenes[0].levels[0])[0, 0, 0, 5]
        assert_as_libczi(path, slide)
    np.testing.assert_array_equal(row, [100] * 10 + [101] * 10 + [102] * 10 + [103] * 40)


def test_a_large_uncompressed_block_is_read_in_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("drivers.czi.levels.BAND_BYTES", 5000)
    path = make_plain(tmp_path / "bands.czi", "Bgr48", "none")
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        assert len(list(level.index.tiles(Box.of(level.shape)))) == 9
        assert level.tile.y == 8
        np.testing.assert_array_equal(planes(slide.scenes[0])[0, 0, 0], picture("Bgr48", "none").pixels)


@pytest.mark.parametrize("codec", ["none", "jpeg", "jpegxr", "zstd0"])
@pytest.mark.parametrize("short", [(1, 0), (0, 1), (1, 1)])
def test_edge_blocks_that_hold_a_row_or_column_less_than_they_say(tmp_path: Path, codec: str, short: tuple[int, int]) -> None:
    image = colours(31, 45)
    claims = (31 + short[0], 45 + short[1])
    path = make(tmp_path / "edge.czi", Czi([Block(image, "Bgr24", codec, {"C": 0}, claims=claims, size=claims)]))
    with open_slide(path) as slide:
        ours = planes(slide.scenes[0])[0, 0, 0]
    assert ours.shape[:2] == claims
    np.testing.assert_array_equal(ours[:, -1], ours[:, -1 - short[1]])
    np.testing.assert_array_equal(ours[-1], ours[-1 - short[0]])
    if codec != "jpeg":
        np.testing.assert_array_equal(ours[:31, :45], image)


def test_blocks_left_uncompressed_without_saying_so(tmp_path: Path) -> None:
    block = picture("Gray16", "zstd0")
    path = make(tmp_path / "plain.czi", Czi([replace(block, data=encode(replace(block, codec="none")))]))
    with open_slide(path) as slide:
        np.testing.assert_array_equal(planes(slide.scenes[0])[0, 0, 0], block.pixels)


@pytest.mark.parametrize(("method", "fill"), [("Brightfield", 255), ("Fluorescence", 0)])
def test_uncovered_places_are_white_in_brightfield_only(tmp_path: Path, method: str, fill: int) -> None:
    blocks = [Block(colours(20, 20), "Bgr24", "none", {"C": 0, "X": x, "Y": x}) for x in (0, 500)]
    channel = f'<Channel Id="Channel:0"><ContrastMethod>{method}</ContrastMethod></Channel>'
    path = make(tmp_path / "void.czi", Czi(blocks, document(channels=channel)))
    with open_slide(path) as slide:
        level = slide.scenes[0].levels[0]
        assert level.fill == fill
        assert (whole(level)[..., 100:200, 100:200] == fill).all()


def test_far_apart_blocks_cost_no_void(tmp_path: Path) -> None:
    """Wells: a bounding box of 40 gigapixels around two small blocks."""
    blocks = [Block(cells(64, 64), "Gray16", "none", {"C": 0, "X": x, "Y": x}) for x in (-100_000, 100_000)]
    with open_slide(make(tmp_path / "wells.czi", Czi(blocks))) as slide:
        level = slide.scenes[0].levels[0]
        assert level.shape[3:] == (200_064, 200_064)
        assert list(level.index.tiles(Box(Shape(0, 0, 0, 5000, 5000), Shape(1, 1, 1, 9000, 9000)))) == []
        assert len(list(level.index.tiles(Box.of(level.shape)))) == 2


# -- pyramids --


@pytest.mark.parametrize("maker", [make_mosaic, make_thirds])
def test_levels_are_the_stored_ones(made: Made, maker: Callable[[Path], Path]) -> None:
    path = made(maker.__name__.removeprefix("make_") + ".czi", maker)
    with open_slide(path) as slide:
        levels = slide.scenes[0].levels
        finest = whole(levels[0])[0, :, 0].transpose(1, 2, 0)
        for level in levels[1:]:
            expected = reduced(finest, int(level.scale)).astype(int)
            assert np.abs(whole(level)[0, :, 0].transpose(1, 2, 0) - expected).max() <= 1


def entry(size: tuple[int, int], stored: tuple[int, int]) -> Entry:
    """A directory entry of a size (height, width)."""
    return Entry(0, 0, 1, 0, 0, -1, 0, 0, 0, 0, 0, *size, *stored, (0,) * 5)


@pytest.mark.parametrize(
    ("sizes", "factors"),
    [
        ([((512, 512), (512, 512)), ((1024, 1024), (512, 512)), ((3, 1024), (2, 512))], [1, 2, 2]),
        ([((1024, 7695), (64, 480)), ((7680, 7680), (480, 480)), ((15, 7680), (1, 480))], [16, 16, 16]),  # slideio#70
        ([((3072, 3072), (1024, 1024)), ((5, 3072), (2, 1024)), ((4, 4), (2, 2))], [3, 3, 3]),
        ([((9216, 9216), (1024, 1024)), ((3072, 3072), (1024, 1024)), ((100, 50), (12, 6)), ((7, 7), (3, 3))], [9, 3, 9, 3]),
        ([((1, 1), (1, 1)), ((2, 2), (1, 1)), ((3, 2), (2, 1))], [1, 2, 2]),
        ([((1023, 1023), (511, 511)), ((1024, 1024), (512, 512)), ((1, 1024), (1, 512))], [2, 2, 2]),
    ],
)
def test_factors_are_snapped(sizes: list[Any], factors: list[int]) -> None:
    assert factors_of([entry(*size) for size in sizes]).tolist() == factors


@pytest.mark.parametrize("up", [True, False])
@pytest.mark.parametrize("size", [(601, 603), (600, 602), (599, 607)])
def test_levels_of_odd_sizes_are_one_level_each(tmp_path: Path, size: tuple[int, int], up: bool) -> None:
    image = cells(*size)
    template = Block(np.empty(0), "Gray16", "zstd0", {"C": 0})
    half, quarter = reduced(image, 2, up), reduced(image, 4, up)
    blocks = tiled(image, 256, template) + tiled(half, 100, template, 2) + tiled(quarter, 100, template, 4)
    with open_slide(make(tmp_path / "odd.czi", Czi(blocks))) as slide:
        levels = slide.scenes[0].levels
        assert [level.shape[3:] for level in levels] == [size, half.shape[:2], quarter.shape[:2]]
        assert [level.scale for level in levels] == [1, 2, 4]
        np.testing.assert_array_equal(whole(levels[1])[0, 0, 0, ..., None], half)
        np.testing.assert_array_equal(whole(levels[2])[0, 0, 0, ..., None], quarter)


def test_a_level_that_lacks_planes_is_left_out(tmp_path: Path) -> None:
    image = cells(200, 200)
    fine = [Block(image, "Gray16", "none", {"C": c}) for c in range(2)]
    coarse = Block(reduced(image, 2), "Gray16", "none", {"C": 0}, size=(200, 200))
    with open_slide(make(tmp_path / "lacking.czi", Czi([*fine, coarse]))) as slide:
        assert len(slide.scenes[0].levels) == 1
        assert "lacks 1 planes" in slide.warnings[0]


def test_scenes_may_have_different_pyramids(tmp_path: Path) -> None:
    image = cells(300, 300)
    template = Block(np.empty(0), "Gray16", "zstd0", {"C": 0, "S": 0})
    other = replace(template, at={"C": 0, "S": 4, "X": 9000})
    blocks = tiled(image, 300, template) + tiled(reduced(image, 2), 150, template, 2) + tiled(image, 300, other)
    with open_slide(make(tmp_path / "two.czi", Czi(blocks))) as slide:
        assert [len(scene.levels) for scene in slide.scenes] == [2, 1]
        assert [scene.name for scene in slide.scenes] == ["Scene 0", "Scene 4"]


# -- scenes and planes --


def test_scenes_by_name_and_position(tmp_path: Path) -> None:
    notes = """<Scene Index="0" Name="TR1"><CenterPosition>1000.5,-2000</CenterPosition></Scene>
<Scene Index="1" Name="TR1"/><Scene Index="2" Name="B2"/>"""
    blocks = [Block(cells(40, 60), "Gray16", "none", {"C": 0, "S": s, "X": 1000 * s}) for s in (2, 0, 1)]
    with open_slide(make(tmp_path / "named.czi", Czi(blocks, document(notes)))) as slide:
        assert [scene.name for scene in slide.scenes] == ["TR1 (0)", "TR1 (1)", "B2"]
        first = slide.scenes[0].position
        assert first is not None
        assert (first.x_um, first.y_um) == (pytest.approx(1000.5 - 9.75), pytest.approx(-2000 - 6.5))
        assert slide.scenes[1].position is None


def test_one_scene_without_a_name_has_the_name_of_the_file(made: Made) -> None:
    with open_slide(made("stack.czi", make_stack)) as slide:
        assert [scene.name for scene in slide.scenes] == ["stack"]


def test_phases_are_one_image(tmp_path: Path) -> None:
    """An Airyscan file: 32 detectors of one channel, the sum as another (slideio shows 32 scenes)."""
    blocks = [Block(np.full((36, 38, 1), 10 + h), "Gray16", "none", {"C": 0, "H": h, "V": 0, "B": 0}) for h in range(32)]
    blocks += [Block(np.full((36, 38, 1), 7), "Gray16", "none", {"C": 1, "H": 0, "V": 0, "B": 0})]
    with open_slide(make(tmp_path / "airy.czi", Czi(blocks[::-1]))) as slide:
        (scene,) = slide.scenes
        assert tuple(scene.shape) == (1, 2, 1, 36, 38)
        assert whole(scene.levels[0])[0, :, 0, 3, 3].tolist() == [10, 7]
        assert "32 phases" in slide.warnings[0]
        assert sorted(slide.associated) == sorted(f"phase-{h}" for h in range(1, 32))
        for h in range(1, 32):
            found = slide.associated[f"phase-{h}"]
            np.testing.assert_array_equal(found.read_block(), np.full((36, 38), 10 + h))


def test_phases_of_a_real_file_as_czifile_reads_them(shared_samples: Path) -> None:
    import czifile

    path = shared_samples / "czi" / "czitools-LSM880_AiryScan.czi"
    with czifile.CziFile(path) as file:
        truth = file.asarray()  # H, C, Y, X
    with open_slide(path) as slide:
        for h in range(1, 32):
            found = whole(slide.associated[f"phase-{h}"].levels[0])[0, :, 0]
            held = [c for c in range(truth.shape[1]) if truth[h, c].any() or c < len(found)][: len(found)]
            np.testing.assert_array_equal(found, truth[h, held])


@pytest.mark.parametrize("name", ["LabelScan Left", "Thumbnail"])
def test_other_pictures_that_are_attached(tmp_path: Path, name: str) -> None:
    shown = np.ascontiguousarray(np.kron(np.arange(48).reshape(6, 8), np.full((8, 8), 5)).astype("u1"))
    streams = [imagecodecs.jpeg8_encode(image, level=95) for image in (shown, shown[:24])]
    blocks = [Block(np.full((36, 38, 1), 7), "Gray16", "none", {"C": 0})]
    attached = [("Thumbnail", "JPG", streams[1]), (name, "JPG", streams[0])]
    role = "thumbnail-2" if name == "Thumbnail" else "attachment-labelscan-left"
    with open_slide(make(tmp_path / "a.czi", Czi(blocks, attachments=attached))) as slide:
        assert sorted(slide.associated) == sorted(["thumbnail", role])
        assert slide.warnings == [f"the attachment {name!r}: --associated {role} writes it"]
        np.testing.assert_array_equal(slide.associated[role].read_block(), imagecodecs.jpeg8_decode(streams[0]))


def test_views_are_scenes(tmp_path: Path) -> None:
    blocks = [Block(np.full((36, 38, 1), 10 + v), "Gray16", "none", {"C": 0, "V": v}) for v in range(2)]
    with open_slide(make(tmp_path / "views.czi", Czi(blocks))) as slide:
        assert [scene.name for scene in slide.scenes] == ["views, view 0", "views, view 1"]
        assert [int(whole(scene.levels[0])[0, 0, 0, 0, 0]) for scene in slide.scenes] == [10, 11]


def test_channels_of_different_types_are_scenes(tmp_path: Path) -> None:
    """Fluorescence and a colour overview in one file."""
    blocks = [Block(cells(50, 50), "Gray16", "none", {"C": 0}), Block(colours(50, 50), "Bgr24", "none", {"C": 1})]
    with open_slide(make(tmp_path / "mixed.czi", Czi(blocks, document()))) as slide:
        assert [(s.name, s.rgb) for s in slide.scenes] == [("mixed, Gray16", False), ("mixed, Bgr24", True)]
        np.testing.assert_array_equal(planes(slide.scenes[1])[0, 0, 0], colours(50, 50))


def test_several_colour_channels_lie_side_by_side(tmp_path: Path) -> None:
    blocks = [Block(colours(50, 50, c), "Bgr24", "none", {"C": c}) for c in range(2)]
    with open_slide(make(tmp_path / "twice.czi", Czi(blocks, document()))) as slide:
        (scene,) = slide.scenes
        assert not scene.rgb
        assert [c.name for c in scene.channels] == [
            "DAPI Red",
            "DAPI Green",
            "DAPI Blue",
            "EGFP Red",
            "EGFP Green",
            "EGFP Blue",
        ]
        pixels = whole(scene.levels[0])[0, :, 0].transpose(1, 2, 0)
        np.testing.assert_array_equal(pixels, np.concatenate([colours(50, 50, 0), colours(50, 50, 1)], axis=2))


def test_planes_count_from_the_first_one_that_is_stored(tmp_path: Path) -> None:
    places = [(t, z) for t in (4, 6) for z in (2, 3)]
    blocks = [Block(np.full((20, 20, 1), 10 * t + z), "Gray16", "none", {"T": t, "C": 5, "Z": z}) for t, z in places]
    with open_slide(make(tmp_path / "part.czi", Czi(blocks))) as slide:
        pixels = whole(slide.scenes[0].levels[0])
    assert pixels[:, 0, :, 0, 0].tolist() == [[42, 43], [0, 0], [62, 63]]


# -- real files --


@pytest.mark.parametrize(
    ("name", "scenes"),
    [
        ("100x100", [(1, 1, 1, 10, 10)]),
        ("1_tileregion", [(1, 1, 1, 570, 1480)]),
        ("CellDivision_T3_Z5_CH2_X240_Y170", [(3, 2, 5, 170, 240)]),
        ("CellDivision_T3_Z5_CH2_X240_Y170_comp1", [(3, 2, 5, 170, 240)]),
        ("DAPI_GFP", [(1, 2, 1, 640, 640)]),
        ("LSM880_AiryScan", [(1, 8, 1, 36, 38)]),
        ("S3_1Pos_2Mosaic_T2Z3_CH2_sm", [(2, 2, 3, 122, 295), (2, 2, 3, 64, 64), (2, 2, 3, 237, 352)]),
        ("WellD6-7_S2", [(1, 1, 1, 440, 544)] * 2),
        ("newCZI_compressed", [(1, 1, 1, 512, 512)]),
        ("nuc_small", [(1, 1, 1, 240, 320)]),
    ],
)
def test_real_files_against_libczi(shared_samples: Path, name: str, scenes: list[tuple[int, ...]]) -> None:
    path = shared_samples / "czi" / f"czitools-{name}.czi"
    with open_slide(path) as slide:
        assert [tuple(scene.shape) for scene in slide.scenes] == scenes
        assert_as_libczi(path, slide)


def test_real_metadata(shared_samples: Path) -> None:
    with open_slide(shared_samples / "czi" / "czitools-S3_1Pos_2Mosaic_T2Z3_CH2_sm.czi") as slide:
        scene = slide.scenes[2]
    assert (scene.name, scene.pixel_size.x_um, scene.pixel_size.z_um) == ("TR2", 1.6, 1.0)
    assert (scene.magnification, scene.time_step_s, scene.significant_bits) == (2.5, 33.412, 14)
    assert [channel.name for channel in scene.channels] == ["DAPI", "EGFP"]
    assert [channel.color for channel in scene.channels] == ["00A1FF", "00FF5B"]
    with open_slide(shared_samples / "czi" / "czitools-WellD6-7_S2.czi") as slide:
        assert [(s.name, [level.scale for level in s.levels]) for s in slide.scenes] == [("D6", [1, 2]), ("D7", [1, 2])]
        assert sorted(slide.associated) == ["thumbnail"]
