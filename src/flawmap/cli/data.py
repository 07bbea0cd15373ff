"""The commands that get a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import flawmap
from flawmap.cli.arguments import Quiet, Seed
from flawmap.cli.output import shown_progress

data_app = typer.Typer(help="Get a data set: draw a sample or fetch a public one.", no_args_is_help=True)


@data_app.command()
def sample(
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    photos: Annotated[
        int | None, typer.Option(help="Photos to draw; each gives several tiles.", min=3)
    ] = None,
    seed: Seed = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier sample.")] = False,
    quiet: Quiet = False,
) -> None:
    """Draw a sample set of flawed surfaces.

    Cracks, scratches and pits of known width on photo-like surfaces, several tiles per photo, with masks.
    """
    with shown_progress(quiet) as progress:
        lines = flawmap.draw_sample(out, n_photos=photos, seed=seed, overwrite=overwrite, progress=progress)
    for line in lines:
        print(line)


@data_app.command()
def fetch(
    name: Annotated[str, typer.Argument(help="metu-concrete, neu, deepcrack or severstal.")],
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    url: Annotated[str | None, typer.Option(help="Fetch from this address instead (a mirror).")] = None,
    archive: Annotated[Path | None, typer.Option(help="Unpack this file, already downloaded.")] = None,
    sha256: Annotated[str | None, typer.Option(help="The file's checksum, to be held against.")] = None,
    quiet: Quiet = False,
) -> None:
    """Fetch a public data set.

    A broken download goes on where it was; the checksum is held against the file.
    """
    with shown_progress(quiet) as progress:
        lines = flawmap.fetch(name, out, url=url, archive=archive, sha256=sha256, progress=progress)
    for line in lines:
        print(line)
