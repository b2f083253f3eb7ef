"""Named sets of options, and profile files in TOML with the same keys."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from converter.errors import OptionError
from converter.options import Options

PROFILES: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "qupath": {"ome_zarr": "0.4"},
    "omero": {"ome_zarr": "0.4", "layout": "bioformats2raw"},
    "fast": {"codec": "blosc-lz4-5"},
    "small": {"codec": "blosc-zstd-9"},
    "strict": {"privacy": "strict", "associated": ("none",)},
}


def bind(profile: str | None, given: Mapping[str, Any]) -> Options:
    """Options from a profile (a name, or a TOML file) and what was given beside it, which wins. Raises OptionError."""
    values = {**_profile(profile), **given}
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "options"
        raise OptionError(f"{place.replace('_', '-')}: {first['msg'].removeprefix('Value error, ')}") from error


def _profile(profile: str | None) -> Mapping[str, Any]:
    if profile is None:
        return {}
    if profile in PROFILES:
        return PROFILES[profile]
    path = Path(profile)
    if path.suffix != ".toml":
        raise OptionError(f"profile {profile!r} is neither a TOML file nor one of {', '.join(PROFILES)}")
    try:
        found = tomllib.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise OptionError(f"profile {profile}: {error}") from error
    return {key.replace("-", "_"): value for key, value in found.items()}
