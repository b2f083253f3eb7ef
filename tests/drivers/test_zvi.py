"""ZVI: the container against olefile, pixels against slideio and against what was drawn, places, metadata."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import olefile
import ome_types
import pytest
from PIL import Image as Picture

from converter.convert import Conversion, convert
from converter.options import Options
from drivers import open_slide, paint
from drivers.discovery import driver_for, find_drivers
from drivers.files import open_source, read_head
from drivers.formats.zvi import matches
from drivers.geometry import Box, Shape
from drivers.model import Facts, Pixels, PixelSize, Position, Scene
from drivers.zvi.compound import open_compound
from tests.made.zvi import (
    CHANNELS,
    COLOUR,
    DEEP_COLOUR,
    DISPATCH,
    SCALE,
    STACK,
    TAKEN,
    Plane,
    Zvi,
    compound,
    contents,
    make_zvi,
    mosaic,
    numbers,
    tag_list,
    value,
)
from tests.support.stores import ome

pytestmark = pytest.mark.usefixtures("files_closed")


def whole(scene: Scene) -> Pixels:
    """All of level 0."""
    return paint(scene.levels[0], Box.of(scene.shape))


def only(path: Path) -> tuple[Scene, Pixels, list[str]]:
    """(scene, pixels, warnings) of a file with one scene."""
    with open_slide(path) as slide:
        assert len(slide.scenes) == 1
        return slide.scenes[0], whole(slide.scenes[0]), list(slide.warnings)


@pytest.mark.parametrize("scattered", [False, True])
@pytest.mark.parametrize("version", [3, 4])
def test_streams_are_what_olefile_reads(tmp_path: Path, version: int, scattered: bool) -> None:
    large = np.random.default_rng(3).bytes(16_000_000)  # FAT sectors for the header and two sectors more
    more = {"Image/large": large, "a/b/c": b"small", "empty": b"", "exact": bytes(4096), "mini": bytes(range(64))}
    path = make_zvi(tmp_path / "a.zvi", replace(STACK, more=more), version, scattered)
    with olefile.OleFileIO(path, raise_defects=olefile.DEFECT_INCORRECT) as oracle:
        expected = {"/".join(parts): oracle.openstream(parts).read() for parts in oracle.listdir()}
    source = open_source(path)
    try:
        read = open_compound(source)
        assert set(read.entries) == {name.lower() for name in expected}
        for name, data in expected.items():
            stream = read.stream(name)
            assert stream is not None
            assert stream.read(0, stream.size) == data
            for start in (0, 1, 511, 512, 513, 5000):
                if start + 700 <= stream.size:
                    assert stream.read(start, 700) == data[start : start + 700]
    finally:
        source.close()


def test_other_compound_files_are_left_alone(tmp_path: Path) -> None:
    drivers = [found.driver for found in find_drivers() if found.driver is not None]
    for i, other in enumerate(
        ({"WordDocument": b"x"}, {"OibInfo.txt": b"x", "Storage00001/Stream00000": b"y"}, {"Image": b"x"})
    ):
        path = tmp_path / f"{i}.zvi"
        path.write_bytes(compound(other))
        assert not matches(path, read_head(path))
    path = make_zvi(tmp_path / "named.dat", STACK)
    assert driver_for(path, drivers).name == "zvi"
    text = tmp_path / "text.zvi"
    text.write_text("no compound file")
    assert not matches(text, read_head(text))
    assert not matches(tmp_path, b"")


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "f4", "f8"])
def test_grey(tmp_path: Path, dtype: str) -> None:
    pixels = numbers(33, 45, dtype=dtype)
    scene, read, _ = only(make_zvi(tmp_path / "a.zvi", Zvi([Plane(pixels)])))
    assert read.dtype == np.dtype(dtype)
    assert not scene.rgb
    np.testing.assert_array_equal(read[0, 0, 0], pixels)


@pytest.mark.parametrize(("dtype", "samples"), [("u1", 3), ("u2", 3), ("i4", 3), ("u1", 4)])
def test_colour_is_red_first(tmp_path: Path, dtype: str, samples: int) -> None:
    pixels = numbers(33, 45, samples, dtype=dtype)
    pixels[..., 0] = 200  # stored last of the three
    scene, read, _ = only(make_zvi(tmp_path / "a.zvi", Zvi([Plane(pixels)])))
    assert scene.rgb
    assert [channel.name for channel in scene.channels] == ["Red", "Green", "Blue", "Alpha"][:samples]
    assert scene.alpha == (3 if samples == 4 else None)
    np.testing.assert_array_equal(read[0, :, 0], pixels.transpose(2, 0, 1))
    assert scene.levels[0].fill == (255 if dtype == "u1" else 0)


def test_jpeg_is_red_first_already(tmp_path: Path) -> None:
    pixels = np.full((40, 56, 3), (200, 60, 150), np.uint8)
    scene, read, _ = only(make_zvi(tmp_path / "a.zvi", Zvi([Plane(pixels, packed="jpeg")])))
    assert (scene.rgb, scene.compression, scene.dtype) == (True, "jpeg", np.uint8)
    assert np.abs(read[0, :, 0].transpose(1, 2, 0).astype(int) - pixels).max() <= 2
    grey = Plane(pixels[..., 0].copy(), packed="jpeg", bits=1)
    scene, read, _ = only(make_zvi(tmp_path / "b.zvi", Zvi([grey])))
    assert np.abs(read[0, 0, 0].astype(int) - 200).max() <= 1
    assert not scene.rgb


@pytest.mark.parametrize("shape", [(33, 45), (33, 45, 3)])
@pytest.mark.parametrize("dtype", ["u1", "u2"])
def test_zlib(tmp_path: Path, dtype: str, shape: tuple[int, ...]) -> None:
    pixels = numbers(*shape, dtype=dtype)
    scene, read, _ = only(make_zvi(tmp_path / "a.zvi", Zvi([Plane(pixels, packed="zlib")])))
    assert scene.compression == "deflate"
    np.testing.assert_array_equal(read[0, :, 0], pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))


def test_stack_against_slideio(tmp_path: Path) -> None:
    slideio = pytest.importorskip("slideio", reason="slideio, the oracle, is not installed")
    path = make_zvi(tmp_path / "a.zvi", STACK)
    scene, read, warnings = only(path)
    assert scene.shape == Shape(2, 2, 3, 30, 41)
    assert not warnings
    for plane in STACK.planes:
        np.testing.assert_array_equal(read[plane.t, (plane.c - 2) // 2, plane.z - 13], plane.pixels)
    with slideio.open_slide(str(path), "ZVI") as slide:
        oracle = slide.get_scene(0)
        assert [oracle.get_channel_name(c) for c in range(2)] == [channel.name for channel in scene.channels]
        assert oracle.resolution == pytest.approx(scene.resolution)
        assert oracle.z_resolution == pytest.approx(scene.z_resolution)
        expected = oracle.read_block(slices=(0, 3)).view(np.uint16)  # z y x c; it calls them signed
    np.testing.assert_array_equal(read[0].transpose(1, 2, 3, 0), expected)


@pytest.mark.parametrize("zvi", [COLOUR, DEEP_COLOUR])
def test_colour_against_slideio(tmp_path: Path, zvi: Zvi) -> None:
    slideio = pytest.importorskip("slideio", reason="slideio, the oracle, is not installed")
    path = make_zvi(tmp_path / "a.zvi", zvi)
    _, read, _ = only(path)
    with slideio.open_slide(str(path), "ZVI") as slide:
        expected = slide.get_scene(0).read_block().view(read.dtype)  # y x c, blue first: its trap
    np.testing.assert_array_equal(read[0, :, 0].transpose(1, 2, 0), expected[..., ::-1])
    np.testing.assert_array_equal(read[0, :, 0].transpose(1, 2, 0), zvi.planes[0].pixels)


def test_bits_of_colours_that_are_counted_together(tmp_path: Path) -> None:
    scene, _, _ = only(make_zvi(tmp_path / "a.zvi", DEEP_COLOUR))
    assert scene.significant_bits == 12


def test_large_images_are_read_in_bands(tmp_path: Path) -> None:
    pixels = numbers(3000, 2000)
    scene, read, _ = only(make_zvi(tmp_path / "a.zvi", Zvi([Plane(pixels)])))
    assert 500 < scene.levels[0].tile.y < 3000
    np.testing.assert_array_equal(read[0, 0, 0], pixels)


def test_items_of_other_pixels_are_scenes(tmp_path: Path) -> None:
    planes = [Plane(numbers(20, 30)), Plane(numbers(20, 30, 3, dtype="u1"), c=1), Plane(numbers(10, 12), c=2)]
    with open_slide(make_zvi(tmp_path / "a.zvi", Zvi(planes))) as slide:
        assert [scene.shape[1:] for scene in slide.scenes] == [(1, 1, 20, 30), (1, 1, 10, 12), (3, 1, 20, 30)]
        assert len({scene.name for scene in slide.scenes}) == 3


def test_a_file_of_one_image_without_items(tmp_path: Path) -> None:
    pixels = numbers(33, 45)
    path = tmp_path / "a.zvi"
    path.write_bytes(compound({"Image/Contents": contents(Plane(pixels)), "Image/Tags/Contents": tag_list(SCALE)}))
    scene, read, _ = only(path)
    np.testing.assert_array_equal(read[0, 0, 0], pixels)
    assert scene.pixel_size.x_um == 0.0645


@pytest.mark.parametrize(
    "plane",
    [
        Plane(numbers(20, 30), z=9, before=7 * DISPATCH),
        Plane(numbers(20, 30), z=9, spare_block=True),
        Plane(numbers(20, 30), z=9, before=struct.pack("<Hi", 0x1234, 7) + bytes(2000)),  # a type that no one describes
        Plane(numbers(20, 30), z=9, before=struct.pack("<I6i", 0x10002000, 0, 5, 1, 2, 4, 16)),  # a mark, but no header
    ],
)
def test_the_header_is_found(tmp_path: Path, plane: Plane) -> None:
    other = Plane(numbers(20, 30, seed=2), z=4)
    scene, read, _ = only(make_zvi(tmp_path / "a.zvi", Zvi([other, plane])))
    assert scene.shape.z == 2
    np.testing.assert_array_equal(read[0, 0, 0], other.pixels)
    np.testing.assert_array_equal(read[0, 0, 1], plane.pixels)


def changed(zvi: Zvi, change: Callable[[dict[int, object]], Mapping[int, object]]) -> Zvi:
    """With the tags of every item changed."""
    return replace(zvi, planes=[replace(plane, tags=change(dict(plane.tags))) for plane in zvi.planes])


def without(*tags: int) -> Callable[[dict[int, object]], Mapping[int, object]]:
    """A change that leaves tags out."""
    return lambda found: {number: content for number, content in found.items() if number not in tags}


def mirrored(tags: dict[int, object]) -> Mapping[int, object]:
    """A stage whose x runs against the columns."""
    x = tags[2073]
    assert isinstance(x, float)
    return {**tags, 2073: -x}


def moved(tags: dict[int, object]) -> Mapping[int, object]:
    """Only the stage position before a change is true."""
    return {**tags, 2073: 0.0, 2074: 0.0, 2841: tags[2073], 2842: tags[2074]}


def apart(tags: dict[int, object]) -> Mapping[int, object]:
    """Stage positions that the stated size denies."""
    x = tags[2073]
    assert isinstance(x, float)
    return {**tags, 2073: 10 * x}


@pytest.mark.parametrize(
    "change",
    [
        without(),
        apart,
        without(2817, 2818),
        without(2073, 2074),
        mirrored,
        moved,
    ],
)
@pytest.mark.parametrize("packed", ["", "zlib"])
def test_mosaic(tmp_path: Path, packed: str, change: Callable[[dict[int, object]], Mapping[int, object]]) -> None:
    zvi, drawn = mosaic(packed=packed)
    scene, read, warnings = only(make_zvi(tmp_path / "a.zvi", changed(zvi, change)))
    assert scene.shape == Shape(1, 2, 1, 56, 112)
    assert not warnings
    np.testing.assert_array_equal(read[0, :, 0], drawn)


def test_mosaic_without_a_scale_or_a_size_is_laid_edge_to_edge(tmp_path: Path) -> None:
    zvi, drawn = mosaic(overlap=0)
    tags = {2838: 3, 2839: 2}
    scene, read, _ = only(make_zvi(tmp_path / "a.zvi", replace(zvi, tags=tags, size=(30, 40))))
    assert scene.pixel_size == PixelSize()
    assert scene.position is None
    np.testing.assert_array_equal(read[0, :, 0], drawn)


def test_mosaic_against_slideio(tmp_path: Path) -> None:
    slideio = pytest.importorskip("slideio", reason="slideio, the oracle, is not installed")
    path = make_zvi(tmp_path / "a.zvi", mosaic(overlap=0)[0])  # it lays overlapping tiles edge to edge
    with slideio.open_slide(str(path), "ZVI") as slide:
        expected = slide.get_scene(0).read_block().view(np.uint16)
    np.testing.assert_array_equal(only(path)[1][0, :, 0], expected.transpose(2, 0, 1))


def test_mosaic_lies_where_its_first_tile_does(tmp_path: Path) -> None:
    scene, _, _ = only(make_zvi(tmp_path / "a.zvi", mosaic()[0]))
    assert scene.position == Position(90.0, 500.0)  # the stage stood at the middle of a tile


@pytest.mark.parametrize("step", [1000.0, 1.5])
@pytest.mark.parametrize("by", ["scene", "tile"])
def test_positions_of_a_list_are_scenes(tmp_path: Path, by: str, step: float) -> None:
    tags = [{2073: 1000 + step * i, 2074: 5.0} for i in range(3)]  # far from each other, or nearer than an image is wide
    planes = [
        replace(Plane(numbers(20, 30, seed=10 * t + i), t=t, tags=tags[i]), **{by: i}) for t in range(2) for i in range(3)
    ]
    with open_slide(make_zvi(tmp_path / "a.zvi", Zvi(planes, SCALE))) as slide:
        assert [scene.name for scene in slide.scenes] == ["a, image 1", "a, image 2", "a, image 3"]
        for i, scene in enumerate(slide.scenes):
            assert scene.shape == Shape(2, 1, 1, 20, 30)
            np.testing.assert_array_equal(whole(scene)[1, 0, 0], numbers(20, 30, seed=10 + i))
        places = [scene.position for scene in slide.scenes]
    corner = 1000 - 15 * 0.0645
    assert [place and place.x_um for place in places] == pytest.approx([corner + step * i for i in range(3)])


def test_facts(tmp_path: Path) -> None:
    with open_slide(make_zvi(tmp_path / "a.zvi", STACK)) as slide:
        scene = slide.scenes[0]
        thumbnail = whole(slide.associated["thumbnail"])
        raw = slide.raw_metadata
    hoechst, cy3 = scene.channels
    assert (hoechst.name, hoechst.color, hoechst.exposure_s) == ("Hoechst 33342", "0000FF", 0.05)
    assert (hoechst.excitation_nm, hoechst.emission_nm) == (365, 445)
    assert (cy3.name, cy3.color, cy3.exposure_s, cy3.excitation_nm) == ("Cy3", "FF8000", 1.000572, 550)
    assert scene.pixel_size == PixelSize(0.0645, 0.0645, 0.25)
    assert scene.magnification == 100
    assert scene.position == Position(-2000.9675, 998.67775)
    assert scene.time_step_s == 5
    assert scene.significant_bits == 12
    assert scene.facts == Facts(
        acquired=TAKEN,
        microscope_model="Axio Imager.Z2",
        objective_model="Plan-Apochromat 100x/1.40 Oil DIC M27",
        objective_na=1.4,
        immersion="Oil",
    )
    assert STACK.thumbnail is not None
    np.testing.assert_array_equal(thumbnail[0, :, 0].transpose(1, 2, 0), STACK.thumbnail)
    assert raw is not None
    assert "Doctor Who" in raw
    assert "Doctor" not in repr(scene.facts)


def test_thumbnail_against_pillow(tmp_path: Path) -> None:
    path = make_zvi(tmp_path / "a.zvi", STACK)
    with olefile.OleFileIO(path) as oracle:
        bitmap = oracle.openstream("Thumbnail").read()[26:]
    expected = np.asarray(Picture.open(BytesIO(bitmap)))
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide.associated["thumbnail"])[0, :, 0].transpose(1, 2, 0), expected)


def test_what_is_not_said_is_unknown(tmp_path: Path) -> None:
    uncalibrated = {769: 1.0, 770: 0, 772: 1.0, 773: 0, 0x1000110: 0, 1282: 0}
    scene, _, _ = only(make_zvi(tmp_path / "a.zvi", Zvi([Plane(numbers(20, 30), tags={2073: 0.0, 2074: 0.0})], uncalibrated)))
    assert scene.pixel_size == PixelSize()
    assert (scene.magnification, scene.position, scene.time_step_s, scene.significant_bits) == (None, None, None, None)
    assert scene.facts == Facts()
    channel = scene.channels[0]
    assert (channel.name, channel.color, channel.excitation_nm, channel.exposure_s) == (None, None, None, None)


@pytest.mark.parametrize(
    ("unit", "um"), [(72, 5e5), (76, 0.5), (77, 0.0005), (81, 12700.0), (0, None), (84, None), (136, None)]
)
def test_units(tmp_path: Path, unit: int, um: float | None) -> None:
    tags = {769: 0.5, 770: unit, 772: 0.5, 773: unit}
    scene, _, _ = only(make_zvi(tmp_path / "a.zvi", Zvi([Plane(numbers(20, 30))], tags)))
    assert scene.pixel_size == PixelSize(um, um)


def test_scale_out_of_the_scaling_object(tmp_path: Path) -> None:
    axis = [value(content) for content in (0.25, 76, None, 0.0, 0.0)]
    content = b"".join([value(1), value("20x"), value(0), *3 * axis])
    zvi = Zvi([Plane(numbers(20, 30))], more={"Image/Scaling/Contents": content})
    scene, _, _ = only(make_zvi(tmp_path / "a.zvi", zvi))
    assert scene.pixel_size == PixelSize(0.25, 0.25)


def test_objective_by_its_name(tmp_path: Path) -> None:
    scene, _, _ = only(make_zvi(tmp_path / "a.zvi", Zvi([Plane(numbers(20, 30))], {2049: "EC Plan-Neofluar 20x/0,50 M27"})))
    assert (scene.magnification, scene.facts.objective_na) == (20, 0.5)


def test_a_single_channel_is_described_by_the_image(tmp_path: Path) -> None:
    scene, _, _ = only(make_zvi(tmp_path / "a.zvi", Zvi([Plane(numbers(20, 30))], CHANNELS[1])))
    assert (scene.channels[0].name, scene.channels[0].exposure_s) == ("Cy3", 1.000572)


def test_the_corner_of_a_microscope_without_a_stage_is_unknown(tmp_path: Path) -> None:
    middle = {2073: 15 * 0.0645, 2074: 10 * 0.0645}
    scene, _, _ = only(make_zvi(tmp_path / "a.zvi", Zvi([Plane(numbers(20, 30), tags=middle)], SCALE)))
    assert scene.position is None


def test_metadata_reach_the_store(tmp_path: Path) -> None:
    store = tmp_path / "a.ome.zarr"
    convert(make_zvi(tmp_path / "a.zvi", STACK), store, Conversion(Options()))
    image = ome_types.from_xml((store / "OME" / "METADATA.ome.xml").read_text())
    pixels = image.images[0].pixels
    assert (pixels.size_t, pixels.size_c, pixels.size_z, pixels.significant_bits) == (2, 2, 3, 12)
    assert (pixels.physical_size_x, pixels.physical_size_z, pixels.time_increment) == (0.0645, 0.25, 5)
    assert [(c.name, c.excitation_wavelength, c.emission_wavelength) for c in pixels.channels] == [
        ("Hoechst 33342", 365, 445),
        ("Cy3", 550, 570),
    ]
    assert {plane.exposure_time for plane in pixels.planes} == {0.05, 1.000572}
    assert image.images[0].acquisition_date == TAKEN
    objective = image.instruments[0].objectives[0]
    assert (objective.nominal_magnification, objective.lens_na) == (100, 1.4)
    assert [channel["color"] for channel in ome(store)["omero"]["channels"]] == ["0000FF", "FF8000"]
    assert "Doctor" not in "".join(path.read_text() for path in store.rglob("*") if path.suffix in (".json", ".xml"))
