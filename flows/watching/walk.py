"""What lies in a watched folder: regular files with size, time and inode; links are not followed, nothing is opened."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.settings import Folder
from flows.watching.look import FolderUnavailable, Look, as_path, as_text, look
from flows.watching.tree import Tree

__all__ = ["FolderUnavailable", "Look", "as_path", "as_text", "look", "walk"]


def walk(folder: Folder, outside: Sequence[Path]) -> Mapping[str, Look]:
    """Files below a folder by their path below it, / between parts, as text. `outside` lists folders to stay out of.

    A Zarr store is one entry, with the look of its metadata. Raises FolderUnavailable.
    """
    return Tree().look(folder, {os.path.realpath(path) for path in outside})
