"""Arguments in, one pipeline call, text out. Heavy imports happen inside the command that needs them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

import flawmap
from flawmap.cli import measuring, serving, surveys
from flawmap.cli.arguments import (
    Backbones,
    Cache,
    CascadeFlag,
    Config,
    CostFalseAlarm,
    CostMiss,
    DatasetArgument,
    DecoderName,
    DeviceName,
    Good,
    GroupBy,
    Licences,
    MaskThreshold,
    MaxDepth,
    MaxMissRate,
    MaxParameters,
    Megapixels,
    ModelArgument,
    Prefer,
    Quiet,
    ResizeMasks,
    Seed,
    TaskName,
    Threads,
    TurnMasks,
    UnmaskedGood,
    Weights,
)
from flawmap.cli.data import data_app, embed
from flawmap.cli.forms import benchmark, export
from flawmap.cli.looking import similar, zoo
from flawmap.cli.output import finish, reading, resolve_options, shown_progress, to_names

app = typer.Typer(
    name="flawmap",
    help="Turn a folder of photos into an honest surface-flaw inspector.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help starts in half the time
    pretty_exceptions_enable=False,
    add_completion=False,
    epilog="Exit codes: 0 done; 1 done, but photos were left out; 2 something for you to change; 70 a bug.",
)
app.add_typer(data_app, name="data")
app.command()(surveys.inspect)
app.command()(surveys.compare)
app.command()(serving.serve)
app.command()(serving.add_user)


@app.command()
def train(
    dataset: DatasetArgument,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="The run folder to write: model, report, metrics.")
    ],
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace an earlier run in that folder.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    good: Good = None,
    mask_threshold: MaskThreshold = None,
    resize_masks: ResizeMasks = None,
    turn_masks: TurnMasks = None,
    unmasked_good: UnmaskedGood = None,
    group_by: GroupBy = None,
    backbones: Backbones = None,
    weights: Weights = None,
    max_parameters: MaxParameters = None,
    licence: Licences = None,
    max_depth: MaxDepth = None,
    prefer: Prefer = None,
    max_miss_rate: MaxMissRate = None,
    cost_miss: CostMiss = None,
    cost_false_alarm: CostFalseAlarm = None,
    task: TaskName = None,
    cascade: CascadeFlag = None,
    decoder: DecoderName = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Epochs of fine-tuning; 0 for none. Default: by the size of the set.", min=0),
    ] = None,
    frozen_stages: Annotated[
        int | None, typer.Option(help="Early stages that fine-tuning leaves as they are.", min=0)
    ] = None,
    logger: Annotated[
        str | None, typer.Option(help="Also log to 'wandb' or 'mlflow' (TensorBoard always).")
    ] = None,
    seed: Seed = None,
    threads: Threads = None,
    cache: Cache = None,
    max_megapixels: Megapixels = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Photos in; model, honest evaluation and report out.

    Reads the folder, finds what is wrong with it, splits it by source photo, chooses a backbone, trains,
    evaluates on photos never seen, exports a small model and writes report.html.
    """
    options = resolve_options(
        config,
        seed=seed,
        backbones=backbones,
        weights=tuple(weights) if weights else None,
        max_parameters_millions=max_parameters,
        licences=to_names(licence),
        **reading(good, mask_threshold, resize_masks, turn_masks, unmasked_good, max_megapixels),
        audit__group_by=group_by,
        rank__max_depth=max_depth,
        rank__prefer=prefer,
        embed__n_threads=threads,
        embed__cache=cache,
        evaluate__max_miss_rate=max_miss_rate,
        evaluate__cost_miss=cost_miss,
        evaluate__cost_false_alarm=cost_false_alarm,
        task=task,
        cascade=cascade,
        train__epochs=epochs,
        train_masks__epochs=epochs,
        train_masks__frozen_stages=frozen_stages,
        train_masks__decoder=decoder,
        train_masks__logger=logger,
        train__frozen_stages=frozen_stages,
        train__logger=logger,
    )
    with shown_progress(quiet) as progress:
        result = flawmap.train(
            dataset,
            out,
            options,
            overwrite=overwrite,
            resume=resume,
            command=shlex.join(["flawmap", *sys.argv[1:]]),
            progress=progress,
        )
    finish(result)


