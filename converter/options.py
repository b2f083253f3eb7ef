"""What a conversion may be told. The same names on the command line, in profile files and in flow parameters."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ByteSize, ConfigDict, Field, field_validator, model_validator

PowerOfTwo = Annotated[int, Field(ge=16, le=1 << 16)]
LEAST_MEMORY = 64 << 20
ROLES_BY_DEFAULT = ("thumbnail",)


class Options(BaseModel):
    """Bound once, when a conversion is planned; never changed afterwards."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ome_zarr: Literal["0.5", "0.4"] = "0.5"
    layout: Literal["auto", "image", "bioformats2raw"] = "auto"
    scenes: tuple[str, ...] = ("all",)
    """Indices, ranges of them (2-5, both ends; 2- to the last) or names; "all"."""
    levels: Literal["dyadic", "native"] = "dyadic"
    native_levels: Literal["auto", "never", "always"] = "auto"
    codec: str = "blosc-zstd-1"
    chunk: PowerOfTwo = 512
    shard: PowerOfTwo | None = 2048
    associated: tuple[str, ...] = ROLES_BY_DEFAULT
    """Roles to convert. Label and macro may show a patient's name: only when asked for."""
    privacy: Literal["standard", "strict", "keep"] = "standard"
    alpha: Literal["drop", "keep"] = "drop"
    """Of an 8-bit colour image with a single alpha; every other alpha is kept."""
    downsample: Literal["mean", "mode", "nearest"] = "mean"
    workers: int | None = Field(default=None, ge=1, le=1024)
    memory: ByteSize | None = None
    """Bytes the conversion may use; None: no bound beyond its own design."""
    on_damage: Literal["fail", "fill"] = "fail"
    exists: Literal["fail", "skip", "replace"] = "fail"
    resume: bool = False
    """Outputs that an identical earlier run finished count as done instead of as in the way."""
    verify: Literal["none", "quick", "full"] = "quick"

    @field_validator("scenes", "associated", mode="before")
    @classmethod
    def _words(cls, value: Any) -> Any:
        """Comma separated, as on the command line, or a list; scene indices may be numbers."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return tuple(str(part) for part in value) if isinstance(value, list | tuple) else value

    @field_validator("scenes")
    @classmethod
    def _some_scene(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("names no scene; give indices, ranges or names, or all")
        return value

    @field_validator("memory")
    @classmethod
    def _enough(cls, value: ByteSize | None) -> ByteSize | None:
        if value is not None and value < LEAST_MEMORY:
            raise ValueError(f"is {value.human_readable()}, at least 64MiB is needed")
        return value

    @field_validator("shard", mode="before")
    @classmethod
    def _no_shard(cls, value: Any) -> Any:
        return None if value == "none" else value

    @field_validator("chunk", "shard")
    @classmethod
    def _power_of_two(cls, value: int | None) -> int | None:
        if value is not None and value & (value - 1):
            raise ValueError(f"must be a power of two, not {value}: viewers take the next lower one as their tile")
        return value

    @field_validator("codec")
    @classmethod
    def _known_codec(cls, value: str) -> str:
        from converter.codec import parse_codec

        parse_codec(value)
        return value

    @model_validator(mode="after")
    def _shard_holds_chunks(self) -> Options:
        if self.shard is not None and self.shard < self.chunk:
            raise ValueError(f"shard {self.shard} is smaller than chunk {self.chunk}")
        return self

    def for_record(self) -> dict[str, object]:
        """The options that shape the output, for receipts and for telling whether two runs are the same."""
        quiet = {"workers", "memory", "exists", "resume", "verify"}
        return self.model_dump(mode="json", exclude=quiet)
