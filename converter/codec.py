"""The one place that knows codecs: their names on the command line, their Zarr metadata, and how a chunk is encoded."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from converter.errors import OptionError

BLOSC_BLOCK = 1 << 17
"""128 KiB blocks encode zstd-1 a third faster than blosc's own choice, at the same size (docs/BENCHMARKS.md)."""
_CHECKED = "+crc32c"
_PATTERN = re.compile(r"blosc-(?P<inner>zstd|lz4|lz4hc|zlib)-(?P<blosc>\d)|zstd-(?P<zstd>\d{1,2})|gzip-(?P<gzip>\d)|none")


@dataclass(frozen=True, slots=True)
class Codec:
    """A chunk codec. `family` is blosc, zstd, gzip or none; `inner` is blosc's compressor."""

    family: str
    level: int
    inner: str = ""
    checked: bool = False
    """A crc32c behind each chunk of a v3 array that has no shards: GDAL up to 3.12 cannot read such an array."""

    def encoder(self, dtype: np.dtype[Any]) -> Callable[[Any], bytes]:
        """A function from a C-contiguous chunk to bytes. It releases the GIL and runs on the calling thread alone."""
        import imagecodecs

        if self.family == "blosc":
            inner, level, size = self.inner, self.level, dtype.itemsize

            def blosc(chunk: Any) -> bytes:
                return bytes(
                    imagecodecs.blosc_encode(
                        chunk, level, compressor=inner, shuffle="bitshuffle", typesize=size, blocksize=BLOSC_BLOCK,
                        numthreads=1,
                    )
                )  # fmt: skip

            return blosc
        if self.family == "zstd":
            return lambda chunk: bytes(imagecodecs.zstd_encode(chunk, self.level))
        if self.family == "gzip":
            return lambda chunk: bytes(imagecodecs.gzip_encode(chunk, self.level))
        return lambda chunk: chunk.tobytes()

    def v3(self, dtype: np.dtype[Any], sharded: bool) -> list[dict[str, Any]]:
        """Zarr v3 codec list of a chunk: bytes, compression, and in shards or where asked for crc32c."""
        order: dict[str, Any] = {"name": "bytes"}
        if dtype.itemsize > 1:
            order["configuration"] = {"endian": "little"}
        checksum = [{"name": "crc32c"}] if sharded or self.checked else []
        return [order, *self._v3_compression(dtype), *checksum]

    def _v3_compression(self, dtype: np.dtype[Any]) -> list[dict[str, Any]]:
        if self.family == "blosc":
            settings = {
                "cname": self.inner,
                "clevel": self.level,
                "shuffle": "bitshuffle",
                "typesize": dtype.itemsize,
                "blocksize": BLOSC_BLOCK,
            }
            return [{"name": "blosc", "configuration": settings}]
        if self.family == "zstd":
            return [{"name": "zstd", "configuration": {"level": self.level, "checksum": False}}]
        if self.family == "gzip":
            return [{"name": "gzip", "configuration": {"level": self.level}}]
        return []

    def v2(self) -> dict[str, Any] | None:
        """Zarr v2 compressor."""
        if self.family == "blosc":
            return {"id": "blosc", "cname": self.inner, "clevel": self.level, "shuffle": 2, "blocksize": BLOSC_BLOCK}
        return None if self.family == "none" else {"id": self.family, "level": self.level}


def parse_codec(name: str) -> Codec:
    """`blosc-zstd-1`, `blosc-lz4-5`, `zstd-3`, `gzip-5`, `none`, ..., each with `+crc32c` too; raises OptionError."""
    plain = name.removesuffix(_CHECKED)
    return replace(_parsed(plain), checked=plain != name)


def _parsed(name: str) -> Codec:
    match = _PATTERN.fullmatch(name)
    if match is None:
        raise OptionError(
            f"codec {name!r} is not known; use blosc-(zstd|lz4|lz4hc|zlib)-LEVEL, zstd-LEVEL, gzip-LEVEL or none"
        )
    if match["blosc"]:
        return Codec("blosc", int(match["blosc"]), match["inner"])
    for family, top in (("zstd", 22), ("gzip", 9)):
        if match[family]:
            if int(match[family]) > top:
                raise OptionError(f"codec {name!r}: the level goes up to {top}")
            return Codec(family, int(match[family]))
    return Codec("none", 0)
