"""The arguments and options that several commands share, each described once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

DatasetArgument = Annotated[
    Path,
    typer.Argument(
        help="A folder of photos (class folders, train/val/test, masks, an annotation tool's files), or a "
        "CSV/Parquet manifest."
    ),
]
ModelArgument = Annotated[Path, typer.Argument(help="A run folder, or the model folder inside it.")]
Good = Annotated[
    str | None,
    typer.Option(
        help="Labels that mean no flaw, separated by commas; '' for none. Default: guessed from the names."
    ),
]
GroupBy = Annotated[
    str | None,
    typer.Option(help="Regular expression on the photo's path; its first group names the source photo."),
]
Config = Annotated[Path | None, typer.Option(help="TOML file with options; flags go before it.")]
Seed = Annotated[
    int | None, typer.Option(help="Seed of the split, the folds and the training.  [default: 0]")
]
Megapixels = Annotated[
    float | None, typer.Option(help="Photos with more megapixels are left out.  [default: 200]", min=0.001)
]
Backbones = Annotated[
    str | None,
    typer.Option(
        help="'bundled' (convolutional, on this machine), 'all', or patterns such as 'mobilenet*,resnet18*'."
        "  [default: bundled]"
    ),
]
Weights = Annotated[
    list[str] | None,
    typer.Option(
        help="Your own weights, as ARCHITECTURE@FILE (safetensors or a plain state dict); may repeat."
    ),
]
MaxParameters = Annotated[float | None, typer.Option(help="Skip backbones with more parameters (millions).")]
Licences = Annotated[
    str | None, typer.Option("--licence", help="Only backbones with these licences, separated by commas.")
]
MaxDepth = Annotated[
    int | None, typer.Option(help="Deepest stage that a backbone may keep (0 is the first).", min=0)
]
Prefer = Annotated[
    str | None,
    typer.Option(help="balanced, accuracy, size or speed: see docs/concepts.md.  [default: balanced]"),
]
EngineName = Annotated[
    str | None,
    typer.Option(
        help="local, or ray: the cluster that RAY_ADDRESS names, else workers of this machine. "
        "See docs/scale.md.  [default: local]"
    ),
]
Threads = Annotated[int | None, typer.Option(help="Processor threads.  [default: all]", min=1)]
Cache = Annotated[
    Path | None,
    typer.Option(
        help="Where embeddings are kept between runs.  [default: $FLAWMAP_CACHE or ~/.cache/flawmap]"
    ),
]
MaxMissRate = Annotated[
    float | None,
    typer.Option(
        help="Miss rate you accept; sets the band sent to a person.  [default: 0.01]", min=0.0, max=0.5
    ),
]
CostMiss = Annotated[
    float | None,
    typer.Option(
        help="Cost of one missed flaw; chooses the threshold by cost. Of the two costs one not given is 1.",
        min=0.0,
    ),
]
CostFalseAlarm = Annotated[
    float | None,
    typer.Option(help="Cost of one good photo rejected; as --cost-miss.", min=0.0),
]
MaskThreshold = Annotated[
    int | None,
    typer.Option(help="Mask pixels at or above this are flaw. Default: 255, or class numbers.", min=1),
]
ResizeMasks = Annotated[
    bool | None, typer.Option("--resize-masks", help="Take masks of another size than their photo.")
]
TurnMasks = Annotated[
    Literal["exif", "left", "right"] | None,
    typer.Option(
        help="Turn masks that were drawn on the photos as stored (exif: as their photos), or are rotated "
        "against them by 90°."
    ),
]
UnmaskedGood = Annotated[
    bool | None,
    typer.Option("--unmasked-good", help="Photos without a mask, where others have one, are good."),
]
TaskName = Annotated[
    str | None,
    typer.Option(
        help="classification, multilabel or segmentation. Default: masks where the data set has them, "
        "else its labels."
    ),
]
CascadeFlag = Annotated[
    bool | None,
    typer.Option(
        "--cascade",
        help="Masks behind a small classifier (flaw or not, then which): fast on good photos.",
    ),
]
DecoderName = Annotated[
    str | None,
    typer.Option(
        help="What turns the backbone into masks: unet, unetplusplus, manet, linknet, fpn, pspnet, "
        "deeplabv3, deeplabv3plus, pan or upernet.  [default: unet]"
    ),
]
DeviceName = Annotated[
    Literal["cpu", "gpu"],
    typer.Option(help="gpu: a graphics card, through what is installed for it."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]
