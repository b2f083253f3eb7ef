"""Leica files made by the tests: LIF, LOF and XLEF, laid out as Leica describes them ("Image File Formats LIF, XLEF").

`MADE` lists them for the conformance suite as (name, maker, facts).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Image = NDArray[Any]
KINDS = {"X": 1, "Y": 2, "Z": 3, "T": 4, "L": 5, "A": 6, "E": 9, "M": 10}
LENGTHS = {"X": "m", "Y": "m", "Z": "m", "T": "s", "L": "m", "A": "", "E": "m", "M": ""}


@dataclass(frozen=True, slots=True)
class Lif:
    """One image. Axes are in the order of storage, the fastest last; C is the channels."""

    name: str
    axes: str
    pixels: Image
    bits: int = 8
    steps: dict[str, float] = field(default_factory=dict[str, float])
    """Distance of neighbours along an axis, in metres or seconds."""
    luts: Sequence[str] = ("Green", "Red", "Blue", "Gray", "Cyan", "Magenta")
    tags: Sequence[int] = (0,) * 9
    dyes: Sequence[str] = ()
    pad: int = 0
    """Bytes behind every row."""
    more: str = ""
    """XML within Image."""


def stored(lif: Lif) -> bytes:
    """The memory block."""
    pixels = np.ascontiguousarray(lif.pixels)
    if not lif.pad:
        return pixels.tobytes()
    rows = pixels.reshape(-1, int(np.prod(pixels.shape[lif.axes.index("Y") + 1 :]))).view(np.uint8)
    return np.pad(rows, ((0, 0), (0, lif.pad))).tobytes()


def steps(lif: Lif) -> dict[str, int]:
    """BytesInc of each axis."""
    found, step = {}, lif.pixels.itemsize
    for axis, count in zip(reversed(lif.axes), reversed(lif.pixels.shape), strict=True):
        if axis == "Y":
            step += lif.pad
        found[axis] = step
        step *= count
    return found


def element(lif: Lif, block: str) -> str:
    """The Element of an image."""
    increments, count = steps(lif), dict(zip(lif.axes, lif.pixels.shape, strict=True))
    kind = 1 if lif.pixels.dtype.kind == "f" else 0
    channels, dimensions = "", ""
    for c in range(count.get("C", 1)):
        dye = lif.dyes[c] if lif.dyes else ""
        note = f"<ChannelProperty><Key>DyeName</Key><Value>{dye}</Value></ChannelProperty>" if dye else ""
        channels += (
            f'<ChannelDescription DataType="{kind}" ChannelTag="{lif.tags[c]}" Resolution="{lif.bits}" Min="0" Max="1"'
            f' Unit="" NameOfMeasuredQuantity="" LUTName="{lif.luts[c % 6]}" IsLUTInverted="0"'
            f' BytesInc="{c * increments.get("C", 0)}" BitInc="0">{note}</ChannelDescription>'
        )
    for axis in reversed(lif.axes.replace("C", "")):
        length = lif.steps.get(axis, 0) * (count[axis] - 1)
        dimensions += (
            f'<DimensionDescription DimID="{KINDS[axis]}" NumberOfElements="{count[axis]}" Origin="0" Length="{length:e}"'
            f' Unit="{LENGTHS[axis]}" BytesInc="{increments[axis]}" BitInc="0"/>'
        )
    return (
        f'<Element Name="{lif.name}"><Data><Image><ImageDescription><Channels>{channels}</Channels>'
        f"<Dimensions>{dimensions}</Dimensions></ImageDescription>{lif.more}</Image></Data>"
        f'<Memory Size="{len(stored(lif))}" MemoryBlockID="{block}"/></Element>'
    )


def text_block(text: str) -> bytes:
    """0x70, length, 0x2A, number of characters, UTF-16."""
    data = text.encode("utf-16-le")
    return struct.pack("<IIBI", 0x70, len(data) + 5, 0x2A, len(data) // 2) + data


def memory_block(name: str, data: bytes, version: int) -> bytes:
    """A named memory block."""
    label = name.encode("utf-16-le")
    layout = "<IIBQBI" if version == 2 else "<IIBIBI"
    return struct.pack(layout, 0x70, len(label) + 14, 0x2A, len(data), 0x2A, len(label) // 2) + label + data


def make_lif(path: Path, images: Sequence[Lif], version: int = 2) -> Path:
    """A LIF file; the second and further images lie in a folder of the project."""
    blocks = [f"MemBlock_{i}" for i in range(len(images))]
    elements = [element(lif, block) for lif, block in zip(images, blocks, strict=True)]
    inner = "".join(elements[1:])
    folder = f'<Element Name="folder"><Data/><Memory Size="0"/><Children>{inner}</Children></Element>' if inner else ""
    xml = (
        f'<LMSDataContainerHeader Version="{version}"><Element Name="project"><Data><Experiment/></Data>'
        f'<Memory Size="0" MemoryBlockID="MemBlock_none"/><Children>{elements[0]}{folder}</Children></Element>'
        "</LMSDataContainerHeader>"
    )
    data = text_block(xml) + memory_block("MemBlock_none", b"", version)
    data += b"".join(memory_block(b, stored(lif), version) for b, lif in zip(blocks, images, strict=True))
    path.write_bytes(data)
    return path


def make_lof(path: Path, lif: Lif, *, short: bool = False) -> Path:
    """A LOF file; `short`: with the XML of older writers, without its outer elements."""
    xml = f'<LMSDataContainerHeader Version="2">{element(lif, "MemBlock_0")}</LMSDataContainerHeader>'
    if short:
        xml = xml[xml.index("<Data>") : xml.index("</Data>") + 7]
    data = stored(lif)
    head = text_block("LMS_Object_File") + struct.pack("<BIBIBQ", 0x2A, 2, 0x2A, 0, 0x2A, len(data))
    path.write_bytes(head + data + text_block(xml))
    return path


def make_xlef(path: Path, images: Sequence[Lif], reference: str = "Metadata\\{}.xlif", block: str = "../{}.lof") -> Path:
    """An XLEF with an XLIF in a folder and a LOF beside it for every image."""
    folder = path.parent / "Metadata"
    folder.mkdir(exist_ok=True)
    names = [f"im%20age{i}" for i in range(len(images))]
    for name, lif in zip(names, images, strict=True):
        plain = name.replace("%20", " ")
        make_lof(path.parent / f"{plain}.lof", lif)
        xml = element(lif, "MemBlock_0")
        size = len(stored(lif))
        memory = (
            f'<Memory Size="{size}" MemoryBlockID="MemBlock_0"><Block File="{block.format(name)}" Offset="0" Size="{size}"/>'
        )
        xml = xml[: xml.index("<Memory")] + memory + "</Memory></Element>"
        text = f'<?xml version="1.0"?><LMSDataContainerHeader Version="2">{xml}</LMSDataContainerHeader>'
        (folder / f"{plain}.xlif").write_text(text)
    children = "".join(f'<Reference File="{reference.format(name)}"/>' for name in names)
    path.write_bytes(
        b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?><LMSDataContainerHeader Version="2"><Element Name="project">'
        b"<Data><Experiment/></Data><Children>" + children.encode() + b"</Children></Element></LMSDataContainerHeader>"
    )
    return path


def numbers(*shape: int, dtype: str = "u1", seed: int = 1) -> Image:
    """Noise."""
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


HARDWARE = """<TimeStampList NumberOfTimeStamps="2">1d71114eb8b44f0 1d71114ebdc2410</TimeStampList>
<Attachment Name="ViewerScaling"><ChannelScalingInfo WhiteValue="0.5" BlackValue="0.1"/>
<ChannelScalingInfo WhiteValue="1" BlackValue="0"/></Attachment>
<Attachment Name="HardwareSetting" Software="LAS X 3.5" SystemTypeName="TCS SP8"><ATLConfocalSettingDefinition
 Magnification="63" ObjectiveName="HC PL APO   63x/1.30 " Immersion="GLYC" NumericalAperture="1.3" UserSettingName="me"/>
