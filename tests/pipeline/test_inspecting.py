"""`flawmap inspect` and what it is made of, with a model of two layers."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw

import flawmap
import quick_look
from commands import run_here
from flawmap.errors import OptionError
from flawmap.pipeline.inspecting import Inspected
from flawmap.pipeline.sizing import Grading, measure_findings, scale_findings
from flawmap.pipeline.survey_places import name_folder
from flawmap.records import Finding, InspectedPhoto, Inspection, SurveyMeta
from flawmap.stages.inspection import InspectOptions as LookOptions
from flawmap.stages.inspection.findings import find_in_mask
from flawmap.stages.measure import MeasureOptions, trace_crack
from flawmap.stages.survey import SurveyOptions
from flawmap.tools.bundle import Bundle
from flawmap.tools.grading import GradingOptions, read_grading
from flawmap.tools.photos import PhotoOptions
from flawmap.tools.row_regions import MaskRuns
from flawmap.tools.scale import ScaleOptions
from tiny_masks import make_bundle

for module in ("jinja2", "openpyxl", "typst", "skimage"):
    pytest.importorskip(module)


def draw_crack(width_px: int, size_hw: tuple[int, int] = (300, 400)) -> np.ndarray:
    """(H, W, 3) uint8: a slanting dark line on a grainy surface."""
    height, width = size_hw
    image = Image.new("L", (4 * width, 4 * height), 170)
    ends = (-40, 4 * height * 0.4, 4 * width + 40, 4 * height * 0.6)
    ImageDraw.Draw(image).line(ends, fill=40, width=4 * width_px)
    small = np.asarray(image.resize((width, height), Image.Resampling.BOX), float)
    grains = np.random.default_rng(0).normal(0, 6, size_hw)
    return np.repeat(np.clip(small + grains, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


def test_a_survey_is_handed_over_and_gone_on_with(
    tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "survey"
    done = flawmap.inspect(tiny_bundle.folder, photo_folder, out, meta=SurveyMeta(structure="Bridge 7"))
    assert [Path(one.path).name for one in done.left_out] == ["broken.png"]
    names = {path.name for path in out.iterdir()}
    assert {"report.html", "report.pdf", "findings.xlsx", "findings.coco.json", "journal.sqlite"} <= names
    assert "Bridge 7" in (out / "report.html").read_text()
    document = json.loads((out / "findings.json").read_text())
    assert len(document["photos"]) == 7 and document["model"]["labels"] == ["crack", "good"]
    before = (out / "findings.csv").read_bytes()
    options = flawmap.InspectOptions(survey=SurveyOptions(part_by="^([ab])/", n_threads=1))
    again = flawmap.inspect(tiny_bundle.folder, [photo_folder], out, options, meta=SurveyMeta(structure="B"))
    assert {row.part for row in again.survey.rows} == {"a", "b"}
    assert len((out / "findings.csv").read_bytes()) >= len(before)
    other = flawmap.InspectOptions(scale=ScaleOptions(mm_per_px=0.2))
    with pytest.raises(OptionError, match=r"scale.mm_per_px \(None, now 0.2\)"):
        flawmap.inspect(tiny_bundle.folder, photo_folder, out, other)
    done = flawmap.inspect(tiny_bundle.folder, photo_folder, out, other, overwrite=True)
    assert done.survey.options["scale"]["mm_per_px"] == 0.2 and not (out / "parts.csv").exists()


def test_photos_outside_a_region_are_not_judged_and_those_without_one_are_named(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    for name in ("north", "south"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.fromarray(draw_crack(9)).save(tmp_path / "photos" / name / "a.png")
    regions = tmp_path / "regions"
    regions.mkdir()
    (regions / "cam1.json").write_text("[[5000, 5000], [5100, 5000], [5100, 5100]]")
    options = flawmap.InspectOptions(inspection=LookOptions(region=regions))

    def inspect() -> Inspected:
        return flawmap.inspect(tiny_bundle.folder, tmp_path / "photos", tmp_path / "out", options)

    with pytest.raises(OptionError, match=r"cam1\.json.*north\.json, south\.json"):
        inspect()
    (regions / "cam1.json").rename(regions / "north.json")
    done = inspect()
    assert [row.name for row in done.survey.not_assessable] == ["north/a.png"]
    text = "\n".join(done.lines)
    assert "1 could be read but not judged" in text and "region of interest covers nothing" in text
    assert "1 folder of photos without a region of interest, looked at in full: south" in text
    report = (tmp_path / "out" / "report.html").read_text()
    assert "1 photo was not judged" in report and "looked at in part" not in report


def test_reports_name_the_folder_and_the_day_of_looking_and_not_of_writing(
    tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock:
        day = datetime.date(2026, 11, 20)

    monkeypatch.setattr(
        "flawmap.stages.survey.journal.datetime",
        SimpleNamespace(date=SimpleNamespace(today=lambda: Clock.day)),
    )
    first, *others = sorted(photo_folder.rglob("*.png"))
    written = []
    for photos in ([first], others, others):  # the last time, only what cannot be read is tried again
        flawmap.inspect(tiny_bundle.folder, photos, tmp_path / "out")
        written.append([(tmp_path / "out" / name).read_bytes() for name in ("report.html", "report.pdf")])
        Clock.day += datetime.timedelta(days=1)
    assert f"<h1>Inspection of {first.parent.name}</h1>".encode() in written[0][0]
    assert f"<h1>Inspection of {photo_folder.name}</h1>".encode() in written[1][0]
    assert b"flawmap inspection report \xc2\xb7 2026-11-20</p>" in written[0][0]
    assert b"2026-11-20 to 2026-11-21" in written[1][0]
    assert written[1] == written[2]
    assert b"Worst grade" not in written[1][0]


def test_names_that_are_no_valid_text_are_looked_at_too(tiny_bundle: Bundle, tmp_path: Path) -> None:
    odd = tmp_path / "site" / os.fsdecode(b"l\xff.png")
    odd.parent.mkdir()
    try:
        Image.fromarray(draw_crack(9)).save(odd)
    except OSError:
        pytest.skip("this system's names are always text")
    done = flawmap.inspect(tiny_bundle.folder, odd.parent, tmp_path / "out")
    (photo,) = json.loads((tmp_path / "out" / "findings.json").read_text())["photos"]
    assert not done.left_out and photo["findings"] and photo["name"] == r"l\udcff.png"


def test_the_pixel_cap_can_be_set(tiny_bundle: Bundle, tmp_path: Path) -> None:
    photos = tmp_path / "site"
    photos.mkdir()
    for name in ("a.png", "b.tif"):
        Image.fromarray(draw_crack(9)).save(photos / name)
    words = ("inspect", str(tiny_bundle.folder), str(photos), "--out", str(tmp_path / "out"), "--quiet")
    capped = run_here(*words, "--max-megapixels", "0.1")
    assert capped.returncode == 1 and "raise it with --max-megapixels" in capped.stderr
    told = json.loads((tmp_path / "out" / "findings.json").read_text())["photos"]
    assert [bool(one["error"]) for one in told] == [True, False]  # a TIFF is read in strips
    assert run_here(*words, "--overwrite", "--max-megapixels", "1").returncode == 0


def test_a_folder_is_named_where_all_photos_share_one(tmp_path: Path) -> None:
    assert name_folder([tmp_path / "pier" / "1.jpg", tmp_path / "pier" / "a" / "2.jpg"]) == "pier"
    assert name_folder(["s3://bucket/pier/1.jpg"]) == "pier"
    assert name_folder(["s3://bucket/pier/1.jpg", tmp_path / "1.jpg"]) == name_folder([]) == ""


def test_a_survey_among_its_photos_is_not_looked_at(
    tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it change what the photos are called."""
    monkeypatch.chdir(tmp_path)
    options = flawmap.InspectOptions(survey=SurveyOptions(heatmaps=True))
    others = tmp_path / "others" / "overlays" / "a"
    others.mkdir(parents=True)
    Image.fromarray(draw_crack(9)).save(others / "0.jpg")
    files = sorted(photo_folder.rglob("*.png"))
    out = photo_folder / "survey"
    for given, n_photos in ((["photos"], 7), (["photos", "others"], 8), (["photos/**/*.png"], 7), (files, 7)):
        texts, lines = [], ()
        for target in (out, out, tmp_path / "elsewhere"):
            done = flawmap.inspect(tiny_bundle.folder, given, target, options, overwrite=target != out)
            assert len(done.survey.rows) == n_photos
            texts.append((target / "findings.json").read_bytes())
            lines += done.lines
        assert texts[0] == texts[1] == texts[2]
        drawn = [path for path in out.rglob("*") if path.suffix in (".jpg", ".png")]
        said = f"left out {len(drawn)} pictures of surveys among the photos: {out}"
        assert lines.count(said) == (2 if "photos" in given else 0)
        shutil.rmtree(out)
    flawmap.inspect(tiny_bundle.folder, photo_folder, "survey")
    for given in ("survey", "survey/overlays"):
        with pytest.raises(OptionError, match=r"lie in folders of surveys \(.*survey\); give the folder"):
            flawmap.inspect(tiny_bundle.folder, given, "survey")
    with pytest.raises(OptionError, match="not a flawmap survey"):
        flawmap.inspect(tiny_bundle.folder, photo_folder, photo_folder)


