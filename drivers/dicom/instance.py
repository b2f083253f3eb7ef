"""One DICOM file: its data set, and where its pixel data lies."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from drivers.dicom.dataset import DataSet, data_set
from drivers.dicom.elements import PIXELS, UNDEFINED, Bytes, Coding, Element, Memory, Window, after, element_at
from drivers.errors import Damaged, DriverError, LimitExceeded
from drivers.files import ByteSource, closed_on_error, open_source
from drivers.limits import LIMITS

PREAMBLE = 128
MAGIC = b"DICM"
_SYNTAX = 0x00020010
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
DEFLATED, BIG_ENDIAN = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.2"


@dataclass(frozen=True, slots=True)
class Instance:
    """An open DICOM file. `content` is the file, or the inflated data set of a deflated one."""

    source: ByteSource
    content: Bytes
    syntax: str
    data: DataSet
    pixels: Element | None

    @property
    def path(self) -> Path:
        """The file."""
        return self.source.path


def is_dicom(head: bytes) -> bool:
    """Whether a file that starts with `head` is DICOM: by its magic, or as a bare data set of former times."""
    return head[PREAMBLE : PREAMBLE + 4] == MAGIC or bare_coding(head) is not None


def bare_coding(head: bytes) -> Coding | None:
    """How a data set without preamble is written; None where it is none: it starts with two elements of group 8."""
    if head[:2] != b"\x08\x00" or len(head) < 64:
        return None
    coding = Coding(explicit=head[4:6].isalpha())
    try:
        element = element_at(Window(Memory(head[:64], "")), 0, coding)
        following = int.from_bytes(head[element.offset + element.length :][:2], "little")
    except DriverError:
        return None
    sound = element.tag <= 0x00080018 and element.length != UNDEFINED and element.offset + element.length <= 60
    return coding if sound and following == 8 else None


def open_instance(path: Path) -> Instance:
    """Open and walk through a file; whoever opened it closes `source`. Raises a DriverError that names the file."""
    source = open_source(path)
    with closed_on_error(path, source.close):
        instance = _instance(source)
        _check_end(instance)
        return instance


def asked_of_header[T](path: Path, ask: Callable[[DataSet], T]) -> T | None:
    """What `ask` finds in front of the pixel data, of which the end may be missing; None where the file has none of them."""
    try:
        source = open_source(path)
    except DriverError:
        return None
    try:
        instance = _instance(source)
        return ask(instance.data) if instance.pixels is not None else None
    except DriverError:
        return None
    finally:
        source.close()


def _check_end(instance: Instance) -> None:
    pixels, size = instance.pixels, instance.content.size
    if pixels is not None and pixels.length != UNDEFINED and pixels.offset + pixels.length > size:
        raise Damaged(
            f"the pixel data claims {pixels.length} bytes at offset {pixels.offset}, the file ends at {size}: "
            "it is truncated; copy it again"
        )


def _instance(source: ByteSource) -> Instance:
    head = source.read(0, min(source.size, 4096))
    content: Bytes = source
    if head[PREAMBLE : PREAMBLE + 4] == MAGIC:
        syntax, start = _meta(source)
        coding = Coding(syntax != IMPLICIT, ">" if syntax == BIG_ENDIAN else "<")
        if syntax == DEFLATED:
            content, start = _inflated(source, start), 0
    else:
        bare = bare_coding(head)
        if bare is None:
            raise Damaged("is no DICOM file")
        coding, start, syntax = bare, 0, EXPLICIT if bare.explicit else IMPLICIT
    data = data_set(Window(content), (start, content.size), coding)
    pixels = next((data.found[tag] for tag in PIXELS if tag in data.found), None)
    return Instance(source, content, syntax, data, pixels)


def _meta(source: ByteSource) -> tuple[str, int]:
    """(transfer syntax, offset of the data set): group 2 is explicit little endian (PS3.10, 7.1)."""
    window, at, syntax = Window(source), PREAMBLE + 4, None
    while at + 8 <= source.size and window.bytes(at, 2) == b"\x02\x00":
        element = element_at(window, at, Coding())
        if element.tag == _SYNTAX:
            syntax = window.bytes(element.offset, element.length).decode("ascii", "replace").strip(" \0")
        at = after(window, element, source.size)
    if not syntax:
        raise Damaged("states no transfer syntax")
    return syntax, at


def _inflated(source: ByteSource, start: int) -> Memory:
    """The data set of a deflated file, up to a limit: 1.6 MB can inflate to 1.5 GB."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(source.read(start, source.size - start), LIMITS.tile_bytes)
    except zlib.error as error:
        raise Damaged(f"the deflated data set cannot be inflated: {error}") from error
    if inflater.unconsumed_tail:
        raise LimitExceeded(f"the data set inflates to more than {LIMITS.tile_bytes} bytes: save it without deflation")
    return Memory(data, source.path.name)
