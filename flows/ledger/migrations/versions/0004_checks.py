"""What the service found of stores that it made, when it looked at them again; and where originals were put away."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table and the column."""
    op.create_table(
        "checks",
        sa.Column("slide", sa.String(32), primary_key=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("looked", sa.Float),
        sa.Column("goes_on", sa.Text),
        sa.Column("wrong", sa.String(16)),
        sa.Column("reason", sa.Text),
        sa.Column("since", sa.Float),
    )
    op.create_index("slides_by_same_as", "slides", ["same_as"])
    op.add_column("slides", sa.Column("put_away", sa.Text))
    # What was done before stays where it was left, whatever the settings say now.
    op.execute("UPDATE slides SET put_away = '' WHERE state IN ('done', 'duplicate')")


def downgrade() -> None:
    """Drop them."""
    op.drop_column("slides", "put_away")
    op.drop_index("slides_by_same_as", "slides")
    op.drop_table("checks")
