"""Associated images: one that cannot be read is a warning that names it, and never the end of its slide."""

from __future__ import annotations

from collections.abc import Callable, Mapping

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
