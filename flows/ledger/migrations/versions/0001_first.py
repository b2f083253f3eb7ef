"""The first ledger: slides, their files, contents, marks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "slides",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("folder", sa.String(64), nullable=False),
        sa.Column("root", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("generation", sa.Integer, nullable=False),
        sa.Column("output", sa.Text),
        sa.Column("driver", sa.String(64)),
        sa.Column("options", sa.JSON, nullable=False),
        sa.Column("options_hash", sa.String(64), nullable=False),
        sa.Column("queue", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("files", sa.Integer, nullable=False),
        sa.Column("bytes", sa.BigInteger, nullable=False),
        sa.Column("signature", sa.String(64), nullable=False),
        sa.Column("fingerprint", sa.String(80)),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.Text),
        sa.Column("kind", sa.String(32)),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("flow_run", sa.String(64)),
        sa.Column("process", sa.Text),
        sa.Column("heartbeat", sa.Float),
        sa.Column("progress", sa.Float),
        sa.Column("moved", sa.Float),
        sa.Column("cancel", sa.Boolean, nullable=False),
        sa.Column("same_as", sa.String(32)),
        sa.Column("seen", sa.Float, nullable=False),
        sa.Column("ready", sa.Float),
        sa.Column("submitted", sa.Float),
        sa.Column("started", sa.Float),
        sa.Column("finished", sa.Float),
        sa.Column("not_before", sa.Float),
        sa.Column("told", sa.Boolean, nullable=False),
        sa.Column("receipt", sa.JSON),
    )
    op.create_index("slides_of_path", "slides", ["folder", "path", "generation"], unique=True)
    op.create_index("slides_by_state", "slides", ["state"])
    op.create_index("slides_by_output", "slides", ["output"])
    op.create_table(
        "files",
        sa.Column("folder", sa.String(64), primary_key=True),
        sa.Column("path", sa.Text, primary_key=True),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("mtime_ns", sa.BigInteger, nullable=False),
        sa.Column("inode", sa.BigInteger, nullable=False),
        sa.Column("since", sa.Float, nullable=False),
        sa.Column("looks", sa.Integer, nullable=False),
        sa.Column("slide", sa.String(32)),
    )
    op.create_table(
        "contents",
        sa.Column("fingerprint", sa.String(80), primary_key=True),
        sa.Column("options_hash", sa.String(64), primary_key=True),
        sa.Column("slide", sa.String(32), nullable=False),
    )
    op.create_table(
        "marks",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("value", sa.JSON),
    )


def downgrade() -> None:
    """Drop the tables."""
    for table in ("marks", "contents", "files", "slides"):
        op.drop_table(table)
