"""The jobs of the command line: serve, and make accounts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flawmap.errors import OptionError, require_extra
from flawmap.service.options import ServeOptions

if TYPE_CHECKING:
    from flawmap.pipeline.inspectors import InspectOptions

_MODULES = ("fastapi", "uvicorn", "sqlmodel", "alembic", "argon2", "prometheus_client", "python_multipart")


def serve(
    models: Path | str | Sequence[Path | str],
    options: ServeOptions | None = None,
    inspect_options: InspectOptions | None = None,
) -> None:
    """Serve models with a page and a REST interface until it is stopped (Ctrl-C, SIGTERM).

    Listens on this machine only unless `options.host` says otherwise; then accounts are needed. Uploads,
    inspections and reviews are kept in `options.data` and are there again after a kill.
    """
    require_service()
    import uvicorn

    from flawmap.service.app import create_app
    from flawmap.service.running import running_service

    options = options or ServeOptions()
    given = [models] if isinstance(models, str | Path) else list(models)
    _check_address(options)
    with running_service(given, options, inspect_options, _say) as service:
        config = uvicorn.Config(
            create_app(service),  # type: ignore[arg-type] - uvicorn's types of ASGI are narrower
            host=options.host,
            port=options.port,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=10,
        )
        names = ", ".join(service.models)
        print(f"serving {names} on {options.url} (data: {options.data}); Ctrl-C stops it", flush=True)
        uvicorn.Server(config).run()


def add_user(
    name: str,
    password: str,
    data: Path | str = ServeOptions.data,
    *,
    role: str = "reviewer",
    database: str | None = None,
    token: bool = False,
) -> str:
    """Make an account for a service's page; with `token`, give back a secret for programs, which is not kept.

    Roles: a viewer looks; a reviewer also uploads, inspects and reviews; an admin also sees the audit log.
    A service that runs already asks for accounts after its next start.
    """
    require_service()
    from flawmap.service.accounts import add_account, make_token
    from flawmap.service.database import open_database

    opened = open_database(Path(data), database)
    try:
        add_account(opened, name, role, password)
        return make_token(opened, name) if token else ""
    finally:
        opened.close()


def _say(what: str, n_done: int, n_total: int) -> None:
    print(f"{what}: {n_done + 1} of {n_total} …", file=sys.stderr, flush=True)


def require_service() -> None:
    """Raise MissingExtraError where flawmap[serve] is not installed."""
    for module in _MODULES:
        require_extra(module, "serve")


def _check_address(options: ServeOptions) -> None:
    """Raise OptionError where nothing can listen there, before models are loaded."""
    import socket

    try:
        found = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(found[0], found[1]) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(found[4])
    except OSError as error:
        raise OptionError(
            f"cannot listen on {options.host}:{options.port} ({error.strerror}); name another host or port"
        ) from error
