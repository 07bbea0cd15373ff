"""flawmap similar and zoo: what there is to choose from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import flawmap
from flawmap.cli.arguments import (
    Backbones,
    Cache,
    Licences,
    MaxParameters,
    Megapixels,
    Quiet,
    Threads,
    Weights,
)
from flawmap.cli.output import finish, resolve_options, shown_progress, to_names


def similar(
    photo: Annotated[Path, typer.Argument(help="The photo to look for.")],
    dataset: Annotated[
        Path, typer.Argument(help="Where to look: any folder of photos, a data set, or a manifest.")
    ],
    count: Annotated[int, typer.Option("--count", "-n", help="How many photos to list.", min=1)] = 10,
    threads: Threads = None,
    cache: Cache = None,
    max_megapixels: Megapixels = None,
    quiet: Quiet = False,
) -> None:
    """List the photos most like one photo.

    Labels are listed too, where there are any.
    """
    options = resolve_options(
        None,
        dataset__photos__max_megapixels=max_megapixels,
        embed__n_threads=threads,
        embed__cache=cache,
    )
    with shown_progress(quiet) as progress:
        result = flawmap.similar(photo, dataset, options, count=count, progress=progress)
    finish(result)


def zoo(
    backbones: Backbones = None,
    weights: Weights = None,
    max_parameters: MaxParameters = None,
    licence: Licences = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write the list to this file.")] = None,
    cache: Cache = None,
    quiet: Quiet = False,
) -> None:
    """List the backbones that can be chosen.

    With parameters, licence, preprocessing, and whether the weights are here. The first look at all of timm
    takes minutes: every network is built once, without weights, to be counted.
    """
    with shown_progress(quiet) as progress:
        lines = flawmap.zoo(
            backbones or "bundled",
            weights=tuple(weights or ()),
            max_parameters_millions=max_parameters,
            licences=to_names(licence),
            cache=cache,
            json_file=json_file,
            progress=progress,
        )
    for line in lines:
        print(line)
    if json_file is not None:
        print(f"wrote {json_file}")
