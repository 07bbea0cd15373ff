"""Surveys of photos that were looked at before: sizes told in millimetres afterwards."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import quick_look
from flawmap.errors import OptionError
from flawmap.pipeline.reporting import SeenFile, TellingOptions, write_survey
from flawmap.pipeline.sizing import measure_findings, measure_painted, scale_findings
from flawmap.records import Finding, InspectedPhoto, Inspection, Survey, SurveyModel
from flawmap.stages.measure import MeasureOptions
from flawmap.stages.sample.photo import draw_photo
from flawmap.stages.survey import to_finding
from flawmap.tools import rle
from flawmap.tools.grading import GradingOptions
from flawmap.tools.photos import PhotoOptions
from flawmap.tools.scale import ScaleOptions

for module in ("jinja2", "openpyxl", "typst", "skimage"):
    pytest.importorskip(module)

MODEL = SurveyModel("m", "classification", ("crack", "good"), ("good",), "b", "0" * 64, "0")
LENS = {"focal_mm": 50.0, "sensor_width_mm": 23.0}


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn photo with a crack, 192 × 256 pixels, whose EXIF names the lens."""
    path = tmp_path_factory.mktemp("photo") / "a.jpg"
    path.write_bytes(draw_photo(0, seed=0, n_tiles=8, tile_px=64).jpeg)
    exif = Image.Exif()
    exif[0x8769] = {0x920A: 50.0, 0xA405: 75}
    with Image.open(path) as image:
        image.load()
        image.save(path, exif=exif, quality=95)
    return path


def measured(photo: Path, scale: ScaleOptions) -> Inspection:
    """As an inspection with this scale says it."""
    found = Finding("crack", 0.9, (0.0, 0.0, 256.0, 192.0), (), 49_152)
    seen = InspectedPhoto(Inspection("a.jpg", 256, 192, findings=(found,)))
    return measure_findings(seen, photo, MeasureOptions(), scale, PhotoOptions(), is_coarse=True).inspection


@pytest.mark.parametrize(
    "scale",
    [ScaleOptions(mm_per_px=0.0457123), ScaleOptions(distance_m=2.0), ScaleOptions(distance_m=2.0, **LENS)],
    ids=["given", "exif", "lens"],
)
def test_a_scale_given_later_is_that_of_an_inspection(photo: Path, scale: ScaleOptions) -> None:
    bare, known = measured(photo, ScaleOptions()), measured(photo, scale)
    sizes = bare.findings[0].measurement
    assert sizes is not None and sizes.scale_mm_per_px is None
    assert known.findings[0].measurement.scale_mm_per_px is not None  # type: ignore[union-attr]
    told = scale_findings(bare, photo, scale)
    # To the digits that any file of a survey keeps.
    assert [*map(to_finding, told.findings)] == [*map(to_finding, known.findings)]
    other = scale_findings(known, photo, ScaleOptions(mm_per_px=3.0))
    assert to_finding(other.findings[0])["width_max_mm"] == pytest.approx(3 * sizes.width_max_px, abs=1e-4)
    assert scale_findings(known, photo, ScaleOptions(mm_per_px=3.0), keeps_known=True) == known


def test_what_a_person_painted_is_measured(tmp_path: Path) -> None:
    """A dark line of five pixels, painted two pixels too thick; and a blob, which is no crack."""
    image = np.full((120, 300), 200, np.uint8)
    image[60:65, 20:280] = 40
    Image.fromarray(np.repeat(image[..., None], 3, axis=2)).save(tmp_path / "a.png")
    line, blob = np.zeros((2, 120, 300), bool)
    line[59:66, 20:280] = blob[20:50, 100:130] = True
    painted, other = (
        Finding("crack", 1.0, box, (), int(mask.sum()), runs=rle.to_text(rle.encode(mask)))
        for mask, box in ((line, (20.0, 59.0, 280.0, 66.0)), (blob, (100.0, 20.0, 130.0, 50.0)))
    )
    outlined = replace(painted, runs=None)
    seen = Inspection("a.png", 300, 120, findings=(other, painted, outlined))
    given = (MeasureOptions(), ScaleOptions(mm_per_px=0.1), PhotoOptions())
    found = measure_painted(seen, tmp_path / "a.png", *given)
    sizes = found.findings[1].measurement
    assert sizes is not None and abs(sizes.width_mean_px - 5) < 0.3 and sizes.scale_mm_per_px == 0.1
    assert sizes.width_source == "photo" and sizes.area_px == line.sum()
    assert found.findings[0] == other and found.findings[2] == outlined
    assert measure_painted(seen, tmp_path / "gone.png", *given) is seen


def test_without_a_lens_sizes_stay_in_pixels(photo: Path, tmp_path: Path) -> None:
    bare = measured(photo, ScaleOptions())
    with Image.open(photo) as image:
        image.save(tmp_path / "bare.png", exif=b"")
    assert scale_findings(bare, tmp_path / "bare.png", ScaleOptions(distance_m=2.0)) == bare
    assert scale_findings(bare, tmp_path / "gone.png", ScaleOptions(distance_m=2.0)) == bare
    assert scale_findings(bare, photo, ScaleOptions(distance_m=0.05)) == bare  # twice its focal length
    with pytest.raises(OptionError, match="inspect them with it"):
        TellingOptions(ScaleOptions(marker_mm=50.0))


def test_what_was_read_off_a_photo_stays_and_is_told(photo: Path, tmp_path: Path) -> None:
    """One photo showed the marker, the other did not."""
    shown, bare = (
        Inspection("", 256, 192, findings=(Finding("crack", 0.9, (0.0, 0.0, 99.0, 9.0), (), 400, sizes),))
        for sizes in (quick_look.measure(4.0, 100.0, 0.25), quick_look.measure(4.0, 100.0, None))
    )
    seen = {"north/a.jpg": SeenFile(photo, shown), "b.jpg": SeenFile(photo.parent / "b.jpg", bare)}
    (photo.parent / "b.jpg").write_bytes(photo.read_bytes())
    survey = Survey((), MODEL, {"scale": {"mm_per_px": None, "marker_mm": 50.0}})
    telling = TellingOptions(
        ScaleOptions(mm_per_px=0.5), GradingOptions("eurocode-2", "XC3"), part_by="^(?:(.+)/)?"
    )
    told = write_survey(seen, survey, tmp_path / "out", telling=telling)
    document = json.loads((tmp_path / "out" / "findings.json").read_text())
    by_name = {one["name"]: one for one in document["photos"]}
    assert [by_name[name]["findings"][0]["width_max_mm"] for name in seen] == [1.0, 2.0]
    assert {one["findings"][0]["severity"] for one in by_name.values()} == {"above 0.3 mm (XC3)"}
    assert {one["name"]: one["verdict"] for one in document["parts"]} == {
        "b.jpg": "finding",
        "north": "finding",
    }
    assert "Eurocode 2" in told.grading_note and len(told.grades) == 2
    page = (tmp_path / "out" / "report.html").read_text()
    assert "marker of 50 mm in the photo; elsewhere 0.5 mm per pixel" in page
