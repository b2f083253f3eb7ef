"""Which .ets files hold the pixels of an image.

The folder of an image holds `frame_t.ets` or `frame_t_0.ets`; `blob_*` files beside it are no pixels (ome/bioformats#3925).
cellSens 4.1 leaves further `frame_*.ets` files there that the .vsi file does not describe and its viewer does not show; the
one that is meant is told by its size (ome/bioformats#4116 and #4117, which read each remaining one as an image of its own).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drivers.errors import Incomplete, UnsafePath
from drivers.vsi.ets import Ets
from drivers.vsi.images import Image


def frame_files(path: Path, image: Image) -> list[Path]:
    """The candidates beside the .vsi file `path`, in their order. Raises Incomplete where there is none, UnsafePath."""
    folder = path.parent / f"_{path.stem}_" / f"stack{image.index}"
    home = path.parent.resolve()
    if not folder.resolve().is_relative_to(home):
        raise UnsafePath(f"{path.name}: its folder {folder.parent.name}/{folder.name} leads out of the slide's folder")
    found = sorted(folder.glob("*.ets"), key=lambda p: (len(p.name), p.name)) if folder.is_dir() else []
    found = [file for file in found if not file.name.lower().startswith("blob")]
    if not found:
        missing = f"{folder.parent.name}/{folder.name}/frame_t.ets"
        raise Incomplete(f"{path.name}: the file {missing} with the pixels of image {image.name or image.index} is missing; "
                         "copy the folder beside the .vsi file too")  # fmt: skip
    for file in found:
        if not file.resolve().is_relative_to(home):
            raise UnsafePath(f"{path.name}: {folder.name}/{file.name} leads out of the slide's folder")
    return found


def unnamed_folders(path: Path, images: Sequence[Image]) -> list[str]:
    """Warnings on folders of pixels beside the .vsi file that none of its tags names."""
    names = {f"stack{image.index}" for image in images}
    folders = sorted(ets.parent.name for ets in (path.parent / f"_{path.stem}_").glob("stack*/frame_t*.ets"))
    return [f"{name} holds pixels that no tag names: it is left out" for name in dict.fromkeys(folders) if name not in names]


def chosen(candidates: Sequence[Ets], image: Image) -> list[Ets]:
    """Those whose tiles make an image of the size that the tags state; else those that fit into it; else all."""
    if len(candidates) == 1 or image.size is None:
        return list(candidates)
    missing = [_missing(ets, image.size) for ets in candidates]
    exact = [ets for ets, (down, across) in zip(candidates, missing, strict=True) if down == across == 0]
    within = [ets for ets, (down, across) in zip(candidates, missing, strict=True) if down >= 0 and across >= 0]
    return exact or within or list(candidates)


def _missing(ets: Ets, size: tuple[int, int]) -> tuple[int, int]:
    """Rows and columns of tiles that an image of (height, width) has and the file's finest level has not."""
    finest = ets.coordinates[:, -1] == 0 if ets.header.pyramid else slice(None)
    at = ets.coordinates[finest]
    columns, rows = (int(n) + 1 for n in at[:, :2].max(axis=0)) if len(at) else (0, 0)
    return -(-size[0] // ets.header.tile_height) - rows, -(-size[1] // ets.header.tile_width) - columns
