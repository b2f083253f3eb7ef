"""Tables of the ledger: what has been seen, what becomes of it. Changes go through the migrations beside this file.

Times are seconds since the epoch by the database's clock, so that machines whose clocks differ agree.
"""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text

metadata = MetaData()


class State(StrEnum):
    """What became of a slide. One row is one version of one slide; exactly one state at a time."""

    WAITING = "waiting"
    """Seen, but not complete yet: `reason` says what is missing."""
    READY = "ready"
    SUBMITTED = "submitted"
    """Handed to Prefect under the row's attempt."""
    RUNNING = "running"
    PUBLISHED = "published"
    """The store is in place, its receipt is not yet in the ledger."""
    DONE = "done"
    FAILED = "failed"
    """The last attempt failed; the next one comes after `not_before`."""
    QUARANTINED = "quarantined"
    """Not tried again unless somebody asks for it: `reason` says why."""
    CANCELLED = "cancelled"
    DUPLICATE = "duplicate"
    """Same content and options as the slide `same_as`."""
    SUPERSEDED = "superseded"
    """The file changed; a later row stands for what it is now."""
    GONE = "gone"
    """The file went away before it was converted."""
    DISMISSED = "dismissed"
    """It was in quarantine, and somebody said that it may stay unconverted."""


OPEN = (State.SUBMITTED, State.RUNNING, State.PUBLISHED)
"""States in which Prefect or a process has the slide."""
QUEUED = (State.READY, State.FAILED)
"""States from which the next attempt starts."""
SETTLED = (
    State.DONE, State.QUARANTINED, State.CANCELLED, State.DUPLICATE, State.SUPERSEDED, State.GONE, State.DISMISSED
)  # fmt: skip
"""States that stay as they are."""

slides = Table(
    "slides",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("folder", String(64), nullable=False),
    Column("root", Text, nullable=False),
    Column("path", Text, nullable=False),  # below root, / between parts
    Column("generation", Integer, nullable=False, default=0),
    Column("output", Text),
    Column("driver", String(64)),
    Column("options", JSON, nullable=False),
    Column("options_hash", String(64), nullable=False),
    Column("queue", String(16), nullable=False),
    Column("priority", Integer, nullable=False),
    Column("files", Integer, nullable=False, default=1),
    Column("bytes", BigInteger, nullable=False, default=0),
    Column("signature", String(64), nullable=False),
    Column("fingerprint", String(80)),
    Column("state", String(16), nullable=False),
    Column("reason", Text),
    Column("kind", String(32)),
    Column("attempt", Integer, nullable=False, default=0),
    Column("failures", Integer, nullable=False, default=0),
    Column("flow_run", String(64)),
    Column("process", Text),
    Column("heartbeat", Float),
    Column("progress", Float),
    Column("moved", Float),  # when progress last changed
    Column("cancel", Boolean, nullable=False, default=False),
    Column("same_as", String(32)),
    Column("seen", Float, nullable=False),
    Column("ready", Float),
    Column("submitted", Float),
    Column("started", Float),
    Column("finished", Float),
    Column("not_before", Float),
    Column("told", Boolean, nullable=False, default=False),
    Column("receipt", JSON),
    Column("put_away", Text),  # where its files were moved to after the conversion: a folder; empty: they stay for good
    Index("slides_of_path", "folder", "path", "generation", unique=True),
    Index("slides_by_state", "state"),
    Index("slides_by_output", "output"),
    Index("slides_by_same_as", "same_as"),
)

NOT_A_SLIDE = ""
"""What `files.slide` says of a file that is none."""

files = Table(
    "files",
    metadata,
    Column("folder", String(64), primary_key=True),
    Column("path", Text, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("since", Float, nullable=False),  # when it was first seen as it is
    Column("looks", Integer, nullable=False),  # how often it was seen so; counted until it is decided
    Column("slide", String(32)),  # the slide it belongs to; empty: none; null: not decided
    Index("files_by_slide", "slide", "folder"),
)

changes = Table(
    "changes",
    metadata,
    Column("folder", String(64), primary_key=True),
    Column("count", BigInteger, nullable=False),
)
"""A number for each watched folder that is another one whenever a decided file of it is written down, changed or removed.

Triggers of the database see to it, whoever writes: what was read of decided files holds for as long as the number stays.
Files that are not decided do not count.
"""

contents = Table(
    "contents",
    metadata,
    Column("fingerprint", String(80), primary_key=True),
    Column("options_hash", String(64), primary_key=True),
    Column("slide", String(32), nullable=False),
)

marks = Table(
    "marks",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("at", Float, nullable=False),
    Column("value", JSON),
)
"""When the last scan and reconciliation ended, and the like."""

witnesses = Table(
    "witnesses",
    metadata,
    Column("slide", String(32), primary_key=True),
    Column("machine", String(255), primary_key=True),
    Column("attempt", Integer, nullable=False),
    Column("heartbeat", Float),
    Column("moved", Float),
    Column("looked", Float, nullable=False),  # by the monotonic clock of that machine, as are the two below
    Column("silent", Float, nullable=False),
    Column("still", Float, nullable=False),
)
"""For how long each machine has seen heartbeat and progress of an open slide unchanged, by a clock that cannot be set."""

checks = Table(
    "checks",
    metadata,
    Column("slide", String(32), primary_key=True),
    Column("attempt", Integer, nullable=False),  # that made the store; of another one nothing is known
    Column("looked", Float),  # when somebody last looked into it
    Column("goes_on", Text),  # the last file whose content was read, where the next look goes on; null: none is left
    Column("wrong", String(16)),  # null: it was as it was made
    Column("reason", Text),
    Column("since", Float),  # when it was first found so
)
"""Of slides that are done: whether their stores were found as they were made, when they were last looked at."""
