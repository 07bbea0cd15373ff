"""The commands for site photos: inspect a structure or a batch, and compare two inspections."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

import flawmap
from flawmap.cli.arguments import EngineName, ModelArgument, Quiet, Threads
from flawmap.cli.measuring import DistanceM, ExposureName, FocalMm, Grading, MarkerMm, MmPerPx, SensorWidthMm
from flawmap.cli.output import finish, resolve, shown_progress


def inspect(
    model: ModelArgument,
    photos: Annotated[
        list[str],
        typer.Argument(help="Photos, folders of photos, patterns, or addresses such as s3://bucket/folder."),
    ],
    out: Annotated[
        str,
        typer.Option(
            "--out",
            "-o",
            help="The survey folder to write, or its address: reports, findings, overlays.",
        ),
    ],
    meta: Annotated[
        Path | None,
        typer.Option(help="TOML file with structure, element, span, inspector, date, scale, notes."),
    ] = None,
    mm_per_px: MmPerPx = None,
    distance_m: DistanceM = None,
    focal_mm: FocalMm = None,
    sensor_width_mm: SensorWidthMm = None,
    marker_mm: MarkerMm = None,
    grading: Grading = None,
    exposure: ExposureName = None,
    region: Annotated[
        Path | None,
        typer.Option(
            help="Where to look: a polygon (.json) or mask (.png), or a folder with one per camera folder."
        ),
    ] = None,
    max_megapixels: Annotated[
        float | None,
        typer.Option(
            help="Photos with more megapixels are read in strips, where they are TIFF files, and else left "
            "out.  [default: 200]",
            min=0.001,
        ),
    ] = None,
    part_by: Annotated[
        str | None,
        typer.Option(help="Regular expression on the photo's name; its first group names the part shown."),
    ] = None,
    heatmaps: Annotated[
        bool | None, typer.Option("--heatmaps", help="Also write heat/: the flaw score over each photo.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Begin anew; the survey that is there goes.")
    ] = False,
    engine: EngineName = None,
    threads: Threads = None,
    config: Annotated[Path | None, typer.Option(help="TOML file with options; flags go before it.")] = None,
    quiet: Quiet = False,
) -> None:
    """Find flaws on site photos; write findings and a report to sign.

    Stopped at any moment and given again, it does only what is missing. A photo that cannot be read or judged
    is listed, never counted clean.
    """
    from flawmap.errors import OptionError, option
    from flawmap.pipeline.texts import survey_file
    from flawmap.tools.grading import GradingOptions
    from flawmap.tools.scale import ScaleOptions

    if exposure is not None and grading is None:
        raise OptionError(f"{option('--exposure')} is of use with a grading table only; name one")
    scale = ScaleOptions(mm_per_px, distance_m, focal_mm, sensor_width_mm, marker_mm)
    options = resolve(
        flawmap.InspectOptions,
        config,
        inspection__region=region,
        inspection__photos__max_megapixels=max_megapixels,
        survey__engine=engine,
        survey__n_threads=threads,
        survey__part_by=part_by,
        survey__heatmaps=heatmaps,
    )
    if scale != ScaleOptions():
        options = replace(options, scale=scale)
    if grading is not None:
        options = replace(options, grading=GradingOptions(grading, exposure))
    with shown_progress(quiet) as progress:
        result = flawmap.inspect(
            model, photos, out, options, meta=meta, overwrite=overwrite, progress=progress
        )
    finish(result, listing=survey_file(out, "findings.json"))


def compare(
    old: Annotated[Path, typer.Argument(help="The survey folder of the earlier inspection.")],
    new: Annotated[Path, typer.Argument(help="The survey folder of the later inspection.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write every finding to this file.")
    ] = None,
    max_distance_m: Annotated[
        float | None,
        typer.Option(help="Between cameras of photos that are paired by position.  [default: 10]", min=0.1),
    ] = None,
) -> None:
    """Tell what is new, grown or unchanged between two surveys.

    Photos are paired by name, else by position, and only where the pictures themselves can be aligned; what
    cannot be told is said.
    """
    from flawmap.tools.options import changed

    options = flawmap.CompareOptions()
    if max_distance_m is not None:
        options = changed(options, ["max_distance_m"], max_distance_m)
    finish(flawmap.compare(old, new, options, json_file=json_file), json_file)
