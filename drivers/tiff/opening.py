"""Opening a slide out of a TIFF: handles are closed when it fails, and every error names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from drivers.errors import OutsideKind, Unsupported
from drivers.files import closed_on_error
from drivers.model import Slide
from drivers.tiff.container import OpenTiff, open_tiff


def open_with(
    path: Path,
    build: Callable[[Path, OpenTiff], Slide],
    *,
    ndpi: bool = False,
    general: bool = False,
    open_end: bool = False,
) -> Slide:
    """The slide that `build` makes of the open file, which stays open until the slide is closed; `ndpi` and `open_end` as
    in `open_tiff`.

    What a specific driver's `build` does not support becomes OutsideKind: the pages are sound, and `general` reads them.
    """
    file = open_tiff(path, ndpi=ndpi, open_end=open_end)
    with closed_on_error(path, file.close):
        try:
            return build(path, file)
        except Unsupported as error:
            if general or isinstance(error, OutsideKind):
                raise
            raise OutsideKind(str(error)) from error
