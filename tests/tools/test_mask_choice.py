"""The choice repeats, is never worse on validation than 0.5, and departs from it only for more than noise."""

from __future__ import annotations

import json

import numpy as np
import pytest

from flawmap.errors import DatasetError, OptionError
from flawmap.tools import mask_figures
from flawmap.tools.mask_choice import CleaningChoice, CleaningOptions, choose_cleaning
from flawmap.tools.mask_cleaning import Cleaning, clean_masks
from flawmap.tools.mask_scores import photo_counts, to_levels
from flawmap.tools.plain import to_plain

QUICK = CleaningOptions(n_resamples=200, areas_px=(8, 16, 32, 64))
SIZE_HW = (40, 60)
Photos = list[tuple[np.ndarray, np.ndarray]]


def make_photos(
    seed: int = 0, n: int = 24, n_good: int = 0, middle: float = 0.5, n_labels: int = 1
) -> Photos:
    """Cracks 30 × 3 pixels; flaw and background scatter around a border at `middle`. Good photos first."""
    rng = np.random.default_rng(seed)
    photos = []
    for i in range(n):
        truth = np.zeros((n_labels, *SIZE_HW), bool)
        if i >= n_good:
            row, column = rng.integers(5, 30), rng.integers(0, 25)
            truth[i % n_labels, row : row + 3, column : column + 30] = True
        p = np.where(truth, middle + 0.15, middle - 0.15) + rng.normal(0, 0.12, truth.shape)
        photos.append((truth, np.clip(p, 0, 1).astype(np.float32)))
    return photos


def choose(
    photos: Photos, options: CleaningOptions = QUICK, groups: list[str] | None = None
) -> CleaningChoice:
    labels = [f"flaw {i}" for i in range(len(photos[0][0]))]
    return choose_cleaning(lambda: iter(photos), labels, groups, options)


def figures(photos: Photos, cleaning: Cleaning) -> dict[str, np.ndarray]:
    counts = [photo_counts(truth, clean_masks(p, cleaning), has_cldice=False) for truth, p in photos]
    return mask_figures.figures_of_set(mask_figures.stack_counts(counts))


@pytest.mark.parametrize("criterion", ["f1", "f1_tolerant", "flaw_dice", "severstal_score", "balanced"])
@pytest.mark.parametrize("middle", [0.3, 0.5, 0.7])
def test_the_threshold_is_never_worse_than_one_half(criterion: str, middle: float) -> None:
    photos = make_photos(1, n_good=4, middle=middle, n_labels=2)
    options = CleaningOptions(criterion=criterion, n_resamples=100, areas_px=(16,))  # type: ignore[arg-type]
    found = choose(photos, options)
    thresholds = [row for row in found.compared if row["step"] == "threshold" and row["is_chosen"]]
    assert len(thresholds) == 2
    alone, plain = (
        figures(photos, Cleaning(t)) for t in (tuple(r["threshold"] for r in thresholds), (0.5, 0.5))
    )
    for i, row in enumerate(thresholds):
        name = "class:" + criterion
        if name in alone:
            assert row["value"] == pytest.approx(alone[name][i])
            assert alone[name][i] >= plain[name][i]
    if criterion == "severstal_score":
        assert alone[criterion] >= plain[criterion]
    assert alone["dice"] == pytest.approx(found.figures["thresholds"]["dice"])
    assert plain["dice"] == pytest.approx(found.figures["plain"]["dice"])


def test_a_shifted_model_is_shifted_back() -> None:
    found = choose(make_photos(2, middle=0.3))
    assert 0.25 < found.cleaning.lows[0] < 0.45
    assert found.figures["thresholds"]["dice"] > found.figures["plain"]["dice"] + 0.1


def test_the_figures_of_both_ends_stand_beside_the_chosen_threshold() -> None:
    """A curve that ended at the best of high thresholds would look as if it rose on."""
    found = choose(make_photos(2, middle=0.78)).compared
    tried = {row["threshold"]: row for row in found if row["step"] == "threshold"}
    assert (min(tried), max(tried)) == (1 / 256, 255 / 256)
    chosen = next(row for row in tried.values() if row["is_chosen"])
    assert 0.5 < chosen["threshold"] < 255 / 256 and tried[255 / 256]["value"] < chosen["value"] - 0.1


def test_one_half_stays_where_nothing_else_is_surely_better() -> None:
    truth = make_photos(3)
    sure = [(t, np.where(t, 0.9, 0.1).astype(np.float32)) for t, _ in truth]
    found = choose(sure)
    assert found.cleaning == Cleaning((0.5,), None, (0,))
    assert found.figures["chosen"] == found.figures["plain"]


def test_small_false_alarms_on_good_photos_are_cleaned_away() -> None:
    rng = np.random.default_rng(4)
    photos = []
    for i, (truth, _) in enumerate(make_photos(4, n=30, n_good=15)):
        p = np.where(truth, 0.9, 0.1)
        row, column = rng.integers(34, 37), rng.integers(2, 50)
        p[0, row : row + 2, column : column + 2] = 0.95 if i % 3 else 0.1
        photos.append((truth, p.astype(np.float32)))
    found = choose(photos)
    assert {row["criterion"] for row in found.compared if row["step"] == "cleaning"} == {"balanced"}
    assert 4 < found.cleaning.min_area_px[0] <= 64 and found.cleaning.low_thresholds is None
    assert found.figures["chosen"]["overkill_rate"] == 0.0 < found.figures["plain"]["overkill_rate"]
    assert found.figures["chosen"]["severstal_score"] == 1.0


