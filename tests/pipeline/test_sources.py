"""Intervals of `evaluate` are over sources: the user's, or those that the model's run found."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
from PIL import Image

import flawmap
from flawmap.errors import DatasetError
from flawmap.stages.audit import AuditOptions
from flawmap.stages.evaluate import EvaluateOptions
from flawmap.tools.bundle import write_bundle
from flawmap.tools.photos import read_photo
from flawmap.tools.words import counted

N_PHOTOS = 24


def options(group_by: str | None = None) -> flawmap.RunOptions:
    return flawmap.RunOptions(audit=AuditOptions(group_by=group_by), evaluate=EvaluateOptions(n_resamples=50))


def draw(tiny: SimpleNamespace, root: Path, first_seed: int = 0) -> Path:
    """N_PHOTOS photos, every second one cracked, as class folders."""
    for i in range(N_PHOTOS):
        path = root / ("crack" if i % 2 else "good") / f"{i:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tiny.make_photo(first_seed + i, crack_at=16 if i % 2 else None)).save(path)
    return root


@pytest.fixture
def photos(tiny: SimpleNamespace, tmp_path: Path) -> Path:
    return draw(tiny, tmp_path / "photos")


@pytest.fixture
def run(tiny: SimpleNamespace, photos: Path, tmp_path: Path) -> Path:
    """A run on `photos`: four photos a source, the first 16 trained on."""
    rows = []
    for path in sorted(photos.rglob("*.png")):
        i = int(path.stem)
        part = "train" if i < 12 else "validation" if i < 16 else "test"
        rows.append([f"{path.parent.name}/{path.name}", path.parent.name, part, f"source-{i // 4}"])
    digests = tuple(read_photo(photos / row[0], row[0]).digest for row in rows if row[2] != "test")
    head = tiny.make_head()
    write_bundle(
        tmp_path / "run" / "model", tiny.make_spec(training_digests=digests), tiny.make_onnx(head), head
    )
    write_rows(tmp_path / "run" / "splits.csv", ["path", "label", "split", "group"], rows)
    return tmp_path / "run"


def write_rows(path: Path, head: list[str], rows: list[list[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])


def found(run: Path, dataset: Path, group_by: str | None = None) -> tuple[int | None, str]:
    """(sources, the note on them)"""
    metrics = flawmap.evaluate(run, dataset, options(group_by)).evaluation.metrics
    return metrics["n_groups"], next(note for note in metrics["notes"] if "sources" in note)


@pytest.mark.parametrize("model", ["", "model"])
def test_the_sources_of_the_run_are_used(run: Path, photos: Path, model: str) -> None:
    assert found(run / model, photos) == (6, "intervals are over 6 sources, from the run's splits.csv")


def test_what_the_user_says_counts_first(run: Path, photos: Path) -> None:
    n, note = found(run, photos, group_by=r"/(\d)")
    assert n == 3 and "named by --group-by" in note
    rows = [[f"crack/{i:02}.png", "crack", str(i % 3)] for i in range(1, N_PHOTOS, 2)]
    rows += [[f"good/{i:02}.png", "good", "one"] for i in range(0, N_PHOTOS, 2)]
    write_rows(photos / "list.csv", ["path", "label", "group"], rows)
    assert found(run, photos / "list.csv") == (4, "intervals are over 4 sources, from the group column")


def test_another_folder_with_the_same_names_is_not_the_runs(
    tiny: SimpleNamespace, run: Path, tmp_path: Path
) -> None:
    n, note = found(run, draw(tiny, tmp_path / "others", first_seed=1000))
    assert n is None and "not known" in note and "--group-by (Python: " in note


def test_other_labels_are_not_the_runs(run: Path, photos: Path) -> None:
    rows = [[f"crack/{i:02}.png", "good"] for i in range(1, N_PHOTOS, 2)]
    rows += [[f"good/{i:02}.png", "crack"] for i in range(0, N_PHOTOS, 2)]
    write_rows(photos / "list.csv", ["path", "label"], rows)
    assert found(run, photos / "list.csv")[0] is None


@pytest.mark.parametrize(("n_new", "n_sources"), [(1, 7), (23, 29), (24, None)])
def test_new_photos_are_a_source_each_while_most_are_known(
    tiny: SimpleNamespace, run: Path, photos: Path, n_new: int, n_sources: int | None
) -> None:
    for i in range(n_new):
        Image.fromarray(tiny.make_photo(500 + i)).save(photos / "good" / f"new{i}.png")
    n, note = found(run, photos)
    assert n == n_sources
    assert ("not known" if n is None else f"{counted(n_new, 'photo')} that it does not list") in note


def test_only_the_evaluated_photos_have_to_be_known(run: Path, photos: Path) -> None:
    rows = [[f"crack/{i:02}.png", "crack", "test"] for i in range(17, N_PHOTOS, 2)]
    rows += [[f"good/{i:02}.png", "good", "test"] for i in range(16, N_PHOTOS, 2)]
    write_rows(photos / "list.csv", ["path", "label", "split"], rows)
    assert found(run, photos / "list.csv") == (2, "intervals are over 2 sources, from the run's splits.csv")


@pytest.mark.parametrize(
    "content", [None, b"", b"a,b\n1,2\n", b"path,label,split,group\nx\n", b"\xff\xfe\x00"]
)
def test_a_missing_or_damaged_list_is_passed_over(run: Path, photos: Path, content: bytes | None) -> None:
    (run / "splits.csv").unlink()
    if content is not None:
        (run / "splits.csv").write_bytes(content)
    assert found(run, photos)[0] is None


def test_photos_of_one_class_are_enough_to_measure_escapes(run: Path, photos: Path) -> None:
    shutil.rmtree(photos / "good")
    metrics = flawmap.evaluate(run, photos, options()).evaluation.metrics
    assert metrics["escape_rate"] == 0 and metrics["overkill_rate"] is None
    (photos / "crack").rename(photos / "krack")
    with pytest.raises(DatasetError, match="only the class 'krack'"):
        flawmap.evaluate(run, photos, options())


def test_photos_with_kin_in_training_are_told_from_the_models_digests(run: Path, photos: Path) -> None:
    """A source named by the user reaches from what was trained on, numbers 0 to 15, into the test photos."""
    labels = ["crack" if i % 2 else "good" for i in range(N_PHOTOS)]
    rows = [
        [f"{label}/{i:02}.png", label, "test" if i >= 16 else "train", f"wall-{i % 20}"]
        for i, label in enumerate(labels)
    ]
    write_rows(photos / "list.csv", ["path", "label", "split", "group"], rows)
    metrics = flawmap.evaluate(run, photos / "list.csv", options()).evaluation.metrics
    assert metrics["n"] == 8 and metrics["n_source_seen_in_training"] == 4  # walls 0 to 3 again
    assert any("of 8 photos 4 have another photo of their source" in note for note in metrics["notes"])
