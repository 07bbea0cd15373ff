"""The tables and the steps that lead to them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlmodel import SQLModel, select

from flawmap.errors import OptionError
from flawmap.service.database import Database, Event, held_database, open_database
from flawmap.service.options import ServeOptions


def test_the_steps_lead_to_the_tables(tmp_path: Path, database_address: str | None) -> None:
    for _ in range(2):  # the second time there is nothing to do
        database = open_database(tmp_path / "data", database_address)
        with database.engine.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), SQLModel.metadata) == []
            if database_address is None:
                assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        database.close()


def test_what_is_not_ended_is_not_there(tmp_path: Path, database_address: str | None) -> None:
    database = open_database(tmp_path / "data", database_address)
    with pytest.raises(RuntimeError), database.writing("anna", "begin") as session:
        session.add(Event(at="now", who="anna", what="half"))
        raise RuntimeError
    with database.writing("anna", "whole"):
        pass
    with database.reading() as session:
        assert [event.what for event in session.exec(select(Event))] == ["whole"]
    database.close()


def test_a_lost_database_is_told_and_found_again(
    open_service: Callable, tmp_path: Path, database_address: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, service = open_service()

    def refuse() -> None:
        raise OperationalError("SELECT 1", {}, OSError("the server closed the connection"))

    with monkeypatch.context() as patched:
        patched.setattr(service.database.engine, "connect", refuse)
        answer = client.get("/v1/inspections")
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) >= 1
    if database_address is not None:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
        with service.database.engine.connect() as connection:
            ours = connection.scalar(text("SELECT current_setting('application_name')"))
            connection.execute(text(f"{others} AND application_name = '{ours}'"))
    assert client.get("/v1/inspections").json() == []


def test_two_services_do_not_share_tables(tmp_path: Path, database_address: str | None) -> None:
    if database_address is None:
        pytest.skip("of a database server; FLAWMAP_TEST_DATABASE names one")
    ours, theirs = (open_database(tmp_path / name, database_address) for name in ("a", "b"))
    with held_database(ours), pytest.raises(OptionError, match="another service"), held_database(theirs, 0.1):
        pass
    with held_database(theirs):  # let go of
        pass
    ours.close()
    theirs.close()


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
