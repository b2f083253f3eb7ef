"""ND2: pixels against the nd2 package, loops as axes and scenes, metadata, and what must be refused."""

from __future__ import annotations

import struct
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import nd2 as nikon
import numpy as np
import pytest

from drivers import open_slide, paint
from drivers.errors import Damaged, DriverError, Incomplete, LimitExceeded, Unsupported
from drivers.geometry import Box
from drivers.model import Pixels, Scene
from tests.made.nd2 import COLOUR, DEFLATED, STACK, Nd2, make_nd2, numbers, place_loop, time_loop, z_loop

pytestmark = pytest.mark.usefixtures("files_closed")


def whole(scene: Scene) -> Pixels:
    """All of level 0."""
    return paint(scene.levels[0], Box.of(scene.shape))


def channels_first(frames: Pixels) -> Pixels:
    """(frame, component, height, width)."""
    return frames.transpose(0, 3, 1, 2)


# -- pixels --


def test_stack(tmp_path: Path) -> None:
    path = make_nd2(tmp_path / "stack.nd2", STACK)
    with open_slide(path) as slide:
        ours = whole(slide.scenes[0])
    np.testing.assert_array_equal(ours, channels_first(STACK.frames).reshape(2, 3, 2, 33, 47).transpose(0, 2, 1, 3, 4))
    np.testing.assert_array_equal(ours.transpose(0, 2, 1, 3, 4), nikon.imread(path))


def test_colour_is_stored_blue_first(tmp_path: Path) -> None:
    with open_slide(make_nd2(tmp_path / "colour.nd2", COLOUR)) as slide:
        (scene,) = slide.scenes
        assert scene.rgb
        assert scene.levels[0].interleaved
        np.testing.assert_array_equal(whole(scene)[:, :, 0], channels_first(COLOUR.frames)[:, ::-1])


def test_deflated(tmp_path: Path) -> None:
    path = make_nd2(tmp_path / "deflated.nd2", DEFLATED)
    with open_slide(path) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0])[:, :, 0], channels_first(DEFLATED.frames))
        np.testing.assert_array_equal(whole(slide.scenes[0])[:, 0, 0], nikon.imread(path))


@pytest.mark.parametrize("made", [STACK, COLOUR, Nd2(numbers(1, 40, 50, 1, dtype="f4"), bits=32)])
def test_bands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: Nd2) -> None:
    path = make_nd2(tmp_path / "bands.nd2", made)
    with open_slide(path) as slide:
        expected = whole(slide.scenes[0])
    monkeypatch.setattr("drivers.nikon.frames.BLOCK_BYTES", 1000)
    with open_slide(path) as slide:
        assert slide.scenes[0].levels[0].tile.y < 10
        np.testing.assert_array_equal(whole(slide.scenes[0]), expected)


def test_positions_are_scenes(tmp_path: Path) -> None:
    loops = [time_loop(2), place_loop("A1", "B2", "A1"), z_loop(2)]
    made = Nd2(numbers(12, 9, 11, 1), loops)
    with open_slide(make_nd2(tmp_path / "places.nd2", made)) as slide:
        assert [scene.name for scene in slide.scenes] == ["A1 (0)", "B2", "A1 (2)"]
        frames = made.frames.reshape(2, 3, 2, 9, 11)
        for i, scene in enumerate(slide.scenes):
            np.testing.assert_array_equal(whole(scene)[:, 0], frames[:, i])


def test_custom_loops_are_folded_into_time(tmp_path: Path) -> None:
    made = Nd2(numbers(6, 9, 11, 1), [{"type": 7, "uiCount": 3}, time_loop(2)])
    with open_slide(make_nd2(tmp_path / "custom.nd2", made)) as slide:
        np.testing.assert_array_equal(whole(slide.scenes[0])[:, 0, 0], made.frames[..., 0])


def test_frames_that_were_never_written_are_void(tmp_path: Path) -> None:
    path = make_nd2(tmp_path / "stopped.nd2", replace(STACK, missing=(4, 5)))
    with open_slide(path) as slide:
        pixels = whole(slide.scenes[0])
        assert "never written" in slide.warnings[0]
        assert len(slide.scenes[0].levels[0].index.gaps()) == 2
    assert not pixels[1, :, 1:].any()
    np.testing.assert_array_equal(pixels[1, :, 0], STACK.frames[3].transpose(2, 0, 1))


# -- metadata --


def test_metadata(tmp_path: Path) -> None:
    with open_slide(make_nd2(tmp_path / "meta.nd2", STACK)) as slide:
        (scene,) = slide.scenes
    size, facts = scene.pixel_size, scene.facts
    assert (scene.name, size.x_um, size.y_um, size.z_um) == ("meta", 0.325, 0.325, 0.5)
    assert (scene.magnification, scene.time_step_s, scene.significant_bits) == (20.0, 1.5, 12)
    assert [c.name for c in scene.channels] == ["Ch 0", "Ch 1"]
    assert [c.color for c in scene.channels] == ["FF0007", "000107"]
    assert [c.exposure_s for c in scene.channels] == [0.02, 1.5]
    assert [(c.excitation_nm, c.emission_nm) for c in scene.channels] == [(488, 525)] * 2
    assert (facts.objective_model, facts.objective_na, facts.software) == ("Plan Apo 20x", 0.75, "NIS-Elements 5")
    assert facts.acquired == datetime(2025, 3, 8, tzinfo=UTC)


def test_unknown_stays_unknown(tmp_path: Path) -> None:
    made = Nd2(numbers(1, 9, 11, 1), calibrated=False, bits=16)
    with open_slide(make_nd2(tmp_path / "bare.nd2", made)) as slide:
        (scene,) = slide.scenes
    assert (scene.pixel_size.x_um, scene.pixel_size.z_um, scene.magnification, scene.time_step_s) == (None,) * 4
    assert (scene.significant_bits, scene.facts.objective_na, scene.facts.objective_model) == (None,) * 3
    assert scene.channels[0].exposure_s is None


