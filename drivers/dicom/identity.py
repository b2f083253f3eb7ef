"""Which instances are one picture, and which are of one slide.

A series should be of one slide (PS3.3 A.1.2.3), and a SOPInstanceUID of one instance; files that were copied by a script
or stripped of their identifiers keep neither, so that what else they state is asked.
"""

from __future__ import annotations

from collections.abc import Sequence

from drivers.dicom.dataset import DataSet
from drivers.dicom.elements import PIXELS, Window, after
from drivers.dicom.instance import Instance
from drivers.dicom.parts import Part

SERIES, INSTANCE_UID = 0x0020000E, 0x00080018
_OF_A_SLIDE = {0x0020000D: "StudyInstanceUID", 0x00400512: "ContainerIdentifier", 0x00100020: "PatientID"}
_OF_THE_PIXELS = {0x0018, 0x0020, 0x0022, 0x0028, 0x0048, 0x5200}
"""Groups that tell what the pixels are and where they lie."""
_PIECE = 16 << 20


def other_slide(one: DataSet, other: DataSet) -> str | None:
    """The identifier by which two instances are of different slides; None where they state none that differs."""
    for tag, name in _OF_A_SLIDE.items():
        texts = one.text(tag), other.text(tag)
        if None not in texts and texts[0] != texts[1]:
            return name
    return None


def by_slide(parts: Sequence[Part]) -> list[list[Part]]:
    """Parts of one series and slide together, in the order of their first."""
    groups: list[list[Part]] = []
    for part in parts:
        for group in groups:
            same = group[0].data.text(SERIES) == part.data.text(SERIES)
            if same and all(other_slide(member.data, part.data) is None for member in group):
                group.append(part)
                break
        else:
            groups.append([part])
    return groups


def is_copy(one: Instance, other: Instance) -> bool:
    """Whether two files hold the same instance: its UID, its pixels as stored, and all that places them."""
    uid = one.data.text(INSTANCE_UID)
    if uid is None or uid != other.data.text(INSTANCE_UID) or one.syntax != other.syntax:
        return False
    tags = [[tag for tag in file.data.found if tag >> 16 in _OF_THE_PIXELS or tag in PIXELS] for file in (one, other)]
    return tags[0] == tags[1] and all(_same(one, other, tag) for tag in tags[0])


def _same(one: Instance, other: Instance, tag: int) -> bool:
    spans: list[tuple[int, int]] = []
    for file in (one, other):
        element = file.data.found[tag]
        spans.append((element.offset, after(Window(file.content), element, file.content.size)))
    (start, stop), (begin, end) = spans
    if stop - start != end - begin:
        return False
    return all(
        one.content.read(start + at, n) == other.content.read(begin + at, n)
        for at in range(0, stop - start, _PIECE)
        for n in (min(_PIECE, stop - start - at),)
    )
