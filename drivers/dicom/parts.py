"""An instance with its frames, and what it says of its place among the others of its series."""

from __future__ import annotations

from dataclasses import dataclass

from drivers.dicom.dataset import DataSet
from drivers.dicom.decode import Decoder
from drivers.dicom.frames import Frames, frames_of
from drivers.dicom.instance import Instance
from drivers.dicom.pixels import PixelFacts, pixel_facts
from drivers.errors import DriverError

SHARED, PER_FRAME = 0x52009229, 0x52009230
PIXEL_MEASURES, PIXEL_SPACING = 0x00289110, 0x00280030
_MATRIX = 0x00480007, 0x00480006
_ORIGIN = 0x00480008
_IMAGE_TYPE = 0x00080008
_ROLES = {"LABEL": "label", "OVERVIEW": "macro", "THUMBNAIL": "thumbnail", "VOLUME": ""}
_WHOLE_SLIDE = "1.2.840.10008.5.1.4.1.1.77.1.6"


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """An image of a series."""

    instance: Instance
    facts: PixelFacts
    frames: Frames
    decode: Decoder

    @property
    def data(self) -> DataSet:
        """Its data set."""
        return self.instance.data

    @property
    def matrix(self) -> tuple[int, int]:
        """(height, width) of the total pixel matrix; that of a frame where there is none."""
        height, width = (self.data.whole(tag, "I") or 0 for tag in _MATRIX)
        return (height, width) if height > 0 and width > 0 else (self.facts.rows, self.facts.columns)

    @property
    def measures(self) -> DataSet:
        """The Pixel Measures that all frames share, or those of the first frame; else the data set itself."""
        for groups in (SHARED, PER_FRAME):
            found = self.data.item(groups, PIXEL_MEASURES)
            if PIXEL_SPACING in found:
                return found
        return self.data

    @property
    def spacing_um(self) -> tuple[float, float] | None:
        """(y, x) micrometres of a pixel: PixelSpacing has the row spacing first (PS3.3 10.7.1.3)."""
        values = self.measures.numbers(PIXEL_SPACING, "s")
        return (_um(values[0]), _um(values[1])) if len(values) == 2 and all(0 < v < 1e6 for v in values) else None

    @property
    def origin_mm(self) -> tuple[float, float] | None:
        """(y, x) of the upper left corner in the slide's coordinates."""
        origin = self.data.item(_ORIGIN)
        y, x = origin.number(0x0040073A), origin.number(0x0040072A)
        return None if y is None or x is None else (y, x)


def _um(millimetres: float) -> float:
    return round(millimetres * 1000, 9)  # decimal text times 1000: without the noise of binary fractions


def is_whole_slide(data: DataSet) -> bool:
    """Whether an instance is of the whole-slide kind."""
    return data.text(0x00080016) == _WHOLE_SLIDE


def role_of(data: DataSet) -> str | None:
    """Role of a whole-slide instance by its Image Type: "" for a level, None for what is no picture of the slide."""
    words = data.texts(_IMAGE_TYPE)
    if "LOCALIZER" in words or "REGIONLOCALIZER" in words:
        return None
    if any(tag not in data for tag in _MATRIX):
        return None
    return role_by_type(data)


def role_by_type(data: DataSet) -> str:
    """Role of an associated image by the words of its Image Type; "" for a level, and where it states none."""
    return next((_ROLES[word] for word in data.texts(_IMAGE_TYPE)[2:] if word in _ROLES), "")


def part_of(instance: Instance) -> Part:
    """Locate the frames of an instance; errors name its file."""
    try:
        facts = pixel_facts(instance)
        return Part(instance, facts, frames_of(instance, facts), Decoder(facts))
    except DriverError as error:
        name = instance.path.name
        raise type(error)(f"{name}: {str(error).removeprefix(f'{name}: ')}") from error
