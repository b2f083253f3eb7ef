"""Fixtures of the service's passes, called by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.made.svs import MADE as SVS

Made = Callable[[str, Callable[[Path], object]], Path]


@pytest.fixture
def slide(made: Made) -> Path:
    """A small slide."""
    name, maker, _ = SVS[0]
    return made(name, maker)
