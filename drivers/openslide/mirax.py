"""Which data files of an MRXS slide hold nothing but associated images, by Slidedat.ini and Index.dat.

Layout of the index: openslide.org/formats/mirax. All numbers are 32-bit, little-endian. A page of zoom levels lists
(image, offset, length, file); a record beside them has two zeros, offset, length and file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drivers.errors import DriverError
from drivers.files import open_source
from drivers.limits import LIMITS, check

_IMAGES = {
    "scandatalayer_slidethumbnail": "macro",
    "scandatalayer_slidebarcode": "label",
    "scandatalayer_slidepreview": "thumbnail",
}
_ENTRY = re.compile(r"\s*(\w+)\s*=\s*(.*?)\s*$")
_PAGES = 1_000_000


def roles_alone_in(key: str, lines: Sequence[str], folder: Path) -> list[str]:
    """Roles of the images in the data file `key` ("file_3"); none where it holds tiles or other records, or is not known."""
    number = key.removeprefix("file_")
    said = {found[1].lower(): found[2] for line in lines if (found := _ENTRY.match(line))}
    try:
        source = open_source(folder / said["indexfile"])
        try:
            check(f"{source.path.name}: its size", source.size, LIMITS.tile_bytes)
            index = _Index(source.read(0, source.size), 5 + len(said["slide_id"].encode()))
        finally:
            source.close()
        if int(number) in set(index.tile_files(_count(said, "hier"))):
            return []
        held = [name for record, name in _records(said) if index.file_of(record) == int(number)]
    except (DriverError, KeyError, ValueError, struct.error):
        return []
    return [_IMAGES[name] for name in held] if all(name in _IMAGES for name in held) else []


def _count(said: Mapping[str, str], kind: str) -> int:
    return sum(int(said[f"{kind}_{i}_count"]) for i in range(int(said[f"{kind}_count"])))


def _records(said: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """(number, name in lower case) of what lies beside the zoom levels."""
    number = 0
    for i in range(int(said["nonhier_count"])):
        for j in range(int(said[f"nonhier_{i}_count"])):
            yield number, said.get(f"nonhier_{i}_val_{j}", "").lower()
            number += 1


@dataclass(frozen=True, slots=True)
class _Index:
    data: bytes
    roots: int
    """Where the pointers to both tables lie."""

    def _whole(self, at: int) -> int:
        if at < 0:
            raise ValueError(at)
        value: int = struct.unpack_from("<i", self.data, at)[0]
        return value

    def _page(self, root: int, record: int) -> int:
        """Where the first page of a record begins. Raises ValueError, struct.error."""
        at = self._whole(self._whole(root) + 4 * record)
        if self._whole(at):
            raise ValueError(at)
        return self._whole(at + 4)

    def tile_files(self, count: int) -> Iterator[int]:
        """The file of every tile of `count` levels."""
        for record in range(count):
            page, pages = self._page(self.roots, record), 0
            while page:
                entries, following = self._whole(page), self._whole(page + 4)
                for i in range(entries):
                    yield self._whole(page + 8 + 16 * i + 12)
                page, pages = following, pages + 1
                check("the number of pages of the index", pages, _PAGES)

    def file_of(self, record: int) -> int | None:
        """The file of a record beside the levels; None where it is empty."""
        page = self._page(self.roots + 4, record)
        return self._whole(page + 8 + 16) if self._whole(page) == 1 else None
