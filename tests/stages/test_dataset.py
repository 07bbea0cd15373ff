"""Every layout is recognised without a flag, and what is no data set is refused with a remedy."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import bad_files as drawn
from flawmap.errors import DatasetError, MissingExtraError
from flawmap.stages.dataset import DatasetOptions, read_dataset
from flawmap.stages.dataset.manifest import list_manifest
from flawmap.tools.photos import PhotoOptions


def _png(seed: int = 0) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)).save(
        stream, "PNG"
    )
    return stream.getvalue()


def make_photos(root: Path, *names: str) -> Path:
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_png(i))
    return root


def write_table(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(lines).encode(encoding))
    return path


def labels_of(dataset: Any) -> dict[str, tuple[str, ...]]:
    return {
        photo.name: tuple(label for label, is_on in zip(dataset.labels, row, strict=True) if is_on)
        for photo, row in zip(dataset.photos, dataset.targets, strict=True)
    }


# Class folders


def test_class_folders(tmp_path: Path) -> None:
    make_photos(tmp_path, "Positive/2.png", "Positive/1.png", "Negative/1.png")
    dataset = read_dataset(tmp_path)
    assert dataset.layout == "class folders" and dataset.labels == ("Negative", "Positive")
    assert [photo.name for photo in dataset.photos] == ["Negative/1.png", "Positive/1.png", "Positive/2.png"]
    assert dataset.class_indices.tolist() == [0, 1, 1]
    assert dataset.good_labels == ("Negative",) and not dataset.is_multilabel
    assert dataset.parts == (None,) * 3 and dataset.groups == (None,) * 3


def test_deeper_folders_belong_to_their_class(tmp_path: Path) -> None:
    make_photos(tmp_path, "crack/wall/a/1.png", "crack/2.png", "good/floor/1.png")
    dataset = read_dataset(tmp_path)
    assert labels_of(dataset) == {
        "crack/2.png": ("crack",),
        "crack/wall/a/1.png": ("crack",),
        "good/floor/1.png": ("good",),
    }


def test_classes_that_hold_the_same_folders_are_told_by_a_good_one(tmp_path: Path) -> None:
    make_photos(tmp_path, *(f"{label}/{place}/1.png" for label in ("crack", "good") for place in "ab"))
    assert read_dataset(tmp_path).labels == ("crack", "good")
    (tmp_path / "good").rename(tmp_path / "ohne")
    with pytest.raises(DatasetError, match="either could be the classes"):
        read_dataset(tmp_path)
    assert read_dataset(tmp_path, DatasetOptions(good=("ohne",))).labels == ("crack", "ohne")
    assert read_dataset(tmp_path, known_labels=("crack", "ohne")).labels == ("crack", "ohne")


def test_one_class_is_enough_where_it_is_known(tmp_path: Path) -> None:
    make_photos(tmp_path, "set/crack/a/1.png", "set/crack/b/2.png", "parts/test/crack/1.png", "p.png")
    write_table(tmp_path / "list.csv", "path,label", "p.png,crack")
    for place in ("set", "parts", "list.csv"):
        dataset = read_dataset(tmp_path / place, known_labels=("crack", "good"))
        assert dataset.labels == ("crack",) and dataset.is_flawed.all()
        with pytest.raises(DatasetError):
            read_dataset(tmp_path / place, known_labels=("good",))


def test_what_lies_beside_the_class_folders_is_listed(tmp_path: Path) -> None:
    make_photos(tmp_path, "a/1.png", "b/1.png", "cover.png", ".hidden/1.png")
    (tmp_path / "c").mkdir()
    (tmp_path / "a" / "broken.png").write_bytes(b"")
    (tmp_path / "a" / "notes.txt").write_text("x")
    dataset = read_dataset(tmp_path)
    assert [one.path for one in dataset.unreadable] == ["a/broken.png", "cover.png"]
    assert "outside the class folders" in dataset.unreadable[1].reason
    assert {one.path: one.reason for one in dataset.ignored} == {
        ".hidden": "hidden",
        "a/notes.txt": "'.txt' is not a photo's extension",
        "c": "a folder without photos",
    }


def test_every_bad_file_is_left_out_and_the_run_goes_on(tmp_path: Path) -> None:
    bad = drawn.BAD_FILES
    make_photos(tmp_path, "a/1.png", "b/1.png")
    for name, (make, _) in bad.items():
        (tmp_path / "a" / name).write_bytes(make())
    dataset = read_dataset(tmp_path)
    assert len(dataset) == 2
    assert {one.path for one in dataset.unreadable} == {f"a/{name}" for name in bad}


def test_content_decides_not_the_order_of_the_disk(tmp_path: Path) -> None:
    names = ["b/3.png", "a/2.png", "b/1.png", "a/10.png"]
    first = read_dataset(make_photos(tmp_path / "x", *names))
    again = read_dataset(make_photos(tmp_path / "y", *names[:2], *names[2:]))
    assert [photo.digest for photo in first.photos] == [photo.digest for photo in again.photos]


# Parts


@pytest.mark.parametrize(
    ("train", "validation", "test"),
    [("train", "val", "test"), ("Training", "valid", "Testing"), ("TRAIN", "validation", "holdout")],
)
def test_parts_with_class_folders(tmp_path: Path, train: str, validation: str, test: str) -> None:
    make_photos(
        tmp_path, *(f"{part}/{label}/1.png" for part in (train, validation, test) for label in ("ok", "ng"))
    )
    dataset = read_dataset(tmp_path)
    by_name = dict(zip([photo.name for photo in dataset.photos], dataset.parts, strict=True))
    assert by_name[f"{train}/ok/1.png"] == "train" and by_name[f"{test}/ng/1.png"] == "test"
    assert by_name[f"{validation}/ok/1.png"] == "validation"
    assert dataset.labels == ("ng", "ok") and dataset.good_labels == ("ok",)
    assert dataset.layout == "parts (train, validation, test) with class folders"


def test_parts_without_class_folders_are_unlabelled_photos(tmp_path: Path) -> None:
    make_photos(tmp_path, "train/a/1.png", "train/b/1.png", "test/1.png")
    dataset = read_dataset(tmp_path)
    assert set(dataset.parts) == {"train"}
    assert [one.path for one in dataset.unreadable] == ["test/1.png"]


# Manifests


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path, *(f"p/{i}.png" for i in range(4)))


def test_manifest_with_groups_and_parts(photos: Path) -> None:
    path = write_table(
        photos / "manifest.csv",
        "path,label,group,split",
        "p/2.png,crack,wall 1,train",
        "p/0.png,good,wall 1,Training",
        "p/1.png,crack,,",
        "p/3.png,good,wall 2,val",
    )
    for dataset in (read_dataset(path), read_dataset(photos)):
        assert labels_of(dataset) == {
            "p/0.png": ("good",),
            "p/1.png": ("crack",),
            "p/2.png": ("crack",),
            "p/3.png": ("good",),
        }
        assert dataset.parts == ("train", None, "train", "validation")
        assert dataset.groups == ("wall 1", None, "wall 1", "wall 2")
        assert dataset.root == photos and dataset.layout == "manifest manifest.csv"


@pytest.mark.parametrize(
    ("header", "separator", "encoding"),
    [
        ("Path,Label", ",", "utf-8-sig"),
        ("FILENAME;Class", ";", "utf-8"),
        ("image_path\ttarget", "\t", "utf-8"),
        ('"File Name","Category"', ",", "utf-8"),
        ("ImagePath|tag", "|", "utf-8"),
        ("file;defect", ";", "utf-16"),
        ("sep=;\nfile;label", ";", "utf-8"),
    ],
)
def test_spellings_of_csv(photos: Path, header: str, separator: str, encoding: str) -> None:
    rows = [f'"p/{i}.png"{separator}"{"a" if i % 2 else "bé, c"}"' for i in range(4)]
    path = write_table(photos / "list.csv", header, *rows, "", encoding=encoding)
    dataset = read_dataset(path)
    assert dataset.labels == ("a", "bé, c") and dataset.class_indices.tolist() == [1, 0, 1, 0]


def test_several_labels_in_a_cell(photos: Path) -> None:
    path = write_table(
        photos / "m.csv",
        "path,labels",
        "p/0.png,crack;stain",
        "p/1.png,",
        "p/2.png,stain | rust",
        'p/3.png,"rust,crack"',
    )
    dataset = read_dataset(path)
    assert dataset.is_multilabel and dataset.labels == ("crack", "rust", "stain")
    assert dataset.targets.tolist() == [[1, 0, 1], [0, 0, 0], [0, 1, 1], [1, 1, 0]]
    assert dataset.is_flawed.tolist() == [True, False, True, True]


@pytest.mark.parametrize("head", ["label1,label2", "Class 1,Class 2", "tag_1,tag_2", "label,label2"])
def test_several_labels_in_numbered_columns(photos: Path, head: str) -> None:
    rows = ("p/0.png,crack,stain", "p/1.png,stain,", "p/2.png,,", "p/3.png,rust,crack")
    write_table(photos / "m.csv", f"path,{head}", *rows)
    dataset = read_dataset(photos)
    assert dataset.is_multilabel and dataset.labels == ("crack", "rust", "stain")
    assert dataset.targets.tolist() == [[1, 0, 1], [0, 0, 1], [0, 0, 0], [1, 1, 0]]


def test_numbered_columns_of_0_and_1_are_labels_themselves(photos: Path) -> None:
    path = write_table(photos / "m.csv", "path,class1,class2", *(f"p/{i}.png,{i % 2},1" for i in range(4)))
    assert read_dataset(path).labels == ("class1", "class2")


def test_columns_of_0_and_1_beside_a_label_are_said_not_to_be_read(photos: Path) -> None:
    rows = (f"p/{i}.png,{'ab'[i % 2]},{i % 2},0" for i in range(4))
    dataset = read_dataset(write_table(photos / "m.csv", "path,label,crack,moss", *rows))
    assert dataset.labels == ("a", "b")
    assert dataset.layout == "manifest m.csv, its labels from 'label', not from 'crack', 'moss' (0 and 1)"


def test_columns_of_0_and_1(photos: Path) -> None:
    path = write_table(
        photos / "m.csv",
        "image,crack,stain,note,never",
        "p/0.png,1,0,x,0",
        "p/1.png,0,0,,0",
        "p/2.png,1,1,,0",
        "p/3.png,0,1,wet,0",
    )
    dataset = read_dataset(path)
    assert dataset.is_multilabel and dataset.labels == ("crack", "never", "stain")
    assert dataset.targets.tolist() == [[1, 0, 0], [0, 0, 0], [1, 0, 1], [0, 0, 1]]


def test_one_column_of_0_and_1_makes_two_classes(photos: Path) -> None:
    path = write_table(photos / "m.csv", "image,crack", "p/0.png,1", "p/1.png,0", "p/2.png,0", "p/3.png,1")
    dataset = read_dataset(path)
    assert dataset.labels == ("crack", "no_crack") and dataset.good_labels == ("no_crack",)
    assert not dataset.is_multilabel


def test_a_label_of_0_or_1_is_a_class(photos: Path) -> None:
    path = write_table(photos / "m.csv", "image,label", *(f"p/{i}.png,{i % 2}" for i in range(4)))
    dataset = read_dataset(path)
    assert dataset.labels == ("0", "1") and dataset.good_labels == ("0",)


@pytest.mark.parametrize("suffix", [".parquet", ".pq"])
def test_parquet(photos: Path, suffix: str) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    columns = {
        "path": [f"p/{i}.png" for i in range(4)],
        "label": [0, 1, 1, 0],
        "group": ["a", None, "b", "b"],
    }
    parquet.write_table(pyarrow.table(columns), photos / f"m{suffix}")
    dataset = read_dataset(photos / f"m{suffix}")
    assert dataset.class_indices.tolist() == [0, 1, 1, 0] and dataset.groups == ("a", None, "b", "b")
    columns = {"path": columns["path"], "labels": [["x", "y"], [], ["y"], ["x"]]}
    parquet.write_table(pyarrow.table(columns), photos / f"m{suffix}")
    dataset = read_dataset(photos)
    assert dataset.targets.tolist() == [[1, 1], [0, 0], [0, 1], [1, 0]]


def test_parquet_that_is_none_or_cannot_be_read(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "m.parquet").write_bytes(b"not parquet")
    with pytest.raises(DatasetError, match="not a Parquet file"):
        read_dataset(photos / "m.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"flawmap\[train\]"):
        read_dataset(photos / "m.parquet")


def test_rows_that_cannot_be_used_are_listed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = make_photos(tmp_path_factory.mktemp("outside"), "x.png") / "x.png"
    (photos / "link.png").symlink_to(outside)
    (photos / "text.png").write_text("text")
    path = write_table(
        photos / "m.csv",
        "path,label",
        "p/0.png,a",
        "p/1.png,b",
        "p/2.png,",
        "gone.png,a",
        "../x.png,a",
        f"{outside},a",
        "link.png,a",
        "text.png,b",
        ",b",
        "m.csv,a",
        "p,b",
        f"{photos}/p/3.png,b",
        "p/../p/3.png,b",
    )
    dataset = read_dataset(path)
    assert [photo.name for photo in dataset.photos] == ["p/0.png", "p/1.png", "p/3.png"]
    reasons = {one.path: one.reason for one in dataset.unreadable}
    assert (
        "no label in line 4" in reasons["p/2.png"]
        and f"looked for {photos / 'gone.png'}; paths" in reasons["gone.png"]
    )
    for escaped in ("../x.png", str(outside), "link.png"):
        assert "put the manifest above its photos" in reasons[escaped]
    assert "text" in reasons["text.png"] and "no path" in reasons["line 10"]
    assert "m.csv" in reasons and "folder" in reasons["p"]
    assert [one.path for one in dataset.ignored] == ["p/3.png"]


def test_names_from_other_systems_are_found(tmp_path: Path) -> None:
    make_photos(tmp_path, "p/Ko\u0308ln.png", "p/b.png")
    path = write_table(tmp_path / "m.csv", "path,label", "p\\K\u00f6ln.png,a", ".\\p\\b.png,b")
    assert sorted(labels_of(read_dataset(path)).values()) == [("a",), ("b",)]


def test_a_manifest_given_relative_to_the_working_folder(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_table(photos / "m.csv", "path,label", "p/0.png,a", "p/1.png,b", "../0.png,b")
    monkeypatch.chdir(photos)
    dataset = read_dataset("m.csv")
    assert len(dataset) == 2 and len(dataset.unreadable) == 1
    monkeypatch.chdir(photos / "p")
    assert len(read_dataset("../m.csv")) == 2


NOT_IN_LABELS = "\0\r;|\x1c\x1d\x1e\x85\u2028\u2029"
LABELS = st.text(st.characters(codec="utf-8", exclude_characters=NOT_IN_LABELS), min_size=1).filter(str.strip)


@settings(deadline=None)
@given(label=LABELS)
def test_any_label_comes_back_from_csv(tmp_path_factory: pytest.TempPathFactory, label: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any_label.csv"
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([["path", "label"], ["0.png", label], ["1.png", "other"]])
    assert [entry.labels for entry in list_manifest(path).entries] == [(label.strip(),), ("other",)]


# What is refused, and how to mend it


def _coco(root: Path) -> Path:
    make_photos(root, "images/1.png")
    write_table(root / "annotations.json", '{"images": [], "annotations": [], "categories": []}')
    return root


def _broken_coco(*photos: str, file: str = "annotations.json") -> Callable[[Path], Path]:
    def make(root: Path) -> Path:
        make_photos(root, *photos)
        (root / file).parent.mkdir(exist_ok=True)
        write_table(root / file, '{"images": [{"id": 1, "file_name": "1.p')
        return root

    return make


def _escaping(root: Path) -> Path:
    make_photos(root, "p/0.png", "p/1.png")
    return write_table(root / "tables" / "m.csv", "path,label", "../p/0.png,a", "../p/1.png,b")


def _photos(*names: str) -> Callable[[Path], Path]:
    return lambda root: make_photos(root, *names)


def _table(*lines: str, encoding: str = "utf-8") -> Callable[[Path], Path]:
    return lambda root: write_table(root / "m.csv", *lines, encoding=encoding)


REFUSED: dict[str, tuple[Callable[[Path], Path], str]] = {
    "gone": (lambda root: root / "gone", "does not exist"),
    "empty": (lambda root: root, "holds no photos; name the folder that holds them"),
    "no photos": (lambda root: write_table(root / "x" / "a.txt", "x").parent, r"a\.txt \('\.txt' is not"),
    "flat": (_photos("1.png", "2.png"), "2 photos in no folder, and nothing that labels them"),
    "images only": (_photos("images/1.png"), "nothing that labels them"),
    "images of parts": (_photos("train_images/1.png", "test_images/1.png"), "nothing that labels them"),
    "one class": (_photos("crack/1.png"), "only the class 'crack'"),
    "wrapped": (_photos("set/a/1.png", "set/b/1.png"), "give .*/set"),
    "wrapped parts": (_photos("set/train/a/1.png"), "give .*/set"),
    "photos as masks": (_photos("images/1.png", "masks/1.png"), "its mask holds 48 colours"),
    "classes beside masks": (_photos("photos/a/1.png", "photos/b/1.png", "truth/1.png"), "Give .*/photos"),
    "parts and masks": (_photos("train/good/1.png", "ground_truth/1.png"), "masks"),
    "coco of nothing": (_coco, "names no photo that is there"),
    "coco cut off": (
        _broken_coco("images/1.png"),
        r"labels them: .*/annotations\.json cannot be read as JSON",
    ),
    "coco of parts cut off": (
        _broken_coco("train/1.png", "val/1.png", file="annotations/train.json"),
        r"no class folders: .*/annotations/train\.json cannot be read as JSON",
    ),
    "masks alone": (_photos("masks/1.png"), r"masks without photos \(masks/\); put the photos into images/"),
    "masks alone in parts": (_photos("train/masks/1.png", "test/masks/1.png"), "masks without photos"),
    "photos beside masks": (_photos("1.png", "masks/1.png"), "holds 1 photo beside masks"),
    "masks in classes": (
        _photos("crack/images/1.png", "crack/masks/1.png", "good/images/1.png", "good/masks/1.png"),
        "crack/ holds masks beside its photos .* For masks give .*/crack, .* into masks/crack/; for labels",
    ),
    "masks in classes of parts": (
        _photos("train/crack/images/1.png", "train/crack/gt/x/1.png", "train/good/1.png"),
        "train/crack/ holds masks beside its photos",
    ),
    "mixed": (_photos("train/a/1.png", "train/b/1.png", "other/1.png"), "mixes parts"),
    "parts of one class": (_photos("train/a/1.png", "test/a/1.png"), "only the class 'a'"),
    "levels swapped": (_photos("w0/a/1.png", "w0/b/1.png", "w1/a/1.png", "w1/b/1.png"), r"Swap .*a/w0/"),
    "parts of none": (_photos("train/1.png", "test/1.png"), "no class folders"),
    "parts inside": (_photos("a/train/1.png", "b/train/1.png", "b/test/1.png"), "put the parts outside"),
    "same letters": (_photos("Crack/1.png", "crack/1.png", "b/1.png"), "capital letters"),
    "a photo": (lambda root: make_photos(root, "1.png") / "1.png", "is one photo"),
    "a text": (lambda root: write_table(root / "a.txt", "x"), "no manifest that can be read"),
    "empty table": (_table(), "is empty"),
    "header only": (_table("path,label"), "lists no photos"),
    "no header": (_table("p/0.png,a", "p/1.png,b"), "header line such as path,label"),
    "no label": (_table("path,width", "0.png,7"), "no column for the label"),
    "two labels": (_table("path,class,target", "0.png,a,b"), "name one of them 'label'"),
    "label twice": (
        _table("path,label,label", "0.png,a,b"),
        r"2 columns are called 'label'; keep one .*label1",
    ),
    "masks as codes": (_table("ImageId,ClassId,EncodedPixels", "0.png,1,1 3"), "none of which is there"),
    "too many cells": (_table("path,label", "a,b.png,a"), "line 2: 3 cells for 2"),
    "unknown part": (_table("path,label,split", "0.png,a,fold1"), "unknown part 'fold1'"),
    "not UTF-8": (_table("path,label", "é.png,a", encoding="latin-1"), "save it as CSV UTF-8"),
    "null bytes": (_table("path,label", "a\0.png,a"), "no path in this row"),
    "escaping": (_escaping, "put the manifest above its photos"),
    "none is there": (_table("path,label", "0.png,a", "1.png,b"), "none of the 2 photos"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_data_set_is_refused_with_a_remedy(case: str, tmp_path: Path) -> None:
    make, reason = REFUSED[case]
    with pytest.raises(DatasetError, match=reason) as caught:
        read_dataset(make(tmp_path))
    assert "\n" not in str(caught.value)


def test_a_photo_listed_twice_must_say_the_same(photos: Path) -> None:
    path = write_table(photos / "m.csv", "path,label", "p/0.png,a", "p/1.png,b", "p/0.png,b")
    with pytest.raises(DatasetError, match="lines 2 and 4"):
        read_dataset(path)


def test_several_manifests_or_folders_beside_one_are_ambiguous(photos: Path) -> None:
    write_table(photos / "one.csv", "path,label", "p/0.png,a", "p/1.png,b")
    write_table(photos / "two.csv", "path,label", "p/0.png,a", "p/1.png,b")
    with pytest.raises(DatasetError, match=r"several manifests \(one.csv, two.csv\)"):
        read_dataset(photos)
    write_table(photos / "manifest.csv", "path,label", "p/0.png,a", "p/1.png,b")
    assert read_dataset(photos).layout == "manifest manifest.csv"
    make_photos(photos, "q/0.png")
    with pytest.raises(DatasetError, match=r"give .*manifest\.csv itself"):
        read_dataset(photos)


def test_tables_that_are_no_manifests_do_not_disturb(tmp_path: Path) -> None:
    make_photos(tmp_path, "a/1.png", "b/1.png")
    write_table(tmp_path / "results.csv", "path,label,score,flaw_score,review,error", "a/1.png,a,1,1,false,")
    write_table(tmp_path / "widths.csv", "x,y", "1,2")
    assert read_dataset(tmp_path).layout == "class folders"


def test_a_class_without_a_readable_photo_is_no_label(tmp_path: Path) -> None:
    make_photos(tmp_path, "a/1.png", "b/1.png", "c/1.png")
    (tmp_path / "c" / "1.png").write_bytes(b"")
    assert read_dataset(tmp_path).labels == ("a", "b")
    (tmp_path / "b" / "1.png").write_bytes(b"")
    with pytest.raises(DatasetError, match="no photo of b, c could be read"):
        read_dataset(tmp_path)


def test_options_reach_the_photos(tmp_path: Path) -> None:
    make_photos(tmp_path, "a/1.png", "b/1.png")
    with pytest.raises(DatasetError, match="cap"):
        read_dataset(tmp_path, DatasetOptions(photos=PhotoOptions(max_megapixels=1e-6)))


# Good labels


def test_good_labels_can_be_given(tmp_path: Path) -> None:
    make_photos(tmp_path, "negative/1.png", "b/1.png", "c/1.png")
    assert read_dataset(tmp_path).good_labels == ("negative",)
    assert read_dataset(tmp_path, DatasetOptions(good=("c", "b"))).good_labels == ("b", "c")
    assert read_dataset(tmp_path, DatasetOptions(good=())).good_labels == ()
    with pytest.raises(DatasetError, match="did you mean 'negative'"):
        read_dataset(tmp_path, DatasetOptions(good=("negativ",)))


# Real sets


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("concrete-tiles", "Negative"),
        ("brick-cracks", "Negative"),
        ("neu-steel", None),
        ("magnetic-tiles", "free"),
    ],
)
def test_real_sets_read_completely(real_sets: Path, name: str, good: str | None) -> None:
    root = real_sets / name
    dataset = read_dataset(root)
    counts = {folder.name: len(list(folder.iterdir())) for folder in root.iterdir()}
    assert dict(zip(dataset.labels, dataset.targets.sum(axis=0).tolist(), strict=True)) == counts
    assert dataset.good_labels == ((good,) if good else ())
    assert not dataset.unreadable and not dataset.ignored
    assert not any(photo.note for photo in dataset.photos)
