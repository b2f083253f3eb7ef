"""Files that name others, such as AFI: what an undecided one names is no slide of its own yet."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from drivers.errors import DriverError
from drivers.files import open_source
from flows.watching.walk import as_path

_MOST = 1 << 20


@dataclass(slots=True)
class Lists:
    """The undecided lists of a folder. Their text is read once, and only where files lie beside them."""

    root: Path
    paths: Sequence[str]
    _texts: dict[str, bytes] = field(default_factory=dict[str, bytes], init=False)

    def name(self, path: str) -> bool:
        """Whether a list in the same folder has the file's name in its text, whatever its format."""
        file = PurePosixPath(as_path(path))
        beside = (one for one in self.paths if PurePosixPath(as_path(one)).parent == file.parent)
        return any(os.fsencode(file.name) in self._text(one) for one in beside)

    def _text(self, path: str) -> bytes:
        if path not in self._texts:
            try:
                source = open_source(self.root / as_path(path))
                try:
                    self._texts[path] = source.read(0, min(_MOST, source.size))
                finally:
                    source.close()
            except DriverError:  # gone, or not to be read: it says nothing
                self._texts[path] = b""
        return self._texts[path]
