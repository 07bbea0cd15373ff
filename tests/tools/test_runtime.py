"""The model file gives the answers that its numbers say, whatever runs it and in whatever company."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from flawmap.errors import BundleError, MissingExtraError, OptionError
from flawmap.records import LinearHead, Thresholds
from flawmap.tools.bundle import Bundle, write_bundle
from flawmap.tools.files import cache_folder
from flawmap.tools.preprocess import to_batch
from flawmap.tools.runtime import (
    Classifier,
    Predictions,
    RuntimeOptions,
    map_ordered,
    open_network,
    to_predictions,
)

RUNTIMES = ["onnxruntime"] + (["openvino"] if importlib.util.find_spec("openvino") else [])


@pytest.fixture(params=RUNTIMES)
def options(request: pytest.FixtureRequest, tmp_path: Path) -> RuntimeOptions:
    return RuntimeOptions(runtime=request.param, n_threads=2, cache=tmp_path / "cache")


def test_outputs_are_what_the_network_says(
    tiny: SimpleNamespace, tiny_bundle: Bundle, options: RuntimeOptions
) -> None:
    images = [tiny.make_photo(i, crack_at=8 if i == 1 else None) for i in range(3)]
    features, logits = Classifier(tiny_bundle, options).outputs(images)
    assert features.shape == (3, 2, 8, 8) and logits.shape == (3, 2)
    cells = np.stack(images).reshape(3, 8, 8, 8, 8, 3).mean(axis=(2, 4, 5)) / 255
    np.testing.assert_allclose(features[:, 0], 1 - cells, atol=1e-5)
    np.testing.assert_allclose(features[:, 1], cells, atol=1e-5)
    pooled = np.concatenate([features.mean((2, 3)), features.max((2, 3))], axis=1)
    head = tiny_bundle.head
    np.testing.assert_allclose(logits, pooled @ head.weight.T + head.bias, atol=1e-4)


def test_predictions_are_labelled(
    tiny: SimpleNamespace, tiny_bundle: Bundle, options: RuntimeOptions
) -> None:
    found = Classifier(tiny_bundle, options).predict([tiny.make_photo(0), tiny.make_photo(0, crack_at=40)])
    assert found.texts == ("good", "crack") and len(found) == 2
    assert (found.scores > 0.99).all() and found.review is not None and not found.review.any()
    np.testing.assert_allclose(found.flaw_scores, found.probabilities[:, 0])
    np.testing.assert_allclose(found.probabilities.sum(axis=1), 1)


def test_an_answer_does_not_depend_on_company_or_threads(tiny: SimpleNamespace, tiny_bundle: Bundle) -> None:
    images = [tiny.make_photo(i, size_hw=(50 + i, 70)) for i in range(9)]
    alone = np.concatenate([Classifier(tiny_bundle, RuntimeOptions(n_threads=1)).logits([i]) for i in images])
    for n_threads in (1, 2, 5):
        together = Classifier(tiny_bundle, RuntimeOptions(n_threads=n_threads)).logits(images)
        np.testing.assert_array_equal(together, alone)


def test_the_file_takes_batches_and_larger_photos(
    tiny: SimpleNamespace, tiny_bundle: Bundle, options: RuntimeOptions
) -> None:
    run = open_network(tiny_bundle.model_path, options)
    features, logits = run(to_batch([tiny.make_photo(i, size_hw=(128, 96)) for i in range(3)]))
    assert features.shape == (3, 2, 16, 12) and logits.shape == (3, 2)


def test_no_images(tiny_bundle: Bundle) -> None:
    classifier = Classifier(tiny_bundle)
    assert classifier.logits([]).shape == (0, 2) and len(classifier.predict([])) == 0
    with pytest.raises(ValueError, match="at least one image"):
        classifier.outputs([])


def test_a_wrong_array_is_refused_with_a_remedy(tiny_bundle: Bundle) -> None:
    image = np.zeros((64, 48, 3), np.uint8)
    for given, message in (
        ([np.zeros((3, 64, 64), np.float32)], r"an image \(H, W, 3\) uint8 RGB; got an array \(3, 64, 64\)"),
        (image, r"a list of images; got one, \(64, 48, 3\). Give \[image\]"),
        (list(image), r"got an array \(48, 3\) uint8. It looks like a row of one: give \[image\]"),
        (image[..., 0], r"a list of images, each \(H, W, 3\) uint8 RGB; got an array \(64, 48\) uint8"),
        ("a.jpg", r"Give \[flawmap.read_image\(path\)\]"),
    ):
        with pytest.raises(OptionError, match=message):
            Classifier(tiny_bundle).predict(given)  # type: ignore[arg-type]


def test_answers_come_one_by_one_too(tiny_bundle: Bundle) -> None:
    model = Classifier(tiny_bundle)
    images = [np.full((64, 48, 3), value, np.uint8) for value in (20, 200)]
    found = model.predict(images)
    answers = list(found)
    assert len(answers) == len(found) == 2
    for i, (image, answer) in enumerate(zip(images, answers, strict=True)):
        assert answer == model.answer(model.prepare(image)) and answer.mask is None
        assert answer.label == found.texts[i] and answer.flaw_score == found.flaw_scores[i]


@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_a_file_that_is_no_model_is_refused_in_one_line(
    tmp_path: Path, options: RuntimeOptions, content: bytes
) -> None:
    (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(BundleError, match="no model that flawmap can run") as caught:
        open_network(tmp_path / "model.onnx", options)
    assert "\n" not in str(caught.value)


def test_a_file_with_other_outputs_is_refused(options: RuntimeOptions) -> None:
    from onnx import TensorProto, helper

    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])],
        "other",
        [value("x", TensorProto.FLOAT, [1])],
        [value("y", TensorProto.FLOAT, [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(BundleError, match="its inputs are"):
        open_network(model.SerializeToString(), options)


def test_openvino_that_is_not_installed_is_named(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"flawmap\[openvino\]"):
        Classifier(tiny_bundle, RuntimeOptions(runtime="openvino"))


@pytest.mark.parametrize("values", [{"runtime": "tensorrt"}, {"n_threads": 0}])
def test_wrong_options_are_refused(values: dict) -> None:
    with pytest.raises(OptionError, match="wanted"):
        RuntimeOptions(**values)


def test_temperature_softens_and_the_threshold_decides(tiny: SimpleNamespace) -> None:
    logits = np.array([[2.0, 0.0], [0.0, 2.0]], np.float32)
    warm = tiny.make_spec(thresholds=Thresholds(2.0, 0.2, 0.2, 0.5, 0, 0, 0.01, "cost"))
    found = to_predictions(logits, warm)
    np.testing.assert_allclose(found.flaw_scores, [1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))])
    assert found.texts == ("crack", "crack")
    assert found.review is not None and found.review.tolist() == [False, True]
    np.testing.assert_allclose(found.scores, found.flaw_scores)


def test_several_labels_are_joined(tiny: SimpleNamespace) -> None:
    spec = tiny.make_spec(task="multilabel", labels=("pit", "scratch", "stain"), good_labels=())
    found = to_predictions(np.array([[3.0, -3, 3], [-3, -3, -3]], np.float32), spec)
    assert found.texts == ("pit;stain", "")
    np.testing.assert_allclose(found.scores, [1 / (1 + np.exp(-3))] * 2)


def test_without_a_good_label_there_is_no_review_band(tiny: SimpleNamespace) -> None:
    """Nothing can be passed: the flaw score is 1 of any photo, and lies in any band that reaches up to 1."""
    widest = Thresholds(1.0, 0.5, 0.5, 1.0, 1.0, 1.0, 0.01, "the likeliest")
    logits = np.array([[9.0, 0.0], [0.1, 0.0]], np.float32)
    for good, wanted in (((), None), (("good",), [True, True])):
        found = to_predictions(logits, tiny.make_spec(good_labels=good, thresholds=widest))
        assert (None if found.review is None else found.review.tolist()) == wanted
        assert [answer.review for answer in found] == (wanted or [None, None])


def test_predictions_check_themselves() -> None:
    one = np.zeros(1)
    with pytest.raises(ValueError, match=r"wanted probabilities and printed \(1, 2\)"):
        Predictions(("a", "b"), np.zeros((1, 3)), np.zeros((1, 2)), one, one, one)


def test_map_keeps_order_and_draws_only_what_it_needs() -> None:
    drawn, most = [], 0

    def items():
        for i in range(200):
            drawn.append(i)
            yield i

    def work(i: int) -> int:
        time.sleep(0.002 if i % 3 == 0 else 0)
        return -i

    found = []
    for result in map_ordered(work, items(), 3):
        found.append(result)
        most = max(most, len(drawn) - len(found))
    assert found == [-i for i in range(200)] and most <= 12


def test_map_passes_errors_on_and_ends_its_threads() -> None:
    before = threading.active_count()

    def work(i: int) -> int:
        if i == 5:
            raise RuntimeError("five")
        return i

    with pytest.raises(RuntimeError, match="five"):
        list(map_ordered(work, range(50), 4))
    assert threading.active_count() == before


def test_the_cache_folder_can_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("FLAWMAP_CACHE", raising=False)
    assert cache_folder() == tmp_path / "flawmap"
    monkeypatch.setenv("FLAWMAP_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine" and cache_folder(tmp_path) == tmp_path


def test_a_classifier_serves_several_threads(tiny: SimpleNamespace, tiny_bundle: Bundle, options) -> None:
    classifier = Classifier(tiny_bundle, options)
    images = [tiny.make_photo(i) for i in range(24)]
    wanted = classifier.logits(images)
    found: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda i=i: found.update({i: classifier.logits(images)})) for i in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for logits in found.values():
        np.testing.assert_array_equal(logits, wanted)
    assert len(found) == 3


def test_average_pooling_alone_works(tiny: SimpleNamespace, tmp_path: Path) -> None:
    from flawmap.records import Cut

    head = LinearHead(np.array([[9.0, 0], [-9.0, 0]], np.float32), np.array([-4.0, 4.0], np.float32))
    spec = tiny.make_spec(cut=Cut(0, "average"))
    bundle = write_bundle(tmp_path / "m", spec, tiny.make_onnx(head, "average"), head)
    dark = np.full((64, 64, 3), 10, np.uint8)
    assert Classifier(bundle).predict([dark, 255 - dark]).texts == ("crack", "good")


def test_answers_need_no_training_framework(tiny_bundle: Bundle, photo_folder: Path) -> None:
    """As without flawmap[train]: those imports fail, and photos are still predicted and explained."""
    blocked = [
        "torch",
        "torchvision",
        "timm",
        "sklearn",
        "scipy",
        "lightning",
        "onnx",
        "safetensors",
        "lance",
    ]
    code = f"""
import sys
for name in {[*blocked, "matplotlib", "pandas"]!r}:
    sys.modules[name] = None
from flawmap.stages.explain import explain_photo
from flawmap.stages.predict import list_photos, predict_photos
from flawmap.tools.bundle import read_bundle
from flawmap.tools.photos import read_image
from flawmap.tools.runtime import Classifier
classifier = Classifier(read_bundle({str(tiny_bundle.folder.parent)!r}))
rows = predict_photos(classifier, list_photos([{str(photo_folder)!r}]))
print(",".join(row.label or "error" for row in rows))
print(explain_photo(classifier, read_image({str(photo_folder / "a" / "0.png")!r})).label)
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["crack,crack,crack,good,good,good,error", "crack"]
    assert done.stderr == ""
