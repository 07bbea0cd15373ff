"""The tables and the steps that lead to them."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlmodel import SQLModel, select

from flawmap.errors import OptionError
from flawmap.service.database import Database, Event, open_database
from flawmap.service.options import ServeOptions


def test_the_steps_lead_to_the_tables(tmp_path: Path) -> None:
    for _ in range(2):  # the second time there is nothing to do
        database = open_database(tmp_path / "data")
        with database.engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        database.close()


def test_what_is_not_ended_is_not_there(tmp_path: Path) -> None:
    database = open_database(tmp_path / "data")
    with pytest.raises(RuntimeError), database.writing("anna", "begin") as session:
        session.add(Event(at="now", who="anna", what="half"))
        raise RuntimeError
    with database.writing("anna", "whole"):
        pass
    with database.reading() as session:
        assert [event.what for event in session.exec(select(Event))] == ["whole"]
    database.close()


def test_addresses_that_lead_nowhere_say_so_without_the_password() -> None:
    for address in ("postgresql+nodriver://anna:secret@localhost/x", "no address"):
        with pytest.raises(OptionError, match="cannot use the database") as caught:
            Database(address)
        assert "secret" not in str(caught.value)


def test_options_are_checked() -> None:
    assert ServeOptions(host="::1").is_loopback and ServeOptions(host="localhost").is_loopback
    assert not ServeOptions(host="0.0.0.0").is_loopback and not ServeOptions(host="example.org").is_loopback
    for wrong in ({"port": 70_000}, {"max_photo_mb": 0}, {"n_threads": 0}):
        with pytest.raises(OptionError, match="was wanted"):
            ServeOptions(**wrong)
