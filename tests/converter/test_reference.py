"""At full depth a store is also read by ome-zarr-py, where that is installed; what it sees must be what we see."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.checking import reference
from converter.checking.verify import verify_store
from tests.made.svs import Svs, make_svs
from tests.support.written import converted

pytest.importorskip("ome_zarr", reason="ome-zarr-py is not installed")


@pytest.fixture(scope="module", params=["0.4", "0.5"])
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reference")
    slide = make_svs(folder / "slide.svs", Svs(size=(600, 700)))
    return converted(slide, folder, ome_zarr=request.param)


def findings(store: Path) -> list[str]:
    return [v for v in verify_store(store, depth="full").violations if "ome-zarr-py" in v]


def test_a_store_of_ours_is_what_the_reference_reads(whole: Path) -> None:
    assert verify_store(whole, depth="full").ok
    assert verify_store(whole, depth="full").checks > verify_store(whole, depth="quick").checks + 8


def test_quick_does_not_ask_the_reference(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "_nodes", lambda *_: pytest.fail("asked"))
    assert verify_store(whole, depth="quick").ok


def test_where_it_is_not_installed_nothing_is_missed(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "has_reference", lambda: False)
    monkeypatch.setattr(reference, "_nodes", lambda *_: pytest.fail("asked"))
    assert verify_store(whole, depth="full").ok


class Seen:
    """A node as ome-zarr-py hands it out, changed."""

    def __init__(self, node: Any, **changed: Any) -> None:
        self.specs, self.zarr = node.specs, node.zarr
        self.data = changed.get("data", node.data)
        self.metadata = {**node.metadata, **changed.get("metadata", {})}


CHANGES: dict[str, Callable[[Any], Any]] = {
    "levels": lambda node: Seen(node, data=node.data[:-1]),
    "shape": lambda node: Seen(node, data=[node.data[0][:, 1:], *node.data[1:]]),
    "dtype": lambda node: Seen(node, data=[node.data[0].astype("uint16"), *node.data[1:]]),
    "pixels": lambda node: Seen(node, data=[*node.data[:-1], node.data[-1] ^ np.uint8(1)]),
    "axes": lambda node: Seen(node, metadata={"axes": [{"name": n} for n in "zyx"]}),
    "scales": lambda node: Seen(node, metadata={"coordinateTransformations": []}),
    "channel names": lambda node: Seen(node, metadata={"channel_names": ["Blue", "Green", "Red"]}),
}


@pytest.mark.parametrize("what", CHANGES)
def test_what_the_reference_sees_otherwise_is_a_finding(whole: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    asked = reference._nodes
    monkeypatch.setattr(reference, "_nodes", lambda *about: [CHANGES[what](node) for node in asked(*about)])
    assert any(f"reads other {what}" in found for found in findings(whole)), findings(whole)


def test_labels_that_are_stated_and_not_there_are_a_finding(whole: Path, tmp_path: Path) -> None:
    store = shutil.copytree(whole, tmp_path / "x.ome.zarr")
    labels = store / "labels"
    labels.mkdir()
    if (store / "zarr.json").exists():
        document = {"zarr_format": 3, "node_type": "group", "attributes": {"ome": {"version": "0.5", "labels": ["nuclei"]}}}
        (labels / "zarr.json").write_text(json.dumps(document))
    else:
        (labels / ".zgroup").write_text('{"zarr_format": 2}')
        (labels / ".zattrs").write_text('{"labels": ["nuclei"]}')
    assert any("labels" in found or "cannot read" in found for found in findings(store)), findings(store)
