"""Files are found by their slide; a number for each folder tells whether what was read of its decided files still holds."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# By which of these a decided file is written down, becomes another, or goes. Slides that are submitted by hand have folders
# of their own, which nobody watches.
_WHEN = {
    "insert": "NEW.slide IS NOT NULL AND NEW.folder NOT LIKE 'by-hand:%'",
    "delete": "OLD.slide IS NOT NULL AND OLD.folder NOT LIKE 'by-hand:%'",
    "update": "(OLD.slide IS NOT NULL OR NEW.slide IS NOT NULL) AND NEW.folder NOT LIKE 'by-hand:%'",
}

_SQLITE = """
CREATE TRIGGER files_{what} AFTER {event} ON files WHEN {when}
BEGIN
    INSERT INTO changes (folder, count) VALUES ({row}.folder, 1) ON CONFLICT (folder) DO UPDATE SET count = count + 1;
END
"""

# The number of the transaction, so that one of many rows writes the number once.
_FUNCTION = """
CREATE FUNCTION files_changed() RETURNS trigger AS $$
DECLARE
    changed files;
BEGIN
    IF TG_OP = 'DELETE' THEN changed := OLD; ELSE changed := NEW; END IF;
    INSERT INTO changes (folder, count) VALUES (changed.folder, txid_current())
    ON CONFLICT (folder) DO UPDATE SET count = EXCLUDED.count WHERE changes.count <> EXCLUDED.count;
    RETURN NULL;
END
$$ LANGUAGE plpgsql
"""
_POSTGRESQL = "CREATE TRIGGER files_{what} AFTER {event} ON files FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION files_changed()"


def upgrade() -> None:
    """Make the index, the table and what keeps it."""
    op.create_index("files_by_slide", "files", ["slide", "folder"])
    op.create_table(
        "changes",
        sa.Column("folder", sa.String(64), primary_key=True),
        sa.Column("count", sa.BigInteger, nullable=False),
    )
    sqlite = op.get_bind().dialect.name == "sqlite"
    if not sqlite:
        op.execute(_FUNCTION)
    for what, when in _WHEN.items():
        event = "UPDATE OF folder, path, size, mtime_ns, inode, slide" if what == "update" else what.upper()
        row = "OLD" if what == "delete" else "NEW"
        op.execute((_SQLITE if sqlite else _POSTGRESQL).format(what=what, event=event, when=when, row=row))


def downgrade() -> None:
    """Drop them."""
    sqlite = op.get_bind().dialect.name == "sqlite"
    for what in _WHEN:
        op.execute(f"DROP TRIGGER files_{what}" + ("" if sqlite else " ON files"))
    if not sqlite:
        op.execute("DROP FUNCTION files_changed()")
    op.drop_table("changes")
    op.drop_index("files_by_slide", "files")
