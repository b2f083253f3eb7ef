"""The caller's fence, which may be a lock that others wait for: nothing happens under it but a rename."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from converter.convert import Conversion, convert
from converter.objects.client import Client
from converter.options import Options
from drivers.location import Location, Url
from drivers.model import Slide
from tests.support.object_server import ObjectServer

pytest_plugins = ["tests.support.object_server", "tests.support.object_stores"]


@dataclass
class Fence:
    """A fence, and what was done while it was held."""

    held: bool = False
    entered: int = 0
    done: list[str] = field(default_factory=list[str])

    @contextmanager
    def enter(self) -> Generator[None]:
        self.held, self.entered = True, self.entered + 1
        yield
        self.held = False

    def told[T](self, name: str, work: Callable[..., T]) -> Callable[..., T]:
        """`work`, noted where it is done while the fence is held."""

        def noted(*given: Any, **more: Any) -> T:
            if self.held:
                self.done.append(name)
            return work(*given, **more)

        return noted


def conversion(slide: Slide, target: Location, fence: Fence, patch: pytest.MonkeyPatch) -> None:
    patch.setattr("converter.pace.open_slide", lambda _: slide)
    for module, name in ((os, "fsync"), (os, "unlink"), (os, "rmdir"), (shutil, "rmtree"), (Client, "_once")):
        patch.setattr(module, name, fence.told(name, getattr(module, name)))
    convert(slide.path, target, Conversion(Options(chunk=64, shard=64, exists="replace"), fence=fence.enter))


@pytest.mark.parametrize("name", ["x.zarr", "x.ozx"])
def test_nothing_slow_is_done_under_the_fence(
    slide: Slide, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for _ in ("new", "replaced"):
        fence = Fence()
        with monkeypatch.context() as patch:
            conversion(slide, tmp_path / "out" / name, fence, patch)
        assert (fence.entered, fence.done) == (1, [])


def test_no_request_to_an_object_store_is_made_under_the_fence(
    object_server: ObjectServer, slide: Slide, target: Url, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert object_server.url
    for times in (1, 2):
        fence = Fence()
        with monkeypatch.context() as patch:
            conversion(slide, target, fence, patch)
        assert (fence.entered, fence.done) == (times, [])
