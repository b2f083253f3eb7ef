"""Label images (segmentations) of an OME-Zarr image: groups in `labels/` below it, named in that group's attributes.

Facts: ngff.openmicroscopy.org, "labels" metadata.
"""

from __future__ import annotations

from collections.abc import Sequence

from drivers.associated import free_role, role_of
from drivers.errors import DriverError
from drivers.zarrstore.files import joined
from drivers.zarrstore.node import Group, as_list, read_group

_FOLDER = "labels"
_ASKED = 20
"""Images at most that are asked for labels where the place cannot list what is there."""
_MOST = 100
"""Label images that are offered; of more the number is told."""


def labels_of(images: Sequence[Group]) -> tuple[dict[str, Group], list[str]]:
    """(label images of all images by role, warnings on what is there and is no image)."""
    found: dict[str, Group] = {}
    warnings: list[str] = []
    more = 0
    for number, image in enumerate(images):
        folders = image.files.folders(image.key)
        if number >= _ASKED if folders is None else _FOLDER not in folders:
            continue
        own = _below(image)
        if own is None or not own:
            there = folders is not None or own is not None
            warnings += [f"the label images (segmentations) in {_shown(image)} are left out"] if there else []
            continue
        for name, group in own:
            if len(found) < _MOST:
                words = ["labels", *([image.key] if len(images) > 1 else []), name]
                found[free_role(role_of(*words), found)] = group
            else:
                more += 1
    if more:
        warnings.append(f"{more} more label images (segmentations) are left out")
    return found, warnings


def _below(image: Group) -> list[tuple[str, Group]] | None:
    """(name, group) of the label images; None where there is no group of them."""
    try:
        folder = read_group(image.files, image.child(_FOLDER))
        if folder is None:
            return None
        listed = folder.ome.get("labels")
        names = as_list(listed, "labels") if listed is not None else list(image.files.folders(folder.key) or ())
        groups = [(str(name), read_group(image.files, folder.child(str(name)))) for name in names]
    except DriverError:
        return []
    return [(name, group) for name, group in groups if group is not None and "multiscales" in group.ome]


def _shown(image: Group) -> str:
    return joined(image.key, _FOLDER) + "/"
