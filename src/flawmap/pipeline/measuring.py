"""Measure cracks: from masks, from grey profiles; and print a marker that gives photos their scale."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import MaskError, OptionError, PhotoError, option, require_extra
from flawmap.pipeline.using import Outcome, to_photo_options
from flawmap.records import CrackMeasurement, Photo, ProfileWidth
from flawmap.stages.dataset import read_class_names
from flawmap.stages.measure import (
    LocatedCrack,
    MeasuredCracks,
    MeasureOptions,
    Patch,
    ProfileOptions,
    draw_cracks,
    measure_cracks,
    measure_profiles,
    read_profiles,
    to_grey,
)
from flawmap.tools.files import check_files, write_file, write_json
from flawmap.tools.grading import Exposure, Grade, GradingOptions, GradingTable, grade_width, read_grading
from flawmap.tools.mask_images import MAX_CLASS_INDEX
from flawmap.tools.photos import PhotoOptions, read_image
from flawmap.tools.plain import to_plain
from flawmap.tools.scale import ScaleOptions, find_scale
from flawmap.tools.surface import check_scale
from flawmap.tools.words import area_words, counted

_SHOWN = 10
"""Cracks that are printed; the file holds all."""


@dataclass(frozen=True, kw_only=True)
class MeasuredProfiles(Outcome):
    """Outcome of `measure_profile`."""

    widths: tuple[ProfileWidth, ...]
    """One per profile, in the order given."""


@dataclass(frozen=True, kw_only=True)
class Measured(Outcome):
    """Outcome of `measure`."""

    cracks: tuple[LocatedCrack, ...]
    """The widest first, those that are surely measured before all others; as printed and written."""
    total: CrackMeasurement | None
    """All cracks together; None where there is none."""
    grades: tuple[Grade | None, ...] = ()
    """One per crack; empty where no table was asked for."""
    patches: tuple[Patch, ...] = ()
    """Regions that are no lines, and so have an area alone."""


def measure(  # noqa: PLR0913 - what is read, how, and what is written
    mask: Path | str,
    photo: Path | str | None = None,
    *,
    scale: ScaleOptions | None = None,
    grading: GradingOptions | str | None = None,
    mask_threshold: int | None = None,
    max_megapixels: float | None = None,
    options: MeasureOptions | None = None,
    json_file: Path | str | None = None,
    overlay: Path | str | None = None,
    overwrite: bool = False,
) -> Measured:
    """Length, width, direction and pattern of every crack in a mask image.

    With the photo, widths are read off its grey values; without it, off the mask, whose edges are then taken
    at their word. In a mask of class numbers every class is measured by itself. A region that is no line has
    an area alone. A grade needs a scale; `grading` may be the table's name alone. `overlay` is a PNG file to
    draw centre lines and largest widths in; one that is there already is replaced with `overwrite` only. A
    mask or photo of more than `max_megapixels` (None: 200) is not read.
    """
    for module in ("skimage", "cv2"):
        require_extra(module, "inspect")
    _check_overlay(overlay)
    check_files(overlay, inputs=(mask, photo), overwrite=overwrite)
    check_files(json_file, inputs=(mask, photo), holds=['"cracks"', '"n_specks"'])
    scale, options = scale or ScaleOptions(), options or MeasureOptions()
    table = None if grading is None else read_grading(grading)
    if table is not None and scale == ScaleOptions():
        raise OptionError(f"a grade needs widths in mm: give {option('--mm-per-px')}, or another scale")
    photos = to_photo_options(max_megapixels)
    image = None if photo is None else read_image(Path(photo), photos)
    pixels = _read_mask(Path(mask), image, mask_threshold, photos)
    try:
        found_scale = find_scale(scale, image, None if photo is None else Path(photo))
    except PhotoError as error:
        raise PhotoError(f"{photo}: {error}") from None
    found = measure_cracks(pixels, None if image is None else to_grey(image), options, found_scale)
    ranked = sorted(found.cracks, key=lambda one: one.measurement.width_rank, reverse=True)
    found = replace(found, cracks=tuple(ranked)).named(read_class_names([Path(mask).parent]))
    grades = () if table is None else tuple(_grade(crack.measurement, *table) for crack in found.cracks)
    if json_file is not None:
        write_json(Path(json_file), _to_json(found, grades, table))
    if overlay is not None:
        _write_overlay(Path(overlay), draw_cracks(found, pixels, image))
    lines = (*_lines(found, grades), *_limits(found, table))
    return Measured(lines=lines, cracks=found.cracks, total=found.total, grades=grades, patches=found.patches)


def _check_overlay(overlay: Path | str | None) -> None:
    if overlay is not None and Path(overlay).suffix.lower() != ".png":
        raise OptionError(f"{option('--overlay')} is {overlay}; a file name that ends in .png was wanted")


def _write_overlay(path: Path, picture: np.ndarray) -> None:
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG")
    write_file(path, content.getvalue())


def _read_mask(
    path: Path, image: np.ndarray | None, threshold: int | None, options: PhotoOptions
) -> np.ndarray:
    """(H, W) bool, or uint8 where the mask holds class numbers; of the photo's size where there is one."""
    from flawmap.tools import rle
    from flawmap.tools.mask_images import VOID, MaskImageOptions, read_value_runs

    shown = read_image(path, options)
    height, width = shown.shape[:2]
    record = Photo(path, path.name, "", (height, width))
    try:
        runs = read_value_runs(path, record, MaskImageOptions(threshold), options, MAX_CLASS_INDEX)
    except MaskError as error:
        hint = _looks_like_photo(shown)
        raise MaskError(f"{path}: {error}{hint}") from None
    if image is not None and image.shape[:2] != (height, width):
        photo = f"{image.shape[1]}×{image.shape[0]}"
        raise MaskError(f"{path}: the mask is {width}×{height}, the photo {photo}; the same size was wanted")
    has_classes = threshold is None and VOID not in runs
    pixels = np.zeros((height, width), np.uint8 if has_classes else bool)
    for class_index, one in runs.items():
        pixels[rle.decode(one, (height, width))] = class_index
    return pixels


