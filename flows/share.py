"""A share: what lies on it is read and written together at no more than so many bytes a second."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, field_validator


class Share(BaseModel):
    """A file server, disk or bucket, and how fast all that lies on it may be read and written."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Annotated[tuple[str, ...], Field(min_length=1)]
    """Folders, or `s3://bucket/prefix`: originals and stores below them share the limit. One share may have several names."""
    mb_per_second: Annotated[float, Field(ge=0.01, allow_inf_nan=False)]
    """Millions of bytes a second, read and written together."""

    @field_validator("path", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for path in value:
            if "://" not in path and not Path(path).is_absolute():
                raise ValueError(f"{path} is neither absolute nor an s3:// address")
        return value

    def holds(self, place: str) -> bool:
        """Whether a path or address lies on it, by its own name or by the one that links lead to."""
        if "://" in place:
            return any(f"{place.rstrip('/')}/".startswith(f"{path.rstrip('/')}/") for path in self.path if "://" in path)
        named = [Path(path) for path in self.path if "://" not in path]
        folders = [*named, *(Path(os.path.realpath(path)) for path in named)]
        return any(name.is_relative_to(path) for name in (Path(place), Path(os.path.realpath(place))) for path in folders)
