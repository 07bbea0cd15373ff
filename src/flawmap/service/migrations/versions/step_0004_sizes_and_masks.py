"""Reports may have a scale and grades, findings a mask to the pixel."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("report", sa.Column("telling", sa.JSON))
    op.create_table(
        "foundmask",
        sa.Column("finding_id", sa.Integer, sa.ForeignKey("foundflaw.id"), primary_key=True),
        sa.Column("runs", sa.String, nullable=False),
    )