def _looks_like_photo(shown: np.ndarray) -> str:
    """What is added where a mask that cannot be read is full of colours, as photos are."""
    n_shown = len(np.unique(shown.reshape(-1, 3), axis=0))
    if n_shown <= MAX_CLASS_INDEX:
        return ""
    return f". It looks like a photo, which goes to {option('--photo')}; its mask comes first"


def _grade(found: CrackMeasurement, table: GradingTable, exposure: Exposure | None) -> Grade | None:
    scale = found.scale_mm_per_px
    if scale is None:
        return None
    width_mm, u95_mm = scale * found.width_max_px, scale * found.width_max_u95_px
    return grade_width(width_mm, u95_mm, table, exposure, found.is_resolved)


def _to_json(
    found: MeasuredCracks,
    grades: tuple[Grade | None, ...],
    table: tuple[GradingTable, Exposure | None] | None,
) -> dict[str, Any]:
    def plain(measurement: CrackMeasurement) -> dict[str, Any]:
        return to_plain(measurement) | measurement.to_mm()

    cracks = [
        plain(crack.measurement)
        | {name: getattr(crack, name) for name in ("box_xyxy", "widest_xy", "class_index", "label")}
        for crack in found.cracks
    ]
    if table is not None:
        cracks = [crack | {"grade": grade} for crack, grade in zip(cracks, grades, strict=True)]
    return {
        "cracks": cracks,
        "total": None if found.total is None else plain(found.total) | {"n_cracks": len(cracks)},
        "n_specks": found.n_specks,
        "patches": found.patches,
        "grading": None if table is None else {"title": table[0].title, "source": table[0].source},
        "limits": _limits(found, table),
    }


def _lines(found: MeasuredCracks, grades: tuple[Grade | None, ...]) -> list[str]:
    classes = _classes(found)
    if found.total is None:
        return ["no crack in this mask", *_patch_lines(found, classes)]
    rows = list(zip(found.cracks, grades or (None,) * len(found.cracks), strict=True))
    lines = [_class_words(crack, classes) + _crack_line(crack, grade) for crack, grade in rows[:_SHOWN]]
    if len(rows) > _SHOWN:
        lines.append(f"… and {len(rows) - _SHOWN} more, none of them surely wider")
    total = found.total
    length, density = f"{total.length_px:,.0f} px", f"{total.density_px_per_px2:.2g} px/px²"
    if total.scale_mm_per_px is not None:
        told = total.to_mm()
        length, density = f"{told['length_mm']:,.0f} mm", f"{told['density_mm_per_mm2']:.2g} mm/mm²"
    lines.append(f"{counted(len(rows), 'crack')}, {length} in all, {density}")
    return [*lines, *_patch_lines(found, classes)]


def _classes(found: MeasuredCracks) -> list[int]:
    """The class numbers that the mask holds."""
    return sorted({one.class_index for one in (*found.cracks, *found.patches) if one.class_index is not None})


def _class_words(one: LocatedCrack | Patch, classes: list[int]) -> str:
    """Of which class a line is, where the mask holds several."""
    return f"{one.label or f'class {one.class_index}'}: " if len(classes) > 1 else ""


def _patch_lines(found: MeasuredCracks, classes: list[int]) -> list[str]:
    """What is said of regions that are no lines: the largest ones."""
    patches = sorted(found.patches, key=lambda patch: -patch.area_px)
    lines = []
    for patch in patches[:_SHOWN]:
        left, top, right, bottom = patch.box_xyxy
        area = area_words(patch.area_px, patch.area_mm2)
        where = f"{right - left}×{bottom - top} px at ({left}, {top}), area {area}"
        lines.append(f"{_class_words(patch, classes)}no width of the region of {where}: {patch.reason}")
    if len(patches) > _SHOWN:
        lines.append(f"… and {len(patches) - _SHOWN} more regions without a width, none of them larger")
    return lines


