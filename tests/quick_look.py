"""A look at drawn photos without any model, so that surveys can be tested by themselves."""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from flawmap.errors import PhotoError
from flawmap.records import (
    CrackMeasurement,
    Finding,
    InspectedPhoto,
    Inspection,
    Survey,
    SurveyMeta,
    SurveyModel,
)
from flawmap.stages.survey import (
    Journal,
    PictureFolder,
    SurveyOptions,
    name_parts,
    run_survey,
    write_findings,
)
from flawmap.tools.photos import read_image

ASKED = {"model": "abc", "options": {"look": {"window_px": 64}}}
MODEL = SurveyModel(
    name="concrete",
    task="classification",
    labels=("crack", "good"),
    good_labels=("good",),
    backbone="test/tiny",
    digest="0" * 64,
    flawmap_version="0.1.0",
    test={"n": 400, "f1": 0.951, "recall": 0.97, "precision": 0.933, "interval95": {"recall": [0.93, 0.99]}},
)
GRADES = ("fine", "moderate", "severe")


def draw_survey(folder: Path, n_photos: int, size_hw: tuple[int, int] = (60, 90)) -> dict[str, Path]:
    """Grey photos, two of three with a dark band; names to files."""
    photos = {}
    for i in range(n_photos):
        rng = np.random.default_rng(i)
        image = rng.integers(150, 190, (*size_hw, 3)).astype(np.uint8)
        if i % 3:
            image[10 + i % 30 : 14 + i % 30] = 20
        name = f"pier {i % 4}/{i:03}.png"
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name)
        photos[name] = folder / name
    return photos


def look(path: Path) -> InspectedPhoto:
    """Every dark band is a crack; a photo that is dark all over is not assessable."""
    try:
        image = read_image(path)
    except PhotoError as error:
        return InspectedPhoto(Inspection(str(path), assessable=False, error=str(error)))
    height, width = image.shape[:2]
    dark = np.flatnonzero(image.mean(axis=(1, 2)) < 90)
    if len(dark) == height:
        shown = Inspection(str(path), width, height, assessable=False, reason="too dark")
        return InspectedPhoto(shown, image)
    heat = np.zeros((6, 9), np.float32)
    if not len(dark):
        return InspectedPhoto(Inspection(str(path), width, height), image, (), heat)
    top, bottom = float(dark[0]), float(dark[-1] + 1)
    measured = measure(bottom - top, width, 0.1)
    corners = ((0.0, top), (float(width), top), (float(width), bottom), (0.0, bottom))
    found = Finding("crack", 0.9, (0.0, top, float(width), bottom), corners, measured.area_px, measured)
    return InspectedPhoto(
        Inspection(str(path), width, height, findings=(found,)), image, (image[int(top) :],), heat
    )


def measure(width_px: float, length_px: float, scale: float | None) -> CrackMeasurement:
    return CrackMeasurement(
        length_px=length_px,
        area_px=round(width_px * length_px),
        width_max_px=width_px,
        width_mean_px=width_px,
        width_p95_px=width_px,
        width_sd_px=0.0,
        width_max_u95_px=0.4,
        direction_deg=0.0,
        pattern="single",
        n_branches=0,
        is_resolved=True,
        smallest_width_px=1.5,
        density_px_per_px2=1 / 60,
        scale_mm_per_px=scale,
    )


def make_survey(
    photos: dict[str, Path], folder: Path, part_by: str | None = None, asked: dict = ASKED, **options: int
) -> Survey:
    """Look at all photos and give back the survey, as the pipeline does."""
    chosen = SurveyOptions(**options)
    with Journal(folder, asked) as journal:
        pictures = PictureFolder(folder, photos, heatmaps=chosen.heatmaps)
        run_survey(photos, slow_look if "--slow" in sys.argv else look, journal, pictures, chosen)
        found = journal.rows(photos)
    parts = name_parts(photos, part_by)
    rows = tuple(replace(row, part=parts[row.name]) for row in found)
    return Survey(
        rows, MODEL, asked["options"], SurveyMeta(structure="Bridge 7"), GRADES, "A test's own grades."
    )


def slow_look(path: Path) -> InspectedPhoto:
    time.sleep(0.01)
    return look(path)


if __name__ == "__main__":
    source, target = map(Path, sys.argv[1:3])
    given = {path.relative_to(source).as_posix(): path for path in source.rglob("*.png")}
    write_findings(make_survey(given, target, n_threads=2), target)
