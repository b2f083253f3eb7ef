"""The image formats that are read through GDAL, by their signatures: the fixed list of GDAL drivers that may be used.

Only drivers that read one file and nothing else: no VRT and none of its like, which may name other files and servers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Kind:
    """A format and how its pixels may be reached."""

    driver: str
    """Name of the GDAL driver."""
    compression: str
    sequential: bool = False
    """Rows come from the first to the last; going back starts anew."""
    whole: bool = False
    """The library decodes all of the picture before it gives the first row."""
    progressive: bool = False
    """A JPEG whose scans each refine all of the picture: the decoder keeps all of its coefficients, two bytes a sample."""
    at_once: bool = False
    """A JPEG 2000 that is decoded at once where that takes little memory: drivers/gdal/jp2.py."""
    ycbcr: bool = False
    """A JPEG 2000 whose samples GDAL gives as sYCC."""
    bare: bool = False
    """A JPEG 2000 codestream without a file format around it, which cannot say what its components are."""
    clear: tuple[int, ...] | None = None
    """The one colour of a PNG that is transparent."""
    pyramid: bool = False
    """Overviews are stored, not made up (GDAL offers JPEG files scaled by the decoder as overviews)."""

    @property
    def title(self) -> str:
        """The format's own name, for messages."""
        return {"JP2OpenJPEG": "JPEG 2000", "GTiff": "TIFF", "WEBP": "WebP"}.get(self.driver, self.driver)


GEOTIFF = Kind("GTiff", "none", pyramid=True)
_JPEG = Kind("JPEG", "jpeg", sequential=True)
_PNG = Kind("PNG", "png", sequential=True)
_GIF = Kind("GIF", "lzw", whole=True)
_WEBP = Kind("WEBP", "webp", whole=True)
_JPEG2000 = Kind("JP2OpenJPEG", "jpeg2000", pyramid=True)
_PNM = Kind("PNM", "none")
_BMP_HEADERS = {12, 40, 52, 56, 64, 108, 124}
_BMP_RUN_LENGTHS = {1, 2}
JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
CODESTREAM = b"\xff\x4f\xff\x51"


_SIGNATURES = (
    (b"\xff\xd8\xff", _JPEG),
    (b"\x89PNG\r\n\x1a\n", _PNG),
    (JP2, _JPEG2000),
    (CODESTREAM, replace(_JPEG2000, bare=True)),
    (b"GIF87a", _GIF),
    (b"GIF89a", _GIF),
)


def kind_of(head: bytes) -> Kind | None:
    """The format of a file that starts with `head`; None where it is none of these."""
    for signature, kind in _SIGNATURES:
        if head.startswith(signature):
            return kind
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return _WEBP
    if head.startswith((b"P5", b"P6")) and head[2:3].isspace():
        return _PNM
    return _bitmap(head)


def _bitmap(head: bytes) -> Kind | None:
    """BMP: "BM" alone is a weak sign, the size of the second header a good one."""
    if not head.startswith(b"BM") or int.from_bytes(head[14:18], "little") not in _BMP_HEADERS or len(head) < 34:
        return None
    packed = head[14] != 12 and int.from_bytes(head[30:34], "little") in _BMP_RUN_LENGTHS
    return Kind("BMP", "rle" if packed else "none", whole=packed)
