"""Associated images: one that cannot be read is a warning that names it, and never the end of its slide."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Container, Mapping

from drivers.errors import DriverError, Unreadable
from drivers.model import Scene

OF_THE_SYSTEM = Unreadable
"""The error that is no matter of the image: the file is there, and reading it may work the next time."""


def associated_images(makers: Mapping[str, Callable[[], Scene]], warnings: list[str]) -> dict[str, Scene]:
    """The images by role, of those that can be read; the others are named in `warnings`.

    One whose file is absent, or whose data lie past the end of the file, is left out too: levels are built by themselves, and
    raise where theirs are not whole. What the operating system fails to read is raised.
    """
    found: dict[str, Scene] = {}
    for role, make in makers.items():
        try:
            found[role] = make()
        except OF_THE_SYSTEM:
            raise
        except DriverError as error:
            warnings.append(left_out(role, error))
    return found


def left_out(role: str, error: DriverError) -> str:
    """The words for an image that cannot be read."""
    text = str(error).removeprefix(f"{role} image: ")
    return f"the {role} image cannot be read and is left out: {text}"


def role_of(*words: str) -> str:
    """A role of words that a file states: their letters and digits, in lower case, with hyphens between."""
    return re.sub(r"[^a-z0-9]+", "-", "-".join(words).lower()).strip("-")


def free_role(role: str, taken: Container[str]) -> str:
    """The role itself, or with the first number from 2 on that is not taken."""
    names = itertools.chain([role], (f"{role}-{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in taken)


def unknown_role(index: int) -> str:
    """Role of a page of which nothing says what it shows."""
    return f"page-{index}"


def unknown_page(role: str, size: tuple[int, int], kind: str = "") -> str:
    """What is said of a page of that size (height, width); `kind`: what the file calls it."""
    words = f"{size[1]}x{size[0]}" + (f", {kind}" if kind else "")
    return f"{role.replace('-', ' ')} ({words}) is neither a level nor a known image: --associated {role} writes it"
