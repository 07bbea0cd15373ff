"""The commands that get a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import flawmap
from flawmap.cli.arguments import (
    Backbones,
    Cache,
    Config,
    DatasetArgument,
    EngineName,
    MaskThreshold,
    Megapixels,
    Quiet,
    ResizeMasks,
    Threads,
    TurnMasks,
    UnmaskedGood,
    Weights,
)
from flawmap.cli.output import finish, reading, resolve_options, shown_progress

data_app = typer.Typer(
    help="Get a data set: draw a sample, fetch a public one, convert masks, or export reviews.",
    no_args_is_help=True,
)


@data_app.command()
def sample(
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    photos: Annotated[
        int | None, typer.Option(help="Photos to draw; each gives several tiles.  [default: 60]", min=3)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of what is drawn.  [default: 0]")] = None,
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


@data_app.command()
def convert(
    dataset: DatasetArgument,
    out: Annotated[Path, typer.Argument(help="The folder to write.")],
    to: Annotated[Literal["severstal", "coco", "masks"], typer.Option(help="The layout to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier conversion.")] = False,
    mask_threshold: MaskThreshold = None,
    resize_masks: ResizeMasks = None,
    turn_masks: TurnMasks = None,
    unmasked_good: UnmaskedGood = None,
    max_megapixels: Megapixels = None,
    quiet: Quiet = False,
) -> None:
    """Write photos and their masks in another layout.

    Exact to the pixel: runs in a table as Severstal's, COCO's JSON, or mask images. Photos are copied. Takes
    whatever train takes, the files of Labelme, VIA, CVAT and YOLO too.
    """
    told = reading(None, mask_threshold, resize_masks, turn_masks, unmasked_good, max_megapixels)
    options = resolve_options(None, **told)
    with shown_progress(quiet) as progress:
        result = flawmap.convert(dataset, out, to, options, overwrite=overwrite, progress=progress)
    finish(result)


def embed(
    photos: Annotated[
        list[str],
        typer.Argument(
            help="A data set; or photos, folders of photos, patterns, or addresses such as s3://bucket/folder."
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", help="The file to write, or its address: .npz or .parquet.")
    ],
    backbones: Backbones = None,
    weights: Weights = None,
    engine: EngineName = None,
    threads: Threads = None,
    cache: Cache = None,
    max_megapixels: Megapixels = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Turn photos into rows of numbers.

    The pooled maps of the first backbone that is named, for every depth; what was computed before is read
    from the store. Labels are those of a data set, and empty for any other photos.
    """
    options = resolve_options(
        config,
        backbones=backbones,
        weights=tuple(weights) if weights else None,
        dataset__photos__max_megapixels=max_megapixels,
        embed__engine=engine,
        embed__n_threads=threads,
        embed__cache=cache,
    )
    with shown_progress(quiet) as progress:
        result = flawmap.embed(photos, out, options, progress=progress)
    finish(result)


@data_app.command("export-reviews")
def export_reviews(
    data: Annotated[Path, typer.Argument(help="The folder that flawmap serve keeps its data in.")],
    out: Annotated[Path, typer.Argument(help="The folder to write; it has to be new.")],
    to: Annotated[
        Literal["tiles", "masks"] | None,
        typer.Option(help="What to write.  [default: as the model was trained]"),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="Whose findings, where several models were reviewed.")
    ] = None,
    database: Annotated[str | None, typer.Option(help="As given to flawmap serve.")] = None,
    quiet: Quiet = False,
) -> None:
    """Write what people corrected as a data set.

    The next model learns from it: flawmap train takes the folder. A place counts as good only where a person
    said so.
    """
    with shown_progress(quiet) as progress:
        result = flawmap.export_reviews(data, out, to, model=model, database=database, progress=progress)
    finish(result)
