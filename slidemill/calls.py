"""The calls of the face that need more than a name: conversion, inspection, verification."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

if TYPE_CHECKING:
    from converter.checking.report import Report
    from converter.convert import Observer
    from converter.receipt import Receipt

Place = str | PathLike[str]
"""A path, or the text of a URL."""


class ConvertOptions(TypedDict, total=False):
    """The options of `slidemill convert`, under the names of `slidemill.Options`, which has their defaults."""

    ome_zarr: Literal["0.5", "0.4"]
    layout: Literal["auto", "image", "bioformats2raw"]
    scenes: str | Sequence[str | int]
    """Indices or names; "all"."""
    levels: Literal["dyadic", "native"]
    native_levels: Literal["auto", "never", "always"]
    codec: str
    chunk: int
    shard: int | Literal["none"] | None
    associated: str | Sequence[str]
    """Roles; "none" for none of them."""
    privacy: Literal["standard", "strict", "keep"]
    alpha: Literal["drop", "keep"]
    downsample: Literal["mean", "mode", "nearest"]
    workers: int | None
    memory: int | str | None
    """Bytes, or a text such as "1GiB"."""
    on_damage: Literal["fail", "fill"]
    exists: Literal["fail", "skip", "replace"]
    resume: bool
    verify: Literal["none", "quick", "full"]


def convert(
    path: Place,
    out: Place,
    *,
    profile: str | None = None,
    progress: Observer | None = None,
    **options: Unpack[ConvertOptions],
) -> Receipt:
    """Convert a slide to OME-Zarr, which appears at its place only when it is whole and verified.

    `out` is the store where it ends in .zarr or .ozx, else a folder in which the store gets the slide's name; s3:// too.
    `progress` is told the name of an image and its `Amount` (pixels done and in all), from a thread of the conversion.
    The receipt's `status` is "done", or "skipped" where that is what `exists` or `resume` asked for. Raises DriverError or
    ConverterError, of one line; then nothing was published.
    """
    from converter.convert import Conversion, unobserved
    from converter.convert import convert as run
    from converter.profiles import bind
    from drivers.location import location
    from flows.naming import targets

    source = location(path)
    (target,) = targets([source], os.fspath(out))
    return run(source, target, Conversion(bind(profile, options), observe=progress or unobserved))


def inspect(path: Place) -> dict[str, Any]:
    """What is in a slide: driver, files, scenes, levels, channels, metadata; reads no pixels. The keys are those of
    `slidemill inspect --json`; what the file does not state is None. Raises DriverError.
    """
    from converter.inspection import inspection
    from drivers.discovery import open_slide

    with open_slide(path) as slide:
        return inspection(slide)


def verify(store: Place, source: Place | None = None, depth: Literal["quick", "full"] = "quick") -> Report:
    """Check that a store is whole, valid and, given the slide it was made from, true to it.

    Whatever is wrong with the store is in the report: `ok`, `violations`. Raises DriverError where the slide cannot be
    read, ConverterError where an object store does not answer, ValueError for another depth.
    """
    from converter.checking.verify import verify_store
    from converter.errors import OptionError
    from drivers.discovery import open_slide
    from drivers.location import location

    if depth not in ("quick", "full"):
        raise OptionError(f"depth is quick or full, not {depth!r}")
    with nullcontext() if source is None else open_slide(source) as slide:
        return verify_store(location(store), slide=slide, depth=depth)


def get_driver_ids() -> list[str]:
    """What `open_slide` takes for a driver: slideio's IDs, and in capitals the names of those that slideio has not."""
    from drivers.discovery import find_drivers
    from drivers.slideio_names import driver_ids

    return driver_ids(found.name for found in find_drivers() if found.driver is not None)


def get_version() -> str:
    """Version of slidemill, as `slidemill.__version__`."""
    from converter.version import product_version

    return product_version()
