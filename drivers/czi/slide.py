"""Zeiss CZI: scenes of sub-blocks, with their own pyramids; label, preview and thumbnail attachments.

A scene of the file is a scene here; positions on the stage are taken out of the coordinates. A file set (`name.czi`,
`name(1).czi`, ...) is opened by its first file. Directory and metadata are read when the file is opened, pixels by
positioned reads when they are asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from drivers.czi.attachments import associated_of
from drivers.czi.directory import Block, blocks_of
from drivers.czi.masks import masks_of
from drivers.czi.metadata import notes_of, xml_of
from drivers.czi.scenes import phases_of, reduced_of, scenes_of, stored_of
from drivers.czi.segments import Region, file_header, region_of
from drivers.czi.times import time_stamps_s, with_times
from drivers.errors import Damaged, Incomplete, Unsupported
from drivers.files import ByteSource, closed_on_error, open_source
from drivers.limits import LIMITS, check
from drivers.members.files import confined
from drivers.model import Slide


@dataclass(slots=True)
class _Files:
    """The open files of a set, by part."""

    sources: dict[int, ByteSource] = field(default_factory=dict[int, ByteSource])

    def close(self) -> None:
        """Close all; a second call does nothing."""
        while self.sources:
            self.sources.popitem()[1].close()


def open_slide(path: Path) -> Slide:
    """Open a CZI and the further files of its set, which must lie in its folder."""
    files = _Files()
    with closed_on_error(path, files.close):
        files.sources[0] = open_source(path)
        return _slide(path, files)


def _slide(path: Path, files: _Files) -> Slide:
    region = region_of(files.sources[0])
    header = file_header(region)
    if header.part:
        raise Unsupported(f"is part {header.part} of a set of files; give the first one")
    if not header.directory:
        words = "its writer has not finished, or was stopped" if header.pending else "it was not written to its end"
        raise Incomplete(f"has no sub-block directory: {words}")
    blocks, xml = blocks_of(region, header.directory), xml_of(region, header.metadata)
    parts, notes = _parts(path, blocks, files), notes_of(xml)
    stored, hidden = stored_of(blocks, notes, path.stem)
    scenes, told = scenes_of(parts, stored, notes)
    associated, lost = associated_of(region, header.attachments)
    phases, unread = phases_of(parts, blocks, notes)
    reduced, lacking = reduced_of(parts, stored, notes)
    masks, masked = masks_of(parts, {one.name: one.by_factor for one in stored})
    warnings = [*hidden, *told, *unread, *lacking, *masked, *lost]
    stamps = time_stamps_s(region, header.attachments)
    if header.pending:
        warnings.append("the file says that a change of it was begun and not finished")
    return Slide(
        path=path,
        driver="czi",
        files=[source.path for source in files.sources.values()],
        scenes=[with_times(scene, stamps) for scene in scenes],
        associated={**phases, **reduced, **masks, **associated},
        close=files.close,
        raw_metadata=xml,
        warnings=warnings,
    )


def _parts(path: Path, blocks: list[Block], files: _Files) -> Mapping[int, Region]:
    """The files that hold the blocks; part n of a set lies in `name(n).czi`."""
    numbers = sorted({block.part for block in blocks} - {0})
    check("the number of files of the set", len(numbers), LIMITS.ifds)
    for part in numbers:
        names = [f"{path.stem}({part}){path.suffix}", f"{path.stem} ({part}){path.suffix}"]
        name = next((n for n in names if (path.parent / n).exists()), names[0])
        if part < 0:
            raise Damaged(f"sub-blocks in part {part} of a set of files")
        files.sources[part] = open_source(confined(path.parent, name))
        if file_header(region_of(files.sources[part])).part != part:
            raise Damaged(f"{name} is not part {part} of its set of files")
    return {part: region_of(source) for part, source in files.sources.items()}
