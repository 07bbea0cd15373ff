"""Reports may have a scale and grades."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.add_column("report", sa.Column("telling", sa.JSON))
