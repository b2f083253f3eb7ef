"""How long each machine has seen a slide without a sign of life."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "witnesses",
        sa.Column("slide", sa.String(32), primary_key=True),
        sa.Column("machine", sa.String(255), primary_key=True),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("heartbeat", sa.Float),
        sa.Column("moved", sa.Float),
        sa.Column("looked", sa.Float, nullable=False),
        sa.Column("silent", sa.Float, nullable=False),
        sa.Column("still", sa.Float, nullable=False),
    )


def downgrade() -> None:
    """Drop the table."""
    op.drop_table("witnesses")
