"""What we write as chunks and shards, read by zarr-python and by tensorstore: all codecs, sample types, edges, background."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorstore
import zarr

from converter.codec import parse_codec
from converter.errors import OptionError
from converter.planning.image import ImagePlan, LevelPlan, Source
from converter.publishing.stage import LocalStage
from converter.writing.ngff import array_files
from converter.writing.sharding import level_writer
from drivers.geometry import Box, Shape
from tests.support.stores import Array, texture

DTYPES = ["uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64", "float32", "float64"]
CODECS = [
    "blosc-zstd-1", "blosc-zstd-9", "blosc-lz4-5", "blosc-lz4hc-3", "blosc-zlib-1", "zstd-3", "zstd-22", "gzip-5", "none",
]  # fmt: skip
SHAPE = (1, 3, 1, 150, 201)


def write(
    store: Path, array: Array, codec: str = "blosc-zstd-1", *, version: str = "0.5", fill: float = 0, shard: int | None = 128
) -> list[Path]:
    """Write one level, chunks of 64; the objects that came of it."""
    shape = Shape(*array.shape)
    channels = shape.c if shape.c == 3 else 1
    unit = None if shard is None or version == "0.4" else Shape(1, channels, 1, shard, shard)
    plan = LevelPlan("0", shape, (1.0, 1.0), Source("native", 0), Shape(1, 1, 1, 64, 64), unit)
    image = ImagePlan(0, "", "x", "cyx" if shape.t == shape.z == 1 else "tczyx", array.dtype, fill, (plan,), ())
    stage = LocalStage(store)
    writer = level_writer(plan, image, stage, parse_codec(codec), version)
    step = 128
    for t, z in np.ndindex(shape.t, shape.z):
        for c in range(0, shape.c, channels):
            for y in range(0, shape.y, step):
                for x in range(0, shape.x, step):
                    stop = Shape(t + 1, c + channels, z + 1, min(y + step, shape.y), min(x + step, shape.x))
                    box = Box(Shape(t, c, z, y, x), stop)
                    writer.put(box, array[box.slices()])
    assert writer.finished()
    for name, data in array_files(version, plan, image, parse_codec(codec)).items():
        stage.write(f"0/{name}", [data], early=False)
    stage.sync()
    names = {".zarray", ".zattrs", "zarr.json"}
    return sorted(path for path in (stage.store / "0").rglob("*") if path.is_file() and path.name not in names)


def by_zarr(store: Path) -> Array:
    return np.asarray(zarr.open_array(str(store / "store" / "0"), mode="r")[...])


def by_tensorstore(store: Path, version: str) -> Array:
    spec: dict[str, Any] = {
        "driver": "zarr3" if version == "0.5" else "zarr",
        "kvstore": {"driver": "file", "path": str(store / "store" / "0")},
    }
    return np.asarray(tensorstore.open(spec, read=True).result().read().result())


def check(store: Path, array: Array, version: str = "0.5") -> None:
    """Both readers give back what was written."""
    wanted = array if array.shape[0] > 1 or array.shape[2] > 1 else array[0, :, 0]
    for found in (by_zarr(store), by_tensorstore(store, version)):
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_sample_types(tmp_path: Path, dtype: str, version: str) -> None:
    array = texture(SHAPE, dtype)
    write(tmp_path, array, version=version)
    check(tmp_path, array, version)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_codecs(tmp_path: Path, codec: str, dtype: str, version: str) -> None:
    array = texture((1, 2, 1, 70, 130), dtype)
    write(tmp_path, array, codec, version=version)
    check(tmp_path, array, version)


@pytest.mark.parametrize("shard", [None, 64, 128, 256])
@pytest.mark.parametrize("size", [(1, 1), (64, 64), (65, 63), (128, 129), (300, 5)])
def test_edges(tmp_path: Path, shard: int | None, size: tuple[int, int]) -> None:
    for i, channels in enumerate((1, 3)):
        array = texture((1, channels, 1, *size), "uint16")
        write(tmp_path / str(i), array, shard=shard)
        check(tmp_path / str(i), array)


def test_five_axes(tmp_path: Path) -> None:
    array = texture((2, 4, 3, 70, 65), "int16")
    objects = write(tmp_path, array)
    check(tmp_path, array)
    assert len(objects) == 2 * 4 * 3


@pytest.mark.parametrize("channels", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_interleaved_memory(tmp_path: Path, channels: int, dtype: str) -> None:
    array = texture((1, channels, 1, 128, 192), dtype)
    interleaved = np.ascontiguousarray(array.transpose(0, 2, 3, 4, 1)).transpose(0, 4, 1, 2, 3)
    write(tmp_path, interleaved)
    check(tmp_path, array)


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("fill", [0, 255])
def test_background_is_not_written(tmp_path: Path, version: str, fill: int) -> None:
    array = texture((1, 3, 1, 256, 256))
    array[:, :, :, :128, :128] = fill  # a whole shard
    array[:, 1, :, 128:192, 64:128] = fill  # a chunk
    objects = write(tmp_path, array, version=version, fill=fill)
    assert len(objects) == (3 if version == "0.5" else 3 * 16 - 12 - 1)
    check(tmp_path, array, version)


def test_nothing_but_background(tmp_path: Path) -> None:
    array = np.full(SHAPE, 7, np.uint8)
    assert write(tmp_path, array, fill=7) == []
    check(tmp_path, array)


def test_ends_of_background_do_not_make_a_chunk_background(tmp_path: Path) -> None:
    array = np.zeros((1, 1, 1, 64, 64), np.uint8)
    array[..., 30, 30] = 1
    assert len(write(tmp_path, array)) == 1
    check(tmp_path, array)


@pytest.mark.parametrize(("codec", "names"), [("zstd-3", ["bytes", "zstd"]), ("zstd-3+crc32c", ["bytes", "zstd", "crc32c"])])
def test_a_checksum_outside_shards_is_asked_for(tmp_path: Path, codec: str, names: list[str]) -> None:
    array = texture(SHAPE)
    write(tmp_path, array, codec, shard=None)
    found = json.loads((tmp_path / "store" / "0" / "zarr.json").read_text())
    assert [c["name"] for c in found["codecs"]] == names
    check(tmp_path, array)


@pytest.mark.parametrize("codec", ["none", "blosc-zstd-1", "zstd-3"])
@pytest.mark.parametrize("shard", [None, 128])
def test_damage_is_detected(tmp_path: Path, codec: str, shard: int | None) -> None:
    array = texture(SHAPE)
    victim = write(tmp_path, array, codec if shard else f"{codec}+crc32c", shard=shard)[0]
    before = victim.read_bytes()
    for at in (0, len(before) // 3, len(before) // 2, len(before) - 2):
        changed = bytearray(before)
        changed[at] ^= 0x10
        victim.write_bytes(changed)
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever zarr raises; pixels would be the fault
            by_zarr(tmp_path)
        with pytest.raises(ValueError, match=r"(?i)crc|checksum|digest|decod|invalid|error|corrupt"):
            by_tensorstore(tmp_path, "0.5")
    victim.write_bytes(before)
    check(tmp_path, array)


def test_chunks_are_encoded_alike_by_any_thread() -> None:
    chunk = np.ascontiguousarray(texture((1, 1, 1, 64, 64))[0, 0, 0])
    encode = parse_codec("blosc-zstd-1").encoder(np.dtype("uint8"))
    assert len({encode(chunk) for _ in range(5)}) == 1


@pytest.mark.parametrize(
    "name", ["", "jpeg", "zstd", "zstd-23", "blosc-zstd", "blosc-zstd-10", "blosc-snappy-1", "gzip-10", "NONE", "zstd-3 "]
)
def test_unknown_codecs(name: str) -> None:
    with pytest.raises(OptionError, match="codec"):
        parse_codec(name)
