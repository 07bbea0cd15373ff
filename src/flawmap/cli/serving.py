"""The commands around a service."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

import flawmap
from flawmap.cli.arguments import Config, Megapixels, Threads
from flawmap.cli.output import resolve

Data = Annotated[
    Path | None, typer.Option(help="Folder of uploads, reviews and database.  [default: flawmap-data]")
]
DatabaseAddress = Annotated[
    str | None, typer.Option("--database", help="Another database, such as postgresql+psycopg://…")
]


def serve(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Run folders; the first answers.")],
    host: Annotated[
        str | None,
        typer.Option(help="Where to listen; beyond this machine it needs accounts.  [default: 127.0.0.1]"),
    ] = None,
    port: Annotated[int | None, typer.Option(help="[default: 8000]", min=0, max=65535)] = None,
    data: Data = None,
    database: DatabaseAddress = None,
    threads: Threads = None,
    max_photo_mb: Annotated[
        float | None, typer.Option(help="Larger uploads are refused.  [default: 50]", min=0.001)
    ] = None,
    max_megapixels: Megapixels = None,
    watch: Annotated[
        Path | None,
        typer.Option(help="Inspect what comes into this folder; nothing in it is changed.", metavar="DIR"),
    ] = None,
    webhook: Annotated[
        str | None,
        typer.Option(
            help="Tell this address of findings and drift, signed with $FLAWMAP_WEBHOOK_SECRET.",
            metavar="URL",
        ),
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(help="Where people reach the page, for the webhook's links.", metavar="URL"),
    ] = None,
    config: Config = None,
) -> None:
    """Serve models with a page for people and a REST interface.

    Works offline. Stopped or killed at any moment, it has every upload, inspection and review at its next
    start.
    """
    options = resolve(
        flawmap.ServeOptions,
        config,
        host=host,
        port=port,
        data=data,
        database=database,
        n_threads=threads,
        max_photo_mb=max_photo_mb,
        max_megapixels=max_megapixels,
        watch=watch,
        webhook=webhook,
        public_url=public_url,
    )
    flawmap.serve(models, options)


def add_user(
    name: Annotated[str, typer.Argument(help="The account's name.")],
    role: Annotated[
        Literal["viewer", "reviewer", "admin"], typer.Option(help="What the account may do.")
    ] = "reviewer",
    data: Data = None,
    database: DatabaseAddress = None,
    token: Annotated[
        bool, typer.Option("--token", help="Also print a secret for programs; it is shown once.")
    ] = False,
) -> None:
    """Make an account for a service.

    Asks for a password, or reads it from the standard input. With accounts, whoever comes in has to say who
    they are.
    """
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    folder = data or flawmap.ServeOptions.data
    secret = flawmap.add_user(name, password, folder, role=role, database=database, token=token)
    print(f"{name} may come in as {role}")
    if secret:
        print(secret)
