"""What a CZI holds beside the planes that are shown: masks of valid pixels, and planes that are stored only reduced."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import czifile
import numpy as np
import pytest

from drivers import open_slide
from drivers.errors import DriverError
from tests.made.czi import Block, Czi, cells, colours, document, make, reduced

pytestmark = pytest.mark.usefixtures("files_closed")
NOTE = b"<METADATA><AttachmentSchema><DataFormat>CHUNKCONTAINER</DataFormat></AttachmentSchema></METADATA>"
MASK = struct.pack("<IHH", 0xCBE3EA67, 0x5BFC, 0x492B) + bytes.fromhex("a16aece378031448")
TOLD = "call pixels not valid, which are shown as they are stored: --associated mask writes the masks"


def bits(height: int, width: int, seed: int) -> Any:
    """Valid or not."""
    return np.random.default_rng(seed).integers(0, 2, (height, width), dtype=np.uint8)


def attached(mask: Any, more: bytes = b"", spare: int = 0) -> bytes:
    """A container of chunks: one that is not known where there is `more`, then the mask, its rows `spare` bytes too long."""
    rows = np.pad(np.packbits(mask, axis=1), ((0, 0), (0, spare)), constant_values=0x55)
    data = struct.pack("<IIII", mask.shape[1], mask.shape[0], 0, rows.shape[1]) + rows.tobytes()
    other = bytes(range(16)) + struct.pack("<i", len(more)) + more if more else b""
    return other + MASK + struct.pack("<i", len(data)) + data


def by_czifile(path: Path) -> list[Any]:
    """The mask of every sub-block, as czifile reads them: valid or not."""
    with czifile.CziFile(path) as file:
        return [entry.read_segment_data(file).mask() for entry in file.subblock_directory]


@pytest.mark.parametrize("codec", ["none", "zstd1"])
@pytest.mark.parametrize("kind", ["Gray16", "Bgr24"])
def test_masks_are_told_and_can_be_asked_for(tmp_path: Path, kind: str, codec: str) -> None:
    """Two tiles that overlap, the second without a mask in the first channel."""
    image = cells(50, 61) if kind == "Gray16" else colours(50, 61)
    masks = {(0, 0): bits(50, 61, 1), (1, 0): bits(50, 61, 2), (1, 1): bits(50, 61, 3)}
    blocks = [
        Block(image, kind, codec, {"C": c, "M": m, "X": 40 * m, "Y": 3 * m}, note=NOTE)
        for c, m in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    for i, (place, mask) in enumerate(masks.items()):
        at = next(n for n, b in enumerate(blocks) if (b.at["C"], b.at["M"]) == place)
        blocks[at] = replace(blocks[at], attached=attached(mask, b"12345" if i else b"", spare=i))
    truth = np.zeros((2, 53, 101), np.uint8)
    for block in blocks:
        c, m = block.at["C"], block.at["M"]
        truth[c, 3 * m : 3 * m + 50, 40 * m : 40 * m + 61] = masks.get((c, m), np.uint8(1)) * np.uint8(255)
    path = make(tmp_path / "a.czi", Czi(blocks))
    with open_slide(path) as slide:
        assert slide.warnings == [f"scene 'a': masks of sub-blocks {TOLD}"]
        np.testing.assert_array_equal(slide.associated["mask"].read_block(), truth.transpose(1, 2, 0))


def test_the_mask_of_a_level_of_a_real_file_as_czifile_reads_it(shared_samples: Path) -> None:
    path = shared_samples / "czi" / "czitools-1_tileregion.czi"
    (truth,) = [mask for mask in by_czifile(path) if mask is not None]
    with open_slide(path) as slide:
        assert slide.warnings == [f"scene 'TR1': masks of sub-blocks of the level reduced by 2 {TOLD}"]
        found = slide.associated["mask"].read_block()
        assert found.shape == tuple(slide.scenes[0].levels[1].shape)[3:]
        np.testing.assert_array_equal(found == 255, np.asarray(truth).reshape(found.shape).astype(bool))


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (attached(bits(50, 60, 1)), "60x50 of 61x50"),
        (attached(bits(50, 61, 1)).replace(struct.pack("<IIII", 61, 50, 0, 8), struct.pack("<IIII", 61, 50, 1, 8)), "known"),
        (attached(bits(50, 61, 1)).replace(struct.pack("<IIII", 61, 50, 0, 8), struct.pack("<IIII", 61, 50, 0, 9)), "rows"),
        (MASK + struct.pack("<i", 3) + b"abc", "3 bytes"),
    ],
)
def test_a_damaged_mask_costs_the_mask(tmp_path: Path, data: bytes, said: str) -> None:
    block = Block(cells(50, 61), "Gray16", "none", {"C": 0}, note=NOTE, attached=data)
    with open_slide(make(tmp_path / "a.czi", Czi([block]))) as slide:
        assert TOLD in slide.warnings[0]
        np.testing.assert_array_equal(slide.scenes[0].read_block(), cells(50, 61)[..., 0])
        with pytest.raises(DriverError, match=said):
            slide.associated["mask"].read_block()


@pytest.mark.parametrize("data", [b"abc", b"x" * 300, bytes(range(16)) + struct.pack("<I", 4) + b"abcd"])
def test_attachments_that_are_not_known_are_told(tmp_path: Path, data: bytes) -> None:
    block = Block(cells(50, 61), "Gray16", "none", {"C": 0}, attached=data)
    with open_slide(make(tmp_path / "a.czi", Czi([block]))) as slide:
        assert slide.warnings == ["scene 'a': what sub-blocks have attached is of no known kind and is left out"]
        assert not slide.associated


@pytest.mark.parametrize("axis", ["T", "C", "Z"])
def test_planes_that_are_stored_only_reduced(tmp_path: Path, axis: str) -> None:
    """The first in full, the second by 2 and by 4, the third by 4: of no pixel at full resolution, and not lost."""
    images = [cells(240, 200, seed) for seed in range(3)]
    kept = {(0, 1), (0, 2), (1, 2), (1, 4), (2, 4)}
    blocks = [
        Block(image if factor == 1 else reduced(image, factor), "Gray16", "none", {"C": 0} | {axis: n}, size=(240, 200))
        for n, image in enumerate(images)
        for factor in (1, 2, 4)
        if (n, factor) in kept
    ]
    with open_slide(make(tmp_path / "a.czi", Czi(blocks, document()))) as slide:
        (scene,) = slide.scenes
        assert [tuple(level.shape)[3:] for level in scene.levels] == [(240, 200), (120, 100)]
        np.testing.assert_array_equal(scene.read_block(), images[0][..., 0])
        assert [word for word in slide.warnings if "reduced by" in word and "associated" in word] == [
            f"scene 'a': 1 planes are stored reduced by {n} and not in full: --associated reduced-{n} writes them"
            for n in (2, 4)
        ]
        assert sorted(slide.associated) == ["reduced-2", "reduced-4"]
        for factor, n in ((2, 1), (4, 2)):
            found = slide.associated[f"reduced-{factor}"]
            np.testing.assert_array_equal(found.read_block(), reduced(images[n], factor)[..., 0])
            assert found.pixel_size.x_um == pytest.approx(0.325 * factor)
