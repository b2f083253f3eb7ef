"""The product's version, as installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def product_version() -> str:
    """Version of the installed slidemill."""
    try:
        return version("slidemill")
    except PackageNotFoundError:
        return "0+unknown"
