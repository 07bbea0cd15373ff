"""A run that trained a segmenter, made up of drawn masks: what the tests of its report are built from."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_dilation

from flawmap.records import (
    Audit,
    Cleaning,
    Cut,
    Dataset,
    Epoch,
    MaskSpec,
    ModelSpec,
    Photo,
    Preprocessing,
    Split,
    Thresholds,
    Unreadable,
)
from flawmap.stages.evaluate_masks import (
    CleaningOptions,
    EvaluateMasksOptions,
    MaskedPhoto,
    choose_cleaning,
    evaluate_masks,
)
from flawmap.stages.report import MaskPicture, MaskReportFacts
from flawmap.tools.masks import to_photo_mask, to_pixels

FOREIGN = "<script>alert('x')</script>"
KINDS = ("one kind", "several kinds", "all flawed")
SIZE_HW = (24, 40)


def draw_truth(i: int, n_labels: int, is_good: bool) -> np.ndarray:
    """(n_labels, 24, 40) bool: a vertical bar of one kind, moving from photo to photo."""
    truth = np.zeros((n_labels, *SIZE_HW), bool)
    if not is_good:
        truth[i % n_labels, 4:20, 5 + i % 25 : 8 + i % 25] = True
    return truth


def draw_found(i: int, truth: np.ndarray) -> np.ndarray:
    """Wider by a pixel; every fifth photo gets nothing, and of the good ones every fourth a false alarm."""
    found = np.stack([binary_dilation(mask) for mask in truth])
    if i % 5 == 4:
        found[:] = False
    if not truth.any() and i % 4 == 0:
        found[-1, 2:12, 2:12] = True
    return found


def make_mask_dataset(root: Path, kind: str, n: int) -> Dataset:
    labels = ("crack", "stain", FOREIGN) if kind == "several kinds" else (FOREIGN,)
    rng = np.random.default_rng(3)
    photos, truths = [], []
    for i in range(n):
        truth = draw_truth(i, len(labels), kind != "all flawed" and i % 2 == 0)
        image = rng.integers(120, 200, (*SIZE_HW, 3), np.uint8)
        image[truth.any(axis=0)] //= 3
        path = root / f"{i:03}.png"
        Image.fromarray(image).save(path)
        name = f"part & <b>{i:03}</b>.png" if i % 7 == 0 else f"{i:03}.png"
        photos.append(Photo(path, name, f"{i:064x}", SIZE_HW))
        truths.append(truth)
    return Dataset(
        root / "set <i>",
        tuple(photos),
        labels,
        np.array([truth.any(axis=(1, 2)) for truth in truths], np.uint8),
        is_multilabel=True,
        unreadable=(Unreadable("<img src=x onerror=alert(1)>.jpg", "cut off & <u>broken</u>"),),
        masks=tuple(to_photo_mask(truth) for truth in truths),
    )


def masked_photos(dataset: Dataset, rows: np.ndarray) -> list[MaskedPhoto]:
    truths = [to_pixels(dataset.masks[row]) for row in rows]
    return [
        MaskedPhoto(dataset.photos[row].name, truth, np.where(draw_found(int(row), truth), 0.8, 0.1))
        for row, truth in zip(rows, truths, strict=True)
    ]


def make_mask_spec(labels: tuple[str, ...], cleaning: Cleaning) -> ModelSpec:
    return ModelSpec(
        task="segmentation",
        labels=labels,
        good_labels=(),
        backbone_id="net0",
        cut=Cut(0, "average"),
        preprocessing=Preprocessing((224, 224), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        thresholds=Thresholds(1.0, 0.5, 0.5, 0.5, 0.0, 0.0, 0.01, ""),
        tile_hw=SIZE_HW,
        licence="Apache-2.0",
        versions={"numpy": "2"},
        agreement={"n_photos": 8, "max_difference": 2.7e-6, "pixels_changed": {"onnxruntime": 0.0}},
        options={"seed": 0},
        masks=MaskSpec("net0", 4, "unet", cleaning, macs_per_px=21_000.0),
    )


def make_mask_facts(root: Path, kind: str, n: int = 60) -> MaskReportFacts:
    dataset = make_mask_dataset(root, kind, n)
    groups = tuple(f"wall {i // 3}" for i in range(n))
    third = n // 3
    split = Split(
        np.arange(third), np.arange(third, 2 * third), np.arange(2 * third, n), groups, 0, "By source."
    )
    options = EvaluateMasksOptions(n_resamples=50)
    test, held_back = (masked_photos(dataset, rows) for rows in (split.test, split.validation))
    choice = choose_cleaning(
        lambda: [(photo.truth, photo.probabilities) for photo in held_back],  # type: ignore[misc]
        dataset.labels,
        options=CleaningOptions(areas_px=(16, 64), n_resamples=50),
    )
    judged = [
        evaluate_masks(photos, dataset.labels, choice.cleaning, [groups[row] for row in rows], options)
        for photos, rows in ((test, split.test), (held_back, split.validation))
    ]
    images = {photo.name: np.asarray(Image.open(photo.path)) for photo in dataset.photos}
    return MaskReportFacts(
        dataset=dataset,
        audit=Audit(groups, "a column"),
        split=split,
        spec=make_mask_spec(dataset.labels, choice.cleaning),
        test=judged[0],
        validation=judged[1],
        choice_rows=choice.compared,
        choice_figures=choice.figures,
        history=tuple(Epoch("masks", i, 1 / i, 1 / i, 0.5 + i / 20, 1.0) for i in range(1, 6)),
        training_note="96 crops of 256 × 256 pixels an epoch",
        n_parameters=6_600_000,
        pictures={p.name: MaskPicture(images[p.name], p.truth, p.probabilities > 0.5) for p in test},  # type: ignore[operator]
        file_sizes={"masks.onnx": 25_000_000},
        timings={"train": 300.0, "judge": 12.0},
        command="flawmap train 'my photos' --out run",
    )


CASCADE = {
    "skip_threshold": 0.12,
    "lost_share": 0.004,
    "skipped_share": 0.031,
    "rule": "veto",
    "table": [
        {"name": "mask network alone", "figures": {"flaw_dice": 0.62, "dice": 0.7, "escape_rate": 0.01}},
        {"name": "chain", "figures": {"flaw_dice": 0.61, "dice": 0.71, "overkill_rate": 0.002}},
    ],
    "ms_good": {"chain": 21.0, "alone": 190.0},
    "ms_flawed": {"chain": 205.0, "alone": 190.0},
    "compared": [
        {"rule": rule, "most": most, "flaw_dice": dice, "overkill_rate": 0.0125, "balanced": 0.75}
        | {"is_chosen": rule == "veto"}
        for rule, most, dice in (("none", 16.0, 0.62), ("area", 4.0, 0.615), ("veto", 16.0, 0.61))
    ],
}
