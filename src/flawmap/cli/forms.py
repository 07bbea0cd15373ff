"""The commands that write a model in another form, and measure each form."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

import flawmap
from flawmap.cli.arguments import (
    Cache,
    Config,
    DatasetArgument,
    DeviceName,
    Good,
    MaskThreshold,
    Megapixels,
    ModelArgument,
    Quiet,
    ResizeMasks,
    Threads,
    TurnMasks,
    UnmaskedGood,
)
from flawmap.cli.output import finish, reading, resolve_options, shown_progress


def export(
    model: ModelArgument,
    to: Annotated[Literal["onnx", "openvino", "litert"], typer.Option(help="The files to write.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The model folder to write.")],
    precision: Annotated[
        Literal["float32", "float16", "bfloat16", "int8"], typer.Option(help="In which it computes.")
    ] = "float32",
    calibrate: Annotated[
        Path | None,
        typer.Option(
            help="Photos like those to come: a labelled data set; for float32 any photos. Default: the data "
            "set that the model was trained on."
        ),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export.")] = False,
    good: Good = None,
    mask_threshold: MaskThreshold = None,
    resize_masks: ResizeMasks = None,
    turn_masks: TurnMasks = None,
    unmasked_good: UnmaskedGood = None,
    threads: Threads = None,
    cache: Cache = None,
    max_megapixels: Megapixels = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Write a model in another form or precision.

    It is written only if it answers as before on real photos: in float32 the same probabilities; otherwise F1
    (of masks: Dice) may fall by 0.005 and 1 % of the labels (pixels) may change. int8 is fitted to some of
    the photos and checked on others. The new folder is a model folder like any other.
    """
    options = resolve_options(
        config,
        forms__calibrate=calibrate,
        **reading(good, mask_threshold, resize_masks, turn_masks, unmasked_good, max_megapixels),
        embed__n_threads=threads,
        embed__cache=cache,
    )
    with shown_progress(quiet) as progress:
        result = flawmap.export(
            model, out, to, precision=precision, options=options, overwrite=overwrite, progress=progress
        )
    finish(result)


def benchmark(
    model: ModelArgument,
    dataset: DatasetArgument,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    device: DeviceName = "cpu",
    rounds: Annotated[int | None, typer.Option(help="Rounds of timing.  [default: 5]", min=1)] = None,
    good: Good = None,
    mask_threshold: MaskThreshold = None,
    resize_masks: ResizeMasks = None,
    turn_masks: TurnMasks = None,
    unmasked_good: UnmaskedGood = None,
    threads: Threads = None,
    cache: Cache = None,
    max_megapixels: Megapixels = None,
    config: Config = None,
    quiet: Quiet = False,
) -> None:
    """Measure a model in every form and precision.

    Size, time, F1 (of masks: Dice), what changes, and whether `flawmap export` would write it. Forms whose
    packages are not installed are listed with the reason.
    """
    options = resolve_options(
        config,
        benchmark__n_rounds=rounds,
        **reading(good, mask_threshold, resize_masks, turn_masks, unmasked_good, max_megapixels),
        embed__n_threads=threads,
        embed__cache=cache,
    )
    with shown_progress(quiet) as progress:
        result = flawmap.benchmark(
            model, dataset, options, json_file=json_file, device=device, progress=progress
        )
    finish(result, json_file)
