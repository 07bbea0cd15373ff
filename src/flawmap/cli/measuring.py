"""The commands that measure cracks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

import flawmap
from flawmap.cli.arguments import MaskThreshold
from flawmap.cli.output import finish

MmPerPx = Annotated[float | None, typer.Option(help="Scale: millimetres that a pixel shows.")]
DistanceM = Annotated[
    float | None,
    typer.Option(help="Scale: metres from the lens to the surface, taken straight on. Lens: EXIF, or below."),
]
FocalMm = Annotated[float | None, typer.Option(help="With --distance-m: the lens's focal length.")]
SensorWidthMm = Annotated[
    float | None, typer.Option(help="With --distance-m: the sensor's width along the photo's longer side.")
]
MarkerMm = Annotated[
    float | None,
    typer.Option(
        help="Scale: width of the black square of an ArUco or AprilTag marker in the photo; corrects tilt."
    ),
]
Grading = Annotated[
    str | None,
    typer.Option(help="Grade by width: bre-251, aci-224r, eurocode-2, or your own TOML file."),
]
ExposureName = Annotated[
    str | None,
    typer.Option(help="With --grading aci-224r or eurocode-2: what the part is exposed to, as XC3."),
]


def measure(
    mask: Annotated[Path, typer.Argument(help="A mask image: 0 and 255, or class numbers.")],
    photo: Annotated[
        Path | None, typer.Option(help="The photo under the mask: widths are read off its grey values.")
    ] = None,
    mm_per_px: MmPerPx = None,
    distance_m: DistanceM = None,
    focal_mm: FocalMm = None,
    sensor_width_mm: SensorWidthMm = None,
    marker_mm: MarkerMm = None,
    grading: Grading = None,
    exposure: ExposureName = None,
    mask_threshold: MaskThreshold = None,
    max_megapixels: Annotated[
        float | None,
        typer.Option(help="A mask or photo with more megapixels is not read.  [default: 200]", min=0.001),
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write every figure to this file.")] = None,
    overlay: Annotated[
        Path | None, typer.Option(help="Draw the centre lines and the largest widths into this PNG file.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a picture that has the name of --overlay.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="TOML file with options of measuring.")] = None,
) -> None:
    """Measure the cracks of a mask.

    Length along the centre line, width across it, direction, branches, density and pattern of each connected
    crack. Every largest width has a 95 % half-interval. Millimetres need a scale. In a mask of class numbers
    each class is measured by itself. Regions that are no lines have an area alone.
    """
    from flawmap.errors import OptionError, option
    from flawmap.stages.measure import MeasureOptions
    from flawmap.tools.grading import GradingOptions
    from flawmap.tools.options import read_options
    from flawmap.tools.scale import ScaleOptions

    if exposure is not None and grading is None:
        raise OptionError(f"{option('--exposure')} is of use with a grading table only; name one")
    finish(
        flawmap.measure(
            mask,
            photo,
            scale=ScaleOptions(mm_per_px, distance_m, focal_mm, sensor_width_mm, marker_mm),
            grading=None if grading is None else GradingOptions(grading, exposure),
            mask_threshold=mask_threshold,
            max_megapixels=max_megapixels,
            options=None if config is None else read_options(config, MeasureOptions),
            json_file=json_file,
            overlay=overlay,
            overwrite=overwrite,
        ),
        json_file,
        overlay,
    )


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
    finish(flawmap.measure_profile(files, scale_mm_per_px=mm_per_px, json_file=json_file), json_file)


def marker(
    out: Annotated[Path, typer.Option("--out", "-o", help="The PDF file to write.")],
    size_mm: Annotated[float, typer.Option(help="Width of the black square in mm.")] = 50.0,
    number: Annotated[int, typer.Option(help="Which marker, 0 to 49.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a file of that name.")] = False,
) -> None:
    """Print a marker that gives photos their scale.

    A PDF page at exact size. Fixed flat beside a crack, it tells millimetres and corrects tilt (--marker-mm).
    """
    for line in flawmap.marker(out, size_mm=size_mm, number=number, overwrite=overwrite):
        print(line)
