"""What a run remembers between its looks: the folders as it saw them last, and what the ledger said of decided files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, select

from flows.ledger.tables import changes, files
from flows.watching.compare import Known, known_files
from flows.watching.tree import Tree


@dataclass(frozen=True, slots=True)
class Glance:
    """What tells of all folders at once whether what was read of them still holds."""

    numbers: Mapping[str, int]
    """Of each folder, as in `flows.ledger.tables.changes`."""
    undecided: Collection[str]
    """Folders with files that are not decided."""


def glance(connection: Connection) -> Glance:
    """The ledger as it is now."""
    numbers = connection.execute(select(changes.c.folder, changes.c.count)).tuples()
    undecided = connection.execute(select(files.c.folder).where(files.c.slide.is_(None)).distinct()).scalars()
    return Glance(dict(numbers.all()), set(undecided))


@dataclass(slots=True)
class FolderMemory:
    """A folder and what the ledger says of it. What was read of decided files is kept while there is something to do and
    their number in the ledger stays the same; files that are not decided are read each time."""

    tree: Tree = field(default_factory=Tree)
    idle: bool = False
    """Whether the last look compared all of it and found nothing to do."""
    _number: int | None = field(default=None, init=False)
    _decided: dict[str, Known] | None = field(default=None, init=False)

    def holds(self, now: Glance, folder: str) -> bool:
        """Whether there was nothing to do when this was read, and the ledger still says the same."""
        return self.idle and now.numbers.get(folder) == self._number and folder not in now.undecided

    def read(self, connection: Connection, folder: str) -> tuple[Mapping[str, Known], Mapping[str, Known]]:
        """(all that the ledger knows now, what is not decided of it); `idle` is taken back where that is not as before."""
        # First the number: what is read after it is at least as new.
        query = select(changes.c.count).where(changes.c.folder == folder)
        number = connection.execute(query).scalar_one_or_none()
        undecided = known_files(connection, folder, undecided=True)
        if self._decided is None or number != self._number:
            self.idle = False
            everything = known_files(connection, folder)
            self._decided = {path: found for path, found in everything.items() if found.slide is not None}
            self._number = number
            undecided = {path: found for path, found in everything.items() if found.slide is None}
        if undecided:
            self.idle = False
        return (self._decided | undecided if undecided else self._decided), undecided

    def rest(self) -> None:
        """There is nothing to do: let go of what was read. It is read again once something is; the folders are not."""
        self._decided = None


@dataclass(slots=True)
class Memory:
    """For `scan`, as long as a run lives. One for each run: it is no way for two to talk. For one thread."""

    _folders: dict[str, FolderMemory] = field(default_factory=dict[str, FolderMemory], init=False)

    def of(self, folder: str) -> FolderMemory:
        """What is remembered of a folder."""
        return self._folders.setdefault(folder, FolderMemory())
