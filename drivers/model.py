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

from drivers.block import BlockRequest, LevelInfo, level_info, read_block, read_level_block
from drivers.geometry import Shape
from drivers.level import Level, Pixels
from drivers.location import Location, Remote, Url
from drivers.slideio_names import associated_named
from drivers.words import counted, shortened

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
    ome_xml: str | None = field(default=None, repr=False)
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
    """Of the planes that the file describes one by one. Files with OME-XML of their own keep theirs in `facts.ome_xml`
    too, which is what is written where it is of the present schema."""
    alpha: int | None = None
    """The last channel, where the file says that it is the opacity of the others."""
    file_path: str | None = None
    """The slide's path, as it was given to `open_slide`, or that of the file of a set that holds this scene."""

    def __enter__(self) -> Scene:
        """As slideio's; the slide is what is closed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing: the slide may have other scenes."""

    def __repr__(self) -> str:
        t, c, z, y, x = self.shape
        axes = [f"{count} {word}" for count, word in ((t, "frames"), (z, "slices")) if count > 1]
        facts = [f"{x} x {y} {self.dtype}", counted(c, "channel"), *axes, counted(len(self.levels), "level")]
        return f"<Scene {shortened(self.name)}: {', '.join(facts)}>"

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
    def origin(self) -> tuple[int, int]:
        """(x, y) of `rect`, 0 and 0; where the scene lies on the slide is `position`."""
        return (0, 0)

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
        """Size, scale, magnification and tile of a stored level. Raises IndexError."""
        _require("zoom level", index, len(self.levels))
        return level_info(self.levels, index, self.magnification)

    def get_channel_name(self, channel: int) -> str | None:
        """Name of a channel. Raises IndexError."""
        _require("channel", channel, self.shape.c)
        return self.channels[channel].name

    def get_channel_data_type(self, channel: int) -> np.dtype[Any]:
        """Sample type of a channel. Raises IndexError."""
        _require("channel", channel, self.shape.c)
        return self.dtype

    def get_channel_significant_bits(self, channel: int) -> int | None:
        """Bits that carry information, where the file says that they are less than the dtype. Raises IndexError."""
        _require("channel", channel, self.shape.c)
        return self.significant_bits

    @property
    def num_aux_images(self) -> int:
        """0: associated images are of the slide."""
        return 0

    def get_aux_image_names(self) -> list[str]:
        """None: associated images are of the slide."""
        return []

    def get_raw_metadata(self) -> str | None:
        """None: the vendor's text is of the slide, `Slide.raw_metadata`."""
        return None

    def get_color_profile(self) -> bytes | None:
        """The ICC profile."""
        return self.icc

    def read_block(  # noqa: PLR0913 - slideio's parameters
        self,
        rect: tuple[int, int, int, int] | None = (0, 0, 0, 0),
        size: tuple[int, int] | None = (0, 0),
        channel_indices: Sequence[int] | None = None,
        slices: tuple[int, int] = (0, 1),
        frames: tuple[int, int] = (0, 1),
        *,
        channels: Sequence[int] | None = None,
    ) -> Pixels:
        """Read a region as slideio does, axes [t, ][z, ]y, x[, c]: see `drivers.block.read_block`.

        `rect` is (x, y, width, height), `size` (width, height): (500, 0) keeps the aspect. No `channel_indices`, or none in
        them, means all. `channels` is their former name.
        """
        if channels is not None:
            channel_indices = _former(channels, channel_indices)
        return read_block(self.levels, BlockRequest(rect, size, channel_indices, slices, frames))

    def read_block_from_level(  # noqa: PLR0913, PLR0917 - slideio's parameters
        self,
        level: int,
        rect: tuple[int, int, int, int] | None = (0, 0, 0, 0),
        size: tuple[int, int] | None = (0, 0),
        channel_indices: Sequence[int] | None = None,
        slices: tuple[int, int] = (0, 1),
        frames: tuple[int, int] = (0, 1),
    ) -> Pixels:
        """As `read_block`, from one stored level, with `rect` in the pixels of that level. Raises IndexError for others."""
        _require("zoom level", level, len(self.levels))
        return read_level_block(self.levels[level], BlockRequest(rect, size, channel_indices, slices, frames))


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

    def __repr__(self) -> str:
        facts = [self.driver, counted(len(self.scenes), "scene"), *self.associated]
        return f"<Slide {shortened(self.path.name)}: {', '.join(facts)}>"

    # What a slideio user looks for.

    @property
    def file_path(self) -> str:
        """The path as it was given."""
        return str(self.path)

    @property
    def num_scenes(self) -> int:
        """How many scenes there are."""
        return len(self.scenes)

    @property
    def num_aux_images(self) -> int:
        """How many associated images there are."""
        return len(self.associated)

    def get_scene(self, index: int) -> Scene:
        """The scene of that number. Raises IndexError."""
        _require("scene", index, len(self.scenes))
        return self.scenes[index]

    def get_scene_by_name(self, name: str) -> Scene:
        """The first scene of that name. Raises KeyError."""
        for scene in self.scenes:
            if scene.name == name:
                return scene
        raise KeyError(f"{self.path.name} has no scene {name!r}; `get_scene` takes numbers")

    def get_aux_image_names(self) -> list[str]:
        """Roles of the associated images: label, macro, thumbnail, ..."""
        return list(self.associated)

    def get_aux_image(self, image_name: str) -> Scene:
        """The associated image of that role, in any case: "Macro" is "macro". Raises KeyError."""
        return associated_named(self.associated, image_name, self.path)

    def get_aux_image_raster(
        self, image_name: str, size: tuple[int, int] = (0, 0), channel_indices: Sequence[int] | None = None
    ) -> Pixels:
        """Pixels of the associated image of that role, axes y, x[, c]. Raises KeyError."""
        return self.get_aux_image(image_name).read_block(size=size, channel_indices=channel_indices)


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


def _require(what: str, index: int, count: int) -> None:
    if not 0 <= index < count:
        raise IndexError(f"{what} {index}: there are {count}, counted from 0")


def _former(channels: Sequence[int], channel_indices: Sequence[int] | None) -> Sequence[int]:
    """`channels`, which never meant all where it was empty."""
    if channel_indices is not None:
        raise ValueError("channels and channel_indices are the same; give one of them")
    if len(channels) == 0:
        raise ValueError("channels is empty: name at least one, or none at all for every channel")
    return channels
