"""A service around the tiny model, and ways to talk to it.

Databases are SQLite files, or schemas of the PostgreSQL server that FLAWMAP_TEST_DATABASE names.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flawmap.tools.bundle import Bundle

if TYPE_CHECKING:
    from starlette.testclient import TestClient

for module in ("fastapi", "sqlmodel", "alembic", "argon2", "prometheus_client", "httpx2", "skimage"):
    pytest.importorskip(module)


@pytest.fixture
def database_address() -> Iterator[str | None]:
    """None for the SQLite file in the folder of the data, else an address with a new schema."""
    from sqlalchemy import create_engine, make_url
    from sqlalchemy.schema import CreateSchema, DropSchema

    server = os.environ.get("FLAWMAP_TEST_DATABASE")
    if not server:
        yield None
        return
    schema = f"test_{uuid.uuid4().hex}"
    engine = create_engine(server)
    with engine.begin() as connection:
        connection.execute(CreateSchema(schema))
    settings = {"options": f"-csearch_path={schema}", "application_name": schema}
    yield make_url(server).update_query_dict(settings).render_as_string(hide_password=False)
    with engine.begin() as connection:
        connection.execute(DropSchema(schema, cascade=True))
    engine.dispose()


@pytest.fixture(scope="session")
def one_service(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that tests share which only send photos."""
    from starlette.testclient import TestClient

    from flawmap.service.app import create_app
    from flawmap.service.options import ServeOptions
    from flawmap.service.running import running_service

    options = ServeOptions(data=tmp_path_factory.mktemp("service") / "data", n_threads=1)
    with running_service([tiny_bundle.folder], options) as service:
        yield TestClient(create_app(service), base_url="http://localhost")


@pytest.fixture
def open_service(tiny_bundle: Bundle, tmp_path: Path, database_address: str | None) -> Iterator[Callable]:
    """open_service(model, **options) → (TestClient, Service), in the same data folder; the tiny model where
    none is given."""
    from starlette.testclient import TestClient

    from flawmap.service.app import create_app
    from flawmap.service.options import ServeOptions
    from flawmap.service.running import running_service

    with ExitStack() as stack:

        def begin(model: Bundle = tiny_bundle, **options):
            usual = ServeOptions(data=tmp_path / "data", database=database_address, n_threads=1)
            given = replace(usual, **options)
            service = stack.enter_context(running_service([model.folder], given))
            client = TestClient(create_app(service), base_url="http://localhost", follow_redirects=False)
            return client, service

        yield begin
