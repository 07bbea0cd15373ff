"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make all tables of the first version."""
    op.create_table(
        "account",
        sa.Column("id", sa.Integer, primary_key=True),
        _text("name", unique=True),
        _text("role"),
        _text("password_hash"),
        _text("created_at"),
    )
    op.create_table(
        "token",
        sa.Column("digest", sa.String, primary_key=True),
        sa.Column("account_id", sa.Integer, sa.ForeignKey("account.id"), nullable=False),
        _text("created_at"),
        _text("expires_at", nullable=True),
    )
    op.create_table(
        "storedphoto",
        sa.Column("digest", sa.String, primary_key=True),
        *(_text(name) for name in ("file", "format")),
        *(_number(name) for name in ("n_bytes", "width_px", "height_px")),
        *(_text(name) for name in ("added_at", "added_by")),
    )
    op.create_table(
        "event",
        sa.Column("id", sa.Integer, primary_key=True),
        *(_text(name) for name in ("at", "who", "what", "target")),
    )
    _create_jobs()
    _create_findings()


def _create_jobs() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.String, primary_key=True),
        _text("model"),
        sa.Column("model_record", sa.JSON, nullable=False),
        _text("state", index=True),
        _text("request_key", nullable=True, unique=True),
        _text("created_at"),
        _text("created_by"),
        _text("finished_at", nullable=True),
    )
    op.create_table(
        "jobphoto",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.String, sa.ForeignKey("job.id"), nullable=False, index=True),
        _number("number"),
        _text("name"),
        sa.Column("digest", sa.String, sa.ForeignKey("storedphoto.digest"), nullable=False),
        _number("n_tries"),
        _text("done_at", nullable=True),
        sa.Column("seen", sa.JSON),
        sa.UniqueConstraint("job_id", "number"),
    )


def _create_findings() -> None:
    photo = sa.ForeignKey("jobphoto.id")
    op.create_table(
        "foundflaw",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_photo_id", sa.Integer, photo, nullable=False, index=True),
        _number("number"),
        _text("label"),
        sa.Column("score", sa.Float, nullable=False),
        sa.Column("record", sa.JSON, nullable=False),
        sa.UniqueConstraint("job_photo_id", "number"),
    )
    op.create_table(
        "review",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_photo_id", sa.Integer, sa.ForeignKey("jobphoto.id"), nullable=False, index=True),
        sa.Column("finding_id", sa.Integer, sa.ForeignKey("foundflaw.id"), index=True),
        _text("verdict"),
        _text("label", nullable=True),
        sa.Column("polygon", sa.JSON),
        sa.Column("of_review", sa.Integer, sa.ForeignKey("review.id")),
        *(_text(name) for name in ("note", "reviewer", "at")),
    )


def _text(
    name: str, *, nullable: bool = False, unique: bool | None = None, index: bool | None = None
) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=nullable, unique=unique, index=index)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)
