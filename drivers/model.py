"""The contract: driver, slide, scene, level. Facts only; a value the file does not state is None.

Axes are always t, c, z, y, x. Lengths are micrometres, times seconds, wavelengths nanometres; the unit is in the name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from drivers.block import BlockRequest, LevelInfo, level_info, read_block
from drivers.geometry import Shape
from drivers.level import Level, Pixels
from drivers.location import Location, Remote, Url

__all__ = [
    "ALPHA",
    "RGB_CHANNELS",
    "Channel",
    "Driver",
    "Facts",
    "Level",
    "PixelSize",
    "Pixels",
    "PlaneFacts",
    "Position",
    "Scene",
    "Slide",
]


@dataclass(frozen=True, slots=True)
class Channel:
    """One channel, as far as the file describes it."""

    name: str | None = None
    color: str | None = None
    """RRGGBB."""
    excitation_nm: float | None = None
    emission_nm: float | None = None
    exposure_s: float | None = None
    fluor: str | None = None
    window: tuple[float, float] | None = None
    """Display range the file asks for."""
    inverted: bool = False
    """The file asks to be shown with its low values bright. The values are as stored."""


@dataclass(frozen=True, slots=True)
class PixelSize:
    """Size of a level 0 pixel in micrometres; None where the file does not say."""

    y_um: float | None = None
    x_um: float | None = None
    z_um: float | None = None


@dataclass(frozen=True, slots=True)
class Position:
    """Place of the scene's upper left corner on the slide, in micrometres."""

    y_um: float
    x_um: float
    z_um: float | None = None
    """Focus of the first slice."""


@dataclass(frozen=True, slots=True)
class PlaneFacts:
    """What a file says of one plane: when it was taken, and where the stage stood."""

    t: int
    c: int
    z: int
    delta_t_s: float | None = None
    """Seconds since the experiment began (OME's DeltaT)."""
    position: Position | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What else a file says of a scene; lands in OME-XML."""

    acquired: datetime | None = None
    microscope_manufacturer: str | None = None
    microscope_model: str | None = None
    microscope_serial: str | None = None
    objective_model: str | None = None
    objective_na: float | None = None
    immersion: str | None = None
    detector_model: str | None = None
    software: str | None = None
    ome_xml: str | None = None
    """The file's own OME-XML, whole, where the format carries one."""
    ome_image: int | None = None
    """Index of this scene's Image element in `ome_xml`."""


RGB_CHANNELS = (Channel("Red", "FF0000"), Channel("Green", "00FF00"), Channel("Blue", "0000FF"))
ALPHA = Channel("Alpha", "FFFFFF")


