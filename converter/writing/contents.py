"""What a store holds beside its arrays: groups, OME-XML, ICC profiles, manifest, and the root's metadata last."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from converter.codec import parse_codec
from converter.manifest import MANIFEST, manifest_bytes
from converter.planning.image import ImagePlan
from converter.planning.slide import SlidePlan
from converter.publishing.stage import Stage
from converter.receipt import KEY, SEAL, Receipt, seal
from converter.version import product_version
from converter.writing import ngff
from converter.writing.icc import icc_description
from converter.writing.omexml import ome_xml
from converter.writing.run import Work
from converter.writing.sharding import joined
from drivers.model import Scene, Slide


def scenes_of(slide: Slide, plan: SlidePlan) -> Iterator[tuple[Scene, ImagePlan]]:
    """Each planned image with its scene or associated image."""
    for image in plan.images:
        yield (slide.associated[image.name] if image.index is None else slide.scenes[image.index]), image


def write_image(scene: Scene, image: ImagePlan, work: Work, plan: SlidePlan) -> None:
    """Metadata of an image's arrays, and of its group unless that is the root; `work` has just written its pixels."""
    stage = work.stage
    codec = parse_codec(work.options.codec)
    for level in image.levels:
        for name, data in ngff.array_files(plan.ome_zarr, level, image, codec).items():
            stage.held[joined(image.group, level.path, name)] = data
    making = ngff.Making(plan.ome_zarr, work.options.downsample, product_version())
    attributes = ngff.image_attributes(scene, image, work.window.seen(), making)
    if image.group:
        for name, data in ngff.group_files(plan.ome_zarr, attributes, {}).items():
            stage.held[joined(image.group, name)] = data
    else:
        plan.root_attributes.update(attributes)


def write_ome_xml(slide: Slide, plan: SlidePlan, stage: Stage) -> list[str]:
    """OME-XML of the scenes; the vendor's raw text too where privacy is "keep". Returns what policy left out."""
    privacy = plan.options.privacy
    scenes = [(slide.scenes[i.index], i.name) for i in plan.images if i.index is not None]
    document = ome_xml(scenes, privacy, f"slidemill {product_version()}")
    stage.write("OME/METADATA.ome.xml", [document.text.encode()], early=False)
    if privacy == "keep" and slide.raw_metadata:
        stage.write("OME/raw/metadata.txt", [slide.raw_metadata.encode("utf-8", "replace")], early=False)
    return document.removed


def write_groups(plan: SlidePlan, stage: Stage) -> None:
    """Groups that hold no image."""
    groups: dict[str, dict[str, Any]] = {}
    if plan.layout == "bioformats2raw":
        groups["OME"] = {"series": [i.group for i in plan.images if i.index is not None]}
        plan.root_attributes.update({"bioformats2raw.layout": 3})
    if any(image.index is None for image in plan.images):
        groups["associated"] = {}
    for group, attributes in groups.items():
        for name, data in ngff.group_files(plan.ome_zarr, attributes, {}).items():
            stage.held[joined(group, name)] = data


def write_icc(slide: Slide, plan: SlidePlan, stage: Stage) -> Mapping[str, Any] | None:
    """Profiles as stored, one file per scene that has one. Returns the attribute that describes them."""
    found: dict[str, Any] = {}
    for image in plan.images:
        profile = slide.scenes[image.index].icc if image.index is not None else None
        if profile is None:
            continue
        entry = stage.write(f"OME/icc/{image.index}.icc", [profile], early=False)
        found[str(image.index)] = {
            "file": entry.path,
            "size": entry.size,
            "sha256": entry.sha256,
            "description": icc_description(profile),
            "applied": False,
        }
    return found or None


def write_manifest(stage: Stage) -> str:
    """The metadata that was held, then the manifest of everything written; returns its own hash."""
    for path, content in stage.held.items():
        stage.write(path, [content], early=False)
    stage.held.clear()
    data = manifest_bytes(stage.entries)
    stage.write(MANIFEST, [data], listed=False, early=False)
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def write_root(plan: SlidePlan, slide: Slide, stage: Stage, receipt: Receipt) -> None:
    """The root's metadata, last: before it is there, no reader takes the folder for a store."""
    record = receipt.as_json()
    # Folder names may tell as much of a patient as a label: the store keeps file names only.
    record["path"], record["output"] = slide.path.name, Path(receipt.output or "").name
    if stage.run:
        record["run"] = stage.run
    files = ngff.group_files(plan.ome_zarr, plan.root_attributes, {KEY: record})
    record[SEAL] = seal(json.loads(files.get("zarr.json") or files[".zattrs"]))
    for name, data in ngff.group_files(plan.ome_zarr, plan.root_attributes, {KEY: record}).items():
        stage.write_root(name, data)
