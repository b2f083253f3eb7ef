"""slideio's driver IDs, the drivers that read what theirs do, and its names of associated images."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from drivers.errors import Unsupported

if TYPE_CHECKING:  # the model uses this file
    from drivers.location import Location
    from drivers.model import Driver, Scene

AUTO = "AUTO"
DRIVERS: Mapping[str, tuple[str, ...]] = {
    "AFI": ("afi",),
    "CZI": ("czi",),
    "DCM": ("dicom",),
    "GDAL": ("gdal", "geotiff", "ometiff", "tiff"),
    "NDPI": ("ndpi", "ndpis"),
    "OMETIFF": ("ometiff",),
    "PHTIFF": ("philips",),
    "QPTIFF": ("qptiff",),
    "SCN": ("scn",),
    "SVS": ("aperio",),
    "VSI": ("vsi",),
    "ZVI": ("zvi",),
}
"""As slideio 2.10's `get_driver_ids` lists them. Its GDAL driver is the one for TIFF of no vendor, too,
and was the one for OME-TIFF before 2.8."""
_OTHER_WORDS = {"PKE": "QPTIFF"}
"""What its own sources call them (drivers/pke)."""
_ROLES = {"slidepreview": "preview"}
"""slideio keeps the name that ZEN gives its attachments."""


def driver_ids(names: Iterable[str]) -> list[str]:
    """IDs that `named` takes for drivers of these names: slideio's, and in capitals the names of those it has not."""
    left = set(names)
    ids = [word for word, own in DRIVERS.items() if left & set(own)]
    covered = {name for own in DRIVERS.values() for name in own}
    return sorted([*ids, *(name.upper() for name in left - covered)])


def named(word: str, drivers: Sequence[Driver]) -> list[Driver]:
    """The drivers that `word` asks for: an ID of slideio's, or a driver's own name; case does not count.

    Raises Unsupported for a word that is none, and for a driver that could not be loaded.
    """
    upper = word.upper()
    if upper == AUTO:
        return list(drivers)
    wanted = DRIVERS.get(_OTHER_WORDS.get(upper, upper), (word.lower(),))
    found = [driver for driver in drivers if driver.name.lower() in wanted]
    if not found:
        known = ", ".join([AUTO, *driver_ids(driver.name for driver in drivers)])
        raise Unsupported(f"no driver is called {word!r}; name one of {known}")
    return found


def associated_named(images: Mapping[str, Scene], name: str, place: Location) -> Scene:
    """The image of that role, in any case ("Macro" is "macro"). Raises KeyError, which names those that there are."""
    by_role = {role.casefold(): scene for role, scene in images.items()}
    asked = name.casefold()
    found = by_role.get(asked, by_role.get(_ROLES.get(asked, asked)))
    if found is None:
        there = ", ".join(images) or "none"
        raise KeyError(f"{place.name} has no associated image {name!r}; it has: {there}")
    return found