def _crack_line(crack: LocatedCrack, grade: Grade | None) -> str:
    found, (x, y) = crack.measurement, crack.widest_xy
    scale, unit = found.scale_mm_per_px or 1.0, "px" if found.scale_mm_per_px is None else "mm"
    largest, u95, mean, length = (
        scale * value
        for value in (found.width_max_px, found.width_max_u95_px, found.width_mean_px, found.length_px)
    )
    text = f"{largest:.2f} ± {u95:.2f} {unit} wide at ({x:.0f}, {y:.0f}), {mean:.2f} on average"
    if not found.is_resolved:
        bound = scale * found.smallest_width_px
        text = f"under {bound:.2f} {unit} wide near ({x:.0f}, {y:.0f}), too thin to be told here"
    elif found.is_vague:
        text = f"at most {largest + u95:.2f} {unit} wide at ({x:.0f}, {y:.0f}), too uncertain to be told"
    branches = "" if found.n_branches == 1 else f", {found.pattern} ({found.n_branches} branches)"
    text += f"; {length:,.0f} {unit} long, {found.direction_deg:.0f}°{branches}"
    if grade is not None:
        ratio = "" if grade.ratio is None else f", {grade.ratio:.2f} times that"
        text += f"; {grade.name}{ratio}{'' if grade.is_certain else ' (uncertain)'}"
    return text


def _limits(found: MeasuredCracks, table: tuple[GradingTable, Exposure | None] | None) -> list[str]:
    """What the figures do not say, in words."""
    said = []
    classes = _classes(found)
    if len(classes) > 1:
        said.append(f"the mask holds the classes {', '.join(map(str, classes))}: each is measured by itself")
    if found.total is not None:
        said.append(f"smallest width that can be told here: {_smallest(found)}")
        n_of_mask = sum(crack.measurement.width_source == "mask" for crack in found.cracks)
        if n_of_mask:
            said.append(
                f"{n_of_mask} of {len(found.cracks)} measured on the mask, not a photo: as good as its edges"
            )
        said.append("± is a 95 % half-interval; a width says nothing of what caused a crack")
    if found.n_specks:
        specks = counted(found.n_specks, "speck")
        said.append(f"{specks} of the mask left out, too small to be a crack")
    if table is not None:
        said.append(f"{table[0].title}. {table[0].limits}")
    return said


def _smallest(found: MeasuredCracks) -> str:
    """From the crack that the photo shows best to the one that it shows least."""
    sizes = [crack.measurement for crack in found.cracks]
    ends = [f"{pick(one.smallest_width_px for one in sizes):.1f}" for pick in (min, max)]
    text = f"{' to '.join(dict.fromkeys(ends))} px"
    if any(one.scale_mm_per_px is None for one in sizes):
        return text
    in_mm = [f"{pick(one.to_mm()['smallest_width_mm'] for one in sizes):.2f}" for pick in (min, max)]
    return f"{text} ({' to '.join(dict.fromkeys(in_mm))} mm)"


def measure_profile(
    files: Path | str | Sequence[Path | str],
    *,
    scale_mm_per_px: float | None = None,
    options: ProfileOptions | None = None,
    json_file: Path | str | None = None,
) -> MeasuredProfiles:
    """How wide cracks are, from CSV files of grey values across them: a width per profile.

    A row per profile, values a pixel apart; or files that name their own scale as `mean_res`.
    """
    check_scale(scale_mm_per_px)
    given = [files] if isinstance(files, str | Path) else files
    if not given:
        raise OptionError("no file given; CSV files of grey values were wanted")
    check_files(json_file, inputs=given, holds=['"u95_px"', '"width_px"'])
    profiles = [profile for file in given for profile in read_profiles(Path(file))]
    widths = measure_profiles(profiles, options, scale_mm_per_px)
    if json_file is not None:
        write_json(Path(json_file), widths)
    lines = [_width_line(i + 1, width) for i, width in enumerate(widths)]
    n_apart = sum(not width.is_resolved for width in widths)
    if n_apart:
        lines.append(
            f"{n_apart} of {len(widths)} not resolved (narrower than a pixel, or not seen): these rest on "
            "how dark an open crack is taken to be"
        )
    return MeasuredProfiles(lines=tuple(lines), widths=widths)


def _width_line(number: int, width: ProfileWidth) -> str:
    text = f"profile {number}: {width.width_px:.2f} ± {width.u95_px:.2f} px"
    if width.width_mm is not None:
        text += f", {width.width_mm:.3f} ± {width.u95_mm:.3f} mm"
    return text if width.is_resolved else f"{text}, not resolved"


def marker(
    out: Path | str, *, size_mm: float = 50.0, number: int = 0, overwrite: bool = False
) -> tuple[str, ...]:
    """Write a PDF page with a marker that gives photos their scale, its black square `size_mm` wide.

    Raises OptionError where `out` is there already, without `overwrite`.
    """
    from flawmap.tools.markers import write_marker

    check_files(out, overwrite=overwrite)
    write_marker(Path(out), size_mm, number)
    return (
        f"wrote {out}: marker {number}, {size_mm:g} mm wide. Print it at 100 % and measure it before use; "
        f"then give its size as {option('--marker-mm')}",
    )
