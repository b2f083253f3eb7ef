"""A disk that fails at any one call: the conversion ends with the disk's reason, does not hang, and loses nothing."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from converter.checking.verify import verify_store
from converter.errors import OutputFailed
from drivers.model import Slide
from tests.support.object_stores import slide_in
from tests.support.stores import converted

CODES = (errno.EDQUOT, errno.EIO, errno.ENOSPC, errno.ESTALE)
CALLS = ("open", "mkdir", "writev", "pwritev", "fsync", "close", "rename")
KINDS: dict[str, tuple[str, dict[str, Any]]] = {
    "shards": ("x.zarr", {"chunk": 128, "shard": 256}),
    "chunks": ("x.zarr", {"chunk": 128, "shard": 128}),
    "0.4": ("x.zarr", {"chunk": 128, "ome_zarr": "0.4"}),
    "zip": ("x.ozx", {"chunk": 128, "shard": 256}),
}


@dataclass
class Disk:
    """Fails once: at call `number` to what lies below `folder`."""

    folder: Path
    number: int
    code: int
    failed: str = ""
    _seen: int = 0
    _real: dict[str, Callable[..., Any]] = field(default_factory=dict[str, Callable[..., Any]])

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        for name in CALLS:
            self._real[name] = getattr(os, name)
            patch.setattr(os, name, self._call(name))

    def _call(self, name: str) -> Callable[..., Any]:
        def call(what: Any, *given: Any, **more: Any) -> Any:
            fails = self._is_below(what) and not _reads(name, what, given) and self._counts()
            if fails and name == "close":
                self._real[name](what)  # the descriptor is gone all the same: close(2)
            if fails:
                self.failed = name
                raise OSError(self.code, os.strerror(self.code))
            return self._real[name](what, *given, **more)

        return call

    def _counts(self) -> bool:
        self._seen += 1
        return self._seen == self.number

    def _is_below(self, what: Any) -> bool:
        try:
            path = Path(f"/proc/self/fd/{what}").readlink() if isinstance(what, int) else Path(os.fsdecode(what))
        except (OSError, TypeError):
            return False
        return path == self.folder or self.folder in path.parents


def _reads(name: str, what: Any, given: tuple[Any, ...]) -> bool:
    flags = given[0] if name == "open" else fcntl.fcntl(what, fcntl.F_GETFL) if name == "close" else os.O_WRONLY
    return not flags & (os.O_WRONLY | os.O_RDWR)


def failing_everywhere(slide: Slide, out: Path, kind: str, step: int) -> set[str]:
    """Convert over an older store with the first call failing, then with the one `step` later, ... Which calls failed."""
    name, options = KINDS[kind]
    older, seen, number = slide_in(slide.path.parent, 2), set[str](), 1
    while True:
        target = out / f"{number}-{name}"
        converted(older, target, workers=1, **options)
        disk = Disk(out, number, CODES[number % len(CODES)])
        with pytest.MonkeyPatch.context() as patch:
            disk.patch(patch)
            try:
                converted(slide, target, exists="replace", workers=1, **options)
                error = None
            except OutputFailed as caught:
                error = caught
        if not disk.failed:
            return seen
        seen.add(disk.failed)
        said = (number, disk.failed, error)
        assert error is None or error.errno == disk.code, said
        assert verify_store(target, slide=older).ok or verify_store(target, slide=slide).ok, said
        if error is None:
            assert verify_store(target, slide=slide, depth="full").ok, said
        left = {place.name for place in out.iterdir()} - {f"{n}-{name}" for n in range(1, number + 1, step)}
        assert left <= {".stage"}, said
        assert not left or error is not None or disk.failed in ("rename", "open"), said
        number += step


@pytest.mark.parametrize("kind", ["shards", "zip"])
def test_no_failing_call_loses_anything(tmp_path: Path, kind: str) -> None:
    (tmp_path / "out").mkdir()
    assert failing_everywhere(slide_in(tmp_path / "in"), tmp_path / "out", kind, 11)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_no_failing_call_of_all_loses_anything(tmp_path: Path, kind: str) -> None:
    (tmp_path / "out").mkdir()
    write = "pwritev" if kind == "zip" else "writev"
    found = failing_everywhere(slide_in(tmp_path / "in"), tmp_path / "out", kind, 1)
    assert found == {"open", "mkdir", write, "fsync", "close", "rename"}
