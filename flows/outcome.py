"""Errors as exit codes and as JSON. The one place that knows the exit codes of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from converter.errors import Cancelled, ConverterError
from drivers.errors import DriverError

USAGE, FAILED, INTERRUPTED = 2, 1, 130
_CODES = {
    "usage": USAGE,
    "unsupported": 3,
    "damaged": 4,
    "incomplete": 4,
    "unreadable": 4,
    "source_changed": 4,
    "refused": 5,
    "unsafe_path": 5,
    "limit": 5,
    "no_space": 5,
    "output": 6,
    "network": 6,
    "auth": 6,
    "verify": 6,
    "interrupted": INTERRUPTED,
}
KNOWN = (DriverError, ConverterError)


def error_json(error: BaseException) -> dict[str, Any]:
    """`{"kind", "message", "retryable"}` of any error."""
    return {
        "kind": getattr(error, "kind", "failed"),
        "message": one_line(error),
        "retryable": bool(getattr(error, "retryable", False)),
    }


def one_line(error: BaseException) -> str:
    """The message on one line; never empty."""
    text = error.args[-1] if isinstance(error, OSError) and error.args else str(error)
    return " ".join(str(text).split()) or type(error).__name__


def exit_code(error: BaseException) -> int:
    """The code of one failure."""
    return _CODES.get(getattr(error, "kind", "failed"), FAILED)


def batch_code(codes: Sequence[int]) -> int:
    """The code of a batch: 0, that of its only slide, 130, or 1 where some failed."""
    failures = [code for code in codes if code]
    if not failures:
        return 0
    if INTERRUPTED in failures:
        return INTERRUPTED
    return failures[0] if len(set(codes)) == 1 else FAILED


def unexpected(error: Exception) -> ConverterError:
    """An error that nobody foresaw, with its class: a defect, or a system that failed in a new way."""
    return ConverterError(f"unexpected {type(error).__name__}: {one_line(error)}; please report it")


def interrupted(slide: str | None = None) -> Cancelled:
    """The error that stands for Ctrl-C or SIGTERM, for a whole command or for the slide that was under way."""
    return Cancelled("interrupted" if slide is None else f"{slide}: interrupted; nothing of it was published")
