"""From photos with masks to a model folder, and everything one does with it; a cascade likewise."""

from __future__ import annotations

import csv
import json
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flawmap
from flawmap.errors import BundleError, DatasetError, OptionError
from flawmap.stages.audit import AuditOptions
from flawmap.stages.dataset import read_dataset
from flawmap.stages.embed import EmbedOptions
from flawmap.stages.rank import RankOptions
from flawmap.stages.train.options import AugmentOptions, MaskTrainOptions, TrainOptions
from flawmap.tools import rle
from flawmap.tools.masks import to_pixels

pytest.importorskip("torch")
pytestmark = pytest.mark.slow  # the same jobs, part by part, are in the default tests

SIDE = 96
KINDS = ("dark", "light")


def draw_photo(rng: np.random.Generator, kinds: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """A noisy grey photo with a square per kind, and its mask of class numbers."""
    image = rng.normal(128, 12, (SIDE, SIDE + 32, 3))
    numbers = np.zeros(image.shape[:2], np.uint8)
    for kind in kinds:
        top, left = rng.integers(4, SIDE - 36), rng.integers(4, SIDE - 4)
        left = left if kind == "dark" else max(0, left - 60)
        where = (slice(top, top + 24), slice(left, left + 24))
        image[where] += -90 if kind == "dark" else 90
        numbers[where] = KINDS.index(kind) + 1
    return np.clip(image, 0, 255).astype(np.uint8), numbers


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """36 photos: a third good, a third with either kind."""
    folder = tmp_path_factory.mktemp("masked")
    rng = np.random.default_rng(5)
    for part in ("images", "masks"):
        (folder / part).mkdir()
    for i in range(36):
        image, numbers = draw_photo(rng, ((), ("dark",), ("light",))[i % 3])
        Image.fromarray(image).save(folder / "images" / f"{i:02}.png")
        Image.fromarray(numbers).save(folder / "masks" / f"{i:02}.png")
    (folder / "masks" / "classes.txt").write_text("dark\nlight\n")
    (folder / "images" / "broken.png").write_bytes(b"no photo")
    return folder


def quick_options(cache: Path) -> flawmap.RunOptions:
    return flawmap.RunOptions(
        embed=EmbedOptions(cache=cache),
        audit=AuditOptions(group_by=r"(\d+)"),
        rank=RankOptions(max_depth=2),
        train=TrainOptions(head_epochs=10, epochs=1),
        train_masks=MaskTrainOptions(
            depth=2, crop_px=64, epochs=6, frozen_stages=0, augment=AugmentOptions(hue=0.0)
        ),
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def trained(masked: Path, cache: Path, tmp_path_factory: pytest.TempPathFactory):
    return flawmap.train(masked, tmp_path_factory.mktemp("runs") / "masks", quick_options(cache))


def test_a_run_learns_masks_by_itself(trained) -> None:
    assert {path.name for path in (trained.run / "model").iterdir()} == {
        "masks.onnx",
        "held_back.safetensors",
        "flawmap.json",
        "README.md",
    }
    metrics = json.loads((trained.run / "metrics.json").read_text())
    assert metrics["test"]["dice"] > 0.6 and metrics["test"]["n"] == metrics["split"]["test"]["n"]
    assert set(metrics["test"]["per_class"]) == set(KINDS)
    assert metrics["test"]["n_source_seen_in_training"] == 0
    assert metrics["cleaning"]["chosen"]["is_exclusive"] is True
    test, before = metrics["test"], metrics["before_training"]
    assert (before["n"], before["n_with_flaw"]) == (test["n"], test["n_with_flaw"])
    assert before["recall"] == before["flaw_dice"] == before["cldice"] == 0 and before["escape_rate"] == 1
    assert before["severstal_score"] == test["severstal_score_empty"] < 1
    assert set(before) == set(test) - {"photos", "best", "typical", "worst"}
    assert before["per_class"]["dark"]["overkill_rate"] == 0
    assert "<svg" in (trained.run / "report.html").read_text()
    assert [one.path for one in trained.left_out] == ["images/broken.png"] or trained.left_out


def test_the_file_gives_the_masks_that_were_evaluated(trained, masked: Path) -> None:
    model = flawmap.load(trained.run)
    dataset = read_dataset(masked)
    with (trained.run / "splits.csv").open() as file:
        test = {row["path"] for row in csv.DictReader(file) if row["split"] == "test"}
    hits = total = 0
    for photo, mask in zip(dataset.photos, dataset.masks, strict=True):
        if photo.name in test:
            found = model.find(flawmap.read_image(photo.path)).mask
            said, true = to_pixels(found).any(axis=0), to_pixels(mask).any(axis=0)
            hits += 2 * int((said & true).sum())
            total += int(said.sum() + true.sum())
    assert hits / total == pytest.approx(trained.metrics["test"]["dice"], abs=0.002)


def test_lines_of_json_say_how_large_each_kind_is(trained, masked: Path, tmp_path: Path) -> None:
    photo = masked / "images" / "01.png"
    flawmap.predict(trained.run, photo, out=tmp_path / "rows.jsonl")
    row = json.loads((tmp_path / "rows.jsonl").read_text(encoding="utf-8"))
    model = flawmap.load(trained.run)
    areas = to_pixels(model.find(flawmap.read_image(photo)).mask).sum(axis=(1, 2)).tolist()
    assert row["area_px"] == dict(zip(model.spec.labels, areas, strict=True)) and sum(areas) > 0


@pytest.mark.parametrize(
    ("form", "files"),
    [("png", {"masks/00.png"}), ("rle", {"submission.csv"}), ("coco", {"annotations.json"})],
)
def test_predicted_masks_in_every_form(trained, masked: Path, tmp_path: Path, form, files: set[str]) -> None:
    done = flawmap.predict(trained.run, masked / "images", out=tmp_path, masks=form)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()}
    assert files <= written and "results.csv" in written
    assert [one.path for one in done.left_out] == [str(masked / "images" / "broken.png")]
    with (tmp_path / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 37 and all((row["review"] == "") == bool(row["error"]) for row in rows)
    assert "for a person to look at" in done.lines[0]


@pytest.mark.parametrize("hw", [(20, 70_000), (70_000, 20)], ids=["wide", "high"])
def test_a_long_strip_gets_a_mask_of_its_size(trained, tmp_path: Path, hw: tuple[int, int]) -> None:
    image = np.random.default_rng(1).normal(128, 12, (*hw, 3))
    image[tuple(slice(0, 20) if side == 20 else slice(50_000, 50_024) for side in hw)] -= 90
    image = np.clip(image, 0, 255).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "strip.png")
    tracemalloc.start()
    done = flawmap.predict(trained.run, tmp_path / "strip.png", out=tmp_path / "out", masks="png")
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert done.left_out == () and peak_bytes < 40 * image.nbytes, peak_bytes / image.nbytes
    with Image.open(tmp_path / "out" / "masks" / "strip.png") as picture:
        mask = np.asarray(picture)
    assert mask.shape == hw and (mask == 1).any()
    along = np.flatnonzero((mask == 1).any(axis=hw.index(20)))
    assert 49_900 < along.mean() < 50_124


def test_masks_that_somebody_drew_are_not_replaced(trained, masked: Path) -> None:
    before = {path: path.read_bytes() for path in (masked / "masks").rglob("*.png")}
    with pytest.raises(OptionError, match="holds images, which is no result of --masks"):
        flawmap.predict(trained.run, masked / "images" / "00.png", out=masked, masks="png")
    assert before and all(path.read_bytes() == content for path, content in before.items())


def test_evaluating_what_was_seen_says_so(trained, masked: Path, cache: Path, tmp_path: Path) -> None:
    files = {"json_file": tmp_path / "f.json", "table": tmp_path / "t.csv"}
    done = flawmap.evaluate(trained.run, masked, quick_options(cache), **files)
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["n"] == 36 and found["n_seen_in_training"] > 20
    assert found["dice"] == pytest.approx(done.evaluation.metrics["dice"])
    assert any("flatter" in note for note in found["notes"])
    assert set(found["ceiling"]) >= {"ods_f1", "ois_f1"} and found["ods_f1"] > 0.5
    with (tmp_path / "t.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["path"] for row in rows] == [one.name for one in done.evaluation.rows]
    true, said = (np.array([int(row[name]) for row in rows]) for name in ("true_px", "found_px"))
    right = np.array([float(row["dice"]) for row in rows]) * (true + said) / 2
    assert 2 * right.sum() / (true + said).sum() == pytest.approx(found["dice"], abs=1e-5)
    assert all(bool(row["label"]) == bool(n) for row, n in zip(rows, true, strict=True))
    assert all(bool(row["predicted"]) == bool(n) for row, n in zip(rows, said, strict=True))
    assert all((row["f1_tolerant"] == "") == (n == 0) for row, n in zip(rows, true, strict=True))


def test_what_masks_cannot_do_is_said(trained, masked: Path, tmp_path: Path, cache: Path) -> None:
    photo = masked / "images" / "00.png"
    with pytest.raises(OptionError, match="name a folder"):
        flawmap.predict(trained.run, photo, out=tmp_path / "x.csv", masks="png")
    with pytest.raises(OptionError, match="name a folder"):
        flawmap.predict(trained.run, photo, masks="png")
    with pytest.raises(BundleError, match="gives masks"):
        flawmap.explain(trained.run, photo, tmp_path / "heat.png")
    labelled = tmp_path / "labelled"
    for label in ("crack", "good"):
        (labelled / label).mkdir(parents=True)
        Image.fromarray(np.zeros((40, 40, 3), np.uint8)).save(labelled / label / "a.png")
    with pytest.raises(DatasetError, match="gives masks"):
        flawmap.evaluate(trained.run, labelled)
    for wish in ({"cascade": True}, {"task": "segmentation"}):
        with pytest.raises(DatasetError, match="no mask"):
            flawmap.train(labelled, tmp_path / "run", replace(quick_options(cache), **wish))


def test_a_class_that_no_photo_shows_does_not_stop_a_run(cache: Path, tmp_path: Path) -> None:
    """Severstal's table with the classes 1 and 3: there is a 2, of which nothing is known."""
    rng, rows = np.random.default_rng(6), ["ImageId,ClassId,EncodedPixels"]
    photos = tmp_path / "set" / "train_images"
    photos.mkdir(parents=True)
    for i in range(18):
        image, numbers = draw_photo(rng, ((), ("dark",), ("light",))[i % 3])
        Image.fromarray(image).save(photos / f"{i:02}.png")
        rows += [
            f"{i:02}.png,{2 * n - 1},{rle.to_text(rle.encode(numbers == n))}" for n in {*numbers.flat} - {0}
        ]
    (tmp_path / "set" / "train.csv").write_text("\n".join(rows) + "\n")
    quick = quick_options(cache)
    options = replace(quick, train_masks=replace(quick.train_masks, epochs=2))
    done = flawmap.train(tmp_path / "set", tmp_path / "run", options)
    absent = done.metrics["test"]["per_class"]["2"]
    assert done.bundle.spec.labels == ("1", "2", "3") and absent["n_photos_with"] == 0
    assert absent["flaw_dice"] is absent["escape_rate"] is absent["ods_f1"] is None
    assert absent["severstal_score_empty"] == 1 and absent["overkill_rate"] is not None
    assert done.bundle.spec.masks.cleaning.thresholds[1] == 0.5
    assert "NaN" not in (done.run / "metrics.json").read_text()
    assert any("no photo here shows 2" in line for line in done.lines)
    predicted = flawmap.predict(done.run, photos, out=tmp_path / "out", masks="rle")
    assert predicted.left_out == () and (tmp_path / "out" / "submission.csv").is_file()


def test_labels_follow_from_masks(masked: Path, cache: Path, tmp_path: Path) -> None:
    options = replace(quick_options(cache), task="classification")
    trained = flawmap.train(masked, tmp_path / "labels", options)
    assert trained.bundle.spec.task == "classification"
    assert trained.bundle.spec.labels == ("dark", "light", "good")
    assert trained.bundle.spec.good_labels == ("good",)


def test_a_cascade_joins_three_stages(masked: Path, cache: Path, tmp_path: Path) -> None:
    trained = flawmap.train(masked, tmp_path / "chain", replace(quick_options(cache), cascade=True))
    assert {path.name for path in (trained.run / "model").iterdir()} == {
        "model.onnx",
        "weights.safetensors",
        "masks.onnx",
        "held_back.safetensors",
        "flawmap.json",
        "README.md",
    }
    facts = trained.metrics["cascade"]
    counts = trained.bundle.spec.held_back
    assert counts.n_flawed + counts.n_good == trained.metrics["test"]["n"]
    assert trained.bundle.held_back.flawed_scores.max() > 0.5
    assert 0 < facts["skip_threshold"] < 1 and facts["lost_share"] <= 0.005
    assert facts["lost_share"] <= facts["skipped_share"] <= 1
    assert [row["name"] for row in facts["table"]] == ["mask network alone", "chain"]
    (taken,) = [row for row in facts["compared"] if row["is_chosen"]]
    for key in ("flaw_dice", "overkill_rate"):
        assert (
            trained.metrics["validation"][key] == trained.bundle.spec.metrics["validation"][key] == taken[key]
        )
    assert trained.metrics["validation"]["ods_f1"] > 0 and trained.metrics["test"]["ods_f1"] > 0
    assert trained.metrics["before_training"]["recall"] == 0
    model = flawmap.load(trained.run)
    clean = np.full((80, 100, 3), 128, np.uint8)
    skipping = replace(model.cascade, skip_threshold=1.0)
    model.cascade = skipping
    answer = model.find(clean)
    assert answer.label == "" and answer.mask.areas_px == (0, 0)
    done = flawmap.evaluate(trained.run, masked, quick_options(cache))
    assert done.evaluation.metrics["n"] == 36
