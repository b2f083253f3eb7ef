"""Files that name others, such as AFI: what an undecided one names is no slide of its own yet."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from drivers.errors import DriverError
from drivers.files import open_source
from flows.watching.look import as_path

_MOST = 1 << 20
_INDEXES = (".afi", ".ndpis", ".mrxs", ".vsi", ".xlef", ".vms", ".vmu", ".xml", ".companion.ome")
"""Files that name others: they are asked first, and take the files they name along."""


def is_list(path: str) -> bool:
    """Whether a file may name others, by its own name."""
    return path.lower().endswith(_INDEXES)


class Lists:
    """The undecided lists of a folder. They are read once, and only where files lie beside them.

    Slides lie beside thousands of annotations, which name none: of a list that has no name with a file's ending in it, the
    text is not kept.
    """

    def __init__(self, root: Path, paths: Iterable[str]) -> None:
        self._root = root
        self._beside: dict[PurePosixPath, dict[str, PurePosixPath]] = {}
        self._texts: dict[tuple[PurePosixPath, bytes], dict[str, bytes]] = {}
        for path in paths:
            place = PurePosixPath(as_path(path))
            self._beside.setdefault(place.parent, {})[path] = place

    def name(self, path: str) -> bool:
        """Whether a list in the same folder has the file's name in its text, whatever its format."""
        file = PurePosixPath(as_path(path))
        beside = self._beside.get(file.parent)
        if not beside:
            return False
        name, key = os.fsencode(file.name), (file.parent, os.fsencode(file.suffix))
        if key not in self._texts:
            texts = ((one, self._text(place)) for one, place in beside.items())
            self._texts[key] = {one: text for one, text in texts if key[1] in text}
        return any(one in beside and name in text for one, text in self._texts[key].items())

    def decided(self, path: str) -> None:
        """Somebody said what this file is: it holds nothing up any more."""
        if is_list(path):
            self._beside.get(PurePosixPath(as_path(path)).parent, {}).pop(path, None)

    def _text(self, place: PurePosixPath) -> bytes:
        try:
            source = open_source(self._root / place)
            try:
                return source.read(0, min(_MOST, source.size))
            finally:
                source.close()
        except DriverError:  # gone, or not to be read: it says nothing
            return b""
