"""GDAL datasets: opened with one driver only, no neighbouring files and no network; a dataset serves one thread at a time.

Rows of a PNG or JPEG come in order only, and going back means to decode from the start: so a free dataset is picked by
the row it has got to, and blocks that are read downwards cost one decode of the picture.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drivers.errors import Damaged, DriverError, LimitExceeded, Unsupported
from drivers.gdal.kinds import Kind

logging.getLogger("rasterio").addHandler(logging.NullHandler())

_OPTIONS: dict[str, Any] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR",  # neither side-cars (.ovr, .msk, .wld) nor a walk through a large folder
    "GDAL_PAM_ENABLED": "NO",  # no .aux.xml, read or written
    "GDAL_NUM_THREADS": "1",  # the callers are threads
    "GDAL_CACHEMAX": 64,  # MB; its default is a twentieth of the memory
    "GDAL_ERROR_ON_LIBJPEG_WARNING": "YES",  # else a JPEG that is cut short decodes to grey
    "GDAL_PNG_WHOLE_IMAGE_OPTIM": "NO",  # it shows a PNG that is cut short without a word
    "GTIFF_VIRTUAL_MEM_IO": "NO",
    "PROJ_NETWORK": "OFF",
}
MASK = 0
"""The number of the mask of all bands, beside those of the bands, which begin with 1."""
NEEDS = "needs rasterio (GDAL): pip install 'slidemill[gdal]'"


@dataclass(frozen=True, slots=True)
class Source:
    """What to open."""

    path: Path
    kind: Kind
    overview: int | None = None
    """Which overview; None: full resolution."""

    @property
    def name(self) -> str:
        """File name, for messages."""
        return self.path.name


def open_dataset(source: Source) -> Any:
    """A rasterio dataset, to be closed by the caller; to be used by one thread at a time, inside `environment`."""
    try:
        from rasterio.io import DatasetReader
    except ImportError as error:
        raise Unsupported(f"{source.name}: this format {NEEDS}") from error

    class Dataset(DatasetReader):  # here, since its base is imported here
        def read_transform(self) -> list[float]:
            """None: rasterio warns of every picture that is no map."""
            return [0.0, 1.0, 0.0, 0.0, 0.0, 1.0]

        def read_crs(self) -> None:
            """None: it would open PROJ's database."""

    options = {} if source.overview is None else {"overview_level": source.overview}
    try:
        return Dataset(_plain(source.path), driver=_drivers(source.kind), sharing=False, **options)
    except DriverError:
        raise
    except Exception as error:
        what = f"{source.name}: cannot be opened as {source.kind.title}"
        raise Damaged(f"{what}: it is damaged or cut short{_detail(error)}; copy the file again") from error


def _drivers(kind: Kind) -> list[str]:
    return ["GIF", "BIGGIF"] if kind.driver == "GIF" else [kind.driver]  # GDAL's own parting by size


def _plain(path: Path) -> str:
    """An absolute path, which GDAL takes for a path and not for an address or one of its virtual file systems."""
    text = os.path.abspath(path)  # noqa: PTH100 - resolving links would change the name in messages
    if text.startswith("/vsi"):
        raise Unsupported(f"{path.name}: lies in a folder named like one of GDAL's virtual file systems; move it")
    return text


def reason(error: BaseException) -> str:
    """What went wrong, in one line without paths: rasterio keeps GDAL's own words in the cause."""
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    words = [word for word in str(cause).split() if "/" not in word]
    return " ".join(words)[:200] or type(cause).__name__


def _detail(error: BaseException) -> str:
    """What the decoder says, in brackets; nothing where it only says that it does not know the file."""
    words = reason(error).rstrip(".")
    return "" if "not recognized as" in words else f" ({words})"


@contextlib.contextmanager
def environment(kind: Kind) -> Generator[None]:
    """GDAL's settings, for this thread and while it lasts."""
    try:
        import rasterio
    except ImportError as error:
        raise Unsupported(f"this format {NEEDS}") from error
    # GDAL allows a progressive JPEG 500 MB; the caller has checked what it takes.
    more: dict[str, Any] = {"GDAL_ALLOW_LARGE_LIBJPEG_MEM_ALLOC": "YES", "JPEGMEM": "2500M"} if kind.progressive else {}
    with rasterio.Env(**_OPTIONS, **more):
        yield


def _fill(dataset: Any, bands: Sequence[int], window: Any, out: Any) -> None:
    if bands[-1] != MASK:
        dataset.read(list(bands), window=window, out=out)
        return
    if len(bands) > 1:
        dataset.read(list(bands[:-1]), window=window, out=out[:-1])
    out[-1] = dataset.read_masks(bands[0] or 1, window=window) > 0


@dataclass(slots=True)
class _Free:
    dataset: Any
    row: int
    """The first row that comes without going back."""


@dataclass(slots=True)
class Handles:
    """Open datasets of one level, as many as there are threads reading at once. Closed for good by `close`."""

    source: Source
    _free: list[_Free] = field(default_factory=list[_Free])
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: bool = False

    def read(self, bands: Sequence[int], window: tuple[int, int, int, int], out: Any) -> None:
        """Fill `out` (bands, height, width) from `window` (top, left, height, width). Any thread; no lock while it decodes.

        MASK, which can only be the last of `bands`, is given as 0 (clear) and 1.
        Raises Damaged or LimitExceeded with the rows named.
        """
        from rasterio.windows import Window

        top, left, height, width = window
        with environment(self.source.kind):
            handle = self._take(top)
            try:
                _fill(handle.dataset, bands, Window(left, top, width, height), out)  # pyright: ignore[reportCallIssue]
            except BaseException as error:
                handle.dataset.close()
                raise self._said(error, window) from error
            handle.row = top + height
            self._give(handle)

    def _said(self, error: BaseException, window: tuple[int, int, int, int]) -> BaseException:
        top, left, height, width = window
        where = f"{self.source.name}: rows {top} to {top + height}, columns {left} to {left + width}"
        if isinstance(error, MemoryError):
            return LimitExceeded(f"{where}: decoding asks for more memory than there is")
        broken = f"{where}: cannot be decoded{_detail(error)}: the file is damaged or cut short; copy it again"
        return Damaged(broken) if isinstance(error, Exception) else error

    def _take(self, row: int) -> _Free:
        with self._lock:
            if self._free:
                best = max(self._free, key=lambda free: (free.row <= row, free.row if free.row <= row else -free.row))
                self._free.remove(best)
                return best
        return _Free(open_dataset(self.source), 0)

    def _give(self, handle: _Free) -> None:
        with self._lock:
            if not self._closed:
                self._free.append(handle)
                return
        handle.dataset.close()

    def close(self) -> None:
        """Close what is open; what is being read is closed when its reader is done."""
        with self._lock:
            self._closed, free = True, list(self._free)
            self._free.clear()
        for handle in free:
            handle.dataset.close()