@dataclass(frozen=True, slots=True)
class Scene:
    """One continuous raster, with its stored levels from fine to coarse (slideio's scene)."""

    name: str
    levels: Sequence[Level]
    rgb: bool
    """Channels 0, 1, 2 are red, green and blue of one colour image; it has no others but its alpha."""
    channels: Sequence[Channel]
    pixel_size: PixelSize = PixelSize()
    magnification: float | None = None
    position: Position | None = None
    time_step_s: float | None = None
    significant_bits: int | None = None
    """Bits that carry information, where that is less than the dtype."""
    icc: bytes | None = field(default=None, repr=False)
    facts: Facts = Facts()
    planes: Sequence[PlaneFacts] = field(default=(), repr=False)
    """Of the planes that the file describes one by one. Files with OME-XML of their own keep theirs in `facts.ome_xml`."""
    alpha: int | None = None
    """The last channel, where the file says that it is the opacity of the others."""

    @property
    def shape(self) -> Shape:
        """Shape of level 0."""
        return self.levels[0].shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Sample type, the same on all levels."""
        return self.levels[0].dtype

    # What a slideio user looks for. Unknown is None where slideio gives 0.

    @property
    def rect(self) -> tuple[int, int, int, int]:
        """(x, y, width, height) in pixels; x and y are 0, since every read is relative to the scene."""
        return (0, 0, self.shape.x, self.shape.y)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return (self.shape.x, self.shape.y)

    @property
    def resolution(self) -> tuple[float | None, float | None]:
        """(x, y) in metres per pixel."""
        x, y = self.pixel_size.x_um, self.pixel_size.y_um
        return (None if x is None else x * 1e-6, None if y is None else y * 1e-6)

    @property
    def z_resolution(self) -> float | None:
        """Distance of z slices in metres."""
        return None if self.pixel_size.z_um is None else self.pixel_size.z_um * 1e-6

    @property
    def t_resolution(self) -> float | None:
        """Time between frames in seconds."""
        return self.time_step_s

    @property
    def compression(self) -> str:
        """Compression of level 0."""
        return self.levels[0].compression

    @property
    def num_channels(self) -> int:
        """Channels of level 0; 3 for colour, 4 with its alpha."""
        return self.shape.c

    @property
    def num_z_slices(self) -> int:
        """Slices along z."""
        return self.shape.z

    @property
    def num_t_frames(self) -> int:
        """Frames along t."""
        return self.shape.t

    @property
    def num_zoom_levels(self) -> int:
        """Stored levels."""
        return len(self.levels)

    def get_zoom_level_info(self, index: int) -> LevelInfo:
        """Size, scale, magnification and tile of a stored level."""
        return level_info(self.levels, index, self.magnification)

    def get_channel_name(self, index: int) -> str | None:
        """Name of a channel."""
        return self.channels[index].name

    def get_channel_data_type(self, index: int) -> np.dtype[Any]:
        """Sample type of a channel."""
        _ = self.channels[index]
        return self.dtype

    def read_block(
        self,
        rect: tuple[int, int, int, int] | None = None,
        size: tuple[int, int] | None = None,
        channels: Sequence[int] | None = None,
        slices: tuple[int, int] = (0, 1),
        frames: tuple[int, int] = (0, 1),
    ) -> Pixels:
        """Read a region as slideio does: see `drivers.block.read_block`."""
        return read_block(self.levels, BlockRequest(rect, size, channels, slices, frames))


@dataclass(frozen=True, slots=True)
class Slide:
    """An open file set. The opener closes it; scenes and levels are not to be read afterwards."""

    path: Location
    driver: str
    files: Sequence[Path]
    """Every file the slide needs, the given one first; none for a slide behind a URL."""
    scenes: Sequence[Scene]
    associated: Mapping[str, Scene]
    """By role: "label", "macro", "thumbnail", ..."""
    close: Callable[[], None]
    raw_metadata: str | None = field(default=None, repr=False)
    """The vendor's own text. May name patients and people: never written to a store unless asked for."""
    warnings: Sequence[str] = ()
    remote: Remote | None = None
    """Of a slide behind a URL: what lies there."""

    def __enter__(self) -> Slide:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Driver:
    """A format: how to recognise it and how to open it. A value, found by listing `drivers/formats`.

    `matches(path, head)` sees the first 4096 bytes and may look at the file, but must be cheap and must not raise on
    foreign files. `specific` drivers win over general ones (a plain TIFF reader); two specific matches are an error.
    """

    name: str
    suffixes: tuple[str, ...]
    matches: Callable[[Path, bytes], bool]
    open: Callable[[Path], Slide]
    specific: bool = True
    library: str = ""
    """Distribution the driver stands on, for `slidemill drivers`."""
    claims: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of index files (their end, in lower case) to what such a file needs beside it. A file of such a name is never
    handed to a general driver, though it may be a picture or a TIFF too: it waits for the rest."""
    parts: Mapping[str, str] = field(default_factory=dict[str, str])
    """Names of files that are never slides of their own (their end, in lower case) to what they belong to."""
    open_url: Callable[[Url], Slide] | None = None
    """Opens a URL, where the driver can; most formats are files only."""
