"""What commands print for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any


def inspection_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A slide in a few lines."""
    room = "size unknown" if found["bytes"] is None else size(found["bytes"])
    yield f"{shown(found['path'])}: {found['driver']}, {room}, {counted(len(found['files']), 'file')}"
    for scene in found["scenes"]:
        yield from _scene_lines(scene)
    for image in found["associated"]:
        yield f"  {image['role']}: {image['x']} x {image['y']}"
    yield f"  acquired: {found['acquired'] or 'unknown'}"
    for warning in found["warnings"]:
        yield f"  note: {warning}"


def _scene_lines(scene: Mapping[str, Any]) -> Iterator[str]:
    shape, spacing = scene["shape"], scene["pixel_size"]
    extra = "".join(f", {axis} {shape[axis]}" for axis in "tcz" if shape[axis] > 1)
    pixel = "unknown" if spacing["x"] is None else f"{spacing['x']:g} µm"
    yield f"  scene {scene['index']} {scene['name']!r}: {shape['x']} x {shape['y']}{extra}, {scene['dtype']}"
    yield f"    pixel size {pixel}, magnification {scene['magnification'] or 'unknown'}"
    names = [channel["name"] or "unnamed" for channel in scene["channels"]]
    yield f"    channels: {', '.join(names[:12])}{' ...' if len(names) > 12 else ''}"
    for i, level in enumerate(scene["levels"]):
        tile = f"{level['tile']['x']} x {level['tile']['y']}"
        yield f"    level {i}: {level['x']} x {level['y']}, 1/{level['scale']:g}, {level['compression']}, tile {tile}"


def plan_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A plan in a few lines."""
    yield f"{shown(found['path'])}: OME-Zarr {found['ome_zarr']}, layout {found['layout']}"
    for scene in found["scenes"]:
        yield f"  scene {scene['index']} {scene['name']!r}"
        for level in scene["levels"]:
            shard = "" if level["shard"] is None else f", shard {level['shard']}"
            yield f"    {level['path']}: {level['x']} x {level['y']} from {level['source']}, chunk {level['chunk']}{shard}"
        for refused in scene["refused_native"]:
            yield f"    native level {refused['level']} is not reused: {refused['reason']}"
    if found["removed"]:
        yield f"  left out: {', '.join(found['removed'])}"
    for warning in found["warnings"]:
        yield f"  note: {shown(warning)}"
    yield (
        f"  {size(found['raw_bytes'])} of pixels, about {size(found['estimated_bytes'])} in "
        f"{found['objects']} objects, at most about {size(found['peak_memory_bytes'])} of memory"
    )


def receipt_line(found: Mapping[str, Any]) -> str:
    """The receipt of a slide that was converted, in one line."""
    path, output = shown(found["path"]), shown(found["output"])
    if found["status"] == "skipped":
        return f"skipped: {path} is already in {output}"
    return f"done: {path} -> {output} ({found['seconds']:.1f} s, {size(found['bytes'])}, {found['objects']} objects)"


def failure_line(path: object, message: str) -> str:
    """Why a slide failed, in the one form that errors have: program, slide, what."""
    return f"slidemill: {shown(path)}: failed: {without_name(path, message)}"


def note_line(path: object, note: str) -> str:
    """A note, in the one form that notes have."""
    return f"slidemill: {shown(path)}: note: {shown(without_name(path, note))}"


def without_name(path: object, message: str) -> str:
    """Most messages begin with the slide's name; what they are put behind has said it."""
    name = shown(str(path).rstrip("/").rpartition("/")[2])
    return message.removeprefix(f"{shown(path)}: ").removeprefix(f"{name}: ")


def shown(text: object) -> str:
    """A name as it can be printed on one line: control characters and bytes that are no text are escaped."""
    plain = str(text)
    return plain if plain.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in plain)


def cut(text: str, width: int) -> str:
    """At most `width` columns of a terminal."""
    from rich.cells import cell_len, set_cell_size

    return text if cell_len(text) <= width else set_cell_size(text, max(1, width - 1)).rstrip() + "…"


def duration(seconds: float) -> str:
    """Seconds for people, in the unit that fits."""
    for unit, factor in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * factor:
            return f"{seconds / factor:.0f} {unit}"
    return f"{max(1, round(seconds))} s"


def size(count: float) -> str:
    """Bytes for people, in the unit that fits."""
    for unit, factor in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def counted(count: int, noun: str) -> str:
    """`1 slide`, `3 slides`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def passed_line(files: int) -> str:
    """What is said of files that are no slides."""
    return "1 file is no slide (-v names it)" if files == 1 else f"{files} files are no slides (-v names them)"


def links_line(links: int) -> str:
    """What is said of links that were not followed."""
    return f"{counted(links, 'link')} {'was' if links == 1 else 'were'} not followed; --follow-links does"


def report_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """A verification in a few lines."""
    verdict = "ok" if found["ok"] else "NOT OK"
    yield f"{shown(found['store'])}: {verdict}, {counted(found['checks'], 'check')} ({found['depth']})"
    if found["source"] is not None:
        yield f"  compared with the slide: {found['source']['compared_pixels']}, {found['source']['different']} different"
    for violation, times in Counter(found["violations"]).items():
        yield f"  {violation}{f' ({times} times)' if times > 1 else ''}"
