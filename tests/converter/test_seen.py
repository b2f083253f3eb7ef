"""Display windows: quantiles of the coarsest level, by numpy, whatever the order in which its parts come."""

import numpy as np
import pytest

from converter.writing.seen import SeenWindow
from drivers.geometry import Box, Shape

RNG = np.random.default_rng(5)
DATA = {
    "uint16": RNG.poisson(300, (64, 80)).astype(np.uint16),
    "int16": (RNG.normal(-100, 40, (64, 80))).astype(np.int16),
    "float32": RNG.normal(0.5, 0.01, (64, 80)).astype(np.float32),
    "negative": RNG.normal(-3e-5, 1e-6, (64, 80)).astype(np.float32),
    "across 0": RNG.normal(0, 1, (64, 80)).astype(np.float64),
    "large": RNG.uniform(1e9, 4e9, (64, 80)).astype(np.uint32),
    "int64": RNG.integers(-(2**60), 2**60, (64, 80)),
    "float16": RNG.uniform(0, 1, (64, 80)).astype(np.float16),
}


def seen(data: np.ndarray, *, order: int = 1, channels: int = 1) -> tuple[float, float, float, float]:
    window = SeenWindow()
    window.begin(channels)
    for top in list(range(0, data.shape[0], 16))[::order]:
        part = data[top : top + 16]
        box = Box(Shape(0, channels - 1, 0, top, 0), Shape(1, channels, 1, top + 16, data.shape[1]))
        window.add(box, part[None, None, None])
    found = window.seen()
    return found.low[-1], found.high[-1], found.start[-1], found.end[-1]


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("channels", [1, 100])
def test_quantiles_are_those_of_numpy(kind: str, channels: int) -> None:
    data = DATA[kind]
    low, high, start, end = seen(data, channels=channels)
    assert (low, high) == (data.min().item(), data.max().item())  # of 64-bit integers exactly: floats have 53 bits
    wanted = np.quantile(data.astype(np.float64), [0.001, 0.999])
    exact = data.dtype.itemsize == 2 and data.dtype.kind in "iu" and channels == 1
    slack = 1.0 if exact else max(np.abs(wanted)) * (0.01 if channels == 1 else 0.3) + (0 if data.dtype.kind == "f" else 64)
    assert low <= start <= end <= high
    assert abs(start - wanted[0]) <= slack + (high - low) * 0.06
    assert abs(end - wanted[1]) <= slack + (high - low) * 0.06
    assert seen(data, order=-1, channels=channels) == (low, high, start, end)


def test_hot_pixels_do_not_decide() -> None:
    data = DATA["uint16"].copy()
    data[3, 4] = 65535
    _, high, _, end = seen(data)
    assert high == 65535
    assert end < 500


@pytest.mark.parametrize("value", [7, 0, 65535])
def test_what_is_all_one_value(value: int) -> None:
    assert seen(np.full((32, 40), value, np.uint16)) == (value,) * 4


def test_what_is_no_number_does_not_count() -> None:
    data = DATA["float32"].copy()
    clean = seen(data)
    data[:, 0] = [np.nan, np.inf, -np.inf, 0.5] * 16
    low, high, start, end = seen(data)
    assert np.isfinite([low, high, start, end]).all()
    assert abs(end - clean[3]) < 0.02
    assert seen(np.full((32, 40), np.nan, np.float32)) == (0, 0, 0, 0)
    assert all(np.isfinite(seen(np.full((32, 40), 1e300, np.float64))))


def test_of_8_bits_the_range_counts() -> None:
    data = np.arange(16 * 16, dtype=np.uint8).reshape(16, 16)
    assert seen(data) == (0, 255, 0, 255)
