"""Where a slide lies: a path, or a URL of an object store or a web server."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from drivers.errors import UnsafePath, Unsupported

SCHEMES = ("http", "https", "s3")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class Url:
    """A URL as given, without a slash at its end. `name`, `stem` and `suffix` are those of a path."""

    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def scheme(self) -> str:
        """In lower case."""
        return self.text.partition(":")[0].lower()

    @property
    def name(self) -> str:
        """The last part of its path; the host or bucket where it has none."""
        path = self.text.partition("://")[2]
        last = path.rpartition("/")[2]
        return last if self.scheme == "s3" else unquote(last, errors="replace")

    @property
    def stem(self) -> str:
        """The name without its suffix."""
        return PurePosixPath(self.name).stem

    @property
    def suffix(self) -> str:
        """The last suffix of the name, with its dot."""
        return PurePosixPath(self.name).suffix


Location = Path | Url


@dataclass(frozen=True, slots=True)
class RemoteObject:
    """An object that a slide behind a URL needs."""

    key: str
    """Below the slide's URL."""
    size: int
    version: str
    """Changes with the content: the ETag of a listing, or the SHA-256 of what was read."""


@dataclass(frozen=True, slots=True)
class Remote:
    """What a slide behind a URL consists of."""

    complete: bool
    """Whether `objects` has everything; a web server lists nothing, then it has the metadata only."""
    objects: Callable[[], Sequence[RemoteObject]]
    """Asks the server, sorted by key. Raises Unreadable."""


def location(text: str | PathLike[str] | Url) -> Location:
    """A path, or a URL where the text begins with a scheme and `://`."""
    if isinstance(text, Url):
        return text
    return Url(text.rstrip("/")) if isinstance(text, str) and _URL.match(text) else Path(text)


def check_url(url: Url) -> None:
    """Raise Unsupported or UnsafePath for a URL that is not to be opened."""
    shown = f"{url.scheme}://.../{url.name.partition('?')[0]}"
    if url.scheme not in SCHEMES:
        raise Unsupported(f"{shown}: URLs of the scheme {url.scheme!r} are not read; {', '.join(SCHEMES)} are")
    try:
        parts = urlsplit(url.text)
        port = parts.port
    except ValueError as error:
        raise UnsafePath(f"{shown}: is no URL: {error}") from error
    if not parts.hostname or not url.text.isprintable() or port == 0:
        raise UnsafePath(f"{shown}: is no URL of a server or bucket")
    # A URL is written into receipts and reports: what it carries there is no secret any more.
    if parts.username is not None or parts.password is not None:
        raise UnsafePath(f"{shown}: carries a user or password; give credentials by the environment, not in the URL")
    if url.scheme != "s3" and (parts.query or parts.fragment):
        raise Unsupported(
            f"{shown}: a URL with a query or fragment names no folder; signed URLs of single files are not read"
        )
