"""A service around the tiny model, and ways to talk to it."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from flawmap.tools.bundle import Bundle

for module in ("fastapi", "sqlmodel", "alembic", "argon2", "prometheus_client", "httpx2", "skimage"):
    pytest.importorskip(module)


def to_png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def to_site(seed: int, crack_at: int | None, tiny: SimpleNamespace) -> bytes:
    """A photo of 192 × 256 pixels, several training tiles large; `crack_at` as make_photo()'s."""
    return to_png(tiny.make_photo(seed, crack_at, (192, 256)))


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
