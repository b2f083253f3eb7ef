"""From what a command line names to slides: a file or URL is one, a folder is every slide below it.

A slide of several files is one, as its driver says: an MRXS and its folder, a .vsi and `_x_`, a folder of DICOM files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePath

from converter.errors import OptionError
from drivers.discovery import driver_for, find_drivers, open_slide
from drivers.errors import Damaged, DriverError, UnsafePath, Unsupported
from drivers.location import Location, location
from drivers.model import Driver
from flows.commands.walking import Choice, Entry, Walk, is_folder, is_store

_LISTS = (".xlef", ".xml", ".companion.ome")
"""Files that name others, beside those that drivers claim; they are asked first, and take the files they name along."""
_ALONE = {"aperio", "gdal", "geotiff", "isyntax", "nd2", "ndpi", "philips", "qptiff", "scn", "tiff", "zvi"}
"""Drivers whose slides are one file each: who reads a file is known from its head. Others are opened and name their files."""


@dataclass(frozen=True, slots=True)
class Item:
    """A slide to work on, or what is in the place of one and cannot be looked into (`fault`)."""

    place: Location
    below: PurePath = field(default_factory=PurePath)
    """Folders between the folder that was named and the slide: they are kept below the output."""
    bytes: int | None = None
    """Of its files, where they were counted."""
    driver: str | None = None
    fault: DriverError | None = None


@dataclass(slots=True)
class Named:
    """What a command line names."""

    items: list[Item] = field(default_factory=list[Item])
    trees: int = 0
    """Folders among it that are no slides themselves."""
    passed: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])
    """Files that are no slides, and why."""
    unfollowed: int = 0
    """Links that were not followed."""

    @property
    def many(self) -> bool:
        """Whether there is more to tell than one slide's outcome."""
        return self.trees > 0 or len(self.items) > 1


def place_of(word: str) -> Location:
    """The path or URL of a word. Raises OptionError for an empty one, as an unset variable of a script gives: it would mean
    the current folder and all in it."""
    if not word.strip():
        raise OptionError("a name is empty: name a file, a folder (`.` is the current one) or a URL")
    return location(word)


def slides_of(words: Sequence[str], choice: Choice) -> Named:
    """All slides that the words name, each once, in a stable order; a folder without any stands for itself, with a fault."""
    named = Named()
    places = [place_of(word) for word in words]
    trees = [_tree(place, choice) for place in places]
    several = sum(isinstance(tree, _Tree) for tree in trees) > 1
    used: set[str] = set()
    for tree in trees:
        if isinstance(tree, Item):
            named.items.append(tree)
            continue
        above = PurePath(_free(tree.walk.root, used)) if several else PurePath()
        named.items += [replace(item, below=above / item.below) for item in tree.items.values()]
        named.trees += 1
        named.passed += tree.passed
        named.unfollowed += tree.walk.unfollowed
    once: dict[str, Item] = {}
    for item in named.items:
        once.setdefault(_key(item), item)
    named.items = list(once.values())
    return named


def _key(item: Item) -> str:
    return os.path.realpath(item.place) if isinstance(item.place, Path) else str(item.place)


def _free(root: Path, used: set[str]) -> str:
    """A name for one of several folders below the output."""
    name = Path(os.path.realpath(root)).name or "root"
    found, number = name, 2
    while found in used:
        found, number = f"{name}-{number}", number + 1
    used.add(found)
    return found


def _tree(place: Location, choice: Choice) -> _Tree | Item:
    """The slides below a folder; an Item for what is one slide itself."""
    if not isinstance(place, Path) or not is_folder(place):
        return Item(place, bytes=_size(place))
    if is_store(place):
        return Item(place)
    tree = _Tree(Walk(place, choice))
    tree.find()
    if tree.is_one_slide():
        return Item(place, bytes=sum(item.bytes or 0 for item in tree.items.values()), driver="dicom")
    if not tree.items:
        return Item(place, fault=UnsafePath(_nothing(place, tree)))
    return tree


def _size(place: Location) -> int | None:
    with suppress(OSError, ValueError):
        return place.stat().st_size if isinstance(place, Path) else None
    return None


def _nothing(place: Path, tree: _Tree) -> str:
    links = f" {tree.walk.unfollowed} links were not followed (--follow-links)." if tree.walk.unfollowed else ""
    other = f"{len(tree.passed)} files there are none" if tree.passed else "there are no files that were looked for"
    return f"{place.name or place}: is a folder, and no slide is below it: {other}.{links} Give a slide or another folder"


