"""The tables of a service, and the way to them. Rows of findings, reviews and events are only ever added.

Times are UTC in ISO 8601, so that they sort as text in every database.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, Column, UniqueConstraint, create_engine, event, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlmodel import Field, Session, SQLModel

from flawmap.errors import OptionError, require_extra
from flawmap.service import tables as _tables  # noqa: F401 - known to the metadata wherever a database is
from flawmap.tools.files import make_parents

FILE = "flawmap.sqlite"
_LOCK = "1718387063, hashtext(current_schema())"
"""What services of one schema hold in turn; the number ("flaw") keeps other programs' locks apart."""
_MIGRATION_LOCK = "1718387064, hashtext(current_schema())"


class Account(SQLModel, table=True):
    """A person or program that may come in."""

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(unique=True)
    role: str
    """viewer, reviewer or admin."""
    password_hash: str
    """argon2id."""
    created_at: str


class Token(SQLModel, table=True):
    """A secret that stands for an account: only its digest is kept."""

    digest: str = Field(primary_key=True)
    account_id: int = Field(foreign_key="account.id")
    created_at: str
    expires_at: str | None = None
    """Of a login at the page; None for a program's token."""


class StoredPhoto(SQLModel, table=True):
    """An upload, named by its digest: the same bytes are kept once."""

    digest: str = Field(primary_key=True)
    file: str
    """Generated, relative to the folder of uploads."""
    format: str
    n_bytes: int
    width_px: int
    """As stored, before the photo is turned upright."""
    height_px: int
    added_at: str
    added_by: str


class Job(SQLModel, table=True):
    """One inspection: photos that a model looks at."""

    id: str = Field(primary_key=True)
    model: str
    model_record: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))
    """labels, good_labels, task, tile_hw, digest: what reviews and exports need, whatever is served later."""
    state: str = Field(index=True)
    """waiting, running, done or cancelled."""
    request_key: str | None = Field(default=None, unique=True)
    """Given by who asked: asked again, the same job is answered."""
    created_at: str
    created_by: str
    finished_at: str | None = None


class JobPhoto(SQLModel, table=True):
    """A photo of an inspection, and what was seen of it as a whole."""

    __table_args__ = (UniqueConstraint("job_id", "number"),)
    id: int | None = Field(default=None, primary_key=True)
    job_id: str = Field(foreign_key="job.id", index=True)
    number: int
    """From 1, in the order given."""
    name: str
    """As the uploader calls it; only ever shown, never a path."""
    digest: str = Field(foreign_key="storedphoto.digest")
    n_tries: int = 0
    done_at: str | None = None
    seen: dict[str, Any] | None = Field(default=None, sa_column=Column(JSON))
    """width_px, height_px (upright), assessable, reason, error, share_seen, share_foreign,
    position_system, facts."""


class FoundFlaw(SQLModel, table=True):
    """A finding as the model gave it; corrections are reviews beside it."""

    __table_args__ = (UniqueConstraint("job_photo_id", "number"),)
    id: int | None = Field(default=None, primary_key=True)
    job_photo_id: int = Field(foreign_key="jobphoto.id", index=True)
    number: int
    """From 1, highest score first."""
    label: str
    score: float
    record: dict[str, Any] = Field(sa_column=Column(JSON, nullable=False))


class Review(SQLModel, table=True):
    """What a person said of a finding or of a photo; the latest one counts, all are kept."""

    id: int | None = Field(default=None, primary_key=True)
    job_photo_id: int = Field(foreign_key="jobphoto.id", index=True)
    finding_id: int | None = Field(default=None, foreign_key="foundflaw.id", index=True)
    verdict: str
    """accept, reject or relabel a finding; painted: its mask is another; missed: a flaw that the model did
    not see; checked: every flaw of the photo is marked; withdrawn: an earlier `missed`, named by `of_review`,
    was wrong."""
    label: str | None = None
    polygon: list[list[float]] | None = Field(default=None, sa_column=Column(JSON))
    runs: str | None = None
    """A painted mask, as tools.rle writes it."""
    of_review: int | None = Field(default=None, foreign_key="review.id")
    note: str = ""
    reviewer: str
    at: str


