"""OME-Zarr 0.1 to 0.5 as input: a folder with a multiscale image, a bioformats2raw layout or a plate.

Stored chunks are read here and not with zarr, so that a chunk is decoded once, without its store's cache and event loop.
Behind a URL the calls are the same; what a web server cannot list is asked for by its usual names.
Facts: ngff.openmicroscopy.org, zarr-specs.readthedocs.io.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from drivers.associated import OF_THE_SYSTEM, associated_images, left_out
from drivers.errors import DriverError, Incomplete, Unsupported
from drivers.limits import LIMITS, check
from drivers.location import Location, Remote, Url
from drivers.model import PixelSize, Scene, Slide
from drivers.omezarr.labels import labels_of
from drivers.omezarr.metadata import Document, describe, document_of
from drivers.omezarr.multiscale import image_of
from drivers.zarrstore.files import Files, LocalFiles, joined, last
from drivers.zarrstore.node import Group, as_dict, as_list, is_store, read_group
from drivers.zarrstore.zipped import open_zip

_ROLES = {"label", "label image", "macro", "macro image", "thumbnail", "thumbnail image", "overview", "overview image"}
"""Names that Bio-Formats and QuPath give the images which are not the specimen."""
_SUFFIXES = (".ome.zarr.zip", ".zarr.zip", ".ome.zarr", ".zarr", ".ozx")
_LAYOUT = "bioformats2raw.layout"
_MOST_IMAGES = 10_000
_WRITTEN_ROLES = ("label", "macro", "thumbnail")
_NOT_LISTED = (
    "the server lists no files: chunks that are absent show the fill value, and the fingerprint covers the metadata, not "
    "the pixels"
)


_LABELS = (
    "the label image {} (a segmentation) is not written: --associated {} writes it; with --downsample nearest its levels "
    "hold labels too"
)


@dataclass(slots=True)
class _Store:
    root: Group
    stored: frozenset[str] | None
    """Every key, None where the place cannot list."""
    document: Document | None
    warnings: list[str] = field(default_factory=list[str])
    images: list[Group] = field(default_factory=list[Group])
    """Groups of the images that were read."""


def open_slide(path: Path) -> Slide:
    """Open a store, a folder or a ZIP file; nothing stays open. Raises a DriverError that names it."""

    def opened() -> Slide:
        if path.is_dir():
            return _slide(LocalFiles(path), path)
        return replace(_slide(open_zip(path), path), files=[path])

    return _named(path.name, opened)


def open_url(url: Url) -> Slide:
    """Open a store behind an http, https or s3 URL. Raises a DriverError that names its last part."""
    from drivers.zarrstore.remote import Denied, RemoteFiles, denied

    def opened() -> Slide:
        remote = RemoteFiles(url)
        if read_group(remote, "") is None and not is_store(remote):
            if remote.denied:
                raise Denied(denied(url))
            raise Incomplete("no Zarr group is there; check the URL (only OME-Zarr is read from URLs)")
        slide = _slide(remote, url)
        complete = remote.listed
        warnings = [*slide.warnings] + ([] if complete else [_NOT_LISTED])
        return replace(slide, remote=Remote(complete, remote.objects), warnings=warnings)

    return _named(url.name, opened)


def _named(name: str, opened: Callable[[], Slide]) -> Slide:
    try:
        return opened()
    except DriverError as error:
        raise type(error)(f"{name}: {str(error).removeprefix(f'{name}: ')}") from error


def _slide(files: Files, path: Location) -> Slide:
    root = read_group(files, "")
    if root is None:
        raise Unsupported("is a Zarr array, not an OME-Zarr image; give the folder above it")
    stored, warnings = files.keys(), list[str]()
    store = _Store(root, stored, document_of(files, warnings), warnings)
    scenes, associated = _read(store)
    if not scenes:
        raise Unsupported("is a Zarr group without OME-Zarr images (no multiscales, series or plate)")
    for role, group in _associated(root):
        associated |= associated_images({role: partial(_first, store, group, role)}, warnings)
    labels, told = labels_of(store.images)
    makers = {role: partial(_first, store, group, role) for role, group in labels.items()}
    segmented = associated_images(makers, warnings)
    warnings += [*told, *(_LABELS.format(labels[role].key, role) for role in segmented)]
    associated = {**segmented, **associated}
    return Slide(
        path=path,
        driver="omezarr",
        files=[path / key for key in sorted(stored or ())] if isinstance(path, Path) else (),
        scenes=scenes,
        associated=associated,
        close=_nothing,
        raw_metadata=store.document.text if store.document is not None else None,
        warnings=list(dict.fromkeys(warnings)),
    )


def _read(store: _Store) -> tuple[list[Scene], dict[str, Scene]]:
    """(scenes, images that the OME-XML names after a role). One of those that cannot be read costs a warning."""
    scenes: list[Scene] = []
    associated: dict[str, Scene] = {}
    for find, index in _images(store.root):
        try:
            group = find()
            found = list(_scenes(store, group, index))
        except DriverError as error:
            images = store.document.images if store.document else ()
            role = _role(images[index].name, store) if index is not None and index < len(images) else None
            if role is None or isinstance(error, OF_THE_SYSTEM):
                raise
            store.warnings.append(left_out(role, error))
            continue
        store.images.append(group)
        for scene in found:
            role = _role(scene.name, store) if index is not None else None
            if role is None:
                scenes.append(scene)
            else:
                associated.setdefault(role, replace(scene, name=role))
    return scenes, associated


def _first(store: _Store, group: Group, role: str) -> Scene:
    return replace(next(_scenes(store, group, None)), name=role)


def _nothing() -> None:
    """Chunks are opened one by one: nothing to close."""


def _role(name: str | None, store: _Store) -> str | None:
    """Role of an image of that name; None for the specimen, as which a single image always counts."""
    word = (name or "").lower()
    if word not in _ROLES or store.document is None or len(store.document.images) < 2:
        return None
    word = word.removesuffix(" image")
    return "macro" if word == "overview" else word


def _images(root: Group) -> Iterator[tuple[Callable[[], Group], int | None]]:
    """(what finds the group of an image or raises Incomplete, the image's index in the OME-XML)."""
    if "multiscales" in root.ome:
        yield partial(_itself, root), 0
    elif "plate" in root.ome:
        yield from ((partial(_itself, group), None) for group in _fields(root))
    elif _LAYOUT in root.ome:
        names = _series(root)
        check("the number of images", len(names), _MOST_IMAGES)
        for index, name in enumerate(names):
            yield partial(_below, root, name), index


def _series(root: Group) -> list[str]:
    """Image groups of a bioformats2raw layout: as OME/ lists them, else 0, 1, 2 as far as they are there."""
    ome = read_group(root.files, "OME")
    listed = ome.ome.get("series") if ome is not None else None
    if listed is not None:
        return [str(name) for name in as_list(listed, "series")]
    names: list[str] = []
    folders = root.files.folders("")
    while str(len(names)) in folders if folders is not None else read_group(root.files, str(len(names))) is not None:
        names.append(str(len(names)))
        check("the number of images", len(names), _MOST_IMAGES)
    return names


def _fields(root: Group) -> Iterator[Group]:
    """Images of a plate, well by well."""
    wells = as_list(as_dict(root.ome["plate"], "plate").get("wells"), "wells")
    count = 0
    for entry in wells:
        well = _below(root, str(as_dict(entry, "a well").get("path")))
        for image in as_list(as_dict(well.ome.get("well") or {}, "well").get("images") or [], "images"):
            count += 1
            check("the number of images", count, _MOST_IMAGES)
            yield _below(well, str(as_dict(image, "an image").get("path")))


def _associated(root: Group) -> Iterator[tuple[str, Group]]:
    """Images beside the main one, as slidemill writes them: associated/label, macro, thumbnail."""
    folders = root.files.folders("associated")
    for name in _WRITTEN_ROLES if folders is None else folders:
        group = read_group(root.files, joined("associated", name))
        if group is not None and "multiscales" in group.ome:
            yield name.lower(), group


def _itself(group: Group) -> Group:
    return group


def _below(group: Group, name: str) -> Group:
    found = read_group(group.files, group.child(name))
    if found is None:
        raise Incomplete(f"the image {name!r} is not there; copy the whole store")
    return found


def _scenes(store: _Store, group: Group, index: int | None) -> Iterator[Scene]:
    listed = as_list(group.ome.get("multiscales") or [], "multiscales")
    for number, entry in enumerate(listed):
        multiscale = as_dict(entry, "multiscales")
        image = image_of(group, multiscale, store.stored, store.warnings)
        first = image.levels[0]
        known = describe(group, first.shape.c, first.dtype.itemsize * 8, (store.document, index if number == 0 else None))
        scale = dict(zip(image.axes.letters, image.scale or (), strict=False))
        sizes = (image.axes.length_um(letter, scale.get(letter)) for letter in "yxz")
        yield Scene(
            name=_name(store.root, group, known.name or str(multiscale.get("name") or "")),
            levels=image.levels,
            rgb=known.rgb,
            channels=known.channels,
            pixel_size=PixelSize(*sizes),
            magnification=known.magnification,
            position=known.position,
            time_step_s=image.axes.time_s(scale.get("t")) if first.shape.t > 1 else None,
            significant_bits=known.significant_bits,
            icc=_icc(store.root, group),
            facts=known.facts,
        )


def _name(root: Group, group: Group, stated: str) -> str:
    if stated.strip(" /"):
        return stated.strip()
    if group.key:
        return group.key
    name = root.files.name
    return next((name.removesuffix(suffix) for suffix in _SUFFIXES if name.endswith(suffix)), name) or name


def _icc(root: Group, group: Group) -> bytes | None:
    """The profile that slidemill stored with an image, under its own key of the root."""
    own: Any = root.attributes.get("slidemill")
    profiles: Any = own.get("icc_profile") if isinstance(own, dict) else None
    name = last(group.key) or "0"
    entry: Any = profiles.get(name) if isinstance(profiles, dict) else None
    file = entry.get("file") if isinstance(entry, dict) else None
    return (root.files.whole(root.child(file), LIMITS.icc_bytes) or None) if isinstance(file, str) else None
