"""The commands that measure cracks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import flawmap
from flawmap.cli.output import finish

MmPerPx = Annotated[float | None, typer.Option(help="Scale: millimetres that a pixel shows.")]


def measure_profile(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE", help="CSV files of grey values across a crack.")
    ],
    mm_per_px: MmPerPx = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the list of widths here.")] = None,
) -> None:
    """Measure crack widths in grey profiles.

    A CSV with a row per profile, values a pixel apart, surface on both sides; or with a line of names that
    holds mean_res (mm per pixel), their values, the word intensities, and the grey values. Cracks are darker
    than the surface. Every width has a 95 % half-interval.
    """
    finish(flawmap.measure_profile(files, scale_mm_per_px=mm_per_px, json_file=json_file))


def add_commands(app: typer.Typer) -> None:
    """Add them to flawmap's own commands."""
    app.command("measure-profile")(measure_profile)
