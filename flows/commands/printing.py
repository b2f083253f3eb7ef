"""How commands print: for people or for programs, and how much."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TextIO

from converter.errors import OutputFailed
from flows.commands.text import failure_line, shown
from flows.outcome import error_json, exit_code, interrupted

CHATTY = ("tifffile", "rasterio")
"""Libraries that log per tag what drivers say where it matters."""


@dataclass(frozen=True, slots=True)
class Manner:
    """What the options of a command say on printing."""

    as_json: bool = False
    quiet: bool = False
    """Errors only."""
    verbose: bool = False
    """Also what libraries say, and what was passed over."""

    def begin(self) -> None:
        """Bind it for this process."""
        for name in CHATTY:
            logging.getLogger(name).setLevel(logging.INFO if self.verbose else logging.CRITICAL)


def put(text: str, stream: TextIO | None = None) -> None:
    """A line, on standard output where no stream is given; it is there when this returns."""
    into = sys.stdout if stream is None else stream
    try:
        into.write(f"{text}\n")
        into.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputFailed(f"what is to be printed cannot be written: {error.strerror or error}") from error


def print_json(value: Mapping[str, Any]) -> None:
    """One object, one line."""
    put(json.dumps(value, ensure_ascii=True))


def print_found(as_json: bool, value: Mapping[str, Any], lines: Iterable[str]) -> None:
    """What a command found."""
    if as_json:
        print_json(value)
    else:
        put("\n".join(lines))


def told(work: Callable[[], int], as_json: bool) -> int:
    """Run a command and say it when somebody interrupts it; typer would end it without a word."""
    try:
        return work()
    except KeyboardInterrupt:
        return fail(interrupted(), None, as_json)


def fail(error: BaseException, path: str | None, as_json: bool) -> int:
    """Print an error; its exit code."""
    found = error_json(error)
    if as_json:
        print_json({**({} if path is None else {"path": str(path)}), "error": found})
    else:
        message = str(found["message"])
        put(f"slidemill: {shown(message)}" if path is None else failure_line(path, message), sys.stderr)
    return exit_code(error)
