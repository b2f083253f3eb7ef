"""DICOM: whole slides in any number of files, and ordinary images of one or several frames.

Input is a file, a folder or a DICOMDIR. A file of a whole slide brings every file of its series beside it. The scenes of
a folder are its pyramids and its ordinary images. Facts: DICOM PS3.3, PS3.5 and PS3.10, 2025c.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drivers.associated import free_role
from drivers.dicom.dataset import dump
from drivers.dicom.fileset import FileSet, open_files
from drivers.dicom.identity import by_slide
from drivers.dicom.instance import Instance
from drivers.dicom.ordinary import ordinary_scene
from drivers.dicom.overlay import beside, overlays
from drivers.dicom.parts import Part, is_whole_slide, part_of, role_of
from drivers.dicom.pyramid import pyramid_scene, scene_groups
from drivers.errors import DriverError, Unsupported
from drivers.model import Scene, Slide


def open_slide(path: Path) -> Slide:
    """Open a file, a folder or a DICOMDIR; raises a DriverError that names the file."""
    files = open_files(path)
    try:
        return _slide(path, files)
    except DriverError as error:
        files.close()
        known = (path.name, *(instance.path.name for instance in files.instances))
        if str(error).startswith(tuple(f"{name}:" for name in known)):
            raise
        raise type(error)(f"{path.name}: {error}") from error
    except BaseException:
        files.close()
        raise


def _slide(path: Path, files: FileSet) -> Slide:
    warnings, several = files.warnings, len(files.instances) > 1
    levels: list[Part] = []
    scenes: list[Scene] = []
    associated: dict[str, Scene] = {}
    for instance in files.instances:
        role = role_of(instance.data) if is_whole_slide(instance.data) else ""
        if instance.pixels is None or role is None:
            why = "holds no pixels" if instance.pixels is None else "is a map of the slide, no picture of it"
            warnings.append(f"{instance.path.name} {why} and is left out")
        elif not is_whole_slide(instance.data):
            scene, images = _ordinary(instance, _name(instance.path, several), warnings, spared=several)
            associated = {**images, **associated}
            scenes += [scene] if scene is not None else []
        elif role:
            if role in associated:
                further = free_role(role, associated)
                warnings.append(f"{instance.path.name} is a further {role} image: --associated {further} writes it")
                role = further
            scene, _ = _ordinary(instance, role, warnings, spared=True)
            associated |= {role: scene} if scene is not None else {}
        else:
            levels.append(part_of(instance))
            drawn = {k: v for k, v in overlays(instance.data, warnings).items() if k not in associated}
            associated = {**drawn, **associated}
    scenes = _pyramids(path, levels, warnings) + scenes
    if not scenes:
        raise Unsupported(f"holds no image that can be shown{': ' + warnings[0] if warnings else ''}")
    given = [files.directory] if files.directory is not None else []
    return Slide(
        path=path,
        driver="dicom",
        files=[*given, *(instance.path for instance in files.instances)],
        scenes=scenes,
        associated=associated,
        close=files.close,
        raw_metadata=dump(files.instances[0].data) or None,
        warnings=list(dict.fromkeys(warnings)),
    )


def _ordinary(instance: Instance, name: str, warnings: list[str], *, spared: bool) -> tuple[Scene | None, dict[str, Scene]]:
    """(the scene of an image, images of what it does not show); where one that is `spared` cannot be read, a warning."""
    try:
        part = part_of(instance)
        scene = ordinary_scene(part, name, warnings)
        return scene, {**overlays(instance.data, warnings), **beside(part, scene, warnings)}
    except DriverError as error:
        if not spared:
            raise
        warnings.append(f"the image {name} is left out: {error}")
        return None, {}


def _pyramids(path: Path, levels: Sequence[Part], warnings: list[str]) -> list[Scene]:
    groups: list[Sequence[Part]] = [group for parts in by_slide(levels) for group in scene_groups(parts)]
    names = [path.stem if len(groups) == 1 else f"{path.stem} {i}" for i in range(len(groups))]
    return [pyramid_scene(group, name, warnings) for group, name in zip(groups, names, strict=True)]


def _name(path: Path, several: bool) -> str:
    return path.name if several else path.stem