class Event(SQLModel, table=True):
    """The audit log: who did what, when."""

    id: int | None = Field(default=None, primary_key=True)
    at: str
    who: str
    what: str
    target: str = ""


class Database:
    """An open database. Reading may happen at once from many threads; writing takes turns."""

    def __init__(self, address: str) -> None:
        """Opens `address` and brings its tables up to date. Raises OptionError where it cannot be used, and
        MissingExtraError where its driver is not here."""
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError

        try:
            url = make_url(address)
            if url.get_dialect().driver == "psycopg":
                require_extra("psycopg", "postgres")
            self.engine = create_engine(url, pool_pre_ping=True)
        except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
            raise OptionError(f"cannot use the database {_hidden(address)}: {_first_line(error)}") from error
        if self.engine.dialect.name == "sqlite":
            event.listen(self.engine, "connect", _prepare_sqlite)
        self._turn = threading.Lock()
        try:
            _migrate(self.engine)
        except SQLAlchemyError as error:
            raise OptionError(f"cannot use the database {_hidden(address)}: {_first_line(error)}") from error

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """A session that changes nothing."""
        with Session(self.engine, expire_on_commit=False) as session:
            yield session

    @contextmanager
    def writing(self, who: str = "", what: str = "", target: str = "") -> Iterator[Session]:
        """A session that is committed at its end, whole or not at all, with its line in the audit log."""
        with self._turn, Session(self.engine, expire_on_commit=False) as session:
            yield session
            if what:
                session.add(Event(at=now(), who=who, what=what, target=target))
            session.commit()

    def close(self) -> None:
        self.engine.dispose()


def open_database(data: Path, address: str | None = None) -> Database:
    """The database at `address`, else the SQLite file in `data`. Raises OptionError."""
    if address is not None:
        return Database(address)
    make_parents(data / FILE)
    return Database(f"sqlite:///{data / FILE}")


@contextmanager
def held_folder(data: Path) -> Iterator[None]:
    """Keeps a second service off the same folder, which would do every job twice; a kill lets go of it."""
    make_parents(data / "lock")
    lock = sqlite3.connect(data / "service.lock", timeout=0.2, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        raise OptionError(
            f"another service uses {data}; stop it, or name another folder for its data"
        ) from error
    try:
        yield
    finally:
        lock.close()


@contextmanager
def held_database(database: Database, patience_s: float = 3.0) -> Iterator[None]:
    """Keeps a second service, with another folder, off the tables of a PostgreSQL server, which lets go when
    the connection ends. An SQLite file lies in the folder that is held already."""
    if database.engine.dialect.name != "postgresql":
        yield
        return
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # The server may need a moment to see that a killed service is gone.
        connection.execute(text(f"SET lock_timeout = '{patience_s:g}s'"))
        try:
            connection.execute(text(f"SELECT pg_advisory_lock({_LOCK})"))
        except OperationalError as error:
            raise OptionError(
                "another service uses the database; stop it, or name another one for this service"
            ) from error
        try:
            yield
        finally:
            connection.invalidate()  # the lock goes with the connection, so it is not used again


def now() -> str:
    """UTC, to the microsecond."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _prepare_sqlite(connection: Any, _: object) -> None:
    cursor = connection.cursor()
    for setting in ("journal_mode = WAL", "synchronous = FULL", "busy_timeout = 10000", "foreign_keys = ON"):
        cursor.execute(f"PRAGMA {setting}")
    cursor.close()


def _migrate(engine: Any) -> None:
    """Run the package's migrations that this database has not seen."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "flawmap.service:migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # add-user and serve may begin at once
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATION_LOCK})"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _hidden(address: str) -> str:
    """An address without its password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(address).render_as_string(hide_password=True)
    except ArgumentError:
        return "that was named"


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
