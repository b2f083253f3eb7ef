"""Further pictures of animations and of JPEG files of several pictures, as associated images.

Truth: the arrays that Pillow was given or shows, and canvases drawn here by hand.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps, ImageSequence

from converter.convert import Conversion, convert
from converter.errors import OptionError
from converter.options import Options
from drivers import open_slide
from drivers.gdal import further
from tests.made.gdal import chunk
from tests.made.svs import tissue
from tests.support.stores import SMALL

pytestmark = pytest.mark.usefixtures("files_closed")
Picture = NDArray[Any]
BASE = np.ascontiguousarray(tissue(40, 60, 4))
BASE.flags.writeable = False


def moving(count: int, clear: bool) -> list[Image.Image]:
    """Pictures that differ in a square, with a border that is transparent and grows where `clear`."""
    found: list[Image.Image] = []
    for i in range(count):
        opacity = np.full((40, 60, 1), 255, "u1")
        opacity[:, : 5 * i + 2] = 0 if clear else 255
        picture = np.concatenate([BASE, opacity], axis=2)
        picture[5 + 3 * i : 20 + 3 * i, 20 + i : 30, :3] = 30 * i
        found.append(Image.fromarray(picture) if clear else Image.fromarray(picture[..., :3]))
    return found


def shown(path: Path) -> list[Picture]:
    """What Pillow shows, as RGBA."""
    with Image.open(path) as file:
        return [np.asarray(picture.convert("RGBA")) for picture in ImageSequence.Iterator(file)]


def rgba(block: Picture) -> Picture:
    return block if block.shape[2] == 4 else np.dstack([block, np.full(block.shape[:2], 255, "u1")])


def assert_shows(block: Picture, truth: Picture) -> None:
    """The same opacity, and the same colours where they can be seen."""
    np.testing.assert_array_equal(rgba(block)[..., 3], truth[..., 3])
    seen = truth[..., 3] > 0
    np.testing.assert_array_equal(rgba(block)[seen], truth[seen])


ANIMATIONS: dict[str, dict[str, Any]] = {
    **{f"disposal-{way}.gif": {"disposal": way} for way in (0, 1, 2, 3)},
    "interlaced.gif": {"interlace": 1},
    "lossless.webp": {"lossless": True},
    "lossy.webp": {"lossless": False, "quality": 60},
    "mixed.webp": {"allow_mixed": True},
    **{f"{way}-{over}.png": {"disposal": way, "blend": over} for way in (0, 1) for over in (0, 1)},
    "hidden.png": {"default_image": True},
}


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("name", ANIMATIONS)
def test_pictures_of_animations(tmp_path: Path, name: str, clear: bool) -> None:
    pictures = moving(4, clear)
    path = tmp_path / name
    pictures[0].save(path, save_all=True, append_images=pictures[1:], **ANIMATIONS[name])
    truth = shown(path)
    roles = ["picture-2", "picture-3", "picture-4"]
    with open_slide(path) as slide:
        assert list(slide.associated) == roles
        assert [word for word in slide.warnings if word.endswith(f"--associated {','.join(roles)} writes them")]
        assert_shows(slide.scenes[0].read_block(), truth[0])
        for number in (3, 1, 2, 3):  # back too
            assert_shows(slide.associated[f"picture-{number + 1}"].read_block(), truth[number])


@pytest.mark.parametrize("mode", ["1", "L", "P", "I;16", "LA"])
def test_png_of_other_samples(tmp_path: Path, mode: str) -> None:
    pictures = [Image.fromarray(np.roll(BASE, 7 * i, 0)) for i in range(3)]
    grey = [np.asarray(picture.convert("L")) for picture in pictures]
    match mode:
        case "I;16":
            pictures = [Image.fromarray(values.astype("u2") * 200) for values in grey]
        case "P":
            first = pictures[0].quantize(20)
            pictures = [first, *(picture.quantize(palette=first) for picture in pictures[1:])]
        case _:
            pictures = [picture.convert(mode) for picture in pictures]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:])
    with open_slide(tmp_path / "a.png") as slide:
        for number in (2, 3):
            truth = np.asarray(pictures[number - 1].convert("RGB") if mode == "P" else pictures[number - 1])
            block = slide.associated[f"picture-{number}"].read_block()
            np.testing.assert_array_equal(block, truth)
            assert block.dtype == slide.scenes[0].dtype or mode == "1"


def apng(path: Path, frames: list[tuple[Picture, tuple[int, int], int, int]]) -> None:
    """Write RGBA pictures at (top, left), with what is done after each and whether it is laid over what is there."""
    height, width = frames[0][0].shape[:2]
    data = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)),
        chunk(b"acTL", struct.pack(">II", len(frames), 0)),
    ]
    sequence = 0
    for i, (picture, (top, left), after, over) in enumerate(frames):
        rows, columns = picture.shape[:2]
        data.append(chunk(b"fcTL", struct.pack(">5I2H2B", sequence, columns, rows, left, top, 1, 10, after, over)))
        packed = zlib.compress(b"".join(b"\0" + row.tobytes() for row in picture))
        data.append(chunk(b"fdAT", struct.pack(">I", sequence + 1) + packed) if i else chunk(b"IDAT", packed))
        sequence += 2 if i else 1
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(data) + chunk(b"IEND", b""))


def plain(height: int, width: int, *color: int) -> Picture:
    return np.broadcast_to(np.array(color, "u1"), (height, width, 4)).copy()


RED, HALF = (200, 0, 0, 255), (0, 100, 0, 128)
KEPT, CLEARED, RESTORED = 0, 1, 2


@pytest.mark.parametrize(
    ("after", "over", "second", "third"),
    [
        (KEPT, 1, (100, 50, 0, 255), (100, 50, 0, 255)),  # 200 * 127 / 255 is 99.6, 100 * 128 / 255 is 50.2
        (KEPT, 0, HALF, HALF),
        (CLEARED, 1, (100, 50, 0, 255), (0, 0, 0, 0)),
        (RESTORED, 1, (100, 50, 0, 255), RED),
        (RESTORED, 0, HALF, RED),
    ],
)
def test_what_is_left_on_the_canvas(tmp_path: Path, after: int, over: int, second: Any, third: Any) -> None:
    small = plain(2, 2, 1, 2, 3, 255)
    apng(
        tmp_path / "a.png",
        [(plain(10, 12, *RED), (0, 0), 0, 0), (plain(4, 5, *HALF), (3, 2), after, over), (small, (8, 0), 0, 1)],
    )
    truth = [plain(10, 12, *RED), plain(10, 12, *RED)]
    truth[0][3:7, 2:7], truth[1][3:7, 2:7], truth[1][8:10, 0:2] = second, third, small
    with open_slide(tmp_path / "a.png") as slide:
        for number, picture in enumerate(truth, 2):
            np.testing.assert_array_equal(slide.associated[f"picture-{number}"].read_block(), picture)


@pytest.mark.parametrize("turn", [1, 6])
def test_pictures_of_a_jpeg(tmp_path: Path, turn: int) -> None:
    path = tmp_path / "a.jpg"
    pictures = [Image.fromarray(np.roll(BASE, 7 * i, 0)) for i in range(3)]
    exif = Image.Exif()
    exif[274] = turn
    pictures[0].save(path, format="MPO", save_all=True, append_images=pictures[1:], quality=95, exif=exif)
    with Image.open(path) as file:
        truth = [np.asarray(ImageOps.exif_transpose(picture)) for picture in ImageSequence.Iterator(file)]
    with open_slide(path) as slide:
        for number in (2, 3):
            found = slide.associated[f"picture-{number}"].read_block()
            assert np.abs(found.astype(int) - truth[number - 1]).max() <= 2  # two builds of the decoder
        assert slide.scenes[0].rgb


def test_they_are_written_when_asked_for(tmp_path: Path) -> None:
    pictures = moving(3, clear=True)
    path = tmp_path / "a.webp"
    pictures[0].save(path, save_all=True, append_images=pictures[1:], lossless=True)
    truth = shown(path)
    convert(path, tmp_path / "a.zarr", Conversion(Options(**SMALL, associated=("picture-3",), alpha="keep")))
    with open_slide(tmp_path / "a.zarr") as slide:
        assert list(slide.associated) == ["picture-3"]
        assert_shows(slide.associated["picture-3"].read_block(), truth[2])
        assert_shows(slide.scenes[0].read_block(), truth[0])
    with pytest.raises(OptionError, match="strict"):
        convert(path, tmp_path / "b.zarr", Conversion(Options(**SMALL, associated=("picture-3",), privacy="strict")))


def test_a_picture_that_does_not_decode_is_left_out(tmp_path: Path) -> None:
    pictures = [Image.fromarray(np.roll(BASE, 7 * i, 0)) for i in range(2)]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:])
    data = bytearray((tmp_path / "a.png").read_bytes())
    data[data.index(b"fdAT") + 30 : data.index(b"fdAT") + 60] = b"\xaa" * 30
    (tmp_path / "a.png").write_bytes(data)
    done = convert(tmp_path / "a.png", tmp_path / "a.zarr", Conversion(Options(**SMALL, associated=("picture-2",))))
    assert [word for word in done.warnings if word.startswith("the picture-2 image cannot be read and is left out")]


@pytest.mark.parametrize("name", ["a.png", "a.webp"])
def test_an_animation_that_is_cut_short(tmp_path: Path, name: str) -> None:
    pictures = moving(4, clear=False)
    pictures[0].save(tmp_path / name, save_all=True, append_images=pictures[1:])
    data = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(data[:-40])
    with open_slide(tmp_path / name) as slide:
        assert list(slide.associated) == ["picture-2", "picture-3"]
        assert "the file ends within an animation, after 3 whole pictures; copy it again" in slide.warnings


def test_no_more_than_are_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(further, "_MOST", 5)
    pictures = moving(8, clear=False)
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:])
    with open_slide(tmp_path / "a.gif") as slide:
        assert list(slide.associated) == [f"picture-{i}" for i in range(2, 7)]
        assert any(
            word.endswith("7 further pictures: --associated picture-2 (to picture-6) writes them") for word in slide.warnings
        )
        assert "the last 2 pictures are left out: no more than 5 further ones are offered" in slide.warnings
