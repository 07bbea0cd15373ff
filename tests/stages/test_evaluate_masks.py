"""Evaluations of masks: every figure is there with its interval, and nothing meaningless in the JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flawmap.errors import DatasetError, OptionError
from flawmap.stages.evaluate_masks import (
    EvaluateMasksOptions,
    MaskedPhoto,
    count_photo,
    evaluate_counts,
    evaluate_masks,
    write_mask_evaluation_json,
)
from flawmap.tools.mask_cleaning import Cleaning, clean_masks
from flawmap.tools.mask_figures import CEILING, FIGURES, PER_CLASS

QUICK = EvaluateMasksOptions(n_resamples=200, n_examples=3)
LABELS = ("crack", "spall")
HALF = Cleaning((0.5, 0.5))
PROMISED = {*FIGURES, "n", "n_with_flaw", "n_groups", "ods_threshold", "ceiling", "tolerance_px", "cleaning"}
PROMISED |= {"interval95", "intervals_reliable", "per_class", "masks_to_check", "notes"}


def make_photos(n: int = 30, n_good: int = 6, seed: int = 0) -> list[MaskedPhoto]:
    """Good photos first; the later a photo, the worse its answer."""
    rng = np.random.default_rng(seed)
    photos = []
    for i in range(n):
        truth = np.zeros((2, 24, 32), bool)
        if i >= n_good:
            row = rng.integers(2, 18)
            truth[i % 2, row : row + 4, 4:28] = True
        shift = np.roll(truth, rng.integers(0, 1 + 4 * i // n), axis=1)
        p = np.where(shift, 0.7, 0.2) + rng.normal(0, 0.12, truth.shape)
        photos.append(MaskedPhoto(f"{i}.png", truth, np.clip(p, 0, 1).astype(np.float32)))
    return photos


def test_masks_that_lie_elsewhere_throughout_are_told() -> None:
    rng = np.random.default_rng(0)
    photos = []
    for i in range(6):
        truth = np.zeros((1, 60, 60), bool)
        top, left = rng.integers(2, 20, 2)
        truth[0, top : top + 4, left : left + 25] = True
        photos.append(MaskedPhoto(f"{i}", truth, predicted=np.rot90(truth, axes=(1, 2)).copy()))
    notes = evaluate_masks(photos, ("crack",), None).metrics["notes"]
    assert any("6 of 6 photos with a flaw" in note and "turned" in note for note in notes)
    right = [MaskedPhoto(one.name, one.truth, predicted=one.truth) for one in photos]
    assert not any("turned" in note for note in evaluate_masks(right, ("crack",), None).metrics["notes"])


def test_every_promised_figure_lies_in_its_interval() -> None:
    photos = make_photos()
    found = evaluate_masks(iter(photos), LABELS, HALF, [f"g{i}" for i in range(30)], QUICK)
    metrics = found.metrics
    assert set(metrics) == PROMISED
    assert (metrics["n"], metrics["n_with_flaw"], metrics["n_groups"]) == (30, 24, 30)
    assert metrics["ceiling"] == list(CEILING) and metrics["ods_f1"] >= metrics["f1"] == metrics["dice"]
    assert metrics["cleaning"]["thresholds"] == [0.5, 0.5] and metrics["intervals_reliable"]
    for name in FIGURES:
        low, high = metrics["interval95"][name]
        assert low <= metrics[name] <= high, name
    assert list(metrics["per_class"]) == list(LABELS)
    assert {"cldice", "mean_iou", "pixel_accuracy", "severstal_score_empty", "ods_f1", "ois_f1"} <= {
        *PER_CLASS
    }
    assert {"escape_rate", "overkill_rate"} <= {*PER_CLASS}
    for row in metrics["per_class"].values():
        assert row["n_photos_with"] == row["n_groups_with"] == 12
        assert row["severstal_score_empty"] == 18 / 30
        for name in PER_CLASS:
            low, high = row["interval95"][name]
            assert low <= row[name] <= high, name
    assert any("ceilings" in note for note in metrics["notes"])
    assert not any("above its ceiling" in note for note in metrics["notes"])


def test_masks_better_than_any_single_threshold_are_said_to_lie_above_the_ceiling() -> None:
    photos = [replace(photo, predicted=photo.truth) for photo in make_photos()]
    metrics = evaluate_masks(photos, LABELS, HALF, None, QUICK).metrics
    assert metrics["ods_f1"] < metrics["dice"] == 1
    assert any("above its ceiling" in note for note in metrics["notes"])


def test_rows_and_examples() -> None:
    photos = make_photos()
    found = evaluate_masks(photos, LABELS, HALF, None, QUICK)
    assert [row.name for row in found.rows] == [photo.name for photo in photos]
    dice = np.array([row.dice for row in found.rows])
    for row, photo in zip(found.rows, photos, strict=True):
        said = clean_masks(photo.probabilities, HALF).any(axis=0)  # type: ignore[arg-type]
        truth = photo.truth.any(axis=0)
        assert (row.true_px, row.found_px) == (truth.sum(), said.sum())
        assert (row.f1_tolerant is None) == (not truth.any())
        assert row.f1_tolerant is None or row.f1_tolerant >= row.dice
    assert all(len(rows) == 3 for rows in (found.best, found.typical, found.worst))
    assert min(found.best) >= 6 and dice[found.best[0]] == dice[6:].max()
    assert dice[list(found.worst)].tolist() == sorted(dice)[:3]
    assert abs(dice[found.typical[0]] - np.median(dice[6:])) == np.abs(dice[6:] - np.median(dice[6:])).min()


def test_a_mask_of_another_photo_is_named() -> None:
    photos = make_photos(30, n_good=0)
    first, last = photos[0], photos[1]
    swapped = [
        MaskedPhoto("first.png", np.roll(first.truth, 10, axis=1), first.probabilities),
        MaskedPhoto("hardly found.png", np.ones_like(last.truth), last.probabilities),
    ]
    found = evaluate_masks([*swapped, *photos[2:]], LABELS, HALF, None, QUICK)
    assert found.metrics["masks_to_check"] == ["first.png"]
    assert any("first.png" in note and "elsewhere" in note for note in found.metrics["notes"])
    assert not evaluate_masks(photos, LABELS, HALF, None, QUICK).metrics["masks_to_check"]


def test_a_model_that_is_mostly_wrong_says_nothing_of_masks() -> None:
    photos = [
        MaskedPhoto(one.name, np.roll(one.truth, 10, axis=1), one.probabilities)
        for one in make_photos(12, n_good=0)
    ]
    found = evaluate_masks(photos, LABELS, HALF, None, QUICK)
    assert all(row.lies_elsewhere for row in found.rows[:3]) and not found.metrics["masks_to_check"]


def test_equal_evaluations_give_equal_bytes(tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        evaluation = evaluate_masks(make_photos(), LABELS, HALF, None, QUICK)
        write_mask_evaluation_json(evaluation, tmp_path / name)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == evaluation.metrics


def test_photos_can_be_counted_apart_and_answers_given_as_masks() -> None:
    photos = make_photos()
    whole = evaluate_masks(photos, LABELS, HALF, None, QUICK)
    counts = [count_photo(photo, HALF, QUICK) for photo in photos]
    apart = evaluate_counts([photo.name for photo in photos], counts, LABELS, HALF, None, QUICK)
    assert apart == whole
    masks = [
        MaskedPhoto(p.name, p.truth, predicted=clean_masks(p.probabilities, HALF))  # type: ignore[arg-type]
        for p in photos
    ]
    answered = evaluate_masks(masks, LABELS, None, None, QUICK).metrics
    assert answered["ods_f1"] is None and answered["dice"] == whole.metrics["dice"]
    assert not any("ceilings" in note for note in answered["notes"])
    crack = answered["per_class"]["crack"]
    assert crack["ods_f1"] is crack["ois_f1"] is None and "ods_f1" not in crack["interval95"]


def test_a_perfect_answer_has_exact_intervals_for_escape_and_overkill() -> None:
    photos = [MaskedPhoto(p.name, p.truth, p.truth.astype(np.float32)) for p in make_photos()]
    metrics = evaluate_masks(photos, LABELS, HALF, None, QUICK).metrics
    assert metrics["dice"] == metrics["cldice"] == metrics["severstal_score"] == metrics["ois_f1"] == 1.0
    assert metrics["escape_rate"] == metrics["overkill_rate"] == 0.0
    assert metrics["interval95"]["escape_rate"][1] == pytest.approx(1 - 0.025 ** (1 / 24))
    assert metrics["interval95"]["overkill_rate"][1] == pytest.approx(1 - 0.025 ** (1 / 6))
    crack = metrics["per_class"]["crack"]["interval95"]
    assert crack["escape_rate"] == [0, pytest.approx(1 - 0.025 ** (1 / 12))]
    assert crack["overkill_rate"] == [0, pytest.approx(1 - 0.025 ** (1 / 18))]


def test_a_set_without_truth_says_what_it_cannot_say(tmp_path: Path) -> None:
    photos = [p for p in make_photos(8, n_good=8)]
    evaluation = evaluate_masks(photos, LABELS, HALF, ["one"] * 8, QUICK)
    metrics = evaluation.metrics
    assert all(metrics[name] is None for name in ("dice", "f1_tolerant", "recall", "ods_f1", "flaw_dice"))
    assert metrics["interval95"]["dice"] is None and metrics["severstal_score_empty"] == 1.0
    assert metrics["per_class"]["crack"]["f1"] is None
    assert evaluation.best == evaluation.typical == () and len(evaluation.worst) == 3
    notes = " ".join(metrics["notes"])
    assert "only 1 group" in notes and "no flawed photo" in notes and "no photo here shows crack" in notes
    write_mask_evaluation_json(evaluation, tmp_path / "good.json")
    assert "NaN" not in (tmp_path / "good.json").read_text(encoding="utf-8")


def test_what_does_not_fit_is_refused() -> None:
    photos = make_photos(3, 1)
    with pytest.raises(DatasetError, match="at least one photo"):
        evaluate_masks([], LABELS, HALF)
    with pytest.raises(DatasetError, match="got 1 labels for 2 masks"):
        evaluate_masks(photos, ["crack"], HALF)
    with pytest.raises(DatasetError, match="3 names, 2 groups"):
        evaluate_masks(photos, LABELS, HALF, ["a", "b"])
    with pytest.raises(OptionError, match="give a cleaning"):
        evaluate_masks(photos, LABELS, None)
    with pytest.raises(DatasetError, match="need probabilities or predicted masks"):
        MaskedPhoto("a.png", photos[0].truth)
    with pytest.raises(OptionError, match="give 0 to 100 pixels"):
        EvaluateMasksOptions(tolerance_px=-1)


def test_it_is_imported_without_torch_or_scipy() -> None:
    code = (
        "import sys, flawmap.stages.evaluate_masks; "
        "sys.exit(bool({'torch', 'scipy', 'skimage'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