@app.command()
def audit(
    dataset: DatasetArgument,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all findings to this file.")] = None,
    splits: Annotated[
        Path | None, typer.Option(help="Write the split that train would use to this CSV.")
    ] = None,
    good: Good = None,
    mask_threshold: MaskThreshold = None,
    resize_masks: ResizeMasks = None,
    turn_masks: TurnMasks = None,
    unmasked_good: UnmaskedGood = None,
    group_by: GroupBy = None,
    seed: Seed = None,
    threads: Threads = None,
    cache: Cache = None,
    max_megapixels: Megapixels = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Find what is wrong with a data set.

    Unreadable files, exact and near duplicates, tiles of one source photo, photos and sources that stand in
    two given parts, and labels that look wrong.
    """
    options = resolve_options(
        config,
        seed=seed,
        **reading(good, mask_threshold, resize_masks, turn_masks, unmasked_good, max_megapixels),
        audit__group_by=group_by,
        embed__n_threads=threads,
        embed__cache=cache,
    )
    with shown_progress(quiet) as progress:
        result = flawmap.audit(dataset, options, json_file=json_file, splits_file=splits, progress=progress)
    finish(result, json_file, splits, listing=json_file)


@app.command()
def rank(
    dataset: DatasetArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="Write ranking.csv and charts to this folder.")
    ] = None,
    top: Annotated[int, typer.Option(help="Candidates to print.", min=1)] = 10,
    good: Good = None,
    mask_threshold: MaskThreshold = None,
    resize_masks: ResizeMasks = None,
    turn_masks: TurnMasks = None,
    unmasked_good: UnmaskedGood = None,
    group_by: GroupBy = None,
    backbones: Backbones = None,
    weights: Weights = None,
    max_parameters: MaxParameters = None,
    licence: Licences = None,
    max_depth: MaxDepth = None,
    prefer: Prefer = None,
    seed: Seed = None,
    threads: Threads = None,
    cache: Cache = None,
    max_megapixels: Megapixels = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Score backbones, depths and poolings; choose one.

    By cross-validation over source photos, on the training and validation parts only.
    """
    options = resolve_options(
        config,
        seed=seed,
        backbones=backbones,
        weights=tuple(weights) if weights else None,
        max_parameters_millions=max_parameters,
        licences=to_names(licence),
        **reading(good, mask_threshold, resize_masks, turn_masks, unmasked_good, max_megapixels),
        audit__group_by=group_by,
        rank__max_depth=max_depth,
        rank__prefer=prefer,
        embed__n_threads=threads,
        embed__cache=cache,
    )
    with shown_progress(quiet) as progress:
        result = flawmap.rank(dataset, options, out=out, top=top, progress=progress)
    finish(result)


@app.command()
def evaluate(
    model: ModelArgument,
    dataset: DatasetArgument,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    table: Annotated[
        Path | None, typer.Option(help="Write a row per photo, true and predicted, to this .csv file.")
    ] = None,
    good: Good = None,
    mask_threshold: MaskThreshold = None,
    resize_masks: ResizeMasks = None,
    turn_masks: TurnMasks = None,
    unmasked_good: UnmaskedGood = None,
    group_by: GroupBy = None,
    seed: Seed = None,
    threads: Threads = None,
    max_megapixels: Megapixels = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Measure a model on labelled photos.

    With 95 % intervals over sources (--group-by, a manifest's group column, else those that the model's run
    found for these photos), and beside the figure of the trivial answer.
    """
    options = resolve_options(
        config,
        seed=seed,
        **reading(good, mask_threshold, resize_masks, turn_masks, unmasked_good, max_megapixels),
        audit__group_by=group_by,
        embed__n_threads=threads,
    )
    with shown_progress(quiet) as progress:
        result = flawmap.evaluate(
            model, dataset, options, json_file=json_file, table=table, progress=progress
        )
    finish(result, json_file, table)


@app.command()
def predict(
    model: ModelArgument,
    photos: Annotated[list[str], typer.Argument(help="Photos, folders of photos, or patterns.")],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Write results.csv or results.jsonl (with --masks: a folder); else print them.",
        ),
    ] = None,
    masks: Annotated[
        Literal["png", "rle", "coco", "geojson"] | None,
        typer.Option(help="Also write the masks, in this form, into the folder of --out."),
    ] = None,
    runtime: Annotated[
        Literal["onnxruntime", "openvino", "litert"] | None,
        typer.Option(help="What runs the model file. Default: what its folder was made for."),
    ] = None,
    device: DeviceName = "cpu",
    threads: Threads = None,
    max_megapixels: Megapixels = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace earlier masks and results in that folder.")
    ] = False,
    quiet: Quiet = False,
) -> None:
    """Label photos with a trained model.

    Needs no training framework. A photo that cannot be read becomes a row with an error.
    """
    from flawmap.tools.runtime import RuntimeOptions

    with shown_progress(quiet) as progress:
        result = flawmap.predict(
            model,
            photos,
            out=out,
            masks=masks,
            runtime_options=RuntimeOptions(runtime=runtime, n_threads=threads, device=device),
            max_megapixels=max_megapixels,
            overwrite=overwrite,
            progress=progress,
        )
    finish(result, listing=out / "results.csv" if out is not None and masks is not None else out)


@app.command()
def explain(
    model: ModelArgument,
    photo: Annotated[Path, typer.Argument(help="The photo to explain.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The picture to write (PNG or JPEG).")],
    label: Annotated[str | None, typer.Option(help="Explain this label instead of the printed one.")] = None,
    max_megapixels: Megapixels = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a picture of that name.")] = False,
) -> None:
    """Draw where the model saw what it says."""
    for line in flawmap.explain(
        model, photo, out, label=label, max_megapixels=max_megapixels, overwrite=overwrite
    ):
        print(line)


app.command()(similar)
app.command()(zoo)
app.command()(embed)
app.command()(measuring.measure)
app.command()(measuring.measure_profile)
app.command()(measuring.marker)
app.command()(export)
app.command()(benchmark)


def _version(value: bool) -> None:
    if value:
        from flawmap import __version__

        print(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass
