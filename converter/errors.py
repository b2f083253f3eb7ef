"""Errors of the converter. `kind` names the cause in receipts; `retryable` says whether the same call can succeed later."""

from __future__ import annotations


class ConverterError(Exception):
    """Base of all errors that the converter raises itself."""

    kind = "failed"
    retryable = False


class OptionError(ConverterError, ValueError):
    """An option, or a combination of options, that has no meaning."""

    kind = "usage"


class Refused(ConverterError, FileExistsError):
    """Nothing was done, on purpose: the target exists, or lies where nothing may be written."""

    kind = "refused"


class Busy(Refused):
    """Another run writes the target, or died doing so a moment ago: that is over when its claim ends or has run out."""

    retryable = True


class NoSpace(ConverterError, OSError):
    """The output would not fit on its disk."""

    kind = "no_space"


class OverMemory(ConverterError, MemoryError):
    """The conversion does not fit into the memory it may use."""

    kind = "limit"


class OutputFailed(ConverterError, OSError):
    """Writing, syncing or renaming the output failed."""

    kind = "output"
    retryable = True


class Unreachable(OutputFailed):
    """The object store did not answer, or not in time."""

    kind = "network"


class Unanswered(Unreachable):
    """It gave no answer at all: what it was asked for may still be carried out."""


class Denied(OutputFailed):
    """The object store refuses who asks: credentials, rights, region."""

    kind = "auth"
    retryable = False


class Unusable(OutputFailed):
    """The object store cannot take a store: no such bucket, or a server that does not know conditional puts."""

    retryable = False


class SourceChanged(ConverterError, OSError):
    """The slide changed while it was converted; what was written is thrown away."""

    kind = "source_changed"
    retryable = True


class NotTrue(ConverterError, ValueError):
    """The finished store did not pass its own checks and is not published."""

    kind = "verify"


class Cancelled(ConverterError):
    """The conversion was told to stop."""

    kind = "interrupted"
    retryable = True
