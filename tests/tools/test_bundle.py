"""A model folder is whole and unaltered, or it is refused in one line."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flawmap.errors import BundleError, OptionError
from flawmap.records import LinearHead, Thresholds
from flawmap.tools import bundle as bundles
from flawmap.tools.bundle import (
    Bundle,
    from_arrays,
    from_spec,
    read_bundle,
    to_arrays,
    to_spec,
    write_bundle,
    write_spec,
)


@pytest.fixture
def folder(tiny: SimpleNamespace, tmp_path: Path) -> Path:
    head = tiny.make_head()
    return write_bundle(tmp_path / "run" / "model", tiny.make_spec(), tiny.make_onnx(head), head).folder


def rich_spec(tiny: SimpleNamespace):
    return tiny.make_spec(
        training_digests=("aa", "bb"),
        metrics={"test": {"n": 40, "f1": 0.5, "loss": math.nan, "interval95": {"f1": [0.4, 0.6]}}},
        agreement={"max_difference": np.float32(1e-6), "n_photos": np.int64(3)},
        options={"out": Path("runs/x"), "seed": 0, "given": None, "names": ("a", "b")},
        versions={"flawmap": "0.1.0"},
    )


def test_what_is_written_is_read(tiny: SimpleNamespace, tmp_path: Path) -> None:
    head = tiny.make_head()
    written = write_bundle(tmp_path / "model", rich_spec(tiny), tiny.make_onnx(head), head)
    read = read_bundle(tmp_path / "model")
    assert from_spec(read.spec) == from_spec(written.spec)
    assert read.spec.labels == ("crack", "good") and read.spec.cut == written.spec.cut
    assert read.spec.metrics["test"]["loss"] is None
    np.testing.assert_array_equal(read.head.weight, head.weight)
    np.testing.assert_array_equal(read.head.bias, head.bias)


def test_the_run_folder_stands_for_its_model(folder: Path) -> None:
    assert read_bundle(folder.parent).folder == read_bundle(str(folder)).folder == folder


def test_thresholds_that_were_not_measured_survive(tiny: SimpleNamespace) -> None:
    nan = math.nan
    spec = tiny.make_spec(thresholds=Thresholds(1.0, nan, nan, nan, nan, nan, 0.01, "argmax"))
    assert math.isnan(to_spec(from_spec(spec)).thresholds.threshold)


def test_digests_are_sha256_that_other_tools_can_check(folder: Path) -> None:
    import hashlib

    spec = json.loads((folder / "flawmap.json").read_text())
    for name, digest in spec["file_digests"].items():
        assert digest == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    assert set(spec["file_digests"]) == {"model.onnx", "weights.safetensors"}


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors"])
def test_an_altered_file_is_refused(folder: Path, name: str) -> None:
    content = bytearray((folder / name).read_bytes())
    content[-1] ^= 1
    (folder / name).write_bytes(content)
    with pytest.raises(BundleError, match=rf"{name} was altered"):
        read_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "weights.safetensors"])
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=rf"cannot read .*{name}"):
        read_bundle(folder)


def test_the_card_may_be_edited(folder: Path) -> None:
    (folder / "README.md").write_text("my own words")
    assert read_bundle(folder).spec.labels == ("crack", "good")


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_without_a_model_says_what_was_wanted(tmp_path: Path, there: bool) -> None:
    with pytest.raises(BundleError, match="flawmap train"):
        read_bundle(tmp_path if there else tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 2}, "made by a newer flawmap.*pip install --upgrade"),
        ({"format_version": "1"}, "no format_version"),
        ({"lables": []}, "unknown key 'lables'; did you mean 'labels'"),
        ({"labels": "crack"}, r"labels: wanted a list, each a text; got 'crack'"),
        ({"labels": ["crack", "crack"]}, "different labels"),
        ({"labels": ["crack", 3]}, "labels: wanted a text; got 3"),
        ({"good_labels": ["fine"]}, "not all among the labels"),
        ({"task": "detection"}, "task: wanted 'classification', 'multilabel'"),
        ({"tile_hw": [1, 2, 3]}, "tile_hw: wanted"),
        ({"tile_hw": [True, 2]}, "tile_hw: wanted a whole number; got True"),
        ({"cut": {"depth": 1}}, "cut: .*pooling"),
        ({"cut": {"depth": 1, "pooling": "median"}}, "cut: pooling: wanted 'average'"),
        ({"cut": 5}, "cut: wanted an object"),
    ],
)
def test_a_wrong_spec_is_refused_with_the_place(
    tiny: SimpleNamespace, change: dict[str, object], message: str
) -> None:
    values = json.loads(from_spec(tiny.make_spec())) | change
    with pytest.raises(BundleError, match=message) as caught:
        to_spec(json.dumps(values).encode(), "here")
    assert str(caught.value).startswith("here") and "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe"])
def test_a_spec_that_is_not_ours_is_refused(content: bytes) -> None:
    with pytest.raises(BundleError, match="Export the model again"):
        to_spec(content)


def test_a_missing_key_is_named(tiny: SimpleNamespace) -> None:
    values = json.loads(from_spec(tiny.make_spec()))
    del values["labels"]
    with pytest.raises(BundleError, match="labels"):
        to_spec(json.dumps(values).encode())


def test_a_folder_is_not_overwritten_unasked(tiny: SimpleNamespace, folder: Path) -> None:
    head = tiny.make_head()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(BundleError, match="--overwrite"):
        write_bundle(folder, tiny.make_spec(winner="head"), tiny.make_onnx(head), head)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_overwriting_replaces_the_whole_folder(tiny: SimpleNamespace, folder: Path) -> None:
    head = tiny.make_head()
    (folder / "left over").write_text("x")
    write_bundle(folder, tiny.make_spec(winner="head"), tiny.make_onnx(head), head, overwrite=True)
    assert read_bundle(folder).spec.winner == "head"
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        ["model.onnx", "weights.safetensors", "flawmap.json", "README.md"]
    )
    assert [path.name for path in folder.parent.iterdir()] == ["model"]


@pytest.mark.parametrize("is_there", [True, False])
@pytest.mark.parametrize("n_written", [0, 1, 3, 4])
def test_a_write_that_fails_anywhere_leaves_what_was_there(
    tiny: SimpleNamespace,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_there: bool,
    n_written: int,
) -> None:
    real, calls = bundles._write, []

    def failing(path: Path, content: bytes) -> None:
        if len(calls) == n_written:
            raise OSError("no space left")
        calls.append(path)
        real(path, content)

    monkeypatch.setattr(bundles, "_write", failing)
    if n_written == 4:  # all files are written; moving them into place fails
        monkeypatch.setattr(Path, "rename", _failing_rename(Path.rename))
    head = tiny.make_head()
    target = folder if is_there else tmp_path / "new" / "model"
    with pytest.raises(OptionError, match=r"cannot write .*model: no space left. Name another place"):
        write_bundle(target, tiny.make_spec(winner="head"), tiny.make_onnx(head), head, overwrite=True)
    assert not target.exists() if not is_there else read_bundle(target).spec.winner == "probe"
    assert [path.name for path in target.parent.iterdir()] == (["model"] if is_there else [])


def _failing_rename(real):
    def rename(self: Path, target: Path) -> Path:
        if self.name.endswith(".part"):
            raise OSError("no space left")
        return real(self, target)

    return rename


def test_new_metrics_reach_spec_and_card(folder: Path) -> None:
    bundle = read_bundle(folder)
    metrics = {"test": {"n": 12, "f1": 0.875, "interval95": {"f1": [0.8, 0.9]}, "trivial": {"f1": 0.79}}}
    write_spec(bundle, dataclasses.replace(bundle.spec, metrics=metrics, file_digests={}))
    assert read_bundle(folder).spec.metrics == metrics
    assert "| F1 | 0.875 | 0.800 to 0.900 | 0.790 |" in (folder / "README.md").read_text()
    assert len(list(folder.iterdir())) == 4


def test_safetensors_reads_our_weights_and_we_read_theirs() -> None:
    numpy_files = pytest.importorskip("safetensors.numpy")
    arrays = {
        "head.weight": np.arange(6, dtype=np.float32).reshape(2, 3),
        "head.bias": np.ones(2, np.float32),
    }
    theirs = numpy_files.load(from_arrays(arrays))
    ours = to_arrays(numpy_files.save(arrays))
    for name, array in arrays.items():
        np.testing.assert_array_equal(theirs[name], array)
        np.testing.assert_array_equal(ours[name], array)


@pytest.mark.parametrize("n_bytes", [0, 7, 8, 20, -1])
def test_cut_off_weights_are_refused(n_bytes: int) -> None:
    content = from_arrays({"head.weight": np.ones((2, 3), np.float32)})
    with pytest.raises(BundleError, match="not a readable weights file"):
        to_arrays(content[:n_bytes])


@pytest.mark.parametrize(
    "header",
    [
        b"[]",
        b"{not json}",
        b'{"a":{"dtype":"F16","shape":[1],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,4]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,400]}}',
        b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}',
        b'{"a":{"dtype":"F32"}}',
    ],
)
def test_weights_with_a_wrong_header_are_refused(header: bytes) -> None:
    with pytest.raises(BundleError, match="not a readable weights file"):
        to_arrays(len(header).to_bytes(8, "little") + header + bytes(4))


def test_a_header_that_claims_gigabytes_is_refused_at_once() -> None:
    with pytest.raises(BundleError, match="cut off"):
        to_arrays((1 << 60).to_bytes(8, "little") + b"{}")


def test_a_head_for_other_labels_is_refused(tiny: SimpleNamespace, tmp_path: Path) -> None:
    head = LinearHead(np.ones((3, 4), np.float32), np.ones(3, np.float32))
    bundle = write_bundle(tmp_path / "m", tiny.make_spec(labels=("a", "b", "good")), b"x", head)
    assert len(bundle.head.bias) == 3
    wrong = Bundle(bundle.folder, tiny.make_spec())
    with pytest.raises(BundleError, match=r"3 outputs; .* 2 labels"):
        _ = wrong.head


def test_the_card_is_valid_front_matter_and_tells_the_honest_figures(tiny: SimpleNamespace) -> None:
    yaml = pytest.importorskip("yaml")
    from flawmap.tools.card import to_card

    spec = dataclasses.replace(rich_spec(tiny), labels=('weird: "name"', "good"), licence="My own licence")
    card = to_card(spec, tiny.make_head())
    _, front, text = card.split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["license"] == "other" and fields["license_name"] == "My own licence"
    assert fields["library_name"] == "flawmap" and fields["pipeline_tag"] == "image-classification"
    result = fields["model-index"][0]["results"][0]
    assert result["metrics"] == [{"type": "f1", "name": "F1", "value": 0.5}]
    for section in ("## Use", "## How good it is", "## How it was made", "## Limits"):
        assert section in text
    assert "0.400 to 0.600" in text and "nan" not in text
    assert max(map(len, text.splitlines())) <= 110


def test_the_card_gives_no_interval_where_no_error_was_met(tiny: SimpleNamespace) -> None:
    from flawmap.tools.card import to_card

    test = {"n": 40, "macro_f1": 1.0, "accuracy": 1.0}
    intervals = {"macro_f1": [1.0, 1.0], "accuracy": [0.9, 1.0]}
    spec = tiny.make_spec(metrics={"test": test | {"interval95": intervals}})
    card = to_card(spec, tiny.make_head())
    assert "| F1, macro | 1.000 | no error met, so no interval |" in card
    assert "| Accuracy | 1.000 | 0.900 to 1.000 |" in card


def test_the_card_says_in_plain_words_who_looks_at_what(tiny: SimpleNamespace) -> None:
    from flawmap.tools.card import to_card

    def card(**changes: Any) -> str:
        spec = dataclasses.replace(rich_spec(tiny), **changes)
        return " ".join(to_card(spec, tiny.make_head()).split())

    thresholds = Thresholds(1.0, 0.5, 0.2, 0.8, 0.0742, 0.123, 0.01, "best F1 on validation")
    text = card(thresholds=thresholds)
    assert "called flawed if its `flaw_score` reaches 0.5 (best F1 on validation)" in text
    assert "from 0.2 to 0.8. Of the flawed validation photos at most 1 % lie below this band" in text
    assert "no more than 7.42 % of the flawed and 12.3 % of the good" in text
    several = card(thresholds=thresholds, labels=("a", "b", "good"))
    assert "The likeliest class is printed. A person" in several and "reaches" not in several
    free = card(thresholds=thresholds, labels=("a", "b"), good_labels=(), task="multilabel")
    assert "Every flaw is printed whose probability reaches 0.5" in free
    no_good = card(thresholds=thresholds, labels=("a", "b"), good_labels=())
    assert "nothing can be passed or rejected" in no_good and "`review` is empty" in no_good
    assert "A person should look" not in no_good


def test_the_card_without_figures_says_so(tiny: SimpleNamespace) -> None:
    from flawmap.tools.card import to_card

    card = " ".join(to_card(tiny.make_spec(task="multilabel", good_labels=()), tiny.make_head()).split())
    assert "Not measured on held-back photos." in card and "model-index" not in card
    assert "sigmoid" in card and "A photo may carry several labels" in card


def test_a_model_is_never_written_over_files_that_are_none(tmp_path: Path, tiny_bundle: Bundle) -> None:
    photos = tmp_path / "photos"
    photos.mkdir()
    (photos / "a.jpg").touch()
    head = tiny_bundle.head
    content = tiny_bundle.model_path.read_bytes()
    with pytest.raises(BundleError, match="holds files that are no model"):
        bundles.write_bundle(photos, tiny_bundle.spec, content, head, overwrite=True)
    assert [path.name for path in photos.iterdir()] == ["a.jpg"]
    bundles.write_bundle(tmp_path / "model", tiny_bundle.spec, content, head)
    with pytest.raises(BundleError, match="exists already"):
        bundles.write_bundle(tmp_path / "model", tiny_bundle.spec, content, head)
    bundles.write_bundle(tmp_path / "model", tiny_bundle.spec, content, head, overwrite=True)


def test_what_is_named_in_place_of_a_model_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").touch()
    for path, message in (
        (tmp_path / "a.jpg", "a.jpg is a file; a model's folder was wanted"),
        (tmp_path, "holds no model, which is named first"),
        (tmp_path / "none", "there is no folder"),
    ):
        with pytest.raises(BundleError, match=message):
            bundles.read_bundle(path)
