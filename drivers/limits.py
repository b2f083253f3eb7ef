"""Limits on what a file may claim, checked before anything is allocated for it."""

from __future__ import annotations

from dataclasses import dataclass

from drivers.errors import LimitExceeded


@dataclass(frozen=True, slots=True)
class Limits:
    """Starting values; `decoded_ratio` guards against decompression bombs."""

    level_pixels: int = 10**12
    tile_pixels: int = 64 * 10**6
    tile_bytes: int = 256 << 20
    strip_pixels: int = 160 * 10**6
    """A compressed strip is often the whole image, and is decoded at once: 480 MB of 8-bit RGB at most."""
    strip_bytes: int = 512 << 20
    ifds: int = 65_000
    metadata_bytes: int = 64 << 20
    icc_bytes: int = 4 << 20
    channels: int = 4096


LIMITS = Limits()


def check(what: str, value: int, limit: int) -> None:
    """Raise LimitExceeded when `value` is over `limit`."""
    if value > limit:
        raise LimitExceeded(f"{what} is {value}, the limit is {limit}: the file is damaged or not meant to be read here")
