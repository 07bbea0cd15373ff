"""Every pixel is looked at, places say what a crop there says, and rows read in strips change nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dense_network import make_network
from flawmap.errors import OptionError
from flawmap.records import FindingSpec, LinearHead, ModelForm
from flawmap.tools.bundle import Bundle, write_bundle
from flawmap.tools.classifier_maps import DenseClassifier, looks_as_chosen
from flawmap.tools.preprocess import resize_rows
from flawmap.tools.runtime import Classifier, RuntimeOptions

ONE = RuntimeOptions(n_threads=1)


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Bundle) -> DenseClassifier:
    return DenseClassifier(tiny_bundle, ONE)


@settings(max_examples=60, deadline=None)
@given(
    size_hw=st.tuples(st.integers(1, 150), st.integers(1, 150)),
    at=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
def test_a_flaw_anywhere_in_a_photo_of_any_size_is_seen(
    classifier: DenseClassifier, size_hw: tuple[int, int], at: tuple[float, float]
) -> None:
    y, x = (int(share * (side - 1)) for share, side in zip(at, size_hw, strict=True))
    image = np.full((*size_hw, 3), 220, np.uint8)
    image[max(0, y - 8) : y + 8, max(0, x - 8) : x + 8] = 5
    maps = classifier.score_image(image)
    assert maps.flaw_scores.shape == tuple(-(-side // 8) for side in size_hw)
    assert maps.flaw_scores[y // 8, x // 8] > 0.5


@pytest.mark.parametrize("tile_px", [64, 48])
def test_places_say_what_crops_say(tmp_path: Path, tiny: SimpleNamespace, tile_px: int) -> None:
    """This network's cells do not overlap, so that crops see what the dense pass sees."""
    head = tiny.make_head()
    spec = tiny.make_spec(tile_hw=(tile_px, tile_px))
    bundle = write_bundle(tmp_path / "model", spec, tiny.make_onnx(head), head)
    image = np.random.default_rng(3).integers(120, 256, (240, 240, 3), dtype=np.uint8)
    image[100:130] = 10
    maps, crops = DenseClassifier(bundle, ONE).score_image(image), Classifier(bundle, ONE)
    step = tile_px // 8
    for i in range(8, maps.flaw_scores.shape[0] - 8, 2):
        top = round(i * maps.cell_px) + step // 2 - tile_px // 2
        crop = image[top : top + tile_px, 64 : 64 + tile_px]
        alone = crops.predict([crop]).flaw_scores[0]
        row = maps.flaw_scores[i]
        if not 0.05 < alone < 0.95:
            assert (row[len(row) // 2] > 0.5) == (alone > 0.5)


def test_strips_give_the_same_scores(classifier: DenseClassifier, tiny: SimpleNamespace) -> None:
    image = tiny.make_photo(2, crack_at=304, size_hw=(700, 180))
    asked: list[tuple[int, int]] = []

    def read(top: int, bottom: int) -> np.ndarray:
        asked.append((top, bottom))
        return image[top:bottom]

    found = classifier.score(read, (700, 180))
    assert len(asked) > 1
    np.testing.assert_array_equal(found.flaw_scores, classifier.score_image(image).flaw_scores)


def test_rows_resized_alone_are_those_of_the_whole() -> None:
    image = np.random.default_rng(0).integers(0, 256, (300, 90, 3), dtype=np.uint8)
    for target_hw in ((338, 101), (150, 45), (300, 90)):
        whole = resize_rows(lambda a, b: image[a:b], (300, 90), target_hw, (0, target_hw[0]), "bicubic")
        part = resize_rows(lambda a, b: image[a:b], (300, 90), target_hw, (64, 128), "bicubic")
        assert np.abs(part.astype(int) - whole[64:128]).max() <= 1


def test_networks_that_see_the_whole_photo_are_shown_crops(
    tmp_path: Path, tiny: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flawmap.tools import classifier_maps
    from flawmap.tools.segments import NotLocalError

    def refuse(*_: object) -> None:
        raise NotLocalError("attention")

    monkeypatch.setattr(classifier_maps, "DenseNetwork", refuse)
    head = tiny.make_head()
    bundle = write_bundle(tmp_path / "model", tiny.make_spec(), tiny.make_onnx(head), head)
    classifier = DenseClassifier(bundle, ONE)
    assert not classifier.is_dense
    maps = classifier.score_image(tiny.make_photo(1, crack_at=200, size_hw=(300, 100)))
    assert maps.flaw_scores.shape == (10, 4)
    assert (maps.flaw_scores[6] > 0.5).all() and (maps.flaw_scores[:4] < 0.5).all()
    for size_hw in ((1, 1), (20, 65), (97, 64)):
        assert np.isfinite(classifier.score_image(tiny.make_photo(1, size_hw=size_hw)).flaw_scores).all()


@pytest.mark.parametrize("pooling", ["average", "average+maximum"])
def test_the_same_bits_whatever_the_threads(tmp_path: Path, tiny: SimpleNamespace, pooling: str) -> None:
    rng = np.random.default_rng(0)
    n_inputs = 12 if pooling == "average+maximum" else 6
    head = LinearHead(rng.normal(size=(2, n_inputs)).astype(np.float32), np.zeros(2, np.float32))
    spec = tiny.make_spec(cut=replace(tiny.make_spec().cut, pooling=pooling))
    bundle = write_bundle(tmp_path / "model", spec, make_network(head, pooling), head)
    image = rng.integers(0, 256, (700, 900, 3), dtype=np.uint8)
    found = [DenseClassifier(bundle, RuntimeOptions(n_threads=n)).score_image(image) for n in (1, 2, 3)]
    for other in found[1:]:
        assert other.probabilities.tobytes() == found[0].probabilities.tobytes()
        assert other.evidence.tobytes() == found[0].evidence.tobytes()


def test_a_runtime_other_than_that_of_the_files_is_refused(classifier: DenseClassifier) -> None:
    bundle = classifier.bundle
    reduced = replace(bundle.spec, form=ModelForm(precision="int8"))
    with pytest.raises(OptionError, match="run by onnxruntime"):
        DenseClassifier(Bundle(bundle.folder, reduced), RuntimeOptions(runtime="openvino"))


def test_limits_chosen_densely_do_not_serve_crops(tiny: SimpleNamespace) -> None:
    chosen = FindingSpec(0.5, 10, "a test")
    in_crops = replace(chosen, by_crops=True)
    spec, form = tiny.make_spec(findings=chosen), ModelForm("litert", made_from={"model.onnx": "a digest"})
    assert looks_as_chosen(spec, is_dense=False), "training looked in the same way"
    assert looks_as_chosen(replace(spec, form=form), is_dense=True)
    assert not looks_as_chosen(replace(spec, form=form), is_dense=False)
    assert looks_as_chosen(replace(spec, form=form, findings=in_crops), is_dense=False)
    assert looks_as_chosen(replace(spec, form=form, findings=None), is_dense=False)
