"""Reviews may hold a painted mask."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("review", sa.Column("runs", sa.String))
