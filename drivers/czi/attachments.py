"""Attachments that are pictures of the slide: label, preview and thumbnail, as JPEG or as a CZI of their own.

Format: ZEISS, "ZISRAW (CZI) File Format", attachment segments: a header of 256 bytes in front of the content.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np

from drivers.associated import free_role, role_of
from drivers.czi.directory import blocks_of
from drivers.czi.metadata import notes_of, xml_of
from drivers.czi.scenes import scenes_of, stored_of
from drivers.czi.segments import Region, file_header, segment
from drivers.errors import Damaged, DriverError, Unsupported
from drivers.geometry import Shape
from drivers.limits import LIMITS, check
from drivers.model import RGB_CHANNELS, Channel, Pixels, Scene
from drivers.pictures.jpeg import check_jpeg, frame_size
from drivers.pictures.whole import whole_level

ROLES = {"label": "label", "slidepreview": "preview", "preview": "preview", "thumbnail": "thumbnail", "prescan": "overview"}
_ATTACHMENTS = 65_000
_PICTURES = ("JPG", "CZI")


@dataclass(frozen=True, slots=True)
class Attachment:
    """An entry of the attachment directory."""

    name: str
    kind: str
    """JPG, CZI, ..."""
    position: int
    part: int


def attachments_of(region: Region, offset: int) -> list[Attachment]:
    """The attachment directory at `offset`, 0 where there is none."""
    if not offset:
        return []
    start, length = segment(region, offset, "ZISRAWATTDIR")
    count = int.from_bytes(region.read(start, 4), "little", signed=True)
    check("the number of attachments", count, _ATTACHMENTS)
    if count < 0 or 256 + 128 * count > length:
        raise Damaged(f"the attachment directory claims {count} entries in {length} bytes")
    data = region.read(start + 256, 128 * count)
    return [_entry(data[i : i + 128]) for i in range(0, len(data), 128)]


def _entry(data: bytes) -> Attachment:
    if data[:2] != b"A1":
        raise Damaged(f"an attachment entry of schema {data[:2]!r}")
    kind, name = (part.split(b"\0")[0].decode("utf-8", "replace") for part in (data[40:48], data[48:128]))
    return Attachment(name, kind, int.from_bytes(data[12:20], "little"), int.from_bytes(data[20:24], "little"))


def associated_of(region: Region, offset: int) -> tuple[dict[str, Scene], list[str]]:
    """(scenes by role, warnings). An attachment that cannot be read costs a warning, not the slide."""
    scenes: dict[str, Scene] = {}
    warnings: list[str] = []
    try:
        found = attachments_of(region, offset)
    except DriverError as error:
        return {}, [f"attachments are left out: {error}"]
    for attachment in (a for a in found if a.kind in _PICTURES):
        usual = ROLES.get(attachment.name.lower())
        role = usual if usual is not None and usual not in scenes else free_role(usual or _role(attachment), scenes)
        if attachment.part:
            warnings.append(f"the attachment {attachment.name!r} lies in another file of the set and is left out")
            continue
        try:
            scenes[role], more = _scene(content_of(region, attachment), attachment, role)
        except DriverError as error:
            warnings.append(f"the {role} image is left out: {error}")
            continue
        if role != usual:
            warnings.append(f"the attachment {attachment.name!r}: --associated {role} writes it")
        if more:
            warnings.append(f"the attachment {attachment.name!r} holds {more} more images, which are left out")
    return scenes, warnings


def _role(attachment: Attachment) -> str:
    return role_of("attachment", role_of(attachment.name) or "unnamed")


def content_of(region: Region, attachment: Attachment) -> Region:
    """What an attachment holds; raises Damaged."""
    start, length = segment(region, attachment.position, "ZISRAWATTACH")
    size = int.from_bytes(region.read(start, 8)[:8], "little", signed=True)
    if size < 1 or 256 + size > length:
        raise Damaged(f"claims {size} bytes in a segment of {length}")
    return Region(region.source, region.base + start + 256, size)


def _scene(content: Region, attachment: Attachment, role: str) -> tuple[Scene, int]:
    """(the image, how many more there are)."""
    if attachment.kind == "JPG":
        return _jpeg_scene(content, role), 0
    header = file_header(content)
    notes = notes_of(xml_of(content, header.metadata))
    stored, _ = stored_of(blocks_of(content, header.directory), notes, role)
    scenes, _ = scenes_of({0: content}, stored, notes)
    return replace(scenes[0], name=role), len(scenes) - 1


def _jpeg_scene(content: Region, role: str) -> Scene:
    check("the number of bytes of the image", content.size, LIMITS.tile_bytes)
    data = content.read(0, content.size)
    size = frame_size(data)
    if size is None:
        raise Damaged("the JPEG stream has no frame header")
    check("the number of pixels", size[0] * size[1], LIMITS.tile_pixels)
    check_jpeg(data, *size)
    samples = _decoded(data).shape[2]
    shape = Shape(1, samples, 1, *size)

    def read(_key: Hashable) -> Pixels:
        return _decoded(content.read(0, content.size)).transpose(2, 0, 1)[None, :, None]

    rgb = samples == 3
    level = whole_level(shape, np.dtype(np.uint8), read, "jpeg")
    return Scene(role, [level], rgb, RGB_CHANNELS if rgb else (Channel(),))


def _decoded(data: bytes) -> Pixels:
    import imagecodecs

    try:
        pixels = imagecodecs.jpeg8_decode(data)
    except Exception as error:
        raise Damaged(f"the JPEG stream does not decode: {error}") from error
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    if pixels.shape[2] not in (1, 3):
        raise Unsupported(f"a JPEG of {pixels.shape[2]} samples")
    return pixels
