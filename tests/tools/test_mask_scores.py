"""Counts and figures of masks against masks drawn by hand, brute force and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flawmap.errors import DatasetError
from flawmap.tools import mask_figures, mask_scores
from flawmap.tools.bootstrap import draw_groups

SIZE_HW = (24, 32)


def make_masks(rng: np.random.Generator, n: int = 6, n_labels: int = 2) -> list[tuple[np.ndarray, ...]]:
    """Photos as (truth, predicted, probabilities); the first without truth, the second without an answer."""
    photos = []
    for i in range(n):
        truth = rng.random((n_labels, *SIZE_HW)) < 0.1 * (i > 0)
        noise = rng.random(truth.shape)
        probabilities = np.where(truth, 0.3 + 0.7 * noise, 0.6 * noise).astype(np.float32)
        photos.append((truth, probabilities >= (0.5 if i != 1 else 2.0), probabilities))
    return photos


def stacked_of(photos: list[tuple[np.ndarray, ...]], tolerance_px: float = 2.0) -> dict[str, np.ndarray]:
    return mask_figures.stack_counts(
        [mask_scores.photo_counts(*p, tolerance_px=tolerance_px) for p in photos]
    )


def brute_near(mask: np.ndarray, radius_px: float) -> np.ndarray:
    """Pixels with a set one within the radius, pair by pair."""
    near = np.zeros_like(mask)
    points = np.argwhere(mask)
    for y, x in np.ndindex(*mask.shape):
        near[y, x] = any((y - a) ** 2 + (x - b) ** 2 <= radius_px**2 for a, b in points)
    return near


def line(row: int, columns: slice = slice(4, 28)) -> np.ndarray:
    mask = np.zeros((1, *SIZE_HW), bool)
    mask[0, row, columns] = True
    return mask


@pytest.mark.parametrize("radius_px", [0, 1, 1.5, 2, 2.9, 3, 5, 40])
def test_dilation_is_what_a_disk_reaches(radius_px: float) -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((11, 13)) < 0.05
    assert np.array_equal(mask_scores.dilate(mask, radius_px), brute_near(mask, radius_px))


@pytest.mark.parametrize(("offset", "f1"), [(0, 1.0), (1, 1.0), (2, 1.0), (3, 0.0)])
def test_a_line_two_pixels_off_is_right_and_three_pixels_off_is_wrong(offset: int, f1: float) -> None:
    found = mask_figures.figures_of_set(stacked_of([(line(10), line(10 + offset))]))
    assert found["f1_tolerant"] == f1
    assert found["f1"] == float(offset == 0) and found["dice"] == found["f1"]


@pytest.mark.parametrize(("offset", "is_near"), [((1, 1), True), ((2, 2), False), ((2, 1), False)])
def test_the_tolerance_is_euclidean(offset: tuple[int, int], is_near: bool) -> None:
    truth, said = np.zeros((1, 9, 9), bool), np.zeros((1, 9, 9), bool)
    truth[0, 4, 4] = said[0, 4 + offset[0], 4 + offset[1]] = True
    assert mask_figures.figures_of_set(stacked_of([(truth, said)]))["f1_tolerant"] == float(is_near)
    wider = stacked_of([(truth, said)], tolerance_px=math.sqrt(8))
    assert mask_figures.figures_of_set(wider)["f1_tolerant"] == 1.0


def test_figures_of_a_case_worked_out_by_hand() -> None:
    """Truth: 24 pixels. Answer: 12 of them, and 12 far away. 768 pixels."""
    said = line(10, slice(4, 16)) | line(20, slice(4, 16))
    found = mask_figures.figures_of_set(stacked_of([(line(10), said)]))
    assert found["precision"] == found["recall"] == found["f1"] == found["flaw_dice"] == 0.5
    assert found["iou"] == pytest.approx(12 / 36)
    assert found["mean_iou"] == pytest.approx((12 / 36 + 732 / 756) / 2)
    assert found["pixel_accuracy"] == pytest.approx(1 - 24 / 768)
    assert found["pixel_accuracy_empty"] == pytest.approx(1 - 24 / 768)
    assert found["f1_tolerant"] == pytest.approx(2 * 0.5 * (14 / 24) / (0.5 + 14 / 24))
    assert found["cldice"] == pytest.approx(0.5, abs=0.03)
    assert found["severstal_score"] == 0.5 and found["severstal_score_empty"] == 0.0


def test_figures_agree_with_scikit_learn() -> None:
    from sklearn import metrics

    photos = make_masks(np.random.default_rng(1))
    found = mask_figures.figures_of_set(stacked_of(photos))
    for column, name in ((None, ""), (0, "class:"), (1, "class:")):
        pick = (lambda m: m.any(axis=0)) if column is None else (lambda m, c=column: m[c])
        truth = np.concatenate([pick(t).ravel() for t, _, _ in photos])
        said = np.concatenate([pick(s).ravel() for _, s, _ in photos])
        for key, measure in (
            ("precision", metrics.precision_score),
            ("recall", metrics.recall_score),
            ("f1", metrics.f1_score),
            ("dice", metrics.f1_score),
            ("iou", metrics.jaccard_score),
        ):
            value = found[name + key] if column is None else found[name + key][column]
            assert value == pytest.approx(measure(truth, said))
        if column is None:
            assert found["mean_iou"] == pytest.approx(metrics.jaccard_score(truth, said, average="macro"))
            assert found["pixel_accuracy"] == pytest.approx(metrics.accuracy_score(truth, said))


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), tolerance_px=st.sampled_from([0.0, 1.0, 2.0, 3.5]))
def test_tolerant_counts_agree_with_going_through_all_pairs(seed: int, tolerance_px: float) -> None:
    rng = np.random.default_rng(seed)
    truth, said = rng.random((2, 1, 9, 10)) < rng.choice([0.0, 0.05, 0.3], size=(2, 1, 1, 1))
    counts = mask_scores.photo_counts(truth, said, tolerance_px=tolerance_px, has_cldice=False)
    assert counts["near"][0, 0] == (said[0] & brute_near(truth[0], tolerance_px)).sum()
    assert counts["near"][1, 0] == (truth[0] & brute_near(said[0], tolerance_px)).sum()


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_curves_are_the_counts_at_every_threshold(seed: int) -> None:
    (truth, _, probabilities), *_ = make_masks(np.random.default_rng(seed), 2)[1:]
    whole = mask_scores.photo_counts(truth, truth, probabilities, has_cldice=False)
    for k in (1, 2, 77, 128, 200, 255):
        said = probabilities >= k / 256
        at = mask_scores.photo_counts(truth, said, has_cldice=False)
        curve = whole["curves"][:, k - 1]
        assert curve[0] == at["hits"][:2, 0].sum() and curve[1] == at["hits"][0, 0]
        assert curve[2:4].tolist() == at["near"][:, 0].tolist()
        assert curve[4] == at["hits"][[0, 2], 0].sum()


def test_ceilings_are_the_best_thresholds_of_the_set_and_of_each_photo() -> None:
    photos = make_masks(np.random.default_rng(3))
    found = mask_figures.figures_of_set(stacked_of(photos))
    by_threshold = {"f1": [], "f1_tolerant": []}
    by_photo: dict[str, list[list[float]]] = {"f1": [], "f1_tolerant": []}
    for t in mask_scores.LEVEL_THRESHOLDS:
        cut = [(truth, p >= t) for truth, _, p in photos]
        at = stacked_of(cut)
        alone = [mask_figures.figures_of_set({k: v[[i]] for k, v in at.items()}) for i in range(len(photos))]
        for name, values in by_threshold.items():
            values.append(mask_figures.figures_of_set(at)[name])
            by_photo[name].append([figures[name] for figures in alone])
    for name, values in by_threshold.items():
        assert found[name.replace("f1", "ods_f1")] == pytest.approx(max(values))
        best = np.array(by_photo[name])[:, 1:].max(axis=0)
        assert found[name.replace("f1", "ois_f1")] == pytest.approx(best.mean())
        assert found[name.replace("f1", "ods_f1")] >= found[name]
    assert found["ods_threshold"] == mask_scores.LEVEL_THRESHOLDS[np.argmax(by_threshold["f1"])]


def test_a_labels_figures_are_those_that_it_has_alone() -> None:
    photos = make_masks(np.random.default_rng(4), n_labels=3)
    photos[2][1][1] = False  # so that the second label is passed over on a photo that shows it
    photos[3][0][2] = False  # and the third is marked where it is not
    found = mask_figures.figures_of_set(stacked_of(photos))
    assert found["class:escape_rate"].max() > found["escape_rate"]
    for i in range(3):
        alone = mask_figures.figures_of_set(stacked_of([tuple(m[[i]] for m in photo) for photo in photos]))
        for name in mask_figures.PER_CLASS:
            assert found[f"class:{name}"][i] == pytest.approx(alone[name]), name
            assert alone[f"class:{name}"][0] == pytest.approx(alone[name]), name


def test_the_counts_of_no_answer_follow_from_those_of_any() -> None:
    for photo in make_masks(np.random.default_rng(6)):
        empty = mask_scores.photo_counts(photo[0], np.zeros_like(photo[1]))
        found = mask_scores.empty_counts(mask_scores.photo_counts(*photo))
        assert found.keys() == empty.keys()
        assert all(np.array_equal(found[name], empty[name]) for name in empty)


def test_levels_cut_where_probabilities_do() -> None:
    probabilities = np.random.default_rng(0).random((1, 40, 50)).astype(np.float32)
    probabilities[0, 0, :3] = 0.0, 0.5, 1.0
    levels = mask_scores.to_levels(probabilities)
    assert mask_scores.to_levels(levels) is levels
    for k in (1, 128, 255):
        assert np.array_equal(levels >= k, probabilities >= k / 256)


def test_a_centre_line_is_judged_by_cldice_not_by_its_width() -> None:
    wide = line(9) | line(10) | line(11)
    found = mask_figures.figures_of_set(stacked_of([(wide, line(10))]))
    assert found["cldice"] > 0.97 and found["dice"] == pytest.approx(0.5)
    assert mask_figures.figures_of_set(stacked_of([(line(3), line(20))]))["cldice"] == 0.0


def test_severstal_counts_pairs_and_gives_one_where_both_are_empty() -> None:
    empty = np.zeros((1, *SIZE_HW), bool)
    photos = [
        (np.concatenate([line(5), empty]), np.concatenate([line(5), line(9)])),
        (np.concatenate([empty, empty]), np.concatenate([empty, empty])),
    ]
    found = mask_figures.figures_of_set(stacked_of(photos))
    assert found["severstal_score"] == pytest.approx((1 + 0 + 1 + 1) / 4)
    assert found["severstal_score_empty"] == pytest.approx(3 / 4)
    assert found["flaw_dice"] == 1.0
    assert found["class:flaw_dice"][0] == 1.0 and np.isnan(found["class:flaw_dice"][1])
    assert np.isnan(found["class:f1"][1]) and np.isnan(found["class:recall"][1])
    assert found["class:precision"][1] == 0.0


def test_without_truth_and_without_answers() -> None:
    empty = np.zeros((1, *SIZE_HW), bool)
    good = mask_figures.figures_of_set(stacked_of([(empty, empty)] * 3))
    meaningless = ("dice", "iou", "f1", "f1_tolerant", "recall", "cldice", "flaw_dice", "escape_rate")
    assert all(np.isnan(good[name]) for name in meaningless)
    assert good["severstal_score"] == good["pixel_accuracy"] == 1.0 and good["overkill_rate"] == 0.0
    alarm = mask_figures.figures_of_set(stacked_of([(empty, line(4)), (empty, empty)]))
    assert alarm["overkill_rate"] == alarm["severstal_score"] == 0.5 and alarm["precision"] == 0.0
    blind = mask_figures.figures_of_set(stacked_of([(line(4), empty)]))
    assert blind["escape_rate"] == 1.0 and np.isnan(blind["overkill_rate"])
    assert all(blind[name] == 0.0 for name in ("dice", "precision", "recall", "f1_tolerant", "cldice"))


def test_resampled_figures_are_those_of_the_repeated_photos() -> None:
    stacked = stacked_of(make_masks(np.random.default_rng(5), 8))
    drawn = draw_groups([str(i // 2) for i in range(8)], 8, 12, seed=2)
    found = mask_figures.figures_of_resamples(stacked, drawn)
    for i, counts in enumerate(drawn.counts):
        rows = np.repeat(np.arange(8), counts[drawn.codes].astype(int))
        here = mask_figures.figures_of_set({name: values[rows] for name, values in stacked.items()})
        assert here.keys() == found.keys()
        for name, value in here.items():
            assert found[name][i] == pytest.approx(value, nan_ok=True), name


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"\(n_labels, H, W\) of one shape; got \(1, 24, 32\)"):
        mask_scores.photo_counts(line(3), line(3)[0])
    with pytest.raises(DatasetError, match="probabilities of the truth's shape"):
        mask_scores.photo_counts(line(3), line(3), np.zeros((2, *SIZE_HW), np.float32))
