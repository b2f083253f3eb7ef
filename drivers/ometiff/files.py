"""The files of an OME-TIFF set: found by name or, where they were renamed, by the UUID that each says of itself."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from drivers.errors import DriverError, Incomplete
from drivers.files import read_head
from drivers.limits import LIMITS, check
from drivers.members.files import confined
from drivers.metadata.xmltree import child, children
from drivers.tiff.container import OpenTiff, first_description, is_tiff, open_tiff
from drivers.tiff.metadata import text

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

SIBLINGS = 1000
"""Files of a folder at most that are asked for their UUID, in the order of their names."""
_ENDS = (".tif", ".tiff", ".tf2", ".tf8", ".btf", ".ome", ".xml")
_OWN = re.compile(rb"<(?:\w+:)?OME\s[^>]*?\bUUID\s*=\s*[\"']([^\"'<>]*)[\"']")


@dataclass(slots=True)
class FileSet:
    """The files of a set; `close_directories` and `close` end them."""

    main: OpenTiff
    uuid: str | None
    names: set[str]
    """Every file that the OME-XML names; "" for this one, where a TiffData names none, or a UUID without a name."""
    opened: dict[str, OpenTiff] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    shown: dict[tuple[str, int], str] = field(default_factory=dict)
    """The plane that a page is, by file and offset."""

    @property
    def alone(self) -> bool:
        """Whether all planes lie in one and the same file."""
        return len(self.names) == 1

    def file(self, name: str | None, uuid: str | None) -> OpenTiff:
        """The file a TiffData means: the one of that UUID where one is there, else the one of that name.

        Raises Incomplete where it is neither, and where several files have the UUID.
        """
        if (not name and not uuid) or _same(uuid, self.uuid):
            return self.main
        path = self.main.source.path
        there = bool(name) and (name == path.name or os.path.lexists(path.parent / (name or "")))
        if name and there and (found := self._named(name, uuid)) is not None:
            return found
        renamed = self._renamed(name, uuid)
        if renamed is not None:
            return renamed
        if name and there:
            self.warnings.append(f"{name} has another UUID than the one this file asks for")
            return self.main if name == path.name else self._open(name)
        if self.alone and (uuid is None or self.uuid is None):
            return self.main  # every plane lies in one file, which is this one under another name
        if not name:
            raise Incomplete(f"belongs to a set, of which the file with UUID {uuid} is named nowhere; it cannot be found")
        return self._open(name)

    def _named(self, name: str, uuid: str | None) -> OpenTiff | None:
        """The file of that name; None where it says that it is another."""
        if name == self.main.source.path.name:
            return self.main if uuid is None or self.uuid is None else None
        file = self._open(name)
        own = own_uuid((text(file.tiff.pages.first, 270) or "").encode())
        return file if uuid is None or own is None or _same(own, uuid) else None

    def _renamed(self, name: str | None, uuid: str | None) -> OpenTiff | None:
        """The file beside this one that has the UUID, under whatever name."""
        found = with_uuid(self.main.source.path, uuid) if uuid else None
        if found is None:
            return None
        self.warnings.append(f"{found.name} is {name or 'the file'} by its UUID, under another name")
        return self._open(found.name)

    def _open(self, name: str) -> OpenTiff:
        if name not in self.opened:
            check("the number of files of the set", len(self.opened), LIMITS.ifds)
            self.opened[name] = open_tiff(confined(self.main.source.path.parent, name))
        return self.opened[name]

    def close_directories(self) -> None:
        """Close the handles of the other files that only their directories were read with."""
        for file in self.opened.values():
            file.tiff.close()

    def close(self) -> None:
        """Close everything."""
        for file in (self.main, *self.opened.values()):
            file.close()


def names_of(root: Element) -> set[str]:
    """The file names in all TiffData of a document."""
    found = (child(data, "UUID") for p in root.iter() if p.tag.endswith("}Pixels") for data in children(p, "TiffData"))
    return {"" if uuid is None else uuid.get("FileName") or (uuid.text or "").strip() for uuid in found}


def _same(a: str | None, b: str | None) -> bool:
    return a is not None and b is not None and a.strip().lower() == b.strip().lower()


def own_uuid(document: bytes) -> str | None:
    """The UUID that an OME document gives its own file."""
    found = _OWN.search(document)
    return found[1].decode("utf-8", "replace") if found else None


def with_uuid(path: Path, uuid: str) -> Path | None:
    """The one file beside `path` that says it has the UUID. Raises Incomplete where there are several."""
    names = sorted(p.name for p in path.parent.iterdir() if p.name.lower().endswith(_ENDS) and p.name != path.name)
    found = [name for name in names[:SIBLINGS] if _same(_uuid_of(path.parent, name), uuid)]
    if len(found) > 1:
        raise Incomplete(
            f"belongs to a set; which of {', '.join(found[:5])} it means is not known: they have one UUID, {uuid}"
        )
    return path.parent / found[0] if found else None


def master_of(path: Path, name: str | None, uuid: str | None, warnings: list[str]) -> Path:
    """The file with the OME-XML that a BinaryOnly of `path` means: of that name, unless another one has the UUID.

    Raises Incomplete where none is there.
    """
    there = bool(name) and os.path.lexists(path.parent / (name or ""))
    own = _uuid_of(path.parent, name) if name and there else None
    if name and there and (uuid is None or own is None or _same(own, uuid)):
        return confined(path.parent, name)
    renamed = with_uuid(path, uuid) if uuid else None
    if renamed is not None:
        warnings.append(f"{renamed.name} is {name or 'the metadata file'} by its UUID, under another name")
        return renamed
    if not name:
        raise Incomplete(f"belongs to a set whose OME-XML lies in the file with UUID {uuid}, which is not there")
    if there:
        warnings.append(f"{name} has another UUID than the one this file asks for")
    return confined(path.parent, name)


def _uuid_of(folder: Path, name: str) -> str | None:
    try:
        path = confined(folder, name)
        head = read_head(path)
        return own_uuid(first_description(path, head) if is_tiff(head) else head)
    except DriverError:  # a file that is not asked for may be whatever it is
        return None
