"""`verify` against one defect at a time: it says so and names the file. Good stores, also those of others, pass."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from converter.checking.report import Report
from converter.checking.verify import verify_store
from drivers.model import PixelSize, Scene, Slide
from tests.support.memory_driver import memory_level, memory_scene
from tests.support.stores import Array, converted, pyramid, slide_of, texture

pytestmark = pytest.mark.usefixtures("files_closed")
SIZE = PixelSize(0.5, 0.5)
Attributes = dict[str, Any]


def scenes(count: int) -> list[Scene]:
    """Small scenes, each of another size."""
    return [
        memory_scene(
            pyramid(texture((1, 3, 1, 150 + i, 140)), (1, 4), interleaved=True, fill=255),
            rgb=True, pixel_size=SIZE, name=f"scene {i}",
        )
        for i in range(count)
    ]  # fmt: skip


def make(folder: Path, version: str, count: int = 1) -> tuple[Path, Slide]:
    """A good store and the slide it was made from."""
    thumbnail = memory_scene(pyramid(texture((1, 3, 1, 50, 60)), interleaved=True, fill=255), rgb=True, name="thumbnail")
    slide = slide_of(folder, scenes(count), associated={"thumbnail": thumbnail})
    store = folder / "good.zarr"
    converted(slide, store, ome_zarr=version)
    return store, slide


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, int], tuple[Path, Slide]]:
    """Good stores by version and number of scenes, made once; not to be changed."""
    known: dict[tuple[str, int], tuple[Path, Slide]] = {}

    def get(version: str, count: int = 1) -> tuple[Path, Slide]:
        if (version, count) not in known:
            known[version, count] = make(tmp_path_factory.mktemp("good"), version, count)
        return known[version, count]

    return get


Good = Callable[..., tuple[Path, Slide]]


@pytest.fixture
def copy(good: Good, tmp_path: Path) -> Callable[..., Path]:
    """A copy of a good store, to be spoiled."""

    def get(version: str = "0.5", count: int = 1) -> Path:
        return shutil.copytree(good(version, count)[0], tmp_path / "store.zarr")

    return get


def named(report: Report, name: str) -> None:
    """The report is bad, and says it of `name`."""
    assert not report.ok
    assert any(violation.startswith(f"{name}:") for violation in report.violations), report.violations


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("depth", ["quick", "full"])
def test_good_stores_pass(good: Good, version: str, count: int, depth: str) -> None:
    store, slide = good(version, count)
    for source in (None, slide):
        report = verify_store(store, slide=source, depth=depth)
        assert report.violations == []
        assert report.checks > 30
    assert report.different == 0
    assert report.compared is not None
    native = sum(int(np.prod(level.shape)) for scene in (*slide.scenes, *slide.associated.values()) for level in scene.levels)
    if depth == "full":
        assert report.compared == native


# -- files --


def shards(store: Path) -> list[Path]:
    """Shards of level 0, or its chunks."""
    folder = store / "0" / "c" if (store / "0" / "c").is_dir() else store / "0"
    return sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))


@pytest.mark.parametrize("depth", ["quick", "full"])
@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_missing_chunk(copy: Callable[..., Path], version: str, depth: str) -> None:
    store = copy(version)
    victim = shards(store)[3]
    victim.unlink()
    named(verify_store(store, depth=depth), victim.relative_to(store).as_posix())


@pytest.mark.parametrize("depth", ["quick", "full"])
@pytest.mark.parametrize("keep", [0, 100, -1])
def test_truncated_shard(copy: Callable[..., Path], depth: str, keep: int) -> None:
    store = copy()
    victim = shards(store)[-1]
    victim.write_bytes(victim.read_bytes()[:keep])
    named(verify_store(store, depth=depth), victim.relative_to(store).as_posix())


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_swapped_shards(copy: Callable[..., Path], version: str) -> None:
    store = copy(version)
    first, second = shards(store)[0], shards(store)[1]
    a, b = first.read_bytes(), second.read_bytes()
    first.write_bytes(b)
    second.write_bytes(a)
    report = verify_store(store, depth="full")
    named(report, first.relative_to(store).as_posix())
    named(report, second.relative_to(store).as_posix())


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("where", ["first", "middle", "last"])
def test_flipped_bit_in_any_class_of_file(copy: Callable[..., Path], version: str, where: str) -> None:
    store = copy(version, 2)
    root = {"zarr.json", ".zattrs", ".zgroup"}
    classes: dict[str, Path] = {}
    for path in sorted(store.rglob("*")):
        name = path.relative_to(store).as_posix()
        if path.is_file() and name not in root:
            classes.setdefault("chunk" if path.name.isdigit() else path.name, path)
    assert len(classes) >= 4
    for path in classes.values():
        before = path.read_bytes()
        at = {"first": 0, "middle": len(before) // 2, "last": len(before) - 1}[where]
        changed = bytearray(before)
        changed[at] ^= 1
        path.write_bytes(changed)
        report = verify_store(store, depth="full")
        assert not report.ok, path
        assert any(path.name in v or "/".join(path.relative_to(store).parts) in v for v in report.violations), path
        path.write_bytes(before)
    assert verify_store(store, depth="full").ok


@pytest.mark.parametrize("name", ["0/c/9/9/9", "stray.txt", "OME/extra.json", "1/.hidden", "empty"])
def test_extra_file(copy: Callable[..., Path], name: str) -> None:
    store = copy()
    (store / name).parent.mkdir(parents=True, exist_ok=True)
    (store / name).write_bytes(b"")
    for depth in ("quick", "full"):
        named(verify_store(store, depth=depth), name)


def test_manifest_missing_broken_or_another(copy: Callable[..., Path]) -> None:
    store = copy()
    manifest = store / "OME" / "manifest.json"
    before = manifest.read_text()
    for text in (
        "",
        "{",
        "[]",
        '{"format": 1}',
        '{"format": 9, "files": []}',
        before.replace('"0/c', '"9/c', 1),
        before + " ",
    ):
        manifest.write_text(text)
        named(verify_store(store), "OME/manifest.json")
    manifest.unlink()
    named(verify_store(store), "OME/manifest.json")


def test_lost_pixels_of_a_consistent_store(good: Good, tmp_path: Path) -> None:
    """A shard that is gone from the manifest as well: only the slide can tell."""
    store, slide = good("0.5")
    lost = shutil.copytree(store, tmp_path / "lost.zarr")
    array = zarr.open_array(str(lost / "0"), mode="r+")
    array[0, 40, 50] = array[0, 40, 50] ^ 1
    assert not verify_store(lost, depth="full").ok
    report = verify_store(lost, slide=slide, depth="full")
    assert report.different == 1
    assert any("differ from the slide" in v for v in report.violations)


# -- metadata of the root: not in the manifest, which it names --


def rewrite(store: Path, change: Callable[[Attributes], object], name: str = "zarr.json") -> None:
    """Change the OME attributes of a group."""
    path = store / name
    found = json.loads(path.read_text())
    change(found["attributes"]["ome"] if name.endswith("zarr.json") else found)
    path.write_text(json.dumps(found))


def dataset(level: int, kind: int, key: str, value: Any) -> Callable[[Attributes], object]:
    """Set a transformation of a level."""

    def change(ome: Attributes) -> None:
        ome["multiscales"][0]["datasets"][level]["coordinateTransformations"][kind][key] = value

    return change


def omero(channel: int, key: str, value: Any) -> Callable[[Attributes], object]:
    """Set a field of a channel; None takes it out."""

    def change(ome: Attributes) -> None:
        found = ome["omero"]["channels"][channel]
        found.update({key: value}) if value is not None else found.pop(key)

    return change


def multiscale(change: Callable[[Attributes], object]) -> Callable[[Attributes], object]:
    """Change the multiscales entry."""
    return lambda ome: change(ome["multiscales"][0])


DEFECTS: dict[str, Callable[[Attributes], object]] = {
    "scale": dataset(1, 0, "scale", [1.0, 3.0, 3.0]),
    "scale of one axis": dataset(1, 0, "scale", [1.0, 1.0, 2.0]),
    "scale of the channel axis": dataset(1, 0, "scale", [2.0, 1.0, 1.0]),
    "scale of zero": dataset(1, 0, "scale", [1.0, 0.0, 0.0]),
    "negative scale": dataset(0, 0, "scale", [1.0, -0.5, -0.5]),
    "short scale": dataset(0, 0, "scale", [0.5, 0.5]),
    "scale is text": dataset(0, 0, "scale", "0.5"),
    "scale of text": dataset(1, 0, "scale", ["a", "b", "c"]),
    "absurd translation": dataset(1, 1, "translation", [0.0, 99999.0, 0.25]),
    "translation of a corner": dataset(1, 1, "translation", [0.0, 0.0, 0.0]),
    "short translation": dataset(1, 1, "translation", [0.25, 0.25]),
    "translation first": multiscale(lambda m: m["datasets"][1]["coordinateTransformations"].reverse()),
    "no translation": multiscale(lambda m: m["datasets"][1]["coordinateTransformations"].pop()),
    "no transformations": multiscale(lambda m: m["datasets"][1].pop("coordinateTransformations")),
    "levels reversed": multiscale(lambda m: m["datasets"].reverse()),
    "level that is not there": multiscale(lambda m: m["datasets"][1].update(path="77")),
    "level without path": multiscale(lambda m: m["datasets"][1].pop("path")),
    "no levels": multiscale(lambda m: m["datasets"].clear()),
    "no axes": multiscale(lambda m: m.pop("axes")),
    "axes y, x, c": multiscale(lambda m: m.update(axes=[*m["axes"][1:], m["axes"][0]])),
    "an axis twice": multiscale(lambda m: m["axes"].__setitem__(1, m["axes"][2])),
    "two axes": multiscale(lambda m: m["axes"].pop(0)),
    "unit um": multiscale(lambda m: m["axes"][1].update(unit="um")),
    "no name": multiscale(lambda m: m.pop("name")),
    "no type": multiscale(lambda m: m.pop("type")),
    "no metadata": multiscale(lambda m: m.pop("metadata")),
    "no multiscales": lambda ome: ome.pop("multiscales"),
    "colour with #": omero(0, "color", "#FF0000"),
    "colour by name": omero(1, "color", "red"),
    "no colour": omero(1, "color", None),
    "no window": omero(0, "window", None),
    "window without start": omero(2, "window", {"min": 0, "max": 255, "end": 255}),
    "window upside down": omero(2, "window", {"min": 255, "max": 0, "start": 0, "end": 255}),
    "window beyond the samples": omero(2, "window", {"min": 0, "max": 70000, "start": 0, "end": 255}),
    "window below the samples": omero(2, "window", {"min": -5, "max": 255, "start": 0, "end": 255}),
    "two channels": lambda ome: ome["omero"]["channels"].pop(),
    "channels are no list": lambda ome: ome["omero"].update(channels=7),
    "version 0.4": lambda ome: ome.update(version="0.4"),
    "version 0.6": lambda ome: ome.update(version="0.6"),
    "no version": lambda ome: ome.pop("version"),
    "version is a number": lambda ome: ome.update(version=0.5),
}


@pytest.mark.parametrize("name", DEFECTS)
def test_changed_root_metadata(copy: Callable[..., Path], name: str) -> None:
    store = copy()
    rewrite(store, DEFECTS[name])
    report = verify_store(store)
    assert [v for v in report.violations if "is not as it was written" not in v], "only the seal tells"


@pytest.mark.parametrize("name", ["scale", "absurd translation", "unit um", "colour with #", "no window", "two channels"])
def test_changed_root_metadata_of_0_4(copy: Callable[..., Path], name: str) -> None:
    store = copy("0.4")
    rewrite(store, DEFECTS[name], ".zattrs")
    report = verify_store(store)
    assert [v for v in report.violations if "is not as it was written" not in v], "only the seal tells"


QUIET: dict[str, Callable[[Attributes], object]] = {
    "another colour": omero(0, "color", "FF0001"),
    "another pixel size": multiscale(
        lambda m: [t.update({t["type"]: [v * 2 if i else v for i, v in enumerate(t[t["type"]])]})
                   for d in m["datasets"] for t in d["coordinateTransformations"]]
    ),
    "another label": omero(0, "label", "Blue"),
    "another name": multiscale(lambda m: m.update(name="another slide")),
    "another unit": multiscale(lambda m: [a.update(unit="nanometer") for a in m["axes"][1:]]),
}  # fmt: skip


@pytest.mark.parametrize("name", QUIET)
@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_root_metadata_that_is_valid_but_not_as_written(copy: Callable[..., Path], version: str, name: str) -> None:
    store = copy(version)
    file = "zarr.json" if version == "0.5" else ".zattrs"
    rewrite(store, QUIET[name], file)
    named(verify_store(store, depth="full"), file)


def test_changed_receipt(copy: Callable[..., Path]) -> None:
    store = copy()
    path = store / "zarr.json"
    found = json.loads(path.read_text())
    found["attributes"]["slidemill"]["scenes"][0]["levels"][0]["source"] = "mean:0"
    path.write_text(json.dumps(found))
    named(verify_store(store, depth="full"), "zarr.json")


@pytest.mark.parametrize("text", ["", "{", "null", "[]", "3", '{"attributes": 3}', '{"attributes": {"ome": []}}', "\xff"])
def test_root_that_is_no_metadata(copy: Callable[..., Path], text: str) -> None:
    store = copy()
    (store / "zarr.json").write_bytes(text.encode("latin-1"))
    report = verify_store(store)
    assert not report.ok


@pytest.mark.parametrize(
    "record", [None, 3, [], {}, {"status": "done"}, {"scenes": 3}, {"scenes": [3]}, {"scenes": [{"group": ""}]}]
)
def test_receipt_that_is_none(good: Good, copy: Callable[..., Path], record: Any) -> None:
    store = copy()
    path = store / "zarr.json"
    found = json.loads(path.read_text())
    found["attributes"]["slidemill"] = record
    path.write_text(json.dumps(found))
    assert not verify_store(store, slide=good("0.5")[1]).ok


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths of everything inside a JSON value."""
    found: list[tuple[Any, ...]] = [path] if path else []
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in items:
            found += places(inner, (*path, key))
    return found


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_value_of_the_root_may_be_anything(
    good: Good, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Whatever stands there, verify reports it and does not stumble."""
    store, slide = good("0.5")
    path = store / "zarr.json"
    before = path.read_text()
    found = json.loads(before)
    place = data.draw(st.sampled_from(places(found)))
    target = found
    for key in place[:-1]:
        target = target[key]
    other = data.draw(st.sampled_from([None, -1, 0, 1.5, "", "x", [], [1], {}, {"a": 1}, True, 10**30]))
    if target[place[-1]] == other:
        return
    target[place[-1]] = other
    try:
        path.write_text(json.dumps(found))
        assert not verify_store(store, slide=slide).ok, place
    finally:
        path.write_text(before)


# -- metadata that the manifest covers, as a store of others would have it --


def foreign(store: Path) -> Path:
    """The same store without manifest and receipt: only the rules can tell."""
    (store / "OME" / "manifest.json").unlink()
    path = store / "zarr.json" if (store / "zarr.json").exists() else store / ".zattrs"
    found = json.loads(path.read_text())
    found.get("attributes", found).pop("slidemill")
    path.write_text(json.dumps(found))
    return store


def test_foreign_is_still_good(copy: Callable[..., Path], tmp_path: Path) -> None:
    for version in ("0.5", "0.4"):
        for count in (1, 2):
            store = foreign(copy(version, count))
            for depth in ("quick", "full"):
                assert verify_store(store, depth=depth).violations == []
            shutil.rmtree(store)


ARRAY_DEFECTS: dict[str, Callable[[Attributes], object]] = {
    "dimension_names": lambda a: a.update(dimension_names=["c", "x", "y"]),
    "no dimension_names": lambda a: a.pop("dimension_names"),
    "dtype": lambda a: a.update(data_type="int8"),
    "shape": lambda a: a.update(shape=[3, 50, 50]),
    "ndim": lambda a: a.update(shape=[3, 50]),
    "codec": lambda a: a["codecs"].pop(),
}


@pytest.mark.parametrize("name", ARRAY_DEFECTS)
def test_changed_array_metadata(copy: Callable[..., Path], name: str) -> None:
    store = foreign(copy())
    path = store / "1" / "zarr.json"
    found = json.loads(path.read_text())
    ARRAY_DEFECTS[name](found)
    path.write_text(json.dumps(found))
    named(verify_store(store), "1")


def test_damaged_chunks_of_a_foreign_store(copy: Callable[..., Path]) -> None:
    store = foreign(copy())
    victim = shards(store)[0]
    data = bytearray(victim.read_bytes())
    data[len(data) // 3] ^= 1
    victim.write_bytes(data)
    named(verify_store(store, depth="full"), "0")


def test_0_4_separator(copy: Callable[..., Path]) -> None:
    store = foreign(copy("0.4"))
    path = store / "1" / ".zarray"
    path.write_text(path.read_text().replace('"/"', '"."'))
    named(verify_store(store), "1")


XML = Path("OME") / "METADATA.ome.xml"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("<Pixels", "<Pixels <"),
        ("<MetadataOnly />", '<MetadataOnly /><TiffData IFD="0" />'),
        ("<MetadataOnly />", '<MetadataOnly /><BinData Length="0" />'),
        ("<MetadataOnly />", ""),
        ('SizeX="140"', 'SizeX="141"'),
        ('SizeY="150"', 'SizeY="15"'),
        ("</OME>", '<Image ID="Image:9"><Pixels ID="Pixels:9" /></Image></OME>'),
        ("<OME", "<Nothing"),
    ],
)
def test_bad_xml(copy: Callable[..., Path], old: str, new: str) -> None:
    store = foreign(copy())
    text = (store / XML).read_text()
    assert old in text
    (store / XML).write_text(text.replace(old, new, 1))
    named(verify_store(store), XML.as_posix())


def test_xml_missing(copy: Callable[..., Path]) -> None:
    store = copy()
    (store / XML).unlink()
    named(verify_store(store), XML.as_posix())


def test_images_of_the_xml_in_another_order(copy: Callable[..., Path]) -> None:
    store = foreign(copy(count=3))
    text = (store / XML).read_text().replace('SizeY="150"', "SWAP").replace('SizeY="151"', 'SizeY="150"')
    (store / XML).write_text(text.replace("SWAP", 'SizeY="151"'))
    named(verify_store(store), XML.as_posix())


@pytest.mark.parametrize(
    "series",
    [["0", "1"], ["0", "1", "2", "3"], ["0", "1", "1"], ["0", "2", "1"], [], None, ["0", "1", "7"], [0, 1, 2], "012"],
)
def test_bad_series(copy: Callable[..., Path], series: Any) -> None:
    store = foreign(copy(count=3))

    def change(ome: Attributes) -> None:
        ome.pop("series") if series is None else ome.update(series=series)

    rewrite(store, change, "OME/zarr.json")
    assert not verify_store(store).ok


@pytest.mark.parametrize("layout", ["3", 3.0, 2, None, True])
def test_bad_layout(copy: Callable[..., Path], layout: Any) -> None:
    store = foreign(copy(count=2))
    rewrite(store, lambda ome: ome.update({"bioformats2raw.layout": layout}))
    assert not verify_store(store).ok


def test_another_version_somewhere(copy: Callable[..., Path]) -> None:
    store = foreign(copy(count=2))
    for name in ("1/zarr.json", "OME/zarr.json", "associated/thumbnail/zarr.json"):
        before = (store / name).read_text()
        rewrite(store, lambda ome: ome.update(version="0.6"), name)
        assert not verify_store(store).ok, name
        (store / name).write_text(before)
    assert verify_store(store).ok


# -- stores of others --


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_store_of_ome_zarr_py(tmp_path: Path, version: str) -> None:
    from ome_zarr.format import FormatV04, FormatV05
    from ome_zarr.writer import write_image

    store = tmp_path / "other.ome.zarr"
    form = FormatV05() if version == "0.5" else FormatV04()
    write_image(texture((1, 3, 1, 256, 320))[0, :, 0], str(store), axes="cyx", fmt=form, scale_factors=[2, 4])
    for depth in ("quick", "full"):
        report = verify_store(store, depth=depth)
        assert [v for v in report.violations if "METADATA.ome.xml" not in v] == []
        assert report.checks > 20


# -- the slide --


def spoiled(array: Array) -> Array:
    changed = array.copy()
    changed[0, 1, 0, 75, 133] ^= 4
    return changed


def test_changed_pixel_in_the_slide(good: Good) -> None:
    store, slide = good("0.5")
    scene = slide.scenes[0]
    changed = spoiled(texture((1, 3, 1, 150, 140)))
    levels = [memory_level(changed, (64, 64), interleaved=True, fill=255), scene.levels[1]]
    other = slide_of(store.parent, memory_scene(levels, rgb=True), associated=slide.associated)
    report = verify_store(store, slide=other, depth="full")
    assert (report.ok, report.different) == (False, 1)
    named(report, "0")
    assert verify_store(store, slide=slide, depth="full").ok


def test_slide_of_another_size(good: Good) -> None:
    store, slide = good("0.5")
    for size in ((149, 140), (151, 140), (150, 200)):
        levels = [memory_level(texture((1, 3, 1, *size)), (64, 64), interleaved=True, fill=255), slide.scenes[0].levels[1]]
        other = slide_of(store.parent, memory_scene(levels, rgb=True), associated=slide.associated)
        named(verify_store(store, slide=other, depth="full"), "0")
