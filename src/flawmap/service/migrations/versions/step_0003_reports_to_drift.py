"""Reports, the watched folder, deliveries, the model in use, samples and drift."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the tables; nothing that is there is changed."""
    op.create_table(
        "report",
        sa.Column("id", sa.String, primary_key=True),
        _of("job_id", "job.id", index=True),
        sa.Column("meta", sa.JSON, nullable=False),
        _text("state", index=True),
        *(_text(name) for name in ("note", "created_at", "created_by")),
        _text("finished_at", nullable=True),
    )
    op.create_table(
        "watchedfile",
        sa.Column("id", sa.Integer, primary_key=True),
        _text("folder", index=True),
        *(_text(name) for name in ("path", "stamp")),
        sa.Column("job_photo_id", sa.Integer, sa.ForeignKey("jobphoto.id")),
        *(_text(name) for name in ("reason", "at")),
        sa.UniqueConstraint("folder", "path", "stamp"),
    )
    op.create_table(
        "delivery",
        sa.Column("id", sa.String, primary_key=True),
        *(_text(name) for name in ("event", "body", "created_at")),
        sa.Column("n_tries", sa.Integer, nullable=False),
        _text("due_at", index=True),
        _text("delivered_at", nullable=True, index=True),
        _text("given_up_at", nullable=True),
        _text("note"),
    )
    op.create_table(
        "modeluse",
        sa.Column("id", sa.Integer, primary_key=True),
        *(_text(name) for name in ("model", "digest", "who", "at")),
    )
    _create_samples()
    _create_drift()


def _create_samples() -> None:
    op.create_table(
        "sample",
        sa.Column("id", sa.Integer, primary_key=True),
        _of("job_id", "job.id", unique=True),
        *(_number(name) for name in ("seed", "n_population", "n_not_judged")),
        *(_text(name) for name in ("created_at", "created_by")),
    )
    op.create_table(
        "samplephoto",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sample_id", sa.Integer, sa.ForeignKey("sample.id"), nullable=False, index=True),
        _number("number"),
        sa.Column("job_photo_id", sa.Integer, sa.ForeignKey("jobphoto.id"), nullable=False),
        sa.UniqueConstraint("sample_id", "number"),
    )
    op.create_table(
        "sampleanswer",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("sample_photo_id", sa.Integer, sa.ForeignKey("samplephoto.id"), nullable=False, index=True),
        *(_text(name) for name in ("answer", "reviewer", "at")),
    )


def _create_drift() -> None:
    op.create_table(
        "driftreference",
        sa.Column("id", sa.Integer, primary_key=True),
        _text("digest", index=True),
        _of("job_id", "job.id"),
        *(_text(name) for name in ("who", "at")),
    )
    op.create_table(
        "driftchange",
        sa.Column("id", sa.Integer, primary_key=True),
        _text("digest", index=True),
        sa.Column("is_alarm", sa.Boolean, nullable=False),
        sa.Column("measures", sa.JSON, nullable=False),
        _text("at"),
    )


def _of(name: str, target: str, *, unique: bool | None = None, index: bool | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String, sa.ForeignKey(target), nullable=False, unique=unique, index=index)


def _text(name: str, *, nullable: bool = False, index: bool | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.String, nullable=nullable, index=index)


def _number(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False)
