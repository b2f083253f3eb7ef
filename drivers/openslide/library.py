"""Reading through the OpenSlide library: from any thread, with colours put on the slide's background."""

from __future__ import annotations

import threading
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from drivers.errors import Damaged
from drivers.geometry import Shape
from drivers.model import Pixels
from drivers.tiles import Grid

_CACHE_BYTES = 64 << 20


def reason(error: BaseException) -> str:
    """The library's words in one line, without paths."""
    return " ".join(word for word in str(error).split() if "/" not in word)[:200] or type(error).__name__


@dataclass(slots=True)
class Library:
    """An open slide of the library. After an error the library refuses all further reads: then it is opened anew."""

    path: Path
    view: TemporaryDirectory[str] | None = None
    """A folder with the slide under its name, which is opened in its place and removed at the end."""
    _current: Any = None
    _worn: list[Any] = field(default_factory=list[Any])
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def slide(self) -> Any:
        """The library's object; raises Damaged where it cannot be opened."""
        import openslide

        with self._lock:
            if self._current is None:
                try:
                    self._current = openslide.OpenSlide(self._place)
                except (openslide.OpenSlideError, OSError, ValueError) as error:
                    raise Damaged(f"{self.path.name}: OpenSlide cannot open it: {reason(error)}") from error
                self._current.set_cache(openslide.OpenSlideCache(_CACHE_BYTES))
            return self._current

    @property
    def _place(self) -> Path:
        return self.path if self.view is None else Path(self.view.name) / self.path.name

    def failed(self, slide: Any) -> None:
        """`slide` has failed and is of no further use. Others may still be reading with it: it is closed at the end."""
        with self._lock:
            if self._current is slide:
                self._worn.append(slide)
                self._current = None

    def close(self) -> None:
        """Close all."""
        with self._lock:
            for slide in [*self._worn, *([] if self._current is None else [self._current])]:
                slide.close()
            self._worn.clear()
            self._current = None
            if self.view is not None:
                self.view.cleanup()


@dataclass(frozen=True, slots=True)
class RegionReader:
    """`Level.read` of a grid over a level cut at `origin` (x, y), in pixels of the level."""

    library: Library
    number: int
    factor: int
    origin: tuple[int, int]
    grid: Grid
    background: tuple[int, int, int]

    def __call__(self, key: Hashable) -> Pixels:
        import openslide

        assert isinstance(key, Shape)
        box = self.grid.place(key)
        place = ((self.origin[0] + box.start.x) * self.factor, (self.origin[1] + box.start.y) * self.factor)
        slide = self.library.slide()
        try:
            image = slide.read_region(place, self.number, (box.shape.x, box.shape.y))
        except openslide.OpenSlideError as error:
            self.library.failed(slide)
            where = f"level {self.number}, tile {key.y},{key.x}"
            raise Damaged(f"{self.library.path.name}: {where}: {reason(error)}") from error
        return composed(np.asarray(image), self.background).transpose(2, 0, 1)[None, :, None]


@dataclass(frozen=True, slots=True)
class PictureReader:
    """`Level.read` of an associated image, which is one block."""

    library: Library
    name: str
    background: tuple[int, int, int]

    def __call__(self, _: Hashable) -> Pixels:
        import openslide

        slide = self.library.slide()
        try:
            image = slide.associated_images[self.name]
        except openslide.OpenSlideError as error:
            self.library.failed(slide)
            raise Damaged(f"{self.library.path.name}: the image {self.name!r}: {reason(error)}") from error
        return composed(np.asarray(image), self.background).transpose(2, 0, 1)[None, :, None]


def composed(rgba: Pixels, background: tuple[int, int, int]) -> Pixels:
    """RGB (height, width, 3) of RGBA whose colours are not multiplied by alpha, on `background`."""
    alpha, colors = rgba[..., 3], rgba[..., :3]
    if alpha.min(initial=255) == 255:
        return colors
    out = np.empty(colors.shape, np.uint8)
    out[...] = background
    solid = alpha == 255
    out[solid] = colors[solid]
    mixed = (alpha > 0) & ~solid
    a = alpha[mixed].astype(np.uint32)[:, None]
    out[mixed] = (colors[mixed] * a + np.array(background, np.uint32) * (255 - a) + 127) // 255
    return out
