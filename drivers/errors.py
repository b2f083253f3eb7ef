"""Errors of the drivers: what is wrong, where, and what to do, in one line.

`kind` is the word that receipts and exit codes are made from; `retryable` says whether the same call can succeed later.
"""

from __future__ import annotations


class DriverError(Exception):
    """Base of all errors that a driver raises."""

    kind = "failed"
    retryable = False

    def __str__(self) -> str:
        # A file name may hold line breaks, control characters or bytes that are no text: the message stays one line.
        text = super().__str__()
        return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


class Unsupported(DriverError, ValueError):
    """No driver reads this file, or it uses a feature that its driver does not read."""

    kind = "unsupported"


class OutsideKind(Unsupported):
    """A sound file that its specific driver does not understand: `open_slide` hands it on to the general driver.

    The message becomes a warning of the slide. Never raised for what is damaged, cut short or incomplete, nor where a
    general driver would show something else than the slide.
    """


class Damaged(DriverError, ValueError):
    """The file contradicts itself, or bytes it refers to are absent."""

    kind = "damaged"


class CutShort(Damaged):
    """Stored data reach past the end of the file: the copy is not whole, whatever part of it is asked for."""


class Incomplete(DriverError, FileNotFoundError):
    """A file that belongs to the slide is not there (yet)."""

    kind = "incomplete"
    retryable = True


class Unreadable(DriverError, OSError):
    """The operating system refused or failed to read the file."""

    kind = "unreadable"
    retryable = True


class LimitExceeded(DriverError, ValueError):
    """The file claims more than the limits allow; nothing was allocated for it."""

    kind = "limit"


class UnsafePath(DriverError, ValueError):
    """Not a regular file, or a companion outside the slide's folder."""

    kind = "unsafe_path"