def test_metadata_that_nd2_stumbles_over_cost_a_warning(tmp_path: Path) -> None:
    path = make_nd2(tmp_path / "probe.nd2", replace(STACK, probe=False))
    with pytest.raises(UnboundLocalError), nikon.ND2File(path) as file:
        _ = file.metadata
    with open_slide(path) as slide:
        assert "cannot be read" in slide.warnings[0]
        np.testing.assert_array_equal(whole(slide.scenes[0])[1, :, 2], STACK.frames[5].transpose(2, 0, 1))


# -- damage --


@pytest.mark.parametrize(
    ("claims", "error"),
    [
        ({"uiWidth": 0}, DriverError),
        ({"uiHeight": 0}, Damaged),
        ({"uiWidth": 2**31}, DriverError),
        ({"uiHeight": 2**32 - 1, "uiWidth": 48}, Damaged),
        ({"uiComp": 0}, DriverError),
        ({"uiComp": 100_000}, DriverError),
        ({"uiBpcInMemory": 24}, DriverError),
        ({"eCompression": 1}, Unsupported),
    ],
)
def test_claims_are_checked_when_the_file_is_opened(tmp_path: Path, claims: dict[str, int], error: type[Exception]) -> None:
    path = make_nd2(tmp_path / "bad.nd2", replace(STACK, claims=claims))
    with pytest.raises(error, match=r"^bad\.nd2: ") as caught:
        open_slide(path)
    assert "\n" not in str(caught.value)


def test_more_frames_than_can_be(tmp_path: Path) -> None:
    loops = [time_loop(2**31), z_loop(2**31)]
    with pytest.raises(LimitExceeded, match=r"^many\.nd2: "):
        open_slide(make_nd2(tmp_path / "many.nd2", replace(STACK, loops=loops)))


def test_taller_frames_than_are_stored(tmp_path: Path) -> None:
    path = make_nd2(tmp_path / "tall.nd2", replace(STACK, claims={"uiHeight": 4000}))
    with open_slide(path) as slide, pytest.raises(Damaged, match=r"^tall\.nd2: frame 0: "):
        whole(slide.scenes[0])


@pytest.mark.parametrize("part", [0.0001, 0.01, 0.5, 0.9, 0.999])
def test_truncated_files(tmp_path: Path, part: float) -> None:
    path = make_nd2(tmp_path / "short.nd2", STACK)
    path.write_bytes(path.read_bytes()[: max(60, int(part * path.stat().st_size))])
    with pytest.raises(DriverError, match=r"^short\.nd2: "):
        open_slide(path)


def test_a_file_without_its_map_may_still_be_written(tmp_path: Path) -> None:
    path = make_nd2(tmp_path / "writing.nd2", STACK)
    path.write_bytes(path.read_bytes()[:-41])
    with pytest.raises(Incomplete):
        open_slide(path)


@pytest.mark.parametrize("at", [0, 2**40, 2**63])
def test_a_map_elsewhere(tmp_path: Path, at: int) -> None:
    path = make_nd2(tmp_path / "map.nd2", STACK)
    path.write_bytes(path.read_bytes()[:-8] + struct.pack("<Q", at))
    with pytest.raises(Damaged, match=r"^map\.nd2: "):
        open_slide(path)


def test_a_damaged_frame_raises_when_it_is_read(tmp_path: Path) -> None:
    path = make_nd2(tmp_path / "frame.nd2", DEFLATED)
    data = bytearray(path.read_bytes())
    at = data.index(b"ImageDataSeq|1!") + 4072 + 8
    data[at : at + 40] = bytes(40)
    path.write_bytes(data)
    with open_slide(path) as slide, pytest.raises(Damaged, match=r"^frame\.nd2: frame 1: "):
        whole(slide.scenes[0])


def test_old_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "old.nd2"
    path.write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100))
    with pytest.raises(Unsupported, match=r"^old\.nd2: .*NIS-Elements"):
        open_slide(path)


# -- real files --


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("arcadia-example-multichannel", (1, 4, 1, 256, 256)),
        ("arcadia-example-zstack", (1, 1, 11, 128, 128)),
        ("pims-cluster", (3, 2, 10, 31, 38)),
    ],
)
def test_real_files_against_nd2(shared_samples: Path, name: str, shape: tuple[int, ...]) -> None:
    path = shared_samples / "nd2" / f"{name}.nd2"
    with open_slide(path) as slide:
        (scene,) = slide.scenes
        assert tuple(scene.shape) == shape
        np.testing.assert_array_equal(whole(scene).transpose(0, 2, 1, 3, 4).squeeze(), nikon.imread(path))


def test_real_metadata(shared_samples: Path) -> None:
    with open_slide(shared_samples / "nd2" / "pims-cluster.nd2") as slide:
        (scene,) = slide.scenes
    assert (scene.pixel_size.x_um, scene.pixel_size.z_um) == (pytest.approx(0.167809, rel=1e-5), 0.5)
    assert (scene.magnification, scene.significant_bits, scene.time_step_s) == (
        60.0,
        12,
        10.6475472,
    )  # of the frames: the period of the loop is 0
    assert [c.name for c in scene.channels] == ["5-FAM/pH 9.0", "FM 4-64/2% CHAPS"]
    assert [(c.excitation_nm, c.emission_nm) for c in scene.channels] == [(488, 525), (561, 700)]
    assert scene.facts.acquired is not None
    assert scene.facts.acquired.date().isoformat() == "2014-06-18"
