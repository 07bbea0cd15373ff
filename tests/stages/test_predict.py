"""One row per photo, in order, whatever the photos are; the file is whole or not there."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import flawmap
from flawmap.errors import OptionError
from flawmap.pipeline.texts import prediction_summary_lines
from flawmap.stages.predict import (
    COLUMNS,
    PredictionRow,
    PredictOptions,
    check_output,
    list_photos,
    predict_photos,
    write_rows,
)
from flawmap.tools.bundle import Bundle, write_bundle
from flawmap.tools.photos import PhotoOptions
from flawmap.tools.runtime import Classifier, RuntimeOptions


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Bundle) -> Classifier:
    return Classifier(tiny_bundle, RuntimeOptions(n_threads=3))


def test_every_photo_is_a_row_in_order(classifier: Classifier, photo_folder: Path) -> None:
    paths = list_photos([photo_folder])
    rows = list(predict_photos(classifier, paths))
    assert [row.path for row in rows] == paths
    assert [Path(path).name for path in paths] == [
        "0.png",
        "2.png",
        "4.png",
        "1.png",
        "3.png",
        "5.png",
        "broken.png",
    ]
    assert [row.label for row in rows] == ["crack"] * 3 + ["good"] * 3 + [""]
    assert rows[-1].error and rows[-1].score is None and rows[-1].review is None
    for row in rows[:-1]:
        assert row.error == "" and row.probabilities is not None and row.score is not None
        assert row.flaw_score == row.probabilities["crack"]
        assert row.score == row.probabilities[row.label] > 0.99


def test_photos_that_a_tile_model_does_not_fit_are_counted(
    tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path
) -> None:
    fitting = flawmap.predict(tiny_bundle.folder, photo_folder / "a")
    assert all(row.size_hw is not None or row.error for row in fitting.rows)
    assert not any("inspect" in line for line in fitting.lines)
    side = 3 * max(tiny_bundle.spec.tile_hw)
    for name, width in (("just.png", side), ("large.png", side + 1)):
        Image.new("RGB", (width, 40), (190, 180, 170)).save(tmp_path / name)
    for more in ({}, {"out": tmp_path / "rows.csv"}):
        found = flawmap.predict(tiny_bundle.folder, [tmp_path / "just.png", tmp_path / "large.png"], **more)
        assert found.lines[-1].startswith("1 photo is over 3 times as large")
        assert "flawmap inspect" in found.lines[-1]


def test_rows_equal_predict_on_arrays(classifier: Classifier, photo_folder: Path) -> None:
    from flawmap.tools.photos import read_image

    paths = list_photos([photo_folder / "a"])
    wanted = classifier.predict([read_image(path) for path in paths])
    rows = list(predict_photos(classifier, paths))
    np.testing.assert_array_equal([row.score for row in rows], wanted.scores)


def test_paths_stay_as_given(photo_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(photo_folder)
    assert list_photos(["./a", "b/1.png"]) == ["./a/0.png", "./a/2.png", "./a/4.png", "b/1.png"]
    assert list_photos(["b/1.png", "a/*.png"]) == ["b/1.png", "a/0.png", "a/2.png", "a/4.png"]
    assert list_photos(["./**/[01].png"]) == ["./a/0.png", "./b/1.png"]


def test_names_that_are_no_valid_text_are_photos_too(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nu").mkdir()
    odd = os.fsdecode(b"l\xff.png")
    try:
        Image.new("RGB", (32, 32), (190, 180, 170)).save(Path("nu") / odd)
    except OSError:
        pytest.skip("this system's names are always text")
    assert list_photos(["./nu"]) == [f"./nu/{odd}"]
    for more in ({}, {"out": "rows.csv"}, {"out": "rows.jsonl"}):
        found = flawmap.predict(tiny_bundle.folder, "nu", **more)
        assert not found.left_out
    assert r"nu/l\udcff.png" in Path("rows.csv").read_text(encoding="utf-8")


def test_a_name_with_brackets_is_a_file_before_it_is_a_pattern(tmp_path: Path) -> None:
    for name in ("a[1].png", "a1.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    assert list_photos([tmp_path / "a[1].png"]) == [str(tmp_path / "a[1].png")]


def test_what_is_not_there_is_refused_and_what_leads_nowhere_is_a_row(
    classifier: Classifier, photo_folder: Path
) -> None:
    first = photo_folder / "a" / "0.png"
    for missing in ("tilse", "a/9.png"):
        with pytest.raises(OptionError, match=rf"there is no .*{missing}\. Give photos, folders"):
            list_photos([first, photo_folder / missing])
    link = photo_folder / "link.png"
    link.symlink_to(photo_folder / "9.png")
    paths = list_photos([first, link])
    first.unlink()  # in between
    assert ["not exist" in row.error or row.error for row in predict_photos(classifier, paths)] == [
        True,
        "a link to nothing",
    ]


@pytest.mark.parametrize("given", [[], ["*.nothing"], ["."]])
def test_nothing_to_predict_is_said(
    given: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match="no photos"):
        list_photos(given)


def test_bad_files_are_rows(classifier: Classifier, tmp_path: Path) -> None:
    Image.new("RGB", (64, 64)).save(tmp_path / "cut.jpg")
    content = (tmp_path / "cut.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(content[: len(content) // 2])
    (tmp_path / "empty.png").touch()
    (tmp_path / "words.txt").write_text("no photo")
    (tmp_path / "folder.png").mkdir()
    names = ["cut.jpg", "empty.png", "words.txt", "folder.png", "missing.png"]
    rows = list(predict_photos(classifier, [str(tmp_path / name) for name in names]))
    assert all(row.error and not row.label and row.flaw_score is None for row in rows)
    assert len({row.error for row in rows}) == len(rows)


def test_the_pixel_cap_is_an_option(classifier: Classifier, photo_folder: Path) -> None:
    options = PredictOptions(photos=PhotoOptions(max_megapixels=0.001))
    rows = list(predict_photos(classifier, list_photos([photo_folder / "a"]), options))
    assert all("pixel" in row.error for row in rows)


def test_without_a_good_label_nothing_is_for_a_person_to_look_at(
    tiny: SimpleNamespace, photo_folder: Path, tmp_path: Path
) -> None:
    head = tiny.make_head()
    folder = tmp_path / "model"
    bundle = write_bundle(folder, tiny.make_spec(good_labels=()), tiny.make_onnx(head), head)
    paths = list_photos([photo_folder / "a"])
    summary = write_rows(predict_photos(Classifier(bundle), paths), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(encoding="utf-8", newline="") as file:
        assert {row["review"] for row in csv.DictReader(file)} == {""}
    assert summary.n_review is None
    assert "look at" not in " ".join(prediction_summary_lines(summary, "out.csv"))


def test_csv_has_the_agreed_columns(classifier: Classifier, photo_folder: Path, tmp_path: Path) -> None:
    paths = list_photos([photo_folder])
    summary = write_rows(predict_photos(classifier, paths), tmp_path / "deep" / "out.csv")
    with (tmp_path / "deep" / "out.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0]) == COLUMNS == ("path", "label", "score", "flaw_score", "review", "error")
    assert [row["path"] for row in rows] == paths
    assert rows[0]["label"] == "crack" and rows[0]["review"] == "false" and float(rows[0]["score"]) > 0.99
    assert rows[-1]["error"] and not any(
        rows[-1][name] for name in ("label", "score", "flaw_score", "review")
    )
    assert (summary.n_photos, len(summary.errors), summary.n_review) == (7, 1, 0)
    assert summary.counts == {"crack": 3, "good": 3}
    assert summary.errors == ((paths[-1], rows[-1]["error"]),)


def test_jsonl_adds_every_probability(classifier: Classifier, photo_folder: Path, tmp_path: Path) -> None:
    write_rows(predict_photos(classifier, list_photos([photo_folder])), tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 7 and list(rows[0]) == [*COLUMNS, "probabilities"]
    assert sum(rows[0]["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert rows[0]["review"] is False and rows[-1]["probabilities"] is None and rows[-1]["score"] is None


NAMES = ["=1+1.png", "+a.png", "-a.png", "@a.png", 'q"uote, comma.png', "new\nline.png", "ümläut.png"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
def test_odd_names_come_back(classifier: Classifier, tmp_path: Path, suffix: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        Image.new("RGB", (8, 8)).save(name)
    write_rows(predict_photos(classifier, NAMES), tmp_path / f"out{suffix}")
    with Path(f"out{suffix}").open(encoding="utf-8", newline="") as file:
        found = [r["path"] for r in (csv.DictReader(file) if suffix == ".csv" else map(json.loads, file))]
    assert [os.path.normpath(path) for path in found] == NAMES  # the same file …
    assert suffix == ".jsonl" or not any(path.startswith(tuple("=+-@")) for path in found)  # … and no formula
    assert suffix == ".csv" or found == NAMES


def test_names_that_are_no_text_are_written(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    for suffix in (".csv", ".jsonl"):
        write_rows([PredictionRow(path=name, error="x")], tmp_path / f"o{suffix}")
    assert json.loads((tmp_path / "o.jsonl").read_text(encoding="utf-8"))["path"] == name
    assert "udce9" in (tmp_path / "o.csv").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["out.txt", "out", "out.csv.gz"])
def test_an_unknown_format_is_refused_before_any_work(tmp_path: Path, name: str) -> None:
    def rows():
        raise AssertionError("a row was drawn")
        yield

    with pytest.raises(OptionError, match=r"\.csv, or \.jsonl"):
        write_rows(rows(), tmp_path / name)


def test_a_folder_is_no_output(tmp_path: Path) -> None:
    (tmp_path / "a.csv").mkdir()
    with pytest.raises(OptionError, match="is a folder"):
        write_rows([], tmp_path / "a.csv")


def test_a_run_that_breaks_off_leaves_the_old_file(tmp_path: Path) -> None:
    old = ",".join(COLUMNS) + "\nold\n"
    (tmp_path / "out.csv").write_text(old)

    def rows():
        yield PredictionRow(path="a", label="good", score=1.0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_rows(rows(), tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == old and len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, full_disk: None) -> None:
    old = ",".join(COLUMNS) + "\nold\n"
    (tmp_path / "out.csv").write_text(old)
    rows = [PredictionRow(path="a", label="good", score=1.0)]
    with pytest.raises(OptionError, match=r"cannot write .*out\.csv: No space left on device\. Make room"):
        write_rows(rows, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == old and len(list(tmp_path.iterdir())) == 1


def test_another_table_is_not_replaced(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.csv"
    manifest.write_text("path,label\na.jpg,good\n")
    with pytest.raises(
        OptionError, match=r"not what this command writes \(it begins 'path,label a.jpg,good'\)"
    ):
        check_output(manifest)
    manifest.write_text(",".join(COLUMNS) + "\n")
    check_output(manifest)
    lines = tmp_path / "lines.jsonl"
    lines.write_text('{"text": "mine"}\n')
    with pytest.raises(OptionError, match="and would be lost"):
        check_output(lines)


def test_progress_counts_every_photo(classifier: Classifier, photo_folder: Path) -> None:
    seen: list[tuple[int, int]] = []
    list(
        predict_photos(
            classifier, list_photos([photo_folder]), progress=lambda _, n, of: seen.append((n, of))
        )
    )
    assert seen == [(n, 7) for n in range(8)]


def test_rows_come_before_the_last_photo_is_read(classifier: Classifier, photo_folder: Path) -> None:
    paths = list_photos([photo_folder / "a"]) * 100
    assert next(predict_photos(classifier, paths)).label == "crack"


def test_two_runs_write_the_same_bytes(tiny_bundle: Bundle, photo_folder: Path, tmp_path: Path) -> None:
    for n_threads in (1, 4):
        classifier = Classifier(tiny_bundle, RuntimeOptions(n_threads=n_threads))
        rows = predict_photos(classifier, list_photos([photo_folder]))
        write_rows(rows, tmp_path / f"{n_threads}.jsonl")
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "4.jsonl").read_bytes()


def test_a_photo_on_its_side_is_read_upright(
    classifier: Classifier, tiny: SimpleNamespace, tmp_path: Path
) -> None:
    image = Image.fromarray(tiny.make_photo(1, crack_at=24, size_hw=(64, 40)))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "upright.png")
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    upright, turned = predict_photos(
        classifier, [str(tmp_path / "upright.png"), str(tmp_path / "turned.png")]
    )
    assert upright.probabilities == turned.probabilities


def test_a_folder_without_photos_says_what_it_holds(tmp_path: Path, tiny_bundle: Bundle) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    for found, message in (
        (tiny_bundle.folder.parent, "which holds a model: the model is named first"),
        (raw, rf"no photos in {raw}\. Give"),
    ):
        with pytest.raises(OptionError, match=message):
            list_photos([found])
    (raw / "a.cr2").touch()
    (raw / "b.txt").touch()
    with pytest.raises(OptionError, match=r"it holds a\.cr2 \(camera raw .*export it.*\) and 1 more file"):
        list_photos([raw])
