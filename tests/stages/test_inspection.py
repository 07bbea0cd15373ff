"""Findings lie on what was drawn; what cannot be judged or read says so; nothing is raised."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter, TiffImagePlugin

from flawmap.errors import BundleError, OptionError
from flawmap.records import Cleaning, FindingSpec, InspectedPhoto, MaskSpec, ModelSpec, Window
from flawmap.stages.inspection import (
    InspectOptions,
    Inspector,
    ValidationTile,
    choose_findings,
    choose_rows,
    default_findings,
    inspect_photo,
    learn_reference,
    open_inspector,
)
from flawmap.stages.inspection.one_window import draw_window
from flawmap.tools.bundle import Bundle, write_bundle, write_spec
from flawmap.tools.classifier_maps import DenseClassifier
from flawmap.tools.familiarity import Reference
from flawmap.tools.photos import PhotoOptions
from flawmap.tools.regions import find_folders_without
from flawmap.tools.runtime import RuntimeOptions
from tiny_masks import make_bundle

ONE = RuntimeOptions(n_threads=1)


@pytest.fixture(scope="module")
def inspector(tiny_bundle: Bundle) -> Inspector:
    return open_inspector(tiny_bundle.folder, InspectOptions(runtime=ONE))


def save(path: Path, image: np.ndarray, **settings: object) -> Path:
    Image.fromarray(image).save(path, **settings)
    return path


def bar(size_hw: tuple[int, int], box: tuple[int, int, int, int]) -> np.ndarray:
    """Bright with some noise; a dark box (left, top, right, bottom)."""
    image = np.random.default_rng(0).integers(190, 240, (*size_hw, 3), dtype=np.uint8)
    left, top, right, bottom = box
    image[top:bottom, left:right] = 10
    return image


def test_a_finding_lies_on_the_flaw(inspector: Inspector, tmp_path: Path) -> None:
    found = inspect_photo(inspector, save(tmp_path / "a.png", bar((400, 500), (160, 200, 400, 232))))
    inspection = found.inspection
    assert (inspection.width_px, inspection.height_px, inspection.error) == (500, 400, "")
    assert inspection.assessable and len(inspection.findings) == 1
    finding = inspection.findings[0]
    left, top, right, bottom = finding.box_xyxy
    assert 136 <= left <= 168 and 184 <= top <= 208 and 392 <= right <= 424 and 224 <= bottom <= 248
    assert finding.label == "crack" and finding.score > 0.95
    assert 0.5 * 240 * 32 < finding.area_px < 2 * 240 * 32
    xs, ys = np.array(finding.polygon).T
    assert xs.min() >= left and xs.max() <= right and ys.min() >= top and ys.max() <= bottom
    assert found.preview is not None and found.preview.shape == (400, 500, 3)
    assert [one.shape for one in found.close_ups] == [(400, 480, 3)]
    assert found.heat is not None and found.heat.shape == (50, 63)


def test_two_flaws_are_two_findings_and_a_clean_photo_has_none(inspector: Inspector, tmp_path: Path) -> None:
    image = bar((300, 600), (40, 100, 120, 132))
    image[100:132, 440:560] = 10
    boxes = [
        one.box_xyxy
        for one in inspect_photo(inspector, save(tmp_path / "two.png", image)).inspection.findings
    ]
    assert len(boxes) == 2 and {box[0] < 300 for box in boxes} == {True, False}
    clean = inspect_photo(inspector, save(tmp_path / "clean.png", bar((300, 600), (0, 0, 0, 0))))
    assert clean.inspection.findings == () and clean.inspection.assessable


def test_the_same_photo_gives_the_same_bits(tiny_bundle: Bundle, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", bar((700, 900), (100, 90, 300, 130)))

    def inspect(n_threads: int) -> InspectedPhoto:
        options = InspectOptions(runtime=RuntimeOptions(n_threads=n_threads))
        return inspect_photo(open_inspector(tiny_bundle.folder, options), path)

    one, two = inspect(1), inspect(2)
    assert one.inspection == two.inspection
    assert one.heat is not None and two.heat is not None and one.heat.tobytes() == two.heat.tobytes()


def test_a_bad_photo_is_an_error_not_an_exception(inspector: Inspector, tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n, but no more")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "broken.tif").write_bytes(b"II*\0" + bytes(40))
    (tmp_path / "folder.png").mkdir()
    for name in ("cut.png", "empty.jpg", "broken.tif", "folder.png", "missing.jpg"):
        inspection = inspect_photo(inspector, tmp_path / name).inspection
        assert inspection.error and not inspection.findings and inspection.path.endswith(name)


@pytest.mark.parametrize(("level", "word"), [(4, "dark"), (252, "overexposed")])
def test_too_dark_or_too_bright_is_not_clean(
    inspector: Inspector, tmp_path: Path, level: int, word: str
) -> None:
    path = save(tmp_path / "a.png", np.full((200, 200, 3), level, np.uint8))
    inspection = inspect_photo(inspector, path).inspection
    assert not inspection.assessable and word in inspection.reason and not inspection.findings


def test_blurred_is_not_clean(tiny: SimpleNamespace, tmp_path: Path) -> None:
    sharp = np.random.default_rng(0).normal(size=(256, 256))
    spectrum = np.fft.rfft2(sharp) / np.maximum(
        np.hypot(*np.meshgrid(np.fft.rfftfreq(256), np.fft.fftfreq(256))), 0.01
    )
    grey = np.fft.irfft2(spectrum)
    grey = 140 + 20 * grey / grey.std()
    image = Image.fromarray(grey.clip(0, 255).astype(np.uint8)).convert("RGB")
    head = tiny.make_head()
    spec = tiny.make_spec(findings=FindingSpec(0.9, 10, "by hand", least_sharpness=-4.0))
    bundle = write_bundle(tmp_path / "model", spec, tiny.make_onnx(head), head)
    inspector = open_inspector(bundle.folder, InspectOptions(runtime=ONE))
    image.save(tmp_path / "sharp.png")
    image.filter(ImageFilter.GaussianBlur(3)).save(tmp_path / "blurred.png")
    assert inspect_photo(inspector, tmp_path / "sharp.png").inspection.assessable
    blurred = inspect_photo(inspector, tmp_path / "blurred.png").inspection
    assert not blurred.assessable and "blurred" in blurred.reason


def test_a_region_limits_where_it_looks(tiny_bundle: Bundle, tmp_path: Path) -> None:
    camera = tmp_path / "north"
    camera.mkdir()
    path = save(camera / "a.png", bar((320, 640), (40, 100, 560, 132)))
    left_half = [[0, 0], [320, 0], [320, 320], [0, 320]]
    regions = tmp_path / "regions"
    regions.mkdir()
    (regions / "north.json").write_text(json.dumps(left_half))
    mask = np.zeros((320, 640), np.uint8)
    mask[:, :320] = 255
    save(tmp_path / "mask.png", mask)
    for region in (regions, regions / "north.json", tmp_path / "mask.png"):
        options = InspectOptions(region=region, runtime=ONE)
        found = inspect_photo(open_inspector(tiny_bundle.folder, options), path)
        inspection = found.inspection
        assert inspection.share_seen == pytest.approx(0.5)
        assert found.heat is not None and found.heat[:, 41:].max() == 0 < found.heat[:, :40].max()
        assert [one.box_xyxy[2] <= 328 for one in inspection.findings] == [True]
    save(tmp_path / "small.png", mask[:100])
    options = InspectOptions(region=tmp_path / "small.png", runtime=ONE)
    error = inspect_photo(open_inspector(tiny_bundle.folder, options), path).inspection.error
    assert "640×100" in error


@pytest.mark.parametrize(
    "region",
    [
        [[300, 200], [420, 200], [420, 320], [300, 320]],
        [[300, 200], [330, 200], [330, 230], [300, 230]],  # smaller than any tile
        [[20, 20], [40, 20], [460, 370], [440, 370]],  # filling no tile by half
        [[[100, 100], [130, 100], [130, 130]], [[190, 190], [216, 190], [216, 216], [190, 216]]],
    ],
    ids=["square", "small", "slanting", "two"],
)
def test_only_what_is_looked_at_is_too_dark_or_not(tiny_bundle: Bundle, tmp_path: Path, region: list) -> None:
    several = region if isinstance(region[0][0], list) else [region]
    shown = Image.new("L", (500, 400))
    for corners in several:
        ImageDraw.Draw(shown).polygon([tuple(point) for point in corners], fill=255)
    is_shown = np.asarray(shown)[..., None] > 0
    (tmp_path / "region.json").write_text(json.dumps(region))
    inspector = open_inspector(
        tiny_bundle.folder, InspectOptions(region=tmp_path / "region.json", runtime=ONE)
    )
    bright = bar((400, 500), (0, 0, 0, 0))
    for level, word in ((4, "too dark"), (252, "overexposed")):
        path = save(tmp_path / "a.png", np.where(is_shown, np.uint8(level), bright))
        inspection = inspect_photo(inspector, path).inspection
        assert not inspection.assessable and word in inspection.reason and not inspection.findings
    around = save(tmp_path / "b.png", np.where(is_shown, bright, np.uint8(4)))
    assert inspect_photo(inspector, around).inspection.assessable


def test_a_large_picture_without_findings_is_not_clean_where_it_shows_nothing(
    tiny_bundle: Bundle, tmp_path: Path
) -> None:
    pytest.importorskip("pyvips")
    image = bar((2000, 400), (180, 300, 220, 700))
    image[1500:] = 255
    path = save(tmp_path / "a.tif", image)
    (tmp_path / "region.json").write_text("[[0, 1500], [400, 1500], [400, 2000], [0, 2000]]")
    cap = PhotoOptions(max_megapixels=0.1)
    for region, is_fine in ((None, True), (tmp_path / "region.json", False)):
        options = InspectOptions(region=region, photos=cap, runtime=ONE)
        inspection = inspect_photo(open_inspector(tiny_bundle.folder, options), path).inspection
        assert inspection.assessable == is_fine == bool(inspection.findings)
        assert ("overexposed" in inspection.reason) != is_fine


def test_a_photo_outside_the_region_is_not_clean(
    tiny_bundle: Bundle, tiny: SimpleNamespace, tmp_path: Path
) -> None:
    path = save(tmp_path / "a.png", bar((320, 640), (40, 100, 560, 132)))
    (tmp_path / "far.json").write_text("[[5000, 5000], [5100, 5000], [5100, 5100]]")
    options = InspectOptions(region=tmp_path / "far.json", runtime=ONE)
    for bundle in (tiny_bundle, make_bundle(tmp_path / "masks", tiny, "segmentation")):
        inspection = inspect_photo(open_inspector(bundle.folder, options), path).inspection
        assert not inspection.assessable and "region of interest" in inspection.reason
        assert inspection.share_seen == 0 and inspection.findings == () and inspection.error == ""


def test_a_folder_of_regions_has_one_for_some_photos_at_least(tmp_path: Path) -> None:
    photos = [tmp_path / "north" / "a.png", tmp_path / "north" / "b.png", "memory://site/south/a.png"]
    regions = tmp_path / "regions"
    regions.mkdir()
    with pytest.raises(OptionError, match=r"no \.json or \.png file.*north\.json, south\.json"):
        find_folders_without(regions, photos)
    (regions / "cam1.json").write_text("[]")
    with pytest.raises(OptionError, match=r"holds cam1\.json.*north\.json, south\.json"):
        find_folders_without(regions, photos)
    (regions / "south.png").touch()
    assert find_folders_without(regions, photos) == ["north"]
    assert find_folders_without(regions / "cam1.json", photos) == []


def test_a_region_that_cannot_be_read_is_told_at_once(tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("[[1, 2]]")
    (tmp_path / "large.json").write_text(f"[[0, 0], [{'9' * 400}, 0], [5, 5]]")
    (tmp_path / "deep.json").write_text("[" * 100_000)
    for region in (tmp_path / f"{name}.json" for name in ("bad", "none", "large", "deep")):
        with pytest.raises(OptionError, match="region"):
            open_inspector(tiny_bundle.folder, InspectOptions(region=region, runtime=ONE))


def test_strips_find_what_the_whole_photo_shows(tiny_bundle: Bundle, tmp_path: Path) -> None:
    """Above the cap a TIFF is read in strips; a crack across them is one finding, with its place on Earth."""
    pytest.importorskip("pyvips")
    image = bar((1500, 400), (180, 300, 220, 1300))
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[33550], tags[33922] = (0.05, 0.025, 0.0), (0.0, 0.0, 0.0, 10.0, 50.0, 0.0)
    tags[34735] = (1, 1, 0, 2, 1024, 0, 1, 2, 2048, 0, 1, 4326)
    tags.tagtype.update({33550: 12, 33922: 12, 34735: 3})
    path = save(tmp_path / "a.tif", image, tiffinfo=tags)
    whole = inspect_photo(open_inspector(tiny_bundle.folder, InspectOptions(runtime=ONE)), path)
    small = InspectOptions(photos=PhotoOptions(max_megapixels=0.1), runtime=ONE)
    told: list[tuple[int, int]] = []
    strips = inspect_photo(
        open_inspector(tiny_bundle.folder, small), path, lambda _, n_done, n: told.append((n_done, n))
    )
    assert told[-1] == (1500, 1500)
    assert strips.inspection == whole.inspection and len(whole.inspection.findings) == 1
    finding = strips.inspection.findings[0]
    left, top, right, bottom = finding.box_xyxy
    assert finding.lon == pytest.approx(10 + 0.05 * (left + right) / 2)
    assert finding.lat == pytest.approx(50 - 0.025 * (top + bottom) / 2)
    assert finding.position_source == "pixel"
    tags[34735] = (1, 1, 0, 2, 1024, 0, 1, 1, 3072, 0, 1, 2056)  # Switzerland's own
    for options in (small, InspectOptions(runtime=ONE)):
        swiss = save(tmp_path / "swiss.tif", image, tiffinfo=tags)
        inspection = inspect_photo(open_inspector(tiny_bundle.folder, options), swiss).inspection
        assert inspection.position_system == "EPSG:2056" and strips.inspection.position_system == ""
        assert [(one.lon, one.lat, one.position_source) for one in inspection.findings] == [
            (None, None, None)
        ]
    other = save(tmp_path / "a.png", image)
    assert "too large" in inspect_photo(open_inspector(tiny_bundle.folder, small), other).inspection.error


def test_what_counts_is_chosen_on_whole_photos(tiny_bundle: Bundle, tiny: SimpleNamespace) -> None:
    classifier = DenseClassifier(tiny_bundle, ONE)
    tiles = [ValidationTile(tiny.make_photo(i), False, f"clean{i % 3}") for i in range(6)]
    tiles += [ValidationTile(tiny.make_photo(i, crack_at=16), True, f"cracked{i % 4}") for i in range(8)]
    findings = choose_findings(classifier, tiles, len(tiles))
    assert (findings.n_flawed, findings.n_clean) == (4, 3)
    assert findings.share_found == 1.0 and findings.n_false == 0
    assert not findings.by_crops
    assert choose_findings(classifier, tiles[:6], 6).least_score == default_findings((64, 64)).least_score
    assert choose_rows([True] * 30 + [False] * 4, most=20) == [*range(0, 30, 3), 30, 31, 32, 33]


def test_a_model_without_good_photos_says_so(tmp_path: Path, tiny: SimpleNamespace) -> None:
    head = tiny.make_head()
    bundle = write_bundle(tmp_path / "model", tiny.make_spec(good_labels=()), tiny.make_onnx(head), head)
    with pytest.raises(BundleError, match=r"knows flaws only .* --good"):
        open_inspector(bundle.folder)


def test_what_counts_travels_with_the_model(tmp_path: Path, tiny: SimpleNamespace) -> None:
    findings = FindingSpec(0.75, 120, "by hand", 3, 4, 1.0, 0, -2.5)
    head = tiny.make_head()
    write_bundle(tmp_path / "model", tiny.make_spec(findings=findings), tiny.make_onnx(head), head)
    assert open_inspector(tmp_path / "model").findings == findings
    given = open_inspector(tmp_path / "model", InspectOptions(least_score=0.5, least_area_px=7))
    assert given.findings == replace(findings, least_score=0.5, least_area_px=7)


def test_a_large_tiff_that_lacks_strips_is_damaged_not_black(tiny_bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip("pyvips")
    path = save(tmp_path / "a.tif", bar((300, 400), (160, 100, 400, 132)))
    content = path.read_bytes()
    height = content.index(np.uint16([257, 4]).tobytes())
    path.write_bytes(content[: height + 8] + np.uint32(3000).tobytes() + content[height + 12 :])
    options = InspectOptions(runtime=ONE, photos=PhotoOptions(max_megapixels=0.5))
    inspection = inspect_photo(open_inspector(tiny_bundle.folder, options), path).inspection
    assert inspection.error.startswith("damaged") and not inspection.findings


def dim(image: np.ndarray) -> np.ndarray:
    """Darker, though not as dark as a flaw."""
    return (0.65 * image).astype(np.uint8)


def guard(tiny: SimpleNamespace, folder: Path, most: tuple[float, float]) -> Inspector:
    """A model whose reference is of bright tiles: distance and remoteness are both how dark a window is on
    average, and `most` are their limits."""
    head = tiny.make_head()
    bundle = write_bundle(folder / "model", tiny.make_spec(), tiny.make_onnx(head), head)
    dark = np.array([1, 0], np.float32)
    reference = Reference(np.zeros(2, np.float32), dark[:, None], np.zeros((9, 1), np.float32), dark)
    findings = FindingSpec(0.9, 10, "by hand", most_distance=most[0], most_remoteness=most[1])
    return open_inspector(
        write_spec(bundle, tiny.make_spec(findings=findings), reference).folder, InspectOptions(runtime=ONE)
    )


def test_a_photo_unlike_the_training_photos_is_not_clean(tiny: SimpleNamespace, tmp_path: Path) -> None:
    image = bar((256, 512), (0, 0, 0, 0))
    image[:, 150:] = dim(image[:, 150:])
    inspector = guard(tiny, tmp_path, (0.35, 9.0))
    found = inspect_photo(inspector, save(tmp_path / "a.png", image)).inspection
    assert found.share_foreign == pytest.approx(0.7, abs=0.1) and not found.findings
    assert not found.assessable and "unlike the photos" in found.reason and "look yourself" in found.reason
    image[:, 300:] = bar((256, 212), (0, 0, 0, 0))
    mostly_known = inspect_photo(inspector, save(tmp_path / "b.png", image)).inspection
    assert mostly_known.assessable and 0 < (mostly_known.share_foreign or 0) < 0.5


def test_a_finding_on_a_foreign_surface_is_kept_and_marked(tiny: SimpleNamespace, tmp_path: Path) -> None:
    image = bar((256, 1024), (60, 104, 180, 112))
    image[:, 300:] = dim(image[:, 300:])
    image[104:112, 700:860] = 3
    found = inspect_photo(guard(tiny, tmp_path, (0.35, 0.1)), save(tmp_path / "a.png", image)).inspection
    assert found.assessable and (found.share_foreign or 0) > 0.5
    assert {one.box_xyxy[0] > 400: one.is_foreign for one in found.findings} == {False: False, True: True}


def test_a_photo_from_afar_is_not_clean(tiny: SimpleNamespace, tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", bar((256, 512), (0, 0, 0, 0)))
    found = inspect_photo(guard(tiny, tmp_path, (9.0, 0.01)), path).inspection
    assert not found.assessable and found.reason.startswith("too distant")


def test_a_region_of_interest_limits_what_is_foreign(tiny: SimpleNamespace, tmp_path: Path) -> None:
    image = bar((256, 640), (0, 0, 0, 0))
    image[:, 320:] = dim(image[:, 320:])
    path = save(tmp_path / "a.png", image)
    (tmp_path / "left.json").write_text(json.dumps([[0, 0], [250, 0], [250, 256], [0, 256]]))
    inspector = guard(tiny, tmp_path, (0.35, 9.0))
    options = replace(inspector.options, region=tmp_path / "left.json")
    found = inspect_photo(open_inspector(tmp_path / "model", options), path).inspection
    assert found.share_foreign == 0 and found.assessable


def test_limits_come_from_sources_that_training_did_not_see(
    tiny: SimpleNamespace, tiny_bundle: Bundle
) -> None:
    classifier = DenseClassifier(tiny_bundle, ONE)
    classifier.reference = learn_reference(classifier, [tiny.make_photo(i) for i in range(20)], 20)
    tiles = [
        ValidationTile(tiny.make_photo(100 + i, 8 * (i % 7) if i % 2 else None), bool(i % 2), f"s{i // 4}")
        for i in range(40)
    ]
    found = choose_findings(classifier, tiles, len(tiles))
    assert found.most_distance is not None and found.most_remoteness is not None
    away = [classifier.score_image(tile.image).distances for tile in tiles if not tile.is_flawed]
    assert np.mean([np.median(one) <= found.most_distance for one in away if one is not None]) == 1
    dark = classifier.score_image(tiny.make_photo(3) // 3)
    assert dark.distances is not None and dark.distances.min() > found.most_distance


def draw(heat: np.ndarray, size_hw: tuple[int, int], spec: ModelSpec) -> Window:
    return draw_window(np.zeros((*size_hw, 3), np.uint8), heat.astype(np.float32), size_hw, spec)


def test_one_window_is_drawn_by_lot(tiny: SimpleNamespace) -> None:
    spec = tiny.make_spec(tile_hw=(64, 64))
    heat = np.zeros((40, 40))
    heat[:, 20:] = 1  # each cell is the score of the window around it
    drawn = [draw(heat + i * 1e-6, (320, 320), spec) for i in range(200)]
    assert np.mean([one.flaw_score for one in drawn]) == pytest.approx(0.5, abs=0.12)
    assert {one.image.shape for one in drawn} == {(64, 64, 3)}
    assert draw(heat, (320, 320), spec).flaw_score == draw(heat.copy(), (320, 320), spec).flaw_score
    assert draw(heat[:2], (40, 320), spec).image.shape == (40, 64, 3)  # a photo lower than a tile
    assert draw_window(None, heat, (320, 320), spec).image is None
    assert draw_window(None, heat[:0], (320, 320), spec) is None


def test_one_window_of_masks_is_as_large_as_a_training_photo(tiny: SimpleNamespace) -> None:
    masks = MaskSpec("tiny", 2, "unet", Cleaning((0.5,)))
    spec = tiny.make_spec(task="segmentation", labels=("crack",), good_labels=(), masks=masks)
    heat = np.zeros((40, 40))
    heat[::7, ::7] = 1  # every window of a training photo's size, 8 × 8 cells, holds one
    assert {round(draw(heat + i * 1e-6, (320, 320), spec).flaw_score) for i in range(50)} == {1}
    assert draw(heat[:8, :8], (64, 64), spec).flaw_score == 1
