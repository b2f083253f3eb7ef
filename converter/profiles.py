"""Named sets of options, and profile files in TOML with the same keys."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from converter.errors import OptionError
from converter.options import Options
from converter.wording import in_words

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "qupath": {"ome_zarr": "0.4"},
    "omero": {"ome_zarr": "0.4", "layout": "bioformats2raw"},
    "fast": {"codec": "blosc-lz4-5"},
    "small": {"codec": "blosc-zstd-5"},
    "strict": {"privacy": "strict", "associated": ("none",)},
}

REASONS: Mapping[str, str] = {
    "default": "OME-Zarr 0.5 in shards: few objects, for viewers and libraries of today",
    "qupath": "OME-Zarr 0.4, one image a store: for QuPath and others that read no 0.5 yet",
    "omero": "OME-Zarr 0.4 in the layout of bioformats2raw: for OMERO and Bio-Formats",
    "fast": "a codec that takes less time and more room: for scratch disks and fast networks",
    "small": "some 2 to 3 % fewer bytes of tissue for 3.5 times the CPU of encoding: more costs far more",
    "strict": "no dates, no serial numbers, no associated images: for data that leave the house",
}
"""What each profile is for."""


def bind(profile: str | None, given: Mapping[str, Any]) -> Options:
    """Options from a profile (a name, or a TOML file) and what was given beside it, which wins. Raises OptionError."""
    values = {**_profile(profile), **given}
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "options"
        raise OptionError(f"{place.replace('_', '-')}: {in_words(first)}") from error


def _profile(profile: str | None) -> Mapping[str, Any]:
    if profile is None:
        return {}
    if profile in PROFILES:
        return PROFILES[profile]
    path = Path(profile)
    if path.suffix != ".toml":
        raise OptionError(f"profile {profile!r} is neither a TOML file nor one of {', '.join(PROFILES)}")
    found = read_toml(path, f"profile {profile}")
    return {key.replace("-", "_"): value for key, value in found.items()}


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The keys of a TOML file. Raises OptionError, which begins with `what`."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except FileNotFoundError as error:
        raise OptionError(f"{what}: no such file") from error
    except OSError as error:
        raise OptionError(f"{what}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise OptionError(f"{what}: is no text in UTF-8, as TOML is") from error
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"{what}: is no TOML: {error}") from error
