"""Opening a slide out of a TIFF: handles are closed when it fails, and every error names the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from drivers.errors import DriverError
from drivers.model import Slide
from drivers.tiff.container import OpenTiff, open_tiff


def open_with(path: Path, build: Callable[[Path, OpenTiff], Slide], *, ndpi: bool = False) -> Slide:
    """The slide that `build` makes of the open file, which stays open until the slide is closed."""
    file = open_tiff(path, ndpi=ndpi)
    try:
        return build(path, file)
    except DriverError as error:
        file.close()
        if error.args and str(error.args[0]).startswith(path.name):
            raise
        raise type(error)(f"{path.name}: {error}") from error
    except BaseException:
        file.close()
        raise
