"""Settings of the service: folders in and out, rules per folder, limits. A TOML file, overridden by SLIDEMILL_* variables.

Nested keys use two underscores in variables: `SLIDEMILL_LIMITS__ATTEMPTS=5`. Everything is checked before anything starts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from converter.errors import OptionError
from converter.options import Options
from converter.profiles import bind, read_toml
from converter.wording import in_words
from flows.hours import hours_of
from flows.share import Share

CONFIG_VARIABLE = "SLIDEMILL_CONFIG"
CONFIG_NAME = "slidemill.toml"
QUEUES = ("interactive", "scheduled", "archive")
"""Names of the queues, most urgent first."""

MAIL_BLOCK = "email-server-credentials/"
_ADDRESS = r"^[^@\s,<>]+@[^@\s,<>]+$"

_SECRET = ("password", "ledger")
"""Never shown."""

Queue = Literal["interactive", "scheduled", "archive"]
Seconds = Annotated[float, Field(gt=0, le=30 * 86400)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Folder(_Part):
    """One watched folder and its rules."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$")]
    """Short and stable: the ledger knows slides by it."""
    path: Path
    output: str
    """A folder, or `s3://bucket/prefix`. Folders below `path` are repeated below it."""
    pattern: tuple[str, ...] = ("*",)
    """Globs on file names; what none of them matches is left alone."""
    exclude: tuple[str, ...] = ()
    """Globs on paths below `path`."""
    profile: str | None = None
    """A named profile of options, or a TOML file."""
    options: dict[str, Any] = Field(default_factory=dict[str, Any])
    """Options of `convert` that win over the profile."""
    queue: Queue = "scheduled"
    priority: Annotated[int, Field(ge=-1000, le=1000)] = 0
    """Higher goes first within a queue."""
    at_most: Annotated[int, Field(ge=1)] | None = None
    """Slides of this folder that may be queued to workers or running at a time, over all machines."""
    quiet_seconds: Annotated[float, Field(ge=0, le=86400)] = 60.0
    """How long all files of a slide must have stayed as they are."""
    hours: str | None = None
    """When its slides may begin: `20:00-06:00`, several with commas; a time zone may follow (default: the machine's)."""
    marker: str | None = None
    """A file that says "this slide is complete", e.g. `{name}.done` or `{stem}.ok`; without it nothing is taken."""
    incomplete_hours: Annotated[float, Field(gt=0)] = 24.0
    """After this long an incomplete slide is reported as stuck."""
    original: Literal["keep", "move"] = "keep"
    """What becomes of a converted original. It is never deleted."""
    move_to: Annotated[Path | None, Field(validate_default=True)] = None
    """With `original = "move"`: a folder on the same file system."""

    @field_validator("pattern", "exclude", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    # Of each field alone, so that one that is wrong hides no other.

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError(f"{value} is not absolute")
        return value

    @field_validator("output")
    @classmethod
    def _a_place(cls, value: str) -> str:
        if "://" not in value and not Path(value).is_absolute():
            raise ValueError(f"{value} is neither absolute nor an s3:// address")
        return value

    @field_validator("hours")
    @classmethod
    def _some_hours(cls, value: str | None) -> str | None:
        try:
            _ = None if value is None else hours_of(value)
        except ValueError as error:
            raise ValueError(str(error).removeprefix("hours ")) from error
        return value

    @field_validator("profile")
    @classmethod
    def _known_profile(cls, value: str | None) -> str | None:
        _bound(value, {})
        return value

    @field_validator("options")
    @classmethod
    def _known_options(cls, value: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        _bound(info.data.get("profile"), value)
        return value

    @field_validator("move_to")
    @classmethod
    def _where_moved(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        original = info.data.get("original")  # none, where that is wrong itself
        if original is not None and (original == "move") != (value is not None):
            raise ValueError('original = "move" and move_to belong together')
        return value

    def bound(self) -> Options:
        """The options of this folder's conversions. Raises OptionError."""
        return bind(self.profile, {"resume": True, **_underscored(self.options)})


def _underscored(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key.replace("-", "_"): value for key, value in options.items()}


def _bound(profile: str | None, options: Mapping[str, Any]) -> None:
    """Raises ValueError."""
    try:
        bind(profile, _underscored(options))
    except OptionError as error:
        raise ValueError(str(error)) from error


class Limits(_Part):
    """Bounds of the service."""

    slides_at_once: Annotated[int, Field(ge=1, le=256)] = max(1, (os.cpu_count() or 1) // 2)
    """Slides that one worker converts at a time."""
    threads_per_slide: Annotated[int, Field(ge=1, le=256)] = 2
    window: Annotated[int, Field(ge=1, le=199)] = 100
    """Open flow runs a queue: Prefect looks at 200 at a time, and a longer queue starves."""
    small_bytes: Annotated[int, Field(ge=0)] = 50 << 20
    """Slides up to this size go along with a run that is there already; 0: each has a run of its own."""
    along_seconds: Annotated[float, Field(ge=0, le=3600)] = 60.0
    """How long a run takes small slides along."""
    attempts: Annotated[int, Field(ge=1, le=20)] = 3
    """Failed attempts before a slide is quarantined."""
    heartbeat_seconds: Seconds = 10.0
    lease_seconds: Seconds = 90.0
    """A running slide without a sign of life for this long is taken from its worker."""
    hang_seconds: Seconds = 3600.0
    """A running slide without progress for this long is taken from its worker: longer than a full verification may take."""
    pending_seconds: Seconds = 180.0
    """A flow run that a worker took and did not start within this time is lost."""
    retry_seconds: Seconds = 30.0
    """Wait after the first failure; doubles with each, up to an hour."""
    probe_seconds: Seconds = 60.0
    """Opening a slide to see whether its files are all there may take this long."""

    @model_validator(mode="after")
    def _ordered(self) -> Limits:
        if self.lease_seconds < 3 * self.heartbeat_seconds:
            raise ValueError("lease_seconds must be at least three times heartbeat_seconds")
        return self


class Schedule(_Part):
    """How often the service looks."""

    scan_seconds: Seconds = 10.0
    """Between two looks at the folders."""
    scan_run_seconds: Seconds = 60.0
    """One run of scan or reconcile looks again and again for this long: a run costs a process. `up` has
    an hour where none is stated: its workers see to it that a killed run is followed by another."""
    reconcile_seconds: Seconds = 60.0
    recheck_mb_per_second: Annotated[float, Field(ge=0, le=10_000)] = 1.0
    """Stores that were made are looked into again, and at most so much of them is read. 0: nothing is read, only whether they
    are there is looked at."""
    recheck_hours: Annotated[float, Field(ge=0, le=100_000)] = 24.0
    """A store is read again so long after it was read."""


class Settings(BaseSettings):
    """All settings. Made by `load_settings`; frozen."""

    model_config = SettingsConfigDict(env_prefix="SLIDEMILL_", env_nested_delimiter="__", frozen=True, extra="forbid")

    folders: tuple[Folder, ...] = ()
    shares: tuple[Share, ...] = ()
    state: Path = Field(default_factory=lambda: _state_home() / "slidemill")
    """Where the embedded service keeps its ledger, its server's database and its logs. A local disk, never NFS."""
    ledger: SecretStr | None = None
    """SQLAlchemy URL (`postgresql+psycopg://user:password@host/slidemill`); default: SQLite below `state`."""
    prefect_api: str | None = None
    """Address of a Prefect API (`http://host:4200/api`); default: `slidemill up` starts its own server."""
    port: Annotated[int, Field(ge=1, le=65535)] = 4200
    """Port of the own server, on loopback. Written down it is that one or none; else that of the last time, or a free one."""
    password: Annotated[SecretStr, Field(min_length=8)] | None = None
    """Whoever opens the own server's pages or asks its API must give it, as user slidemill; default: none is asked for."""
    metrics_port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """Prometheus metrics are served here, on loopback."""
    notify: tuple[Annotated[str, Field(pattern=r"^[a-z0-9-]+/[a-z0-9-]+$")], ...] = ()
    """Prefect's blocks, `type/name`, through which the end of a batch is told: those that notify, and mail servers."""
    mail_to: tuple[Annotated[str, Field(pattern=_ADDRESS)], ...] = ()
    """Who gets the mail of `email-server-credentials/...` in `notify`."""
    mail_from: Annotated[str, Field(pattern=_ADDRESS)] | None = None
    """Its sender; default: the user that the block names, else slidemill at this machine."""
    limits: Limits = Field(default_factory=Limits)
    schedule: Schedule = Field(default_factory=Schedule)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables win over the file."""
        return env_settings, init_settings

    @field_validator("password")
    @classmethod
    def _can_be_sent(cls, value: SecretStr | None) -> SecretStr | None:
        """Prefect's server compares it as ASCII, and fails at every request where it is not."""
        text = "" if value is None else value.get_secret_value()
        if not text.isascii() or not text.isprintable():
            raise ValueError("has characters other than letters without accents, digits and signs (ASCII)")
        return value

    @model_validator(mode="after")
    def _mail_goes_somewhere(self) -> Settings:
        if bool(self.mail_to) != any(name.startswith(MAIL_BLOCK) for name in self.notify):
            raise ValueError(f"mail_to and a block {MAIL_BLOCK}NAME in notify belong together: one is missing")
        return self

    @model_validator(mode="after")
    def _no_folder_twice(self) -> Settings:
        names = [folder.name for folder in self.folders]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"folders: the name {twice[0]!r} is used twice")
        for folder in self.folders:
            for other in self.folders:
                if folder is not other and folder.path.is_relative_to(other.path):
                    raise ValueError(f"folders: {folder.path} lies in {other.path}; a slide would be found twice")
        return self

    @model_validator(mode="after")
    def _no_output_is_watched(self) -> Settings:
        """Else what was converted would be found and converted, again and again."""
        watched = {os.path.realpath(folder.path) for folder in self.folders}
        for folder in self.folders:
            for place in (folder.output, folder.move_to):
                if place is not None and "://" not in str(place) and os.path.realpath(place) in watched:
                    raise ValueError(f"folders: {place} is itself watched; choose another place for what {folder.name} gives")
        return self

    @model_validator(mode="after")
    def _no_share_in_another(self) -> Settings:
        for share in self.shares:
            for other in self.shares:
                inner = next((path for path in share.path if share is not other and other.holds(path)), None)
                if inner is not None:
                    raise ValueError(f"shares: {inner} lies in another one; one limit counts for a place")
        return self

    def share_of(self, place: str) -> Share | None:
        """The share that a path or address lies on; None where nothing limits it."""
        return next((share for share in self.shares if share.holds(place)), None)

    def folder(self, name: str) -> Folder | None:
        """The folder of that name."""
        return next((folder for folder in self.folders if folder.name == name), None)

    @property
    def names_port(self) -> bool:
        """Whether somebody chose the port: it is then that one or none."""
        return "port" in self.model_fields_set

    @property
    def ledger_url(self) -> str:
        """URL of the ledger, with its password: not for logs."""
        return self.ledger.get_secret_value() if self.ledger else f"sqlite:///{self.state / 'ledger.db'}"


def _state_home() -> Path:
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state")


def find_config(given: Path | None) -> Path | None:
    """The settings file: the one named, that of SLIDEMILL_CONFIG, or `slidemill.toml` here. Raises OptionError."""
    named = given or (Path(os.environ[CONFIG_VARIABLE]) if os.environ.get(CONFIG_VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            raise OptionError(f"settings {named}: no such file")
        return named
    here = Path(CONFIG_NAME)
    return here if here.is_file() else None


def load_settings(path: Path | None, given: Mapping[str, Any] | None = None) -> Settings:
    """Settings of a file, of variables, and of `given` (from a command line), which wins over the file.

    Raises OptionError with the first thing that is wrong, in one line.
    """
    found = find_config(path)
    return checked({**_read(found), **(given or {})}, str(found or "settings"))


def faults(path: Path | None) -> list[str]:
    """Everything that is wrong with the settings, a line each; `load_settings` stops at the first."""
    typed = [_mistyped(name) for name in sorted(os.environ) if _TYPED.match(name)]
    try:
        found = find_config(path)
        Settings(**_read(found))
    except ValidationError as error:
        return [*typed, *(_in_words(one) for one in error.errors())]
    except OptionError as error:
        return [*typed, str(error)]
    except ValueError as error:
        return [*typed, _of_variable(error)]
    return typed


_TYPED = re.compile(r"SLIDEMILL_(LIMITS|SCHEDULE)_[A-Za-z]", re.IGNORECASE)
"""A variable that was meant for a setting of a section: it would mean nothing."""
_VARIABLE = re.compile(r'field "(\w+)"')


def _mistyped(name: str) -> str:
    section = _TYPED.match(name)
    assert section is not None
    right = f"SLIDEMILL_{section[1]}__{name[section.end() - 1 :]}"
    return f"{name}: means nothing; between section and setting are two underscores: {right}"


def _of_variable(error: ValueError) -> str:
    """What is wrong with a variable that should hold a list or a table."""
    found = _VARIABLE.search(str(error))
    return f"SLIDEMILL_{found[1].upper()}: is no JSON, as a list or table in a variable is" if found else str(error)


def _read(found: Path | None) -> dict[str, Any]:
    return {} if found is None else read_toml(found, f"settings {found}")


def checked(values: Mapping[str, Any], named: str) -> Settings:
    """Settings of these values and of variables. Raises OptionError with the first thing that is wrong, in one line."""
    try:
        return Settings(**values)
    except ValidationError as error:
        raise OptionError(f"{named}: {_in_words(error.errors()[0])}") from error
    except ValueError as error:  # a variable that is no JSON where a list is wanted
        raise OptionError(f"settings: {_of_variable(error)}") from error


def _in_words(fault: Mapping[str, Any]) -> str:
    """A fault with the section of its setting, in our own words."""
    message = in_words(fault, secret=bool(fault["loc"]) and fault["loc"][0] in _SECRET)
    return ": ".join(part for part in (_place(fault["loc"]), message) if part)


def _place(parts: Sequence[str | int]) -> str:
    """`("folders", 1, "name")` as a person finds it in the file: the second [[folders]], name."""
    if len(parts) > 1 and isinstance(parts[1], int):
        name = f"[[{parts[0]}]]" if parts[0] in ("folders", "shares") else str(parts[0])
        return " ".join((f"{name} {parts[1] + 1}", *(str(part) for part in parts[2:])))
    if len(parts) > 1:
        return f"[{parts[0]}] {'.'.join(str(part) for part in parts[1:])}"
    return str(parts[0]) if parts else ""
