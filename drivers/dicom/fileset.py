"""Which files belong to a slide: those of the same series beside the one given, of a folder, or of a DICOMDIR."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from drivers.associated import left_out
from drivers.dicom.dataset import DataSet
from drivers.dicom.identity import INSTANCE_UID, SERIES, is_copy, other_slide
from drivers.dicom.instance import MAGIC, PREAMBLE, Instance, asked_of_header, bare_coding, open_instance
from drivers.dicom.parts import is_whole_slide, role_by_type, role_of
from drivers.errors import Damaged, DriverError, Incomplete, Unreadable, UnsafePath, Unsupported
from drivers.limits import check

_KIND, _DIRECTORY = 0x00080016, "1.2.840.10008.1.3.10"
_RECORDS, _REFERENCED = 0x00041220, 0x00041500
MOST_FILES = 4096
_SUFFIXES = {".dcm", ".dicom"}


@dataclass(slots=True)
class FileSet:
    """Open instances, the given one first. `close` ends them."""

    instances: list[Instance] = field(default_factory=list[Instance])
    directory: Path | None = None
    """The DICOMDIR, where one was given."""
    warnings: list[str] = field(default_factory=list[str])

    def close(self) -> None:
        """Close every file."""
        for instance in self.instances:
            instance.source.close()

    def add(self, instance: Instance) -> None:
        """Keep an instance; a second file with the same content is left out."""
        kept = next((other for other in self.instances if is_copy(other, instance)), None)
        if kept is not None:
            self.warnings.append(f"{instance.path.name}: is a copy of {kept.path.name} and is left out")
            instance.source.close()
            return
        self.instances.append(instance)
        check("the number of files", len(self.instances), MOST_FILES)


def open_files(path: Path) -> FileSet:
    """Open what belongs to the slide at `path`. The caller closes the set."""
    files = FileSet()
    try:
        if path.is_dir():
            directory = path / "DICOMDIR"
            if directory.is_file():
                _listed(files, directory)
            else:
                _add_all(files, _dicom_files(path, files.warnings))
        else:
            _given(files, path)
    except BaseException:
        files.close()
        raise
    if not files.instances:
        files.close()
        raise Unsupported(f"{path.name}: there is no DICOM image in it")
    return files


def _given(files: FileSet, path: Path) -> None:
    instance = open_instance(path)
    if instance.data.text(_KIND) == _DIRECTORY or _RECORDS in instance.data:
        instance.source.close()
        _listed(files, path)
        return
    files.add(instance)
    if is_whole_slide(instance.data):
        others = (other for other in _dicom_files(path.parent, files.warnings, path.name) if other.name != path.name)
        _add_all(files, others, instance.data)


def _add_all(files: FileSet, paths: Iterable[Path], given: DataSet | None = None) -> None:
    """Open every file; with `given`, only those of its series and slide stay open, and damaged files are told of.

    Without it only associated images may be damaged. A level whose end is missing is refused, unless it is a torn copy of
    a file that is there.
    """
    torn: list[tuple[_Torn, DriverError]] = []
    for path in paths:
        try:
            instance = open_instance(path)
        except DriverError as error:
            found = asked_of_header(path, partial(_torn, given))
            if given is None and (found is None or isinstance(error, Unreadable)):
                raise
            if found is not None and not found.foreign:
                torn.append((found, error))
            else:
                files.warnings.append(f"{path.name} is left out: {str(error).removeprefix(f'{path.name}: ')}")
            continue
        foreign = given is not None and _foreign(files, given, instance)
        if foreign or instance.data.text(_KIND) == _DIRECTORY:
            instance.source.close()
        else:
            files.add(instance)
    uids = {instance.data.text(INSTANCE_UID) for instance in files.instances}
    for found, error in torn:
        if not found.role and found.uid not in uids:
            raise error
        files.warnings.append(f"the {found.role or 'second'} image is left out: {error}")


@dataclass(frozen=True, slots=True)
class _Torn:
    """What a file whose pixel data is not whole says of itself."""

    role: str
    """Of an associated image; "" for all else."""
    uid: str | None
    foreign: bool
    """Of another slide than the given one."""


def _torn(given: DataSet | None, data: DataSet) -> _Torn:
    foreign = given is not None and (data.text(SERIES) != given.text(SERIES) or other_slide(given, data) is not None)
    return _Torn((role_of(data) if is_whole_slide(data) else "") or "", data.text(INSTANCE_UID), foreign)


def _foreign(files: FileSet, given: DataSet, instance: Instance) -> bool:
    """Whether a file is of another slide than the given one; tells of what shares the series or names none."""
    series, name = instance.data.text(SERIES), instance.path.name
    if series is None and instance.data.text(_KIND) != _DIRECTORY:
        files.warnings.append(f"{name} is left out: it states no series, as a file that is cut short does")
        return True
    differs = other_slide(given, instance.data) if series == given.text(SERIES) else None
    if differs is not None:
        files.warnings.append(f"{name} is left out: it has the same SeriesInstanceUID, but another {differs}: another slide")
    return series != given.text(SERIES) or differs is not None


def has_dicom(folder: Path) -> bool:
    """Whether a folder holds a DICOM file."""
    return next(_dicom_files(folder), None) is not None


def _dicom_files(folder: Path, warnings: list[str] | None = None, given: str | None = None) -> Iterator[Path]:
    """Regular files of a folder that have the magic of DICOM, by name; tells of those that should have it.

    `given` is the file that was asked for, where it was not the folder, of which files without preamble are taken too. Links
    are not followed: the file may lie anywhere.
    """
    try:
        with os.scandir(folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if Path(entry.path).is_dir() or (entry.name == given and not entry.is_file(follow_symlinks=False)):
            continue
        if not entry.is_file(follow_symlinks=False):
            if warnings is not None and _is_alike(entry.name, given):
                what = "a link, which is not followed" if entry.is_symlink() else "no regular file"
                warnings.append(f"{entry.name} is {what}; it is left out")
            continue
        head, fault = _head(folder / entry.name)
        if head[PREAMBLE:] == MAGIC or (given is None and bare_coding(head) is not None):
            yield folder / entry.name
        elif warnings is not None and _claims_dicom(entry.name, head, given):
            warnings.append(f"{entry.name} {fault}; it is left out")


def _head(path: Path) -> tuple[bytes, str]:
    """(the bytes up to the magic, what is wrong where it is not there)."""
    try:
        with path.open("rb") as file:
            return file.read(PREAMBLE + len(MAGIC)), "is no DICOM file, or one that is cut short"
    except OSError as error:
        return b"", f"cannot be read: {error.strerror}"


def _claims_dicom(name: str, head: bytes, given: str | None) -> bool:
    """Whether a file without the magic seems to have been DICOM: by its suffix, or by where it ends (preamble, magic)."""
    if bare_coding(head) is not None:
        return False
    short = len(head) < PREAMBLE + len(MAGIC)
    begun = not head[:PREAMBLE].strip(b"\0") and MAGIC.startswith(head[PREAMBLE:])
    blank = not short and not any(head)  # of a copy for which only the room was made
    named = given is not None and _ending(name) == _ending(given) and (not head or _ending(name) != "")
    stub = short and ((begun and (len(head) > 0 or given is None)) or named)
    return blank or stub or Path(name).suffix.lower() in _SUFFIXES


def _is_alike(name: str, given: str | None) -> bool:
    """Whether a file is named as DICOM files are, or as the given one is. UIDs have no suffix, only numbers."""
    ending = _ending(name)
    return given is None or ending in _SUFFIXES or ending == _ending(given)


def _ending(name: str) -> str:
    suffix = Path(name).suffix.lower()
    return "" if suffix[1:].isdecimal() else suffix


def _listed(files: FileSet, directory: Path) -> None:
    """The images that a DICOMDIR names, confined to its folder (CVE-2026-32711 was a reader that did not)."""
    index = open_instance(directory)
    paths: list[Path] = []
    try:
        for record in index.data.items(_RECORDS):
            if _is_image(record):
                paths += _referenced(files, directory, record)
    finally:
        index.source.close()
    files.directory = directory
    _add_all(files, paths)


def _referenced(files: FileSet, directory: Path, record: DataSet) -> list[Path]:
    """The file of a record; none, with a warning, where it is absent and the record says that it is an associated image."""
    try:
        return [_confined(directory, "/".join(record.texts(_REFERENCED)))]
    except Incomplete as error:
        role = role_by_type(record)
        if not role:
            raise
        files.warnings.append(left_out(role, error))
        return []


def _is_image(record: DataSet) -> bool:
    return bool(record.texts(_REFERENCED)) and (record.text(0x00041430) or "IMAGE") == "IMAGE"


def _confined(directory: Path, name: str) -> Path:
    folder = directory.parent
    path = folder / name
    if "\0" in name:
        raise Damaged(f"{directory.name}: names a file that no system can have")
    root, real = os.path.realpath(folder), os.path.realpath(path)
    if os.path.commonpath([root, real]) != root:
        raise UnsafePath(f"{directory.name}: names the file {name!r}, which lies outside its folder: it is not opened")
    if not path.exists():
        raise Incomplete(f"{directory.name}: names the file {name!r}, which is not there; copy the whole folder")
    return path
