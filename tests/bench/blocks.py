"""The stored blocks of a made CZI or DICOM slide, each with the one call of a codec that decodes it: no driver in between."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

Decode = Callable[[], object]


def decodings(path: Path) -> list[Decode]:
    """A call for every stored block of the finest level. The file stays open as long as the process."""
    return list(_dicom(path) if path.is_dir() else _czi(path))


def _czi(path: Path) -> Iterator[Decode]:
    import imagecodecs

    from drivers.czi.directory import blocks_of
    from drivers.czi.levels import payload
    from drivers.czi.pixels import pixel_type
    from drivers.czi.segments import file_header, region_of
    from drivers.files import open_source

    region = region_of(open_source(path))
    file = os.open(path, os.O_RDONLY)

    def decoding(start: int, count: int, kind: Any, pixels: int) -> Decode:
        room, itemsize = pixels * kind.bytes, kind.dtype.itemsize
        return lambda: imagecodecs.zstd1_decode(os.pread(file, count, start), itemsize=itemsize, out=room)

    for block in blocks_of(region, file_header(region).directory):
        pixels = block.stored_height * block.stored_width
        yield decoding(*payload(region, block), pixel_type(block.pixel_type), pixels)


def _dicom(folder: Path) -> Iterator[Decode]:
    import imagecodecs

    from drivers.dicom.fileset import open_files
    from drivers.dicom.parts import part_of

    parts = [part_of(instance) for instance in open_files(folder).instances]
    finest = max(parts, key=lambda part: part.matrix)
    file = os.open(finest.instance.path, os.O_RDONLY)
    header = 8 if finest.frames.items else 0

    def decoding(start: int, count: int) -> Decode:
        return lambda: imagecodecs.jpeg8_decode(os.pread(file, count, start))

    for start, count in zip(finest.frames.offsets.tolist(), finest.frames.lengths.tolist(), strict=True):
        yield decoding(start + header, count - header)