</Attachment>"""
STACK = Lif(
    "stack", "TZCYX", numbers(2, 3, 2, 50, 60, dtype="u2"), 12, {"X": 2e-7, "Y": 2e-7, "Z": 1e-6, "T": 3}, more=HARDWARE
)
COLOUR = Lif("colour", "YXC", numbers(45, 61, 3), tags=(3, 2, 1), pad=3)
SECTION = Lif("section", "CZX", numbers(2, 33, 44), steps={"X": 1e-7, "Z": 1e-7})

MADE: list[tuple[str, Callable[[Path], Path], dict[str, Any]]] = [
    (
        "stack.lif",
        lambda path: make_lif(path, [STACK, COLOUR, SECTION]),
        {
            "driver": "lif",
            "oracle": False,
            "dtype": "uint16",
            "rgb": False,
            "levels": [(2, 2, 3, 50, 60)],
            "fill": 0,
            "compression": "none",
            "associated": [],
            "pixel_size_um": 0.2,
            "magnification": 63.0,
        },
    ),
    (
        "colour.lof",
        lambda path: make_lof(path, COLOUR),
        {
            "driver": "lif",
            "oracle": False,
            "dtype": "uint8",
            "rgb": True,
            "levels": [(1, 3, 1, 45, 61)],
            "pixel_size_um": None,
        },
    ),
]