@dataclass(slots=True)
class _Tree:
    walk: Walk
    items: dict[Path, Item] = field(default_factory=dict[Path, Item])
    passed: list[tuple[Path, str]] = field(default_factory=list[tuple[Path, str]])
    _drivers: list[Driver] = field(default_factory=list[Driver])
    _suffixes: tuple[str, ...] = ()
    _members: dict[Path, Path] = field(default_factory=dict[Path, Path])
    """Files of slides that have several, with the slide."""
    _folders: dict[Path, set[str] | None] = field(default_factory=dict[Path, set[str] | None])
    """Folders that are a slide of DICOM files, with the words of what it says to have left out; None: it cannot be opened."""
    _broken: list[Entry] = field(default_factory=list[Entry])
    """Lists that could not be opened: what they name is no slide of its own."""

    def find(self) -> None:
        """Fill `items` and `passed`."""
        self._drivers = [found.driver for found in find_drivers() if found.driver is not None]
        self._suffixes = tuple({suffix.lower() for driver in self._drivers for suffix in driver.suffixes})
        lists = (*_LISTS, *(end for driver in self._drivers for end in driver.claims))
        entries = sorted(self.walk.entries(), key=lambda e: (not e.below.lower().endswith(lists), e.below.split("/")))
        for entry in entries:
            if self.walk.choice.wants(entry.path.name) and entry.path not in self._members:
                self._ask(entry, entry.below.lower().endswith(lists))
        beside = self._named_by_broken()
        self.passed += [(path, "belongs to a slide that is not whole") for path in sorted(beside)]
        parts = beside | {path for path in self.items if self._members.get(path, path) != path}
        self.items = {path: item for path, item in self.items.items() if path not in parts}
        for path, fault in self.walk.faults:
            self.items[path] = Item(path, self._above(path), fault=fault)

    def is_one_slide(self) -> bool:
        """Whether the folder is itself a slide: it holds DICOM files and nothing else to convert, nor below it, nor what its
        DICOMDIR does not list."""
        if len(self.items) > 1 and self.walk.root / "DICOMDIR" in self.items:
            return False
        return bool(self.items) and all(self._is_instance(path, item) for path, item in self.items.items())

    def _is_instance(self, path: Path, item: Item) -> bool:
        return item.driver == "dicom" and path.parent == self.walk.root and path not in self._folders

    def _add(self, path: Path, size: int | None, driver: str | None = None) -> None:
        self.items[path] = Item(path, self._above(path), size, driver)

    def _above(self, path: Path) -> PurePath:
        return path.relative_to(self.walk.root).parent if path != self.walk.root else PurePath()

    def _ask(self, entry: Entry, is_list: bool) -> None:
        path = entry.path
        if entry.bytes is None:  # a store
            if self.walk.choice.is_within(self.walk.root) and _is_ours(path):
                self.passed.append((path, "is an output of slidemill, and the output lies in the folder that is converted"))
            else:
                self._add(path, None, "omezarr")
            return
        try:
            driver = driver_for(path, self._drivers)
        except (Unsupported, Damaged) as error:
            if path.name.lower().endswith(self._suffixes):
                self._add(path, entry.bytes)
            else:
                self.passed.append((path, str(error).removeprefix(f"{path.name}: ")))
            return
        except DriverError:  # opening it says the same once more
            self._add(path, entry.bytes)
            if is_list:
                self._broken.append(entry)
            return
        if driver.name in _ALONE:
            self._add(path, entry.bytes, driver.name)
        elif driver.name == "dicom" and path.parent != self.walk.root:
            self._folder(path.parent)
            told = self._folders[path.parent]
            if path not in self._members and told is not None and path.name not in told:  # such as its DICOMDIR does not list
                self._open(entry, driver.name, is_list)
        else:
            self._open(entry, driver.name, is_list)

    def _folder(self, folder: Path) -> None:
        """A folder of DICOM files is one slide."""
        if folder in self._folders:
            return
        files, told = list[Path](), None
        with suppress(Exception), open_slide(folder, self._drivers) as slide:  # converting it tells what is wrong
            files, told = list(slide.files), {word.strip(":;,") for text in slide.warnings for word in text.split()}
        self._folders[folder] = told
        self._members |= dict.fromkeys(files, folder)
        self._add(folder, sum(_size(file) or 0 for file in files), "dicom")

    def _open(self, entry: Entry, driver: str, is_list: bool) -> None:
        path = entry.path
        try:
            with open_slide(path, self._drivers) as slide:
                files = slide.files
        except Exception:  # noqa: BLE001 - converting it tells what is wrong
            self._add(path, entry.bytes, driver)
            if is_list:
                self._broken.append(entry)
            return
        if len(files) > 1:
            self._members |= dict.fromkeys(files, path)
        self._add(path, sum(_size(file) or 0 for file in files), driver)

    def _named_by_broken(self) -> set[Path]:
        """Slides beside a list that could not be opened and names them."""
        if not self._broken:
            return set()
        from flows.watching.companions import Lists
        from flows.watching.look import as_text

        lists = Lists(self.walk.root, [as_text(entry.below) for entry in self._broken])
        broken = {entry.path for entry in self._broken}
        return {p for p in self.items if p not in broken and lists.name(as_text(p.relative_to(self.walk.root).as_posix()))}


def _is_ours(store: Path) -> bool:
    """Whether a store has a receipt of slidemill; what cannot be told is told when it is converted."""
    from converter.checking.record import stored_receipt
    from converter.checking.stored import files_of

    try:
        return stored_receipt(files_of(store)) is not None
    except DriverError:
        return False


def stores_of(words: Sequence[str], choice: Choice) -> Named:
    """All stores that the words name, for `verify`; a folder without any stands for itself, and is no store."""
    named = Named()
    for place in map(place_of, words):
        if not isinstance(place, Path) or not is_folder(place) or is_store(place):
            named.items.append(Item(place))
            continue
        walk = Walk(place, choice)
        found = list(_stores(walk))
        named.trees += bool(found)
        named.items += found or [Item(place)]
        named.unfollowed += walk.unfollowed
    return named


def _stores(walk: Walk) -> Iterator[Item]:
    for entry in sorted(walk.entries(), key=lambda found: found.below.split("/")):
        zipped = entry.path.name.lower().endswith((".ozx", ".zarr.zip"))
        if (entry.bytes is None or zipped) and walk.choice.wants(entry.path.name):
            yield Item(entry.path, PurePath(entry.below).parent, entry.bytes)
    yield from (Item(path, fault=fault) for path, fault in walk.faults)
