"""What a check of a store found, and how what stumbles over a broken store becomes a finding."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from converter.checking.stored import open_with_zarr
from drivers.errors import Unreadable
from drivers.location import Location
from drivers.words import counted, shortened
from drivers.zarrstore.files import Files

_MOST = 100
_FINDINGS = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError)

Opener = Callable[[Files, str], Any]


@dataclass(slots=True)
class Report:
    """What was checked and what did not hold. `compared` and `different` count samples against the source."""

    store: Location
    files: Files
    depth: str
    opener: Opener = open_with_zarr
    checks: int = 0
    violations: list[str] = field(default_factory=list[str])
    compared: int | None = None
    different: int = 0
    filled: bool = False
    """Whether tiles of the slide that cannot be read are compared as background: the receipt says they were filled."""

    def __repr__(self) -> str:
        found = "ok" if self.ok else counted(len(self.violations), "violation")
        return f"<Report {found}: {shortened(str(self.store))}, {self.depth}, {counted(self.checks, 'check')}>"

    @property
    def ok(self) -> bool:
        """Whether everything held."""
        return not self.violations

    def check(self, held: bool, where: str, what: str) -> bool:
        """Count a check, and note the violation unless it held."""
        self.checks += 1
        if not held and len(self.violations) < _MOST:
            self.violations.append(f"{where}: {what}")
        return held

    def as_json(self) -> dict[str, Any]:
        """The shape of CLI.md."""
        found: dict[str, Any] = {
            "store": str(self.store),
            "ok": self.ok,
            "depth": self.depth,
            "checks": self.checks,
            "violations": list(self.violations),
        }
        source = None
        if self.compared is not None:
            source = {"compared_pixels": self.compared, "different": self.different}
        return {**found, "source": source}


@contextmanager
def malformed(report: Report, where: str, what: str) -> Generator[None]:
    """Metadata may hold anything: what stumbles over it is a finding."""
    try:
        yield
    except Exception as error:
        raise_unreachable(report, error)
        if not isinstance(error, _FINDINGS):
            raise
        report.check(False, where, f"{what}: {line_of(error)}")


def raise_unreachable(report: Report, error: Exception) -> None:
    """That a server does not answer says nothing of the store."""
    if isinstance(error, Unreadable) and not report.files.local:
        raise error


def line_of(error: Exception) -> str:
    """What an error says, in one line; with its class where that says more than its text."""
    text = " ".join(str(error).split())[:200]
    return (
        f"{type(error).__name__}: {text}" if not text or isinstance(error, LookupError | TypeError | AttributeError) else text
    )
