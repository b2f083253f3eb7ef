"""Extras that are not installed: the line that says what to install instead of a traceback."""

from __future__ import annotations

from drivers.errors import Unsupported

_EXTRAS = {
    "service": "prefect prefect_email fastapi sqlalchemy alembic pydantic_settings prometheus_client psutil tenacity httpx",
    "cluster": "psycopg prefect_redis",
    "gdal": "rasterio",
    "openslide": "openslide",
    "isyntax": "isyntax",
}


def missing_extra(error: ModuleNotFoundError) -> Unsupported | None:
    """What to install for a module that is not there; None where no extra brings it."""
    module = (error.name or "").partition(".")[0]
    for extra, modules in _EXTRAS.items():
        if module in modules.split():
            return Unsupported(f"needs the extra {extra}, which is not installed: pip install 'slidemill[{extra}]'")
    return None
