"""Pictures that end in zeros: a copy for which the room was made, and whose last bytes never came.

The decoders of JPEG, JPEG 2000 and WebP take zeros for compressed samples and give a picture without a word.
"""

from __future__ import annotations

from drivers.files import ByteSource
from drivers.gdal.kinds import Kind

_KINDS = {"JPEG", "JP2OpenJPEG", "WEBP"}
_LOOKED_AT = 1 << 16
_FEWEST = 4
"""Zeros that end a sound stream now and then are fewer: a chunk of RIFF is filled up with one."""
_MARKER = b"\xff\xd9"
"""Ends a JPEG and a codestream of JPEG 2000; some cameras fill the file up behind it."""


def blank_end(file: ByteSource, kind: Kind) -> list[str]:
    """A warning where the file ends in zeros that stand in place of compressed samples."""
    if kind.driver not in _KINDS:
        return []
    end = file.read(max(0, file.size - _LOOKED_AT), min(_LOOKED_AT, file.size))
    rest = end.rstrip(b"\0")
    zeros = len(end) - len(rest)
    if zeros < _FEWEST or rest.endswith(_MARKER):
        return []
    more = "at least " if not rest else ""
    return [f"the file ends in {more}{zeros} zeros where samples are expected: its copy may not be whole, copy it again"]
