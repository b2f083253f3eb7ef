"""OME-Zarr as input: every version, codec and layout against zarr-python, what it states, and what is wrong with it."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import zarr

from converter.convert import Conversion, convert
from converter.options import Options
from drivers import open_slide, paint
from drivers.errors import Damaged, DriverError, Incomplete, LimitExceeded, UnsafePath, Unsupported
from drivers.geometry import Box
from drivers.model import Level, Pixels, Slide
from tests.drivers import test_conformance as contract
from tests.made.omezarr import STORES, V2_CODECS, V3_CODECS, Store, make_layout, make_plate, make_store, picture
from tests.support.shared import Sample
from tests.support.stores import SMALL, violations

pytestmark = pytest.mark.usefixtures("files_closed")
TINY = Store(size=(2, 90, 101), chunk=(1, 32, 48), levels=2)
OLD = replace(TINY, version="0.4")
PROMISES: list[Callable[[Slide], None]] = [
    contract.test_contract_of_levels,
    contract.test_tiles_cover_the_level_but_for_gaps,
    contract.test_blocks_fill_their_places,
    contract.test_eight_threads_read_what_one_reads,
    contract.test_boxes_show_their_part_of_the_whole,
    contract.test_outside_is_fill,
    partial(contract.test_unknown_is_none, Sample("made", None, None, {})),
]


def whole(level: Level) -> Pixels:
    """All of a level."""
    return paint(level, Box.of(level.shape))


def document(path: Path) -> dict[str, Any]:
    """A JSON file."""
    return json.loads(path.read_text())


def changed(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """A JSON file with something changed."""
    content = document(path)
    change(content)
    path.write_text(json.dumps(content))


def same(store: Store, slide: Slide) -> None:
    """Every level holds what was written."""
    for level, expected in zip(slide.scenes[0].levels, picture(store), strict=True):
        np.testing.assert_array_equal(whole(level).reshape(expected.shape), expected)


# -- every made store --


@pytest.fixture(params=STORES, ids=[name for name, _, _ in STORES])
def stored(
    request: pytest.FixtureRequest, made: Callable[[str, Callable[[Path], object]], Path]
) -> tuple[Path, dict[str, Any]]:
    """Every made store in turn, with its facts."""
    name, maker, facts = request.param
    return made(name, maker), facts


def test_recorded_facts(stored: tuple[Path, dict[str, Any]]) -> None:
    path, facts = stored
    with open_slide(path) as slide:
        scene = slide.scenes[0]
        assert slide.driver == "omezarr"
        assert slide.path == path
        assert [tuple(level.shape) for level in scene.levels] == facts["levels"]
        assert [level.scale for level in scene.levels] == facts["scales"]
        assert scene.dtype.name == facts["dtype"]
        assert scene.pixel_size.x_um == scene.pixel_size.y_um == facts["pixel_size_um"]
        assert tuple(scene.levels[0].tile) == facts["tile"]
        assert [channel.name for channel in scene.channels] == ["Stain 0", "Stain 1", "Stain 2"]
        assert [channel.color for channel in scene.channels] == ["0000FF", "00FF00", "FF8800"]
        assert [channel.window for channel in scene.channels] == [(10, 200)] * 3
        assert not scene.rgb
        assert sorted(slide.files) == sorted(p for p in path.rglob("*") if p.is_file())


def test_pixels_are_what_zarr_reads(stored: tuple[Path, dict[str, Any]]) -> None:
    path, _ = stored
    group = zarr.open_group(path, mode="r")
    with open_slide(path) as slide:
        for number, level in enumerate(slide.scenes[0].levels):
            expected = np.asarray(group[str(number)][...])  # type: ignore[index]
            np.testing.assert_array_equal(whole(level).reshape(expected.shape), expected)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: getattr(promise, "__name__", "test_unknown_is_none"))
def test_promises_of_drivers(stored: tuple[Path, dict[str, Any]], promise: Callable[[Slide], None]) -> None:
    with open_slide(stored[0]) as slide:
        promise(slide)


# -- arrays --


@pytest.mark.parametrize("codec", V2_CODECS)
def test_codecs_of_format_2(tmp_path: Path, codec: str) -> None:
    store = replace(OLD, codec=codec, dtype="u2")
    with open_slide(make_store(tmp_path / "a.zarr", store)) as slide:
        same(store, slide)


@pytest.mark.parametrize("codec", V3_CODECS)
@pytest.mark.parametrize("shard", [None, (2, 64, 96)])
def test_codecs_of_format_3(tmp_path: Path, codec: str, shard: tuple[int, ...] | None) -> None:
    store = replace(TINY, codec=codec, shard=shard, dtype="u2")
    with open_slide(make_store(tmp_path / "a.zarr", store)) as slide:
        same(store, slide)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", ">u2", "<u4", "f4", ">f8"])
def test_sample_types(tmp_path: Path, version: str, dtype: str) -> None:
    if version == "0.5" and dtype.startswith(">"):
        pytest.skip("format 3 keeps the byte order in a codec")
    store = replace(TINY, version=version, dtype=dtype)
    with open_slide(make_store(tmp_path / "a.zarr", store)) as slide:
        assert slide.scenes[0].dtype.isnative
        same(store, slide)


def test_big_endian_of_format_3_and_an_index_at_the_start(tmp_path: Path) -> None:
    from zarr.codecs import BytesCodec, Crc32cCodec, ShardingCodec

    path = make_store(tmp_path / "a.zarr", replace(TINY, levels=1, dtype="u2"))
    values = picture(replace(TINY, levels=1, dtype="u2"))[0]
    sharding = ShardingCodec(
        chunk_shape=(1, 32, 48),
        codecs=[BytesCodec(endian="big"), Crc32cCodec()],
        index_location="start",
        index_codecs=[BytesCodec()],
    )
    array = zarr.create_array(
        path / "0", shape=values.shape, chunks=(2, 64, 96), dtype="u2", serializer=sharding, compressors=(), overwrite=True
    )
    array[...] = values
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0])[0, :, 0], values)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_column_order(tmp_path: Path, version: str) -> None:
    store = replace(TINY, version=version, order="F")
    with open_slide(make_store(tmp_path / "a.zarr", store)) as slide:
        same(store, slide)


def test_booleans_are_0_and_1(tmp_path: Path) -> None:
    store = replace(OLD, dtype="?", levels=1)
    with open_slide(make_store(tmp_path / "a.zarr", store)) as slide:
        assert slide.scenes[0].dtype == np.uint8
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0])[0, :, 0], picture(store)[0])


@pytest.mark.parametrize(("version", "separator"), [("0.1", "/"), ("0.4", "."), ("0.5", ".")])
def test_chunk_names(tmp_path: Path, version: str, separator: str) -> None:
    store = replace(TINY, version=version, separator=separator)
    if version == "0.1":
        store = replace(store, axes="tczyx", size=(1, 2, 1, 90, 101), chunk=(1, 1, 1, 32, 48))
    with open_slide(make_store(tmp_path / "a.zarr", store)) as slide:
        same(store, slide)


def test_chunks_that_are_not_stored_show_the_fill_value(tmp_path: Path) -> None:
    store = replace(TINY, shard=(1, 32, 48), blank=True, fill=9, levels=1)
    with open_slide(make_store(tmp_path / "a.zarr", store)) as slide:
        level = slide.scenes[0].levels[0]
        assert level.fill == 9
        assert len(level.index.gaps()) == 6
        same(store, slide)


def test_axes_in_another_order(tmp_path: Path) -> None:
    path = make_store(tmp_path / "a.zarr", replace(OLD, axes="zyx", size=(4, 90, 101), levels=1))
    values = picture(replace(OLD, axes="zyx", size=(4, 90, 101), levels=1))[0]
    changed(path / ".zattrs", lambda d: d["multiscales"][0].update(axes=[{"name": n, "type": "space"} for n in "xzy"]))
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0].levels[0])[0, 0], values.transpose(1, 2, 0))


# -- metadata --


@pytest.mark.parametrize(("unit", "x_um"), [("nanometer", 0.00025), ("millimeter", 250), (None, None), ("parsec", None)])
def test_units(tmp_path: Path, unit: str | None, x_um: float | None) -> None:
    with open_slide(make_store(tmp_path / "a.zarr", replace(TINY, unit=unit))) as slide:
        assert slide.scenes[0].pixel_size.x_um == x_um
        assert slide.scenes[0].pixel_size.z_um is None


def test_a_scale_for_all_levels_multiplies_theirs(tmp_path: Path) -> None:
    path = make_store(tmp_path / "a.zarr", OLD)
    common = [{"type": "scale", "scale": [1, 4, 2]}]
    changed(path / ".zattrs", lambda d: d["multiscales"][0].update(coordinateTransformations=common))
    with open_slide(path) as slide:
        scene = slide.scenes[0]
        assert (scene.pixel_size.y_um, scene.pixel_size.x_um) == (1, 0.5)
        assert [level.scale for level in scene.levels] == [1, 2]


def test_factors_are_those_stated(tmp_path: Path) -> None:
    with open_slide(make_store(tmp_path / "a.zarr", replace(TINY, step=2.001))) as slide:
        assert [level.scale for level in slide.scenes[0].levels] == [1, 2]
    with open_slide(make_store(tmp_path / "b.zarr", replace(TINY, step=2.3))) as slide:
        assert slide.scenes[0].levels[1].scale == pytest.approx(2.3)
    with open_slide(make_store(tmp_path / "c.zarr", replace(TINY, scale=False))) as slide:
        assert slide.scenes[0].levels[1].scale == 2


def test_levels_that_are_reduced_in_z_are_left_out(tmp_path: Path) -> None:
    store = replace(OLD, axes="zyx", size=(4, 90, 101), chunk=(1, 32, 48))
    path = make_store(tmp_path / "a.zarr", store)
    small = zarr.create_array(path / "1", shape=(2, 45, 50), chunks=(1, 32, 48), dtype="u1", zarr_format=2, overwrite=True)
    small[...] = 1
    with open_slide(path) as slide:
        assert len(slide.scenes[0].levels) == 1
        assert any("other axes than y and x" in warning for warning in slide.warnings)


def rgb(content: dict[str, Any], labels: list[str]) -> None:
    """Name and colour the channels red, green, blue."""
    for channel, label, color in zip(content["omero"]["channels"], labels, ["FF0000", "00FF00", "0000FF"], strict=True):
        channel.update(label=label, color=color)


@pytest.mark.parametrize(("labels", "expected"), [(["Red", "Green", "Blue"], True), (["Cy5", "FITC", "DAPI"], False)])
def test_colour_is_told_by_names_and_colours(tmp_path: Path, labels: list[str], expected: bool) -> None:
    path = make_store(tmp_path / "a.zarr", replace(OLD, size=(3, 90, 101)))
    changed(path / ".zattrs", lambda d: rgb(d, labels))
    with open_slide(path) as slide:
        assert slide.scenes[0].rgb is expected
        assert [channel.name for channel in slide.scenes[0].channels] == labels


def test_a_store_without_omero_knows_no_channels(tmp_path: Path) -> None:
    with open_slide(make_store(tmp_path / "a.ome.zarr", replace(TINY, omero=False, name=None))) as slide:
        assert [channel.name for channel in slide.scenes[0].channels] == [None, None]
        assert slide.scenes[0].name == "a"


XML = """<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" Creator="Writer 1">
<Instrument ID="Instrument:0"><Microscope Manufacturer="Maker" Model="M1"/>
<Objective ID="Objective:0" NominalMagnification="40" LensNA="0.95"/></Instrument>
<Image ID="Image:0" Name="tissue"><AcquisitionDate>2024-03-28T14:05:09</AcquisitionDate><InstrumentRef ID="Instrument:0"/>
<ObjectiveSettings ID="Objective:0"/>
<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" SignificantBits="7" SizeX="101" SizeY="90" SizeC="2"
 SizeZ="1" SizeT="1">
