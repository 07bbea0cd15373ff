"""Evaluations against scikit-learn and against cases worked out by hand; nothing meaningless in the JSON."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from flawmap.errors import DatasetError, OptionError
from flawmap.records import Cut, Dataset, ModelSpec, Photo, Preprocessing, Thresholds
from flawmap.stages.evaluate import (
    EvaluateOptions,
    Truth,
    choose_thresholds,
    evaluate,
    to_plain,
    write_evaluation_json,
)

QUICK = EvaluateOptions(n_resamples=200)
FIGURES = ["accuracy", "precision", "recall", "specificity", "f1", "macro_f1", "loss", "auroc"]
FIGURES += ["average_precision", "escape_rate", "overkill_rate", "ece", "brier"]
PROMISED = {
    *FIGURES,
    "n",
    "n_groups",
    "n_seen_in_training",
    "threshold",
    "trivial",
    "interval95",
    "per_class",
}
PROMISED |= {"intervals_reliable", "notes", "claims"}


def make_spec(labels: str, good: str = "", is_multilabel: bool = False, threshold: float = 0.5) -> ModelSpec:
    return ModelSpec(
        task="multilabel" if is_multilabel else "classification",
        labels=tuple(labels.split()),
        good_labels=tuple(good.split()),
        backbone_id="made up",
        cut=Cut(0, "average"),
        preprocessing=Preprocessing((64, 64), (0.5,) * 3, (0.5,) * 3),
        thresholds=Thresholds(1.0, threshold, 0.1, 0.9, 0.02, 0.02, 0.01, "by hand"),
        tile_hw=(64, 64),
    )


def make_truth(targets: np.ndarray, n_per_group: int | None = 1, prefix: str = "d") -> Truth:
    n = len(targets)
    groups = None if n_per_group is None else tuple(f"g{i // n_per_group}" for i in range(n))
    names = tuple(f"{i}.png" for i in range(n))
    return Truth(names, targets, groups, tuple(f"{prefix}{i}" for i in range(n)))


def noisy(n: int, n_labels: int, seed: int = 0, clarity: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """(logits, one-hot targets), all classes there."""
    rng = np.random.default_rng(seed)
    targets = np.eye(n_labels, dtype=np.uint8)[np.arange(n) % n_labels]
    return clarity * targets + rng.normal(size=(n, n_labels)), targets


def test_two_classes_agree_with_scikit_learn() -> None:
    from sklearn import metrics as reference

    logits, targets = noisy(300, 2)
    found = evaluate(logits, make_truth(targets), make_spec("good crack", "good", threshold=0.4), QUICK)
    truth, score = targets[:, 1], found.flaw_scores
    said = (score >= 0.4).astype(int)
    assert (found.printed[:, 1] == said).all()
    wanted = {
        "accuracy": reference.accuracy_score(truth, said),
        "precision": reference.precision_score(truth, said),
        "recall": reference.recall_score(truth, said),
        "specificity": reference.recall_score(1 - truth, 1 - said),
        "f1": reference.f1_score(truth, said),
        "macro_f1": reference.f1_score(truth, said, average="macro"),
        "loss": reference.log_loss(truth, score),
        "auroc": reference.roc_auc_score(truth, score),
        "average_precision": reference.average_precision_score(truth, score),
        "brier": reference.brier_score_loss(truth, score),
        "escape_rate": 1 - reference.recall_score(truth, said),
        "overkill_rate": 1 - reference.recall_score(1 - truth, 1 - said),
    }
    assert {name: found.metrics[name] for name in wanted} == pytest.approx(wanted)
    assert (found.confusion == reference.confusion_matrix(truth, said)).all()
    for name, value in wanted.items():
        low, high = found.metrics["interval95"][name]
        assert low <= value <= high and high - low < 0.3, name


@pytest.mark.parametrize(
    ("labels", "good", "is_said"), [("a b c", "c", True), ("a b", "", True), ("a b", "b", False)]
)
def test_costs_that_decide_nothing_are_told(labels: str, good: str, is_said: bool) -> None:
    logits, targets = noisy(60, len(labels.split()))
    options = EvaluateOptions(n_resamples=20, cost_miss=10.0)
    notes = evaluate(logits, make_truth(targets), make_spec(labels, good), options).metrics["notes"]
    assert any("costs of misses and false alarms have no effect" in note for note in notes) == is_said
    plain = evaluate(logits, make_truth(targets), make_spec(labels, good), QUICK).metrics["notes"]
    assert not any("costs" in note for note in plain)


def test_several_classes_are_means_and_have_no_f1() -> None:
    from sklearn import metrics as reference

    logits, targets = noisy(240, 3)
    found = evaluate(logits, make_truth(targets), make_spec("a b c"), QUICK).metrics
    truth, said = targets.argmax(axis=1), logits.argmax(axis=1)
    assert found["f1"] is None and found["threshold"] is None and "f1" not in found["interval95"]
    assert found["macro_f1"] == pytest.approx(reference.f1_score(truth, said, average="macro"))
    assert found["precision"] == pytest.approx(reference.precision_score(truth, said, average="macro"))
    assert found["escape_rate"] is None and found["overkill_rate"] is None
    assert found["trivial"]["f1"] is None and found["trivial"]["accuracy"] == pytest.approx(1 / 3)
    assert found["trivial"]["macro_f1"] == pytest.approx(0.5 / 3)
    assert any("no label is good" in note and "train with --good" in note for note in found["notes"])
    assert {claim["kind"] for claim in found["claims"]} == {"errors"}
    assert found["review_share"] is None


def test_a_flaw_taken_for_another_flaw_has_not_escaped() -> None:
    targets = np.eye(3, dtype=np.uint8)[[0, 0, 1, 1, 2]]
    logits = 5.0 * np.eye(3)[[0, 1, 2, 0, 2]]
    found = evaluate(logits, make_truth(targets), make_spec("good crack pit", "good"), QUICK).metrics
    assert found["escape_rate"] == pytest.approx(1 / 3)
    assert found["overkill_rate"] == pytest.approx(1 / 2)


def test_several_labels_are_right_only_together() -> None:
    targets = np.array([[1, 1], [1, 0], [0, 0], [0, 1]], np.uint8)
    logits = 4.0 * (2.0 * np.array([[1, 1], [1, 1], [0, 0], [0, 0]]) - 1)
    found = evaluate(logits, make_truth(targets), make_spec("crack pit", is_multilabel=True), QUICK)
    assert found.metrics["accuracy"] == 0.5 and found.metrics["f1"] is None
    assert found.metrics["escape_rate"] == pytest.approx(1 / 3) and found.metrics["overkill_rate"] == 0.0
    assert found.confusion.shape == (2, 2, 2) and found.confusion[1].tolist() == [[1, 1], [1, 1]]
    assert found.metrics["trivial"]["macro_f1"] == pytest.approx(2 / 3)


def test_every_promised_key_is_there_and_the_json_is_plain(tmp_path: Path) -> None:
    logits, targets = noisy(40, 2)
    evaluation = evaluate(logits, make_truth(targets), make_spec("good crack", "good"), QUICK)
    assert set(evaluation.metrics) >= PROMISED
    assert set(evaluation.metrics["interval95"]) == set(FIGURES)
    write_evaluation_json(evaluation, tmp_path / "a.json")
    write_evaluation_json(evaluation, tmp_path / "b.json")
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert json.loads((tmp_path / "a.json").read_text()) == evaluation.metrics
    again = evaluate(logits, make_truth(targets), make_spec("good crack", "good"), QUICK)
    assert again.metrics == evaluation.metrics


def test_the_trivial_answers_of_two_classes() -> None:
    targets = np.eye(2, dtype=np.uint8)[[1] * 6 + [0] * 4]
    found = evaluate(np.zeros((10, 2)), make_truth(targets), make_spec("good crack", "good"), QUICK).metrics
    assert found["trivial"]["f1"] == pytest.approx(0.75) and found["trivial"]["accuracy"] == 0.6
    low, high = found["trivial"]["interval95"]["f1"]
    assert low < 0.75 < high


def test_a_model_that_decides_nothing_is_called_so() -> None:
    targets = np.eye(2, dtype=np.uint8)[np.array([1, 0] * 30)]
    spec = make_spec("good crack", "good")
    always = np.tile([-3.0, 3.0], (60, 1))  # says crack of every photo, as the trivial answer does
    notes = evaluate(always, make_truth(targets), spec, QUICK).metrics["notes"]
    assert any("no better than the trivial answer" in note for note in notes)
    told = np.where(targets > 0, 3.0, -3.0)
    assert not any(
        "trivial" in note for note in evaluate(told, make_truth(targets), spec, QUICK).metrics["notes"]
    )


@pytest.mark.parametrize("n", [1, 2, 3])
@pytest.mark.parametrize(
    ("labels", "good", "is_multilabel"),
    [("good crack", "good", False), ("a b c", "", False), ("a b good", "good", False), ("a b", "", True)],
)
@pytest.mark.parametrize("n_per_group", [None, 1, 5])
def test_tiny_sets_and_absent_classes_give_null_never_nan(
    n: int, labels: str, good: str, is_multilabel: bool, n_per_group: int | None
) -> None:
    n_labels = len(labels.split())
    targets = np.eye(n_labels, dtype=np.uint8)[np.zeros(n, int)]
    spec = make_spec(labels, good, is_multilabel)
    logits = np.random.default_rng(0).normal(size=(n, n_labels))
    found = evaluate(logits, make_truth(targets, n_per_group), spec, QUICK)
    json.dumps(found.metrics, allow_nan=False)
    json.dumps(found.curves, allow_nan=False)
    assert found.metrics["n"] == n and found.metrics["auroc"] is None
    assert any("no photo here carries" in note for note in found.metrics["notes"])
    thresholds = choose_thresholds(logits, targets, spec.labels, spec.good_labels, is_multilabel)
    json.dumps(to_plain(thresholds.__dict__), allow_nan=False)
    assert 0 <= thresholds.review_low <= thresholds.threshold <= thresholds.review_high <= 1


def test_few_groups_are_marked_and_unknown_ones_said() -> None:
    logits, targets = noisy(60, 2)
    spec = make_spec("good crack", "good")
    few = evaluate(logits, make_truth(targets, n_per_group=5), spec, QUICK).metrics
    assert few["n_groups"] == 12 and few["intervals_reliable"] is False
    assert "only 12 groups: intervals are unreliable" in few["notes"]
    enough = evaluate(logits, make_truth(targets, n_per_group=3), spec, QUICK).metrics
    assert enough["n_groups"] == 20 and enough["intervals_reliable"] is True and enough["notes"] == []
    unknown = evaluate(logits, make_truth(targets, n_per_group=None), spec, QUICK).metrics
    assert unknown["n_groups"] is None and "not known" in unknown["notes"][0]


def test_photos_seen_in_training_are_counted_and_said() -> None:
    logits, targets = noisy(40, 2)
    spec = replace(make_spec("good crack", "good"), training_digests=("d1", "d7", "elsewhere"))
    found = evaluate(logits, make_truth(targets), spec, QUICK).metrics
    assert found["n_seen_in_training"] == 2
    assert any(note.startswith("2 of 40 photos were in training") for note in found["notes"])


@pytest.mark.parametrize("good", ["good", ""])
def test_a_claim_is_not_carried_by_photos_that_were_learnt(good: str) -> None:
    _, targets = noisy(1400, 2)
    plain = make_spec("good crack", good)
    truth = make_truth(targets)
    assert all(claim["supported"] for claim in evaluate(9.0 * targets, truth, plain, QUICK).metrics["claims"])
    learnt_flaw = replace(plain, training_digests=("d1",))  # every second photo is a flaw
    claims = evaluate(9.0 * targets, truth, learnt_flaw, QUICK).metrics["claims"]
    for claim in claims:
        is_about_it = not claim["kind"].startswith("false alarms")
        assert claim["supported"] != is_about_it and claim["n_in_training"] == is_about_it
        assert ("not shown (1 of" in claim["text"]) == is_about_it


def test_without_a_mistake_the_intervals_still_have_a_width() -> None:
    _, targets = noisy(40, 2)
    found = evaluate(9.0 * targets, make_truth(targets), make_spec("good crack", "good"), QUICK).metrics
    assert found["accuracy"] == found["f1"] == 1.0
    assert found["interval95"]["accuracy"][0] == pytest.approx(0.025 ** (1 / 40), abs=1e-6)
    assert found["interval95"]["recall"][0] == pytest.approx(0.025 ** (1 / 20), abs=1e-6)
    assert 0.8 < found["interval95"]["f1"][0] < 0.95
    assert found["interval95"]["escape_rate"] == [0.0, pytest.approx(1 - 0.025 ** (1 / 20))]
    assert not any(claim["supported"] for claim in found["claims"])


@pytest.mark.parametrize("labels", ["good crack", "good crack pit"])
@pytest.mark.parametrize("n_per_group", [1, 4])
def test_no_interval_is_milder_than_the_claim_of_the_same_rate(labels: str, n_per_group: int) -> None:
    """Where one or two photos of a few are wrong, resamples of them alone would be."""
    n_labels = len(labels.split())
    for seed in range(5):
        logits, targets = noisy(60, n_labels, seed, clarity=3.0)
        found = evaluate(logits, make_truth(targets, n_per_group), make_spec(labels, "good"), QUICK).metrics
        upper = {claim["kind"]: claim["upper95"] for claim in found["claims"]}
        for rate, kind in (("escape_rate", "misses"), ("overkill_rate", "false alarms")):
            low, high = found["interval95"][rate]
            assert low <= found[rate] <= high and high >= upper[kind]
        if n_labels == 2:
            low, high = found["interval95"]["recall"]
            assert found["interval95"]["escape_rate"] == pytest.approx([1 - high, 1 - low])


def test_claims_hold_for_a_large_faultless_set_of_strangers_only() -> None:
    rng = np.random.default_rng(0)
    targets = np.eye(2, dtype=np.uint8)[np.arange(1400) % 2]
    logits = 9.0 * targets + rng.normal(size=targets.shape)
    spec = make_spec("good crack", "good")

    def misses_under_one_percent(truth: Truth, values: np.ndarray) -> bool:
        claims = evaluate(values, truth, spec, QUICK).metrics["claims"]
        return next(c for c in claims if c["kind"] == "misses" and c["rate"] == 0.01)["supported"]

    assert misses_under_one_percent(make_truth(targets), logits)
    alike = np.repeat(logits[::20], 20, axis=0)
    same = np.repeat(targets[::20], 20, axis=0)
    alike[:700] = alike[:700, ::-1]
    same[:700] = same[:700, ::-1]
    assert not misses_under_one_percent(make_truth(same, n_per_group=20), alike)


def test_the_worst_mistakes_are_the_most_confident() -> None:
    targets = np.eye(2, dtype=np.uint8)[[1, 1, 0, 0, 1]]
    flaw_logits = np.array([3.0, -2.0, 4.0, -1.0, -0.5])
    logits = np.stack([-flaw_logits / 2, flaw_logits / 2], axis=1)
    found = evaluate(logits, make_truth(targets), make_spec("good crack", "good"), QUICK)
    assert found.worst == (2, 1, 4)
    shortest = evaluate(
        logits, make_truth(targets), make_spec("good crack", "good"), replace(QUICK, n_worst=1)
    )
    assert shortest.worst == (2,)


def test_curves_stay_short_and_keep_their_ends() -> None:
    logits, targets = noisy(3000, 2)
    curves = evaluate(logits, make_truth(targets), make_spec("good crack", "good"), QUICK).curves
    assert list(curves["roc"]) == ["crack"]
    roc = curves["roc"]["crack"]
    assert len(roc["recall"]) <= 200 and (roc["recall"][0], roc["recall"][-1]) == (0.0, 1.0)
    assert sum(curves["calibration"]["n"]) == 3000


def test_thresholds_go_by_f1_or_by_cost() -> None:
    logits, targets = noisy(400, 2, clarity=1.0)
    labels, good = ("good", "crack"), ("good",)
    by_f1 = choose_thresholds(logits, targets, labels, good, False)
    dear_miss = choose_thresholds(logits, targets, labels, good, False, EvaluateOptions(cost_miss=20.0))
    dear_alarm = choose_thresholds(
        logits, targets, labels, good, False, EvaluateOptions(cost_false_alarm=20.0)
    )
    assert dear_miss.threshold < by_f1.threshold < dear_alarm.threshold
    assert "best F1" in by_f1.chosen_by and "a miss 20, a false alarm 1" in dear_miss.chosen_by
    assert by_f1.miss_rate_upper95 > 0 and by_f1.max_miss_rate == 0.01
    several = choose_thresholds(*noisy(90, 3), ("a", "b", "c"), (), False)
    assert "likeliest" in several.chosen_by


def test_dependent_photos_make_the_bounds_wider() -> None:
    logits, targets = noisy(40, 2)
    logits, targets = np.repeat(logits, 10, axis=0), np.repeat(targets, 10, axis=0)
    labels, good = ("good", "crack"), ("good",)
    alone = choose_thresholds(logits, targets, labels, good, False)
    groups = [str(i // 10) for i in range(400)]
    grouped = choose_thresholds(logits, targets, labels, good, False, groups=groups)
    assert grouped.miss_rate_upper95 > 3 * alone.miss_rate_upper95
    assert (grouped.review_low, grouped.review_high) == (alone.review_low, alone.review_high)
    assert abs(grouped.threshold - 0.5) <= abs(alone.threshold - 0.5)  # fewer sources prove less


def make_dataset(labels: tuple[str, ...], classes: list[int]) -> Dataset:
    photos = tuple(Photo(Path(f"{i}"), f"{i}", f"d{i}", (8, 8)) for i in range(len(classes)))
    return Dataset(Path(), photos, labels, np.eye(len(labels), dtype=np.uint8)[classes])


def test_truth_takes_the_order_of_the_models_labels() -> None:
    dataset = make_dataset(("pit", "crack"), [0, 1, 1])
    truth = Truth.from_dataset(dataset, ("crack", "good", "pit"), np.array([0, 2]), ["x", "y", "z"])
    assert truth.targets.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert truth.groups == ("x", "z") and truth.digests == ("d0", "d2")


def test_a_label_that_the_model_does_not_know_is_refused_with_what_is_spelled_alike() -> None:
    with pytest.raises(DatasetError, match=r"'cracks' is unknown .*to 'crack'"):
        Truth.from_dataset(make_dataset(("cracks", "good"), [0, 1]), ("crack", "good"))
    for label in ("flaw", "crazing"):  # not to be called good
        with pytest.raises(DatasetError, match=r"which knows Negative, Positive\. Rename it, or leave"):
            Truth.from_dataset(make_dataset((label, "Negative"), [0, 1]), ("Negative", "Positive"))
    unused = make_dataset(("crack", "rust"), [0, 0])
    assert Truth.from_dataset(unused, ("crack", "good")).targets.tolist() == [[1, 0], [1, 0]]


def test_nothing_to_evaluate_is_refused() -> None:
    with pytest.raises(DatasetError, match="at least 1"):
        evaluate(np.zeros((0, 2)), make_truth(np.zeros((0, 2), np.uint8)), make_spec("a b", "a"))


@pytest.mark.parametrize("wrong", [{"max_miss_rate": 1.0}, {"cost_miss": 0.0}, {"n_resamples": 0}])
def test_options_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(OptionError, match=next(iter(wrong))):
        EvaluateOptions(**wrong)  # type: ignore[arg-type]


def test_evaluation_loads_nothing_heavy() -> None:
    code = (
        "import sys, flawmap.stages.evaluate, flawmap.stages.rank;"
        "print([m for m in ('torch', 'sklearn', 'scipy', 'pandas', 'PIL') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
