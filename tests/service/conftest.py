"""A service around the tiny model, and ways to talk to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from flawmap.tools.bundle import Bundle

for module in ("fastapi", "sqlmodel", "alembic", "argon2", "prometheus_client", "httpx2", "skimage"):
    pytest.importorskip(module)


@pytest.fixture
def open_service(tiny_bundle: Bundle, tmp_path: Path) -> Iterator[Callable]:
    """open_service(**options) → (TestClient, Service); the same data folder each time."""
    from starlette.testclient import TestClient

    from flawmap.service.app import create_app
    from flawmap.service.options import ServeOptions
    from flawmap.service.running import running_service

    with ExitStack() as stack:

        def begin(**options):
            given = replace(ServeOptions(data=tmp_path / "data", n_threads=1), **options)
            service = stack.enter_context(running_service([tiny_bundle.folder], given))
            client = TestClient(create_app(service), base_url="http://localhost", follow_redirects=False)
            return client, service

        yield begin