<Channel ID="Channel:0:0" Name="DAPI" EmissionWavelength="461" EmissionWavelengthUnit="nm"/><Channel ID="Channel:0:1"/>
<MetadataOnly/></Pixels></Image>
<Image ID="Image:1" Name="label image">
<Pixels ID="Pixels:1" DimensionOrder="XYCZT" Type="uint8" SizeX="101" SizeY="90" SizeC="2"
 SizeZ="1" SizeT="1"><Channel ID="Channel:1:0"/><Channel ID="Channel:1:1"/><MetadataOnly/></Pixels></Image></OME>"""


@pytest.mark.parametrize("series", [True, False])
def test_bioformats2raw_layout(tmp_path: Path, series: bool) -> None:
    path = make_layout(tmp_path / "a.zarr", [("0", OLD), ("1", replace(OLD, levels=1))], XML, series=series)
    with open_slide(path) as slide:
        assert [scene.name for scene in slide.scenes] == ["tissue"]
        assert list(slide.associated) == ["label"]  # a label may name a patient: it is no scene
        scene = slide.scenes[0]
        assert scene.magnification == 40
        assert scene.significant_bits == 7
        assert (scene.facts.microscope_manufacturer, scene.facts.objective_na) == ("Maker", 0.95)
        assert scene.facts.acquired is not None
        assert scene.facts.ome_xml == XML
        assert scene.channels[0].name == "Stain 0"  # omero says what is shown
        assert scene.channels[0].emission_nm == 461
        same(OLD, slide)


def test_a_broken_ome_xml_does_not_stop_the_pixels(tmp_path: Path) -> None:
    path = make_layout(tmp_path / "a.zarr", [("0", OLD)], "<OME>", series=True)
    with open_slide(path) as slide:
        assert any("OME-XML is left out" in warning for warning in slide.warnings)
        same(OLD, slide)


def test_plates(tmp_path: Path) -> None:
    path = make_plate(tmp_path / "plate.zarr", replace(OLD, name=None))
    with open_slide(path) as slide:
        assert [scene.name for scene in slide.scenes] == ["A/1/0", "B/2/0", "B/2/1"]
        np.testing.assert_array_equal(whole(slide.scenes[2].levels[0])[0, :, 0], picture(OLD)[0])


def test_labels_are_told_and_left_out(tmp_path: Path) -> None:
    path = make_store(tmp_path / "a.zarr", TINY)
    (path / "labels").mkdir()
    with open_slide(path) as slide:
        assert any("labels/" in warning for warning in slide.warnings)


def test_an_archive_of_0_4_is_upgraded(tmp_path: Path) -> None:
    old = make_store(tmp_path / "old.zarr", Store(version="0.4", codec="blosc", size=(3, 300, 290), chunk=(1, 64, 64)))
    new = tmp_path / "new.ome.zarr"
    receipt = convert(old, new, Conversion(Options(**SMALL, verify="full"))).as_json()
    assert json.dumps(receipt).count("native") > 0
    assert violations(new) == []
    attributes = document(new / "zarr.json")["attributes"]["ome"]
    assert attributes["version"] == "0.5"
    shown = attributes["omero"]["channels"]
    assert [channel["label"] for channel in shown] == ["Stain 0", "Stain 1", "Stain 2"]
    assert [channel["color"] for channel in shown] == ["0000FF", "00FF00", "FF8800"]
    assert [(channel["window"]["start"], channel["window"]["end"]) for channel in shown] == [(10, 200)] * 3
    first = attributes["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
    assert first[-2:] == [0.25, 0.25]
    before, after = zarr.open_group(old, mode="r"), zarr.open_group(new, mode="r")
    assert after["0"].shards is not None  # type: ignore[union-attr]
    for level in ("0", "1", "2"):  # native levels are kept, not computed anew
        np.testing.assert_array_equal(before[level][...], after[level][...])  # type: ignore[index]
    with open_slide(new) as slide:
        assert [channel.window for channel in slide.scenes[0].channels] == [(10, 200)] * 3


def test_a_bioformats2raw_archive_is_upgraded_with_its_ome_xml(tmp_path: Path) -> None:
    stores = [("0", replace(OLD, codec="blosc", name=None)), ("1", replace(OLD, levels=1))]
    old, new = make_layout(tmp_path / "old.zarr", stores, XML), tmp_path / "new.ome.zarr"
    convert(old, new, Conversion(Options(**SMALL, verify="full", layout="bioformats2raw")))
    assert violations(new) == []
    with open_slide(old) as before, open_slide(new) as after:
        first, scene = before.scenes[0], after.scenes[0]
        assert (scene.name, scene.magnification, scene.significant_bits) == ("tissue", 40, 7)
        assert [channel.name for channel in scene.channels] == [channel.name for channel in first.channels]
        assert [channel.emission_nm for channel in scene.channels] == [461, None]
        assert scene.facts.microscope_manufacturer == "Maker"
        assert (scene.facts.objective_na, scene.facts.acquired) == (0.95, first.facts.acquired)
        np.testing.assert_array_equal(whole(scene.levels[0]), whole(first.levels[0]))


def test_icc_profile_and_thumbnail_come_back_from_a_store_of_our_own(tmp_path: Path, made: Callable[..., Path]) -> None:
    from tests.made.svs import ICC, Svs, make_svs

    svs = made("carried.svs", lambda path: make_svs(path, Svs(size=(300, 260), steps=())))
    convert(svs, tmp_path / "a.ome.zarr", Conversion(Options(**SMALL)))
    with open_slide(svs) as before, open_slide(tmp_path / "a.ome.zarr") as slide:
        scene, first = slide.scenes[0], before.scenes[0]
        assert scene.icc == ICC
        assert scene.rgb
        assert list(slide.associated) == ["thumbnail"]
        assert scene.magnification == first.magnification
        assert scene.pixel_size.x_um == first.pixel_size.x_um
        assert scene.facts.acquired == first.facts.acquired
        np.testing.assert_array_equal(whole(scene.levels[0]), whole(first.levels[0]))


# -- what is refused --


def test_what_is_no_image(tmp_path: Path) -> None:
    zarr.create_group(tmp_path / "empty.zarr", zarr_format=3)
    with pytest.raises(Unsupported, match=r"empty\.zarr: .*without OME-Zarr images"):
        open_slide(tmp_path / "empty.zarr")
    zarr.create_array(tmp_path / "array.zarr", shape=(4, 4), dtype="u1")
    with pytest.raises(Unsupported, match=r"array\.zarr: is a Zarr array"):
        open_slide(tmp_path / "array.zarr")
    (tmp_path / "folder.zarr").mkdir()
    with pytest.raises(Incomplete, match=r"folder\.zarr: is a Zarr store without its zarr\.json"):
        open_slide(tmp_path / "folder.zarr")


def test_a_newer_version_is_named(tmp_path: Path) -> None:
    path = make_store(tmp_path / "a.zarr", TINY)

    def newer(content: dict[str, Any]) -> None:
        multiscale = content["attributes"]["ome"]["multiscales"][0]
        multiscale["coordinateSystems"] = multiscale.pop("axes")

    changed(path / "zarr.json", newer)
    with pytest.raises(Unsupported, match=r"a\.zarr: .*0\.6"):
        open_slide(path)


ZERO = [{"type": "scale", "scale": [0, 1, 1]}]
Edit = tuple[str, Callable[[dict[str, Any]], object], type[DriverError]]
EDITS: dict[str, Edit] = {
    "missing-array": (".zattrs", lambda d: d["multiscales"][0]["datasets"].append({"path": "7"}), Incomplete),
    "path-outside": (".zattrs", lambda d: d["multiscales"][0]["datasets"].append({"path": "../x"}), UnsafePath),
    "no-datasets": (".zattrs", lambda d: d["multiscales"][0].update(datasets=[]), Damaged),
    "datasets-no-list": (".zattrs", lambda d: d["multiscales"][0].update(datasets=5), Damaged),
    "too-few-axes": (".zattrs", lambda d: d["multiscales"][0]["axes"].pop(), Damaged),
    "odd-axes": (".zattrs", lambda d: d["multiscales"][0].update(axes=["a", "y", "x"]), Unsupported),
    "bad-scale": (".zattrs", lambda d: d["multiscales"][0]["datasets"][0].update(coordinateTransformations=ZERO), Damaged),
    "negative-shape": ("0/.zarray", lambda d: d.update(shape=[2, -90, 101]), Damaged),
    "huge-shape": ("0/.zarray", lambda d: d.update(shape=[2, 10**9, 10**9]), LimitExceeded),
    "huge-chunks": ("0/.zarray", lambda d: d.update(chunks=[2, 10**6, 10**6]), LimitExceeded),
    "odd-dtype": ("0/.zarray", lambda d: d.update(dtype="|S9"), Unsupported),
    "no-dtype": ("0/.zarray", lambda d: d.update(dtype="what"), Unsupported),
    "pickle": ("0/.zarray", lambda d: d.update(filters=[{"id": "pickle"}]), Unsupported),
    "unknown-codec": ("0/.zarray", lambda d: d.update(compressor={"id": "imagecodecs_jpeg"}), Unsupported),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_broken_metadata(tmp_path: Path, name: str) -> None:
    file, change, error = EDITS[name]
    path = make_store(tmp_path / f"{name}.zarr", replace(OLD, codec="zlib"))
    changed(path / file, change)
    with pytest.raises(error, match=name) as caught:
        open_slide(path)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"[" * 200_000, b"\xff\xfe"])
def test_metadata_that_is_no_json(tmp_path: Path, content: bytes) -> None:
    path = make_store(tmp_path / "a.zarr", TINY)
    (path / "0" / "zarr.json").write_bytes(content)
    with pytest.raises(Damaged, match=r"a\.zarr"):
        open_slide(path)


def bomb(size: int) -> bytes:
    return zlib.compress(bytes(size), 9)


CHUNKS: dict[str, tuple[str, Callable[[bytes], bytes], type[DriverError]]] = {
    "cut": ("zlib", lambda d: d[: len(d) // 2], Damaged),
    "empty": ("zlib", lambda d: b"", Damaged),
    "short": ("none", lambda d: d[:-1], Damaged),
    "long": ("none", lambda d: d + b"\0", Damaged),
    "zstd-noise": ("zstd", lambda d: bytes(len(d)), Damaged),
    "bomb": ("zlib", lambda d: bomb(50_000_000), LimitExceeded),
    "blosc-claims": ("blosc", lambda d: d[:4] + struct.pack("<I", 2**31 - 1) + d[8:], LimitExceeded),
    "lz4-claims": ("lz4", lambda d: struct.pack("<I", 2**31 - 1) + d[4:], LimitExceeded),
    "zstd-bomb": ("zstd", lambda d: imagecodecs.zstd_encode(bytes(50_000_000)), Damaged),
}


@pytest.mark.parametrize("name", CHUNKS)
def test_broken_chunks(tmp_path: Path, name: str) -> None:
    codec, change, error = CHUNKS[name]
    path = make_store(tmp_path / f"{name}.zarr", replace(OLD, codec=codec))
    chunk = path / "0" / "1" / "1" / "1"
    chunk.write_bytes(change(chunk.read_bytes()))
    with open_slide(path) as slide, pytest.raises(error, match=rf"{name}\.zarr: array 0, chunk 1/1/1: "):
        whole(slide.scenes[0].levels[0])


def test_a_shard_whose_index_is_damaged_or_cut_off(tmp_path: Path) -> None:
    store = replace(TINY, shard=(2, 96, 144), codec="blosc", levels=1)
    path = make_store(tmp_path / "a.zarr", store)
    (shard,) = (p for p in (path / "0" / "c").rglob("*") if p.is_file())
    data = bytearray(shard.read_bytes())
    data[-5] ^= 0x55
    shard.write_bytes(data)
    with open_slide(path) as slide, pytest.raises(Damaged, match=r"a\.zarr: array 0.*checksum"):
        whole(slide.scenes[0].levels[0])
    shard.write_bytes(data[:40])
    with open_slide(path) as slide, pytest.raises(Damaged, match=r"a\.zarr: array 0"):
        whole(slide.scenes[0].levels[0])


def test_links_out_of_the_store(tmp_path: Path) -> None:
    path = make_store(tmp_path / "a.zarr", TINY)
    (tmp_path / "secret").write_bytes(b"secret")
    (path / "0" / "c" / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(UnsafePath, match=r"a\.zarr: '0/c/link'"):
        open_slide(path)


def test_damage_in_an_image_below_names_the_store(tmp_path: Path) -> None:
    path = make_layout(tmp_path / "a.zarr", [("0", OLD)], XML)
    (path / "0" / "1" / "0" / "0" / "0").write_bytes(b"no chunk")
    with open_slide(path) as slide, pytest.raises(Damaged, match=r"a\.zarr: array 0/1, chunk 0/0/0: "):
        whole(slide.scenes[0].levels[1])