def test_a_rare_label_is_not_given_up_for_quiet_photos() -> None:
    """Without any mask 24 of 30 photos would be right; with masks, six flaws and the 14 others."""
    photos = []
    for i, (truth, _) in enumerate(make_photos(8, n=30, n_good=24)):
        p = np.where(truth, 0.9, 0.1)
        if not truth.any() and i % 5 < 2:
            p[0, 20:34, 10:44] = 0.95
        photos.append((truth, p.astype(np.float32)))
    found = choose(photos).figures["chosen"]
    assert found["flaw_dice"] == 1.0 and found["overkill_rate"] > 0.3
    assert found["severstal_score"] < 24 / 30


def test_a_label_that_is_found_poorly_is_still_looked_for() -> None:
    """Silence would leave all good photos alone, more than half of what there is to win."""
    photos = []
    for i, (truth, _) in enumerate(make_photos(9, n=30, n_good=15)):
        start = np.argmax(truth.any(axis=(0, 1)))
        p = np.where(truth & (np.arange(truth.shape[2]) < start + 7), 0.6, 0.1)
        if not truth.any() and i % 5 < 3:
            p[0, 20:34, 10:44] = 0.95
        photos.append((truth, p.astype(np.float32)))
    found = choose(photos).figures["chosen"]
    assert 0.1 < found["flaw_dice"] < 0.6 and found["overkill_rate"] > 0.3
    assert found["flaw_dice"] < found["overkill_rate"], "by their mean silence would have won"


def test_hysteresis_is_chosen_where_cracks_fade_and_stains_are_faint() -> None:
    photos = []
    for i, (truth, _) in enumerate(make_photos(5, n=30, n_good=10)):
        p = np.where(truth, 0.55, 0.1)
        rows, columns = np.nonzero(truth[0])
        if len(rows):
            p[0, rows[:9], columns[:9]] = 0.95
        p[0, 36:39, 5:35] = 0.6 if i % 2 else 0.1
        photos.append((truth, p.astype(np.float32)))
    found = choose(photos)
    assert found.cleaning.low_thresholds is not None
    assert found.cleaning.thresholds[0] > 0.6 and found.cleaning.low_thresholds[0] <= 0.55
    assert found.figures["chosen"]["severstal_score"] == 1.0 > found.figures["thresholds"]["severstal_score"]


@pytest.mark.parametrize("is_exclusive", [False, True])
def test_every_compared_setting_has_the_figure_of_its_masks(is_exclusive: bool) -> None:
    photos = make_photos(6, n=8, n_good=2, n_labels=1 + is_exclusive)
    found = choose(photos, CleaningOptions(n_resamples=50, areas_px=(4, 30), is_exclusive=is_exclusive))
    rows = [row for row in found.compared if row["label"] == "flaw 0" and row["step"] == "cleaning"]
    assert len(rows) == 27 and sum(row["is_chosen"] for row in rows) == 1
    other = next(
        (
            r["threshold"]
            for r in found.compared
            if r["label"] == "flaw 1" and r["step"] == "threshold" and r["is_chosen"]
        ),
        None,
    )
    more = () if other is None else (other,)
    for row in rows[::4]:
        cleaning = Cleaning(
            (row["threshold"], *more),
            (row["low_threshold"], *more),
            (row["min_area_px"], *(0 for _ in more)),
            is_exclusive,
        )
        counted = [photo_counts(t, clean_masks(to_levels(p), cleaning), has_cldice=False) for t, p in photos]
        dice = np.array([counts["dice"][1] for counts in counted])
        shows = np.array([t[0].any() for t, _ in photos])
        both = dice[shows].mean(), dice[~shows].mean()
        assert row["value"] == pytest.approx(2 * both[0] * both[1] / max(sum(both), 1e-12))


def test_the_choice_repeats_and_is_plain() -> None:
    photos = make_photos(7, n_good=3)
    groups = [f"g{i // 3}" for i in range(len(photos))]
    first, second = choose(photos, groups=groups), choose(photos, groups=groups)
    assert first == second
    assert json.loads(json.dumps(to_plain(first), allow_nan=False))["cleaning"]["thresholds"]
    for label in {row["label"] for row in first.compared}:
        for step in ("threshold", "cleaning"):
            rows = [row for row in first.compared if (row["label"], row["step"]) == (label, step)]
            chosen = next(row for row in rows if row["is_chosen"])
            assert chosen["behind"] <= chosen["standard_error"] + 1e-9
            assert any(row["behind"] == 0 for row in rows)


def test_a_label_without_truth_keeps_one_half() -> None:
    photos = [(np.concatenate([t, t & False]), np.concatenate([p, p])) for t, p in make_photos(8, middle=0.3)]
    found = choose(photos)
    assert found.cleaning.thresholds[1] == 0.5 and found.cleaning.min_area_px[1] == 0
    assert not [row for row in found.compared if row["label"] == "flaw 1"]
    good = choose(make_photos(9, n=5, n_good=5))
    assert good.cleaning == Cleaning((0.5,), None, (0,))


def test_what_cannot_be_chosen_on_is_refused() -> None:
    with pytest.raises(DatasetError, match="got none"):
        choose_cleaning(lambda: iter([]), ["crack"])
    with pytest.raises(DatasetError, match="of 2 labels; got 1"):
        choose_cleaning(lambda: iter(make_photos(n=2)), ["crack", "spall"])
    with pytest.raises(OptionError, match=r"criterion: wanted 'f1', .* or 'balanced'; got 'iou'"):
        CleaningOptions(criterion="iou")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="between 0 and 1"):
        CleaningOptions(low_shares=(1.0,))
    with pytest.raises(OptionError, match="areas_px"):
        CleaningOptions(areas_px=(0,))