def test_other_peoples_folders_are_left_alone(
    tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("Dear")
    for overwrite in (False, True):
        with pytest.raises(OptionError, match="not a flawmap survey"):
            flawmap.inspect(tiny_bundle.folder, photo_folder, tmp_path / "mine", overwrite=overwrite)
    with pytest.raises(OptionError, match="is a file"):
        flawmap.inspect(tiny_bundle.folder, photo_folder, tmp_path / "mine" / "letter.txt")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "Dear"
    with pytest.raises(OptionError, match=r"there is no .*nowhere"):
        flawmap.inspect(tiny_bundle.folder, tmp_path / "nowhere", tmp_path / "survey")
    assert not (tmp_path / "survey").exists()


def findings_of(document: dict) -> list[dict]:
    """What was found, without where the photos lie."""
    return [{key: value for key, value in photo.items() if key != "path"} for photo in document["photos"]]


def test_a_survey_goes_from_and_to_an_object_store(
    tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = pytest.importorskip("fsspec").filesystem("memory")
    monkeypatch.setenv("FLAWMAP_CACHE", str(tmp_path / "cache"))
    for path in photo_folder.rglob("*.*"):
        files.pipe_file(f"/bridge/{path.relative_to(photo_folder).as_posix()}", path.read_bytes())
    flawmap.inspect(tiny_bundle.folder, photo_folder, tmp_path / "here")
    expected = findings_of(json.loads((tmp_path / "here" / "findings.json").read_text()))
    options = flawmap.InspectOptions(survey=SurveyOptions(heatmaps=True))
    looked: list[int] = []
    for overwrite in (False, False, True):
        done = flawmap.inspect(
            tiny_bundle.folder,
            "memory://bridge",
            "memory://survey",
            options,
            overwrite=overwrite,
            progress=lambda what, n_done, n: looked.append(n_done) if what == "inspecting photos" else None,
        )
        found = findings_of(json.loads(files.cat_file("/survey/findings.json")))
        assert [one["findings"] for one in found] == [one["findings"] for one in expected]
        assert done.survey.rows[0].inspection.path.startswith("memory://bridge/")
        assert not [*(tmp_path / "cache" / "surveys").iterdir()]
        assert files.exists("/survey/report.pdf") and len(done.left_out) == 1
    assert looked[0] == 0 and looked[len(looked) // 3 + 1] > 0  # what was finished there was fetched
    inside = "memory://bridge/pier/survey"
    for out in (inside, inside, "memory://other survey"):
        again = flawmap.inspect(tiny_bundle.folder, "memory://bridge", out, options)
        assert len(again.survey.rows) == len(done.survey.rows)
    assert any(line.endswith(f"of surveys among the photos: {inside}") for line in again.lines)
    with pytest.raises(OptionError, match="lie in folders of surveys"):
        flawmap.inspect(tiny_bundle.folder, f"{inside}/overlays", inside)
    drawn = {path for path in files.find("/survey") if path.startswith(("/survey/overlays", "/survey/heat"))}
    files.pipe_file("/survey/overlays/mine.jpg", b"mine")
    name = next(row.name for row in done.survey.rows if row.inspection.findings)
    files.rm(f"/bridge/{name}")
    flawmap.inspect(tiny_bundle.folder, "memory://bridge", "memory://survey", options)
    stem = str(Path(name).with_suffix(""))
    gone = drawn - set(files.find("/survey"))
    assert gone == {f"/survey/overlays/{stem}.jpg", f"/survey/heat/{stem}.png"}
    assert files.exists("/survey/overlays/mine.jpg")
    files.pipe_file("/other/letter.txt", b"Dear")
    with pytest.raises(OptionError, match="not a flawmap survey"):
        flawmap.inspect(tiny_bundle.folder, "memory://bridge", "memory://other", overwrite=True)
    files.store.clear()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.usefixtures("two_ray_workers")
def test_ray_finds_the_same_to_the_last_bit(tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path) -> None:
    flawmap.inspect(tiny_bundle.folder, photo_folder, tmp_path / "local")
    options = flawmap.InspectOptions(survey=SurveyOptions(engine="ray", n_threads=2))
    flawmap.inspect(tiny_bundle.folder, photo_folder, tmp_path / "ray", options)
    flawmap.inspect(tiny_bundle.folder, f"file://{photo_folder}", tmp_path / "far", options)
    local, here, far = (tmp_path / name / "findings.json" for name in ("local", "ray", "far"))
    assert local.read_bytes() == here.read_bytes()
    assert findings_of(json.loads(far.read_text())) == findings_of(json.loads(local.read_text()))
    overlays = {path.name: path.read_bytes() for path in (tmp_path / "local" / "overlays").rglob("*.jpg")}
    assert overlays == {p.name: p.read_bytes() for p in (tmp_path / "ray" / "overlays").rglob("*.jpg")}


@pytest.mark.slow
def test_the_command_says_what_was_left_out_and_what_a_key_is_called(
    tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "meta.toml").write_text('structur = "Bridge 7"\ndate = 2026-11-20\n')
    words = [sys.executable, "-m", "flawmap", "inspect", str(tiny_bundle.folder), str(photo_folder)]
    words += ["--out", str(tmp_path / "survey"), "--meta", str(tmp_path / "meta.toml")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2 and "did you mean 'structure'?" in done.stderr
    (tmp_path / "meta.toml").write_text('structure = "Bridge 7"\ndate = 2026-11-20\n')
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 1 and "broken.png" in done.stderr, done.stderr
    assert "2026-11-20" in (tmp_path / "survey" / "report.html").read_text()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("least_score = 2.0", "least_score is 2; above 0 and below 1 was wanted"),
        ("least_score = 0", "least_score is 0; above 0"),
        ("least_area_px = -5", "least_area_px is -5; 0 or more was wanted"),
    ],
)
@pytest.mark.parametrize("kind", ["classifier", "masks"])
def test_limits_of_findings_that_cannot_be_are_one_line(
    kind: str, line: str, said: str, tiny_bundle: Bundle, tiny: SimpleNamespace, tmp_path: Path
) -> None:
    model = tiny_bundle if kind == "classifier" else make_bundle(tmp_path / "masks", tiny, "segmentation")
    Image.fromarray(draw_crack(9)).save(tmp_path / "a.png")
    (tmp_path / "options.toml").write_text(f"[inspection]\n{line}\n")
    words = (tmp_path / "a.png", "--out", tmp_path / "out", "--config", tmp_path / "options.toml")
    done = run_here("inspect", model.folder, *words)
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_crack_is_measured_within_a_classifiers_region(tmp_path: Path) -> None:
    image = draw_crack(5)
    Image.fromarray(image).save(tmp_path / "a.png")
    whole = Finding("crack", 0.9, (40.0, 90.0, 360.0, 210.0), (), 38_400)
    blob = Finding("crack", 0.8, (10.0, 250.0, 40.0, 280.0), (), 900)
    seen = InspectedPhoto(Inspection("a.png", 400, 300, findings=(whole, blob)))
    given = (MeasureOptions(), ScaleOptions(mm_per_px=0.1), PhotoOptions())
    found = measure_findings(seen, tmp_path / "a.png", *given, is_coarse=True)
    crack = found.inspection.findings[0].measurement
    assert crack is not None and crack.scale_mm_per_px is not None
    assert abs(crack.width_mean_px - 5) < 0.5 and abs(crack.length_px - 326) < 20
    assert found.inspection.findings[1].measurement is None
    assert [one.region_area_mm2 for one in found.inspection.findings] == pytest.approx([384.0, 9.0])
    assert abs(crack.area_px - 5 * 326) < 250
    assert crack.density_px_per_px2 == pytest.approx(crack.length_px / (300 * 400))
    for share, looked_at in ((0.5, 0.5), (0.0, 1.0)):  # 0: people marked it outside the region of interest
        in_region = InspectedPhoto(replace(seen.inspection, share_seen=share))
        found_there = measure_findings(in_region, tmp_path / "a.png", *given, is_coarse=True).inspection
        expected = replace(crack, density_px_per_px2=crack.density_px_per_px2 / looked_at)
        assert found_there.findings[0].measurement == expected
    assert measure_findings(seen, tmp_path / "gone.png", *given, is_coarse=True) is seen


def test_a_net_of_cracks_is_as_wide_as_they_are_and_not_as_its_outline(tmp_path: Path) -> None:
    size_hw = (300, 400)
    is_crack = np.zeros(size_hw, bool)
    is_crack[40:46, 40:360] = is_crack[250:256, 40:360] = True
    is_crack[40:256, 40:46] = is_crack[40:256, 200:206] = is_crack[40:256, 354:360] = True
    Image.fromarray(np.where(is_crack, 40, 170).astype(np.uint8)).save(tmp_path / "a.png")
    runs = MaskRuns()
    runs.add(is_crack, is_crack.astype(np.float32))
    (net,) = find_in_mask(runs, "crack", size_hw, (0.5, 1))
    assert len(net.holes) == 2 and len(net.polygon) == 4
    seen = InspectedPhoto(Inspection("a.png", 400, 300, findings=(net,)))
    given = (MeasureOptions(), ScaleOptions(), PhotoOptions())
    (found,) = measure_findings(seen, tmp_path / "a.png", *given, is_coarse=False).inspection.findings
    assert found.measurement is not None and 5 < found.measurement.width_max_px < 10


def test_a_band_with_dark_lines_in_it_is_no_crack(tmp_path: Path) -> None:
    """Nor a blob: both have an area, but neither a width nor a grade."""
    size_hw = (300, 400)
    band, blob = np.zeros((2, *size_hw), bool)
    band[40:100, 40:360] = blob[150:290, 40:360] = True
    blob[120:150, 100:140] = blob[120:150, 240:280] = True
    grey = np.full(size_hw, 170, np.uint8)
    for top in (50, 68, 87, 200, 240):
        grey[top : top + 4, 40:360] = 40
    Image.fromarray(grey).save(tmp_path / "a.png")
    findings = []
    for mask in (band, blob):
        runs = MaskRuns()
        runs.add(mask, mask.astype(np.float32))
        findings += find_in_mask(runs, "scratched", size_hw, (0.5, 1))
    seen = InspectedPhoto(Inspection("a.png", 400, 300, findings=tuple(findings)))
    given = (MeasureOptions(), ScaleOptions(mm_per_px=0.1), PhotoOptions())
    found = measure_findings(seen, tmp_path / "a.png", *given, is_coarse=False).inspection.findings
    assert [one.measurement for one in found] == [None, None]
    assert [one.area_px for one in found] == [band.sum(), blob.sum()]
    assert [one.region_area_mm2 for one in found] == pytest.approx([band.sum() / 100, blob.sum() / 100])
    unscaled = measure_findings(seen, tmp_path / "a.png", given[0], ScaleOptions(), given[2], is_coarse=False)
    assert {one.region_area_mm2 for one in unscaled.inspection.findings} == {None}
    later = scale_findings(unscaled.inspection, tmp_path / "a.png", given[1]).findings
    assert [one.region_area_mm2 for one in later] == pytest.approx([one.region_area_mm2 for one in found])
    kept = replace(seen.inspection, findings=found)
    other = ScaleOptions(mm_per_px=3.0)
    assert scale_findings(kept, tmp_path / "a.png", other, keeps_known=True).findings == found


def test_a_photo_too_large_to_be_held_is_measured_where_its_findings_lie(tmp_path: Path) -> None:
    pytest.importorskip("pyvips")
    Image.fromarray(draw_crack(5)).save(tmp_path / "a.tif")
    low = Finding("crack", 0.9, (200.0, 140.0, 380.0, 190.0), (), 9000)
    high = Finding("crack", 0.8, (20.0, 100.0, 190.0, 160.0), (), 10_200)
    seen = InspectedPhoto(Inspection("a.tif", 400, 300, findings=(low, high)))
    for scale in (ScaleOptions(mm_per_px=0.1), ScaleOptions(distance_m=2, focal_mm=50, sensor_width_mm=23)):
        held, in_strips = (
            measure_findings(
                seen, tmp_path / "a.tif", MeasureOptions(), scale, cap, is_coarse=True
            ).inspection
            for cap in (PhotoOptions(), PhotoOptions(max_megapixels=0.05))
        )
        assert held == in_strips and all(one.measurement for one in held.findings)
    marker = ScaleOptions(marker_mm=50)
    found = measure_findings(
        seen, tmp_path / "a.tif", MeasureOptions(), marker, PhotoOptions(max_megapixels=0.05), is_coarse=True
    )
    sizes = found.inspection.findings[0].measurement
    assert sizes is not None and sizes.scale_mm_per_px is None


@pytest.mark.parametrize("width_px", [2, 5, 12])
def test_a_traced_crack_lies_on_the_crack(width_px: int) -> None:
    grey = draw_crack(width_px).mean(axis=2)
    region = np.zeros(grey.shape, bool)
    region[100:200, 30:370] = True
    traced = trace_crack(grey, region)
    middle = np.abs(np.nonzero(traced)[0] - (0.4 + 0.2 * np.nonzero(traced)[1] / 400) * 300)
    assert traced.any() and not (traced & ~region).any() and np.percentile(middle, 95) < width_px / 2 + 6
    assert traced.any(axis=0).sum() > 0.95 * 340
    surface = np.random.default_rng(1).normal(150, 8, (300, 300))
    assert trace_crack(surface, np.ones((300, 300), bool)).mean() < 0.03


def test_a_scale_comes_from_the_lens_or_not_at_all(tmp_path: Path) -> None:
    image = Image.fromarray(draw_crack(5))
    exif = Image.Exif()
    exif[0x8769] = {0x920A: 50.0, 0xA405: 75}
    image.save(tmp_path / "told.png", exif=exif)
    image.save(tmp_path / "bare.png")
    exif[0x8769] = {0x920A: 1000.0, 0xA405: 1500}
    image.save(tmp_path / "odd.png", exif=exif)
    finding = Finding("crack", 0.9, (40.0, 90.0, 360.0, 210.0), (), 38_400)
    scales = []
    for name in ("told.png", "bare.png", "odd.png"):
        seen = InspectedPhoto(Inspection(name, 400, 300, findings=(finding,)))
        given = (MeasureOptions(), ScaleOptions(distance_m=2.0), PhotoOptions())
        found = measure_findings(seen, tmp_path / name, *given, is_coarse=True).inspection.findings[0]
        assert found.measurement is not None
        scales.append(found.measurement.scale_mm_per_px)
    assert scales[1:] == [None, None] and scales[0] is not None and abs(scales[0] - 23.1 / 400 * 39) < 0.05


def test_cracks_are_graded_by_their_width_in_millimetres() -> None:
    measured = quick_look.measure(4.0, 100.0, 0.5)
    finding = Finding("crack", 0.9, (0.0, 0.0, 100.0, 4.0), (), 400, measured)
    bands = Grading(*read_grading(GradingOptions("bre-251")))
    graded = bands.grade(finding).severity
    assert graded in bands.grades and len(bands.grades) == 6
    wider = replace(finding, measurement=quick_look.measure(40.0, 100.0, 0.5))
    assert bands.grades.index(bands.grade(wider).severity or "") > bands.grades.index(graded or "")
    assert bands.grade(finding).severity_is_certain and bands.grade(wider).severity_is_certain
    border = replace(finding, measurement=quick_look.measure(9.8, 100.0, 0.5))
    assert bands.grade(border).severity_is_certain is False  # its interval reaches beyond 5 mm
    thin = replace(measured, is_resolved=False)
    assert bands.grade(replace(finding, measurement=thin)).severity_is_certain is False
    bare = replace(finding, measurement=quick_look.measure(4.0, 100.0, None))
    assert bands.grade(bare).severity is None
    limit = Grading(*read_grading(GradingOptions("eurocode-2", "XC3")))
    assert limit.grade(wider).severity == limit.grades[1] and "above" in limit.grades[1]
    ratios = [one.grade(wider).severity_ratio for one in (bands, limit)]
    assert ratios == [None, pytest.approx(40 * 0.5 / 0.3)] and limit.grade(bare).severity_ratio is None
    assert "Source" in bands.note
