"""Containers of Leica's formats: the XML and the memory blocks it speaks of, in one file or in a folder of files.

LIF: the XML, then memory blocks, each with a name. LOF: one memory block, then its XML. XLEF, XLCF, XLIF: XML files that
refer to each other, and at the end to LOF files. Format: Leica "Image File Formats LIF, XLEF, XLIF, LOF"; liffile.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from drivers.claims import repeated, same_bytes
from drivers.errors import Damaged, Incomplete, LimitExceeded, UnsafePath, Unsupported
from drivers.files import ByteSource, open_source
from drivers.limits import LIMITS, check
from drivers.metadata.xmltree import parse_xml

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

_TEST, _STAR = 0x70, 0x2A
_LOF = "LMS_Object_File"
_DEPTH = 64
_FILES = 20_000


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory block: the samples of one image, without compression."""

    source: ByteSource
    offset: int
    size: int

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of the block; Damaged where they are not within. Safe from any thread."""
        if offset < 0 or count < 0 or offset + count > self.size:
            raise Damaged(f"{self.source.path.name}: bytes {offset} to {offset + count} of a memory block of {self.size}")
        return self.source.read(self.offset + offset, count)


@dataclass(frozen=True, slots=True)
class Stored:
    """An image element of the XML and its samples."""

    name: str
    """With the names of the folders it lies in, "/" between."""
    element: Element
    memory: Memory


@dataclass(slots=True)
class Container:
    """What was found; `close` ends the files."""

    root: Path
    """The folder that all files must lie in."""
    sources: dict[Path, ByteSource] = field(default_factory=dict[Path, ByteSource])
    images: list[Stored] = field(default_factory=list[Stored])
    warnings: list[str] = field(default_factory=list[str])
    xml: str | None = None
    """Of the first file."""

    def open(self, path: Path) -> ByteSource:
        """Open a file of the set, once."""
        if path not in self.sources:
            check("the number of files of the set", len(self.sources), _FILES)
            self.sources[path] = open_source(path)
        return self.sources[path]

    def companion(self, folder: Path, name: str) -> Path:
        """The file that a reference means; raises UnsafePath outside of the root, Incomplete where it is absent."""
        path = Path(os.path.normpath(folder / unquote(name).replace("\\", "/")))
        root, real = os.path.realpath(self.root), os.path.realpath(path)
        if os.path.commonpath([root, real]) != root:
            raise UnsafePath(f"names the file {name!r}, which lies outside its folder: it is not opened")
        if not path.exists():
            raise Incomplete(f"belongs to a set, of which {name!r} is not there; keep all its files in one folder")
        return path

    def close(self) -> None:
        """Close all files; a second call does nothing."""
        while self.sources:
            self.sources.popitem()[1].close()


def load(container: Container, path: Path, depth: int = 0) -> None:
    """Add the images of `path`, and of the files it refers to, to the container."""
    if depth > _DEPTH:
        raise LimitExceeded(f"{path.name}: references nest deeper than {_DEPTH} files")
    source = container.open(path)
    head = source.read(0, min(16, source.size))
    if len(head) >= 13 and head[0] == _TEST and head[8] == _STAR:
        text, end = _text(source, 0)
        if text == _LOF:
            _load_lof(container, source, end)
        else:
            _load_lif(container, source, text, end)
    else:
        _load_xml(container, path, depth)


def _root(container: Container, text: str) -> Element:
    container.xml = container.xml or text
    return parse_xml(text)


def _text(source: ByteSource, at: int) -> tuple[str, int]:
    """(text, end) of a text block: 0x70, its length, 0x2A, its characters, UTF-16."""
    mark, _, star, count = struct.unpack("<IIBI", source.read(at, 13))
    if mark != _TEST or star != _STAR:
        raise Damaged(f"{source.path.name}: at byte {at} there is no text block")
    check("the length of the XML", 2 * count, LIMITS.metadata_bytes)
    return source.read(at + 13, 2 * count).decode("utf-16-le", "replace"), at + 13 + 2 * count


def _load_lof(container: Container, source: ByteSource, at: int) -> None:
    star, _, star2, _, star3, size = struct.unpack("<BIBIBQ", source.read(at, 19))
    if {star, star2, star3} != {_STAR}:
        raise Damaged(f"{source.path.name}: the memory block of the LOF file is not marked as one")
    memory = Memory(source, at + 19, size)
    text, _ = _text(source, at + 19 + size)
    root = _root(container, text)
    element = root if root.tag == "Data" else root.find("Element")
    if element is None:
        raise Damaged(f"{source.path.name}: its XML has no Element")
    if root.tag == "Data":  # older files leave the outer elements out
        from xml.etree.ElementTree import Element as New

        element = New("Element", {"Name": source.path.stem})
        element.append(root)
    container.images.append(Stored(element.get("Name") or source.path.stem, element, memory))


def _load_lif(container: Container, source: ByteSource, text: str, at: int) -> None:
    root = _root(container, text)
    if root.tag != "LMSDataContainerHeader":
        raise Unsupported(f"{source.path.name}: {root.tag} is not read; give the .lif file")
    version = root.get("Version")
    if version not in ("1", "2"):
        raise Unsupported(f"{source.path.name}: LIF of version {version!r} is not read")
    blocks = _blocks(container, source, at, "<IIBQBI" if version == "2" else "<IIBIBI")
    for name, element in _images(root, ""):
        memory = element.find("Memory")
        key = None if memory is None else memory.get("MemoryBlockID")
        if key not in blocks:
            raise Damaged(
                f"{source.path.name}: image {name!r} names the memory block {key!r}, which is not there: truncated?"
            )
        container.images.append(Stored(name, element, blocks[key]))
    container.warnings += _without_image(root, blocks)


def _without_image(root: Element, blocks: Mapping[str | None, Memory]) -> list[str]:
    """Words on memory blocks with something in them that no image names (FLIM records, images taken out of the XML)."""
    owners = {
        memory.get("MemoryBlockID"): element for element in root.iter("Element") for memory in element.findall("Memory")
    }
    warnings: list[str] = []
    for name, block in blocks.items():
        owner = owners.get(name)
        if block.size and (owner is None or owner.find("Data/Image") is None):
            whose = "no element" if owner is None else f"{owner.get('Name')!r}, which is no image"
            warnings.append(f"the memory block {name} of {block.size} bytes belongs to {whose}, and is left out")
    return warnings


def _blocks(container: Container, source: ByteSource, at: int, layout: str) -> dict[str | None, Memory]:
    """Memory blocks by name, up to the end of the file, which a broken copy may have cut."""
    found: dict[str | None, Memory] = {}
    head = struct.Struct(layout)
    while at + head.size <= source.size:
        mark, _, star, size, star2, count = head.unpack(source.read(at, head.size))
        if mark != _TEST or star != _STAR or star2 != _STAR:
            raise Damaged(f"{source.path.name}: at byte {at} there is no memory block")
        check("the length of the name of a memory block", count, 1 << 16)
        check("the number of memory blocks", len(found), 1_000_000)
        name = source.read(at + head.size, 2 * count).decode("utf-16-le", "replace")
        at += head.size + 2 * count
        if at + size > source.size:
            raise Damaged(f"{source.path.name}: memory block {name} reaches past the end of the file: it is truncated")
        known = found.get(name)
        if known is None or not known.size:
            found[name] = Memory(source, at, size)
        elif size and (size != known.size or not same_bytes(source, source, (known.offset, at), size)):
            raise Damaged(f"{source.path.name}: two memory blocks are called {name}: the file does not say which one counts")
        elif size:
            container.warnings += repeated([(f"the memory block {name} at byte {known.offset}", f"that at byte {at}")])
        at += size
    return found


def _images(element: Element, folder: str) -> Iterator[tuple[str, Element]]:
    """(name, element) of every image; those within other images too."""
    children = element.findall("Children/Element") or element.findall("Element")
    for child in children:
        own = child.get("Name") or "image"
        # The outermost element is the project: its name is the file's.
        name = own if element.tag != "Element" or not folder else f"{folder}/{own}"
        if child.find("Data/Image") is not None:
            yield name, child
        yield from _images(child, "" if element.tag != "Element" else name)


def _load_xml(container: Container, path: Path, depth: int) -> None:
    source = container.open(path)
    check("the length of the XML", source.size, LIMITS.metadata_bytes)
    data = source.read(0, source.size)
    if b"LMSDataContainerHeader" not in data.replace(b"\0", b""):
        raise Damaged(f"{path.name}: is no Leica XML")
    root = _root(container, data.decode("utf-16" if b"\0" in data[:4] else "utf-8-sig", "replace").partition("?>")[2])
    element = root.find("Element")
    if element is None:
        raise Damaged(f"{path.name}: its XML has no Element")
    for reference in element.iterfind("Children/Reference"):
        name = reference.get("File") or ""
        if name.lower().endswith((".xlif", ".xlcf", ".xlef", ".xllf", ".lof")):
            load(container, container.companion(path.parent, name), depth + 1)
        elif name:
            container.warnings.append(f"{path.name} refers to {name!r}, which is no file of this format and is left out")
    if element.find("Data/Image") is not None:
        container.images.append(Stored(element.get("Name") or path.stem, element, _referred(container, path, element)))


def _referred(container: Container, path: Path, element: Element) -> Memory:
    """The memory block of an XLIF: that of the LOF file it names."""
    names = [name for block in element.iterfind("Memory/*") if (name := block.get("File"))]
    if len(names) != 1 or not names[0].lower().endswith(".lof"):
        kinds = ", ".join(sorted({name.rpartition(".")[2] for name in names})) or "no"
        raise Unsupported(f"{path.name}: its pixels lie in {len(names)} files ({kinds}); only one LOF file is read")
    source = container.open(container.companion(path.parent, names[0]))
    text, at = _text(source, 0)
    if text != _LOF:
        raise Damaged(f"{source.path.name}: is no LOF file")
    star, _, star2, _, star3, size = struct.unpack("<BIBIBQ", source.read(at, 19))
    if {star, star2, star3} != {_STAR} or at + 19 + size > source.size:
        raise Damaged(f"{source.path.name}: its memory block is not whole")
    end = at + 19 + size
    rest = source.read(end, min(4, source.size - end))
    if rest and not any(rest):  # where its own XML begins
        raise Damaged(f"{source.path.name}: is blank behind its memory block: the copy is not whole; copy it again")
    return Memory(source, at + 19, size)
