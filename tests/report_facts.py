"""A run's facts, made up: what the tests of the report are built from."""

from pathlib import Path

import numpy as np
from PIL import Image

from flawmap.records import (
    Audit,
    Candidate,
    Cut,
    CutCost,
    Dataset,
    Epoch,
    Evaluation,
    LabelSuspect,
    ModelSpec,
    Photo,
    Preprocessing,
    Ranking,
    Split,
    Thresholds,
    Unreadable,
)
from flawmap.stages.report import RandomSplit, ReportFacts

KINDS = ("two classes", "six classes", "no good class", "several labels")
FOREIGN = "<script>alert('x')</script>"


def make_dataset(root: Path, kind: str, n: int) -> Dataset:
    labels, good = {
        "two classes": (("good", FOREIGN), ("good",)),
        "six classes": (("free", "crack", "fray", "break", "hole", FOREIGN), ("free",)),
        "no good class": (("inclusion", "patches", FOREIGN), ()),
        "several labels": (("crack", "spalling", FOREIGN), ()),
    }[kind]
    rng = np.random.default_rng(5)
    targets = np.zeros((n, len(labels)), np.uint8)
    targets[np.arange(n), np.arange(n) % len(labels)] = 1
    if kind == "several labels":
        targets[::4] = 0
        targets[1::4, :2] = 1
    photos = []
    for i in range(n):
        path = root / f"{i:03}.png"
        Image.fromarray(rng.integers(0, 255, (20, 30, 3), np.uint8)).save(path)
        name = f"part & <b>{i:03}</b>.png" if i % 7 == 0 else f"{i:03}.png"
        photos.append(Photo(path, name, f"{i:064x}", (20, 30)))
    return Dataset(
        root / "set <i>",
        tuple(photos),
        labels,
        targets,
        good,
        is_multilabel=kind == "several labels",
        unreadable=(Unreadable("<img src=x onerror=alert(1)>.jpg", "cut off & <u>broken</u>"),),
    )


def make_evaluation(dataset: Dataset, rows: np.ndarray, is_flaw: np.ndarray) -> Evaluation:
    """Every fifth photo is answered wrongly: by the next label, or, with several labels, by the reverse."""
    targets = dataset.targets[rows]
    printed = targets.copy()
    wrong = np.arange(0, len(rows), 5)
    printed[wrong] = 1 - printed[wrong] if dataset.is_multilabel else np.roll(printed[wrong], 1, axis=1)
    probabilities = np.where(printed, 0.8, 0.2 / max(len(dataset.labels) - 1, 1))
    n_labels = len(dataset.labels)
    confusion = (
        printed.T.astype(int) @ targets if not dataset.is_multilabel else np.zeros((n_labels, 2, 2), int)
    )
    curve = {"false_alarm_rate": [0.0, 0.1, 1.0], "recall": [0.0, 0.8, 1.0], "threshold": [1.0, 0.5, 0.0]}
    falling = {"recall": [0.2, 1.0], "precision": [1.0, 0.7], "threshold": [0.9, 0.1]}
    accuracy = float((printed == targets).all(axis=1).mean())
    return Evaluation(
        metrics={
            "n": len(rows),
            "n_seen_in_training": 0,
            "accuracy": accuracy,
            "macro_f1": 0.79,
            "f1": 0.8 if n_labels == 2 else None,
            "escape_rate": 0.2,
            "loss": 0.41,
            "trivial": {"accuracy": 0.4, "f1": 0.5, "macro_f1": 0.3},
            "interval95": {"accuracy": [0.7, 0.9], "f1": [0.7, 0.9], "escape_rate": [0.1, 0.4], "loss": None},
            "claims": [
                {
                    "kind": "misses",
                    "rate": 0.01,
                    "supported": False,
                    "upper95": 0.2,
                    "n_events": 2,
                    "n": 20,
                    "n_needed": None,
                }
            ],
        },
        confusion=confusion,
        curves={
            "roc": {dataset.labels[-1]: curve},
            "precision_recall": {dataset.labels[-1]: falling},
            "calibration": {"of": "flaw score", "score": [0.1, 0.9], "outcome": [0.2, 0.8], "n": [10, 12]},
        },
        worst=tuple(int(i) for i in wrong),
        names=tuple(dataset.photos[row].name for row in rows),
        probabilities=probabilities,
        flaw_scores=probabilities[:, is_flaw].max(axis=1),
        printed=printed,
    )


def make_ranking(n: int = 12) -> Ranking:
    def candidate(i: int) -> Candidate:
        cost = CutCost(i % 7, 32, 10_000 * (i + 1), 40_000 * (i + 1), 5_000_000 * (i + 1))
        pooling = "average" if i % 2 else "average+maximum"
        return Candidate(f"net{i // 7}", Cut(i % 7, pooling), cost, 0.95 - 0.01 * i, 0.004, 2.0, 1.0, 1.0)

    candidates = tuple(candidate(i) for i in range(n))
    return Ranking(candidates, candidates[0], candidates[-1], "It is the best.", "balanced", 5)


def make_facts(root: Path, kind: str, n: int = 60) -> ReportFacts:
    dataset = make_dataset(root, kind, n)
    groups = tuple(f"wall {i // 3}" for i in range(n))
    third = n // 3
    split = Split(
        np.arange(third), np.arange(third, 2 * third), np.arange(2 * third, n), groups, 0, "By source."
    )
    is_flaw = np.array([label not in dataset.good_labels for label in dataset.labels])
    spec = ModelSpec(
        task="multilabel" if dataset.is_multilabel else "classification",
        labels=dataset.labels,
        good_labels=dataset.good_labels,
        backbone_id="net0",
        cut=Cut(0, "average+maximum"),
        preprocessing=Preprocessing((224, 224), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        thresholds=Thresholds(1.3, 0.5, 0.3, 0.7, 0.04, 0.05, 0.01, "best F1 on validation"),
        tile_hw=(20, 30),
        winner="fine-tuned",
        versions={"numpy": "2"},
        agreement={"n_photos": 8, "max_difference": 2.7e-6, "limit": 1e-3, "runtimes": {"onnxruntime": 1e-6}},
        options={"seed": 0},
    )
    name = dataset.photos[2].name
    return ReportFacts(
        dataset=dataset,
        audit=Audit(groups, "a column", label_suspects=(LabelSuspect(name, FOREIGN, "good", 0.97),)),
        split=split,
        ranking=make_ranking(),
        spec=spec,
        test=make_evaluation(dataset, split.test, is_flaw),
        validation=make_evaluation(dataset, split.validation, is_flaw),
        before_training=make_evaluation(dataset, split.test, is_flaw),
        history=tuple(
            Epoch("head" if i < 3 else "fine-tuning", i, 1 / i, 1 / i, 0.9, 1.0) for i in range(1, 6)
        ),
        contenders={"untrained": {"f1": 0.5, "loss": 1.0}, "fine-tuned": {"f1": 0.9, "loss": 0.2}},
        class_weights=tuple(float(i + 1) for i in range(len(dataset.labels))),
        random_split=RandomSplit(0.98, 0.95, 12, 0.9),
        heats={(name, FOREIGN): np.full((20, 30, 3), 120, np.uint8)},
        file_sizes={"model.onnx": 9_400_000},
        timings={"embed": 12.0, "train": 300.0},
        command="flawmap train 'my photos' --out run",
    )
