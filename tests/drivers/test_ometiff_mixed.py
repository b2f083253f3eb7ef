"""OME-TIFF Images of colour and grey Channels: every sample a channel of one scene, none lost, none of another colour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from drivers import open_slide, paint
from drivers.errors import Damaged, Unsupported
from drivers.geometry import Box
from tests.made.tiff import PLAIN, noise, ome_image, ome_xml

pytestmark = pytest.mark.usefixtures("files_closed")
HUES = ("Red", "Green", "Blue")


def colour_and_grey(samples: list[int], slices: int, dtype: str) -> list[list[Any]]:
    """Pages by channel and slice."""
    size = (40, 60)
    return [
        [noise((*size, 3) if n == 3 else size, dtype, seed=10 * c + z) for z in range(slices)] for c, n in enumerate(samples)
    ]


def truth(pages: list[list[Any]]) -> Any:
    """[c, z, y, x] by plain numpy."""
    found = [np.stack(row).transpose(3, 0, 1, 2) if row[0].ndim == 3 else np.stack(row)[None] for row in pages]
    return np.concatenate(found)


def write(path: Path, stored: list[Any], xml: str, planar: bool = False, pyramid: bool = False) -> Path:
    """Pages in file order; of colour where they have samples."""
    with tifffile.TiffWriter(path) as writer:
        for number, page in enumerate(stored):
            for level, part in enumerate([page, page[::2, ::2]][: 2 if pyramid else 1]):
                options: dict[str, Any] = {"photometric": "minisblack"}
                if page.ndim == 3:
                    options = {"photometric": "rgb", "planarconfig": "separate" if planar else "contig"}
                if level == 0:
                    options |= {"subifds": int(pyramid), "description": xml.encode() if number == 0 else None}
                data = part.transpose(2, 0, 1) if page.ndim == 3 and planar else part
                writer.write(np.ascontiguousarray(data), **(PLAIN | options | {"subfiletype": level}))
    return path


def xml_of(samples: list[int], slices: int, inner: str, declared: list[int] | None = None, size_c: int = 0) -> str:
    """An Image of Channels with these samples per pixel."""
    channels = "".join(f'<Channel Name="ch{i}" SamplesPerPixel="{n}"/>' for i, n in enumerate(declared or samples))
    sizes = {"X": 60, "Y": 40, "Z": slices, "C": size_c or sum(samples), "T": 1}
    return ome_xml(ome_image(sizes, channels + inner, pixels='DimensionOrder="XYZCT"'))


def entries(samples: list[int], slices: int, how: str) -> str:
    """TiffData: none, one for all, or one for each plane with FirstC by channel, by sample or from one."""
    if how == "none":
        return ""
    if how == "all":
        return "<TiffData/>"
    if how == "counted":
        return f'<TiffData IFD="0" PlaneCount="{len(samples) * slices}"/>'
    firsts = {"channel": list(range(len(samples))), "sample": [sum(samples[:c]) for c in range(len(samples))]}
    firsts["one"] = [c + 1 for c in firsts["channel"]]
    return "".join(
        f'<TiffData IFD="{c * slices + z}" PlaneCount="1" FirstC="{first}" FirstZ="{z}"/>'
        for c, first in enumerate(firsts[how])
        for z in range(slices)
    )


@pytest.mark.parametrize("samples", [[3, 1], [1, 3], [3, 3, 1], [1, 3, 1]])
@pytest.mark.parametrize("how", ["none", "all", "counted", "channel", "sample", "one"])
@pytest.mark.parametrize(("slices", "dtype", "planar"), [(1, "u1", False), (3, "u2", True)])
def test_every_sample_is_a_channel(
    tmp_path: Path, samples: list[int], how: str, slices: int, dtype: str, *, planar: bool
) -> None:
    pages = colour_and_grey(samples, slices, dtype)
    stored = [page for row in pages for page in row]
    path = write(tmp_path / "a.ome.tif", stored, xml_of(samples, slices, entries(samples, slices, how)), planar)
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        assert (slide.driver, scene.rgb, scene.dtype) == ("ometiff", False, np.dtype(dtype))
        level = scene.levels[0]
        np.testing.assert_array_equal(paint(level, Box.of(level.shape))[0], truth(pages))
        names = [f"ch{c} {hue}" if n == 3 else f"ch{c}" for c, n in enumerate(samples) for hue in (HUES if n == 3 else "x")]
        assert [channel.name for channel in scene.channels] == names
        colours = [hue for n in samples for hue in (["FF0000", "00FF00", "0000FF"] if n == 3 else [None])]
        assert [channel.color for channel in scene.channels] == colours


@pytest.mark.parametrize("samples", [[3, 1], [1, 3]])
@pytest.mark.parametrize("planar", [False, True])
def test_with_a_pyramid(tmp_path: Path, samples: list[int], *, planar: bool) -> None:
    pages = colour_and_grey(samples, 2, "u1")
    stored = [page for row in pages for page in row]
    path = write(tmp_path / "a.ome.tif", stored, xml_of(samples, 2, entries(samples, 2, "channel")), planar, pyramid=True)
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        assert [level.scale for level in scene.levels] == [1, 2]
        for level, step in zip(scene.levels, (1, 2), strict=True):
            np.testing.assert_array_equal(paint(level, Box.of(level.shape))[0], truth(pages)[..., ::step, ::step])


@pytest.mark.parametrize(
    ("declared", "size_c", "names"),
    [
        ([1, 1, 1, 1], 4, ["ch0", "ch1", "ch2", "ch3"]),
        ([1, 3], 4, [*HUES, None]),
        ([1, 1], 2, ["ch0 Red", "ch0 Green", "ch0 Blue", "ch1"]),
    ],
)
def test_channels_that_speak_of_other_samples_than_the_pages(
    tmp_path: Path, declared: list[int], size_c: int, names: list[str | None]
) -> None:
    pages = colour_and_grey([3, 1], 1, "u1")
    xml = xml_of([3, 1], 1, '<TiffData IFD="0" PlaneCount="2"/>', declared, size_c)
    with open_slide(write(tmp_path / "a.ome.tif", [pages[0][0], pages[1][0]], xml)) as slide:
        (scene,) = slide.scenes
        level = scene.levels[0]
        np.testing.assert_array_equal(paint(level, Box.of(level.shape))[0], truth(pages))
        assert [channel.name for channel in scene.channels] == names
        assert ("samples per pixel" in " ".join(slide.warnings)) is (declared != [1, 1, 1, 1])


@pytest.mark.parametrize(
    ("grey", "error", "words"),
    [
        (np.zeros((20, 30), "u1"), Damaged, "channel 0 have 60x40 pixels, of channel 1 30x20"),
        (np.zeros((40, 60), "u2"), Unsupported, "channel 0 is of type uint8 and channel 1 of type uint16"),
    ],
)
def test_channels_of_other_size_or_type_are_refused_truly(
    tmp_path: Path, grey: Any, error: type[Exception], words: str
) -> None:
    path = write(tmp_path / "a.ome.tif", [noise((40, 60, 3)), grey], xml_of([3, 1], 1, entries([3, 1], 1, "channel")))
    with pytest.raises(error, match=words):
        open_slide(path)


def test_one_channel_of_both_kinds_of_pages_is_refused(tmp_path: Path) -> None:
    inner = '<TiffData IFD="0" FirstZ="0" PlaneCount="1"/><TiffData IFD="1" FirstZ="1" PlaneCount="1"/>'
    xml = ome_xml(ome_image({"X": 60, "Y": 40, "Z": 2, "C": 3, "T": 1}, '<Channel SamplesPerPixel="3"/>' + inner))
    with pytest.raises(Damaged, match=r"page.* sample"):
        open_slide(write(tmp_path / "a.ome.tif", [noise((40, 60, 3)), noise((40, 60))], xml))
