"""Replacing: what comes to the target, or into the old store, while a conversion runs is kept, whenever it comes."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from converter.checking.verify import verify_store
from converter.convert import Conversion, convert
from converter.errors import OutputFailed
from converter.options import Options
from converter.publishing import publish as publish_module
from converter.publishing.identity import identity
from converter.publishing.publish import LocalPublishing, publish
from converter.publishing.stage import OWNER, STAGES, collect, open_stage
from converter.receipt import Receipt
from drivers.model import Slide
from tests.support.object_stores import slide_in
from tests.support.stores import SMALL


@pytest.fixture
def slide(tmp_path: Path) -> Slide:
    return slide_in(tmp_path / "in")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def replaced(slide: Slide, target: Path, meanwhile: Callable[[], object], fence: Any = None) -> Receipt:
    """Convert over what lies at the target; `meanwhile` is called after the stage was made."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("converter.pace.open_slide", lambda _: slide)

        def step(name: str, work: Callable[[], Any]) -> Any:
            if name == "verify":
                meanwhile()
            return work()

        conversion = Conversion(Options(**{**SMALL, "exists": "replace"}), step=step)  # type: ignore[arg-type]
        if fence is not None:
            conversion.fence = fence
        return convert(slide.path, target, conversion)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def written(store: Path, what: str) -> Path:
    """Somebody writes into a store; what they wrote."""
    place = store / what
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("theirs")
    return place


def changed(store: Path, what: str) -> Path:
    place = store / what
    with place.open("r+b") as file:
        file.write(b"theirs")
    return place


INTO = {
    "a label": (written, "labels/nuclei/zarr.json"),
    "a file at its root": (written, "notes.txt"),
    "a file far below": (written, "0/c/deep/notes.txt"),
    "a chunk that was there": (changed, "OME/METADATA.ome.xml"),
}


@pytest.mark.parametrize("case", INTO)
def test_what_is_written_into_the_old_store_meanwhile_is_kept(slide: Slide, out: Path, case: str) -> None:
    how, what = INTO[case]
    target = out / "x.zarr"
    replaced(slide, target, lambda: None)
    assert os.listdir(out) == ["x.zarr"]  # noqa: PTH208 - the hidden ones count
    receipt = replaced(slide, target, lambda: how(target, what))
    aside = next(out.glob("x.zarr.aside-*"))
    assert (aside / what).read_bytes().startswith(b"theirs")
    assert [warning for warning in receipt.warnings if str(aside) in warning]
    assert verify_store(target, slide=slide, depth="full").ok
    replaced(slide, target, lambda: None)
    assert sorted(os.listdir(out)) == ["x.zarr", aside.name]  # noqa: PTH208


class Away(Exception):
    """The ledger goes away at its commit."""


def test_a_fence_that_fails_after_the_exchange_loses_nothing(slide: Slide, out: Path) -> None:
    """The store is published, and nobody comes to look at what was taken out for it."""
    target = out / "x.zarr"

    @contextmanager
    def fence() -> Generator[None]:
        yield
        raise Away

    for what in ("the old store", "theirs"):
        replaced(slide, target, lambda: None)
        with pytest.raises(Away):
            replaced(slide, target, (lambda: written(target, "notes.txt")) if what == "theirs" else lambda: None, fence)
        assert verify_store(target, slide=slide).ok
        stage = next((out / STAGES).iterdir())
        facts = json.loads((stage / OWNER).read_text())
        (stage / OWNER).write_text(json.dumps(facts | {"started": "1"}))
        assert collect(out / STAGES) == ([stage] if what == "the old store" else [])
        assert (stage / "store" / "notes.txt").exists() is (what == "theirs")


def test_a_file_that_comes_at_the_last_moment_is_not_replaced(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file system knows no rename that replaces nothing: a plain one would replace a file silently."""
    monkeypatch.setattr("converter.publishing.publish._rename", lambda *_: False)
    for replace in (False, True):
        stage, target = open_stage(out / "x.ozx"), out / f"{replace}.ozx"
        stage.store.rmdir()
        stage.store.write_text("ours")
        publishing = LocalPublishing(stage, target, replace)
        really, looks = os.path.lexists, list[bool]()

        def late(path: Path, target: Path = target, looks: list[bool] = looks, really: Any = really) -> bool:
            there = really(path)
            if path == target and len(looks) == 1:
                target.write_text("theirs")  # right after the last look
            looks.append(there)
            return there

        with monkeypatch.context() as patch:
            patch.setattr("os.path.lexists", late)
            with pytest.raises(OSError, match=r"exists already|no Zarr store"):
                publishing.publish()
        assert target.read_text() == "theirs"
        stage.discard()


def test_a_folder_that_comes_between_two_renames_is_not_replaced(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = out / "x.zarr"
    first, stage = open_stage(target), open_stage(target)
    for each in (first, stage):
        each.write("zarr.json", [b"{}"])
    publish(first, target, replace=True)
    first.discard()
    really = publish_module._moved

    def moved(store: Path, to: Path) -> bool:
        if store == stage.store:
            written(target, "notes.txt")
        return really(store, to)

    monkeypatch.setattr(publish_module, "_rename", lambda *_: False)
    monkeypatch.setattr(publish_module, "_moved", moved)
    with pytest.raises(OutputFailed, match=r"is x\.zarr\.aside-\w+ now"):
        publish(stage, target, replace=True)
    stage.discard()
    assert names(target) == ["notes.txt"]
    assert names(next(out.glob("x.zarr.aside-*"))) == ["zarr.json"]


def test_an_owner_is_never_half_written(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = open_stage(out / "x.zarr")
    before = (stage.folder / OWNER).read_bytes()

    def half(place: Path, text: str) -> None:
        with place.open("w") as file:
            file.write(text[:5])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", half)
    with pytest.raises(OutputFailed, match="space"):
        stage.own(identity(stage.store), None, 0)
    assert (stage.folder / OWNER).read_bytes() == before
    monkeypatch.undo()
    stage.discard()
    assert names(out) == []
