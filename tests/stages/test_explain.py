"""The map sums to the logit, lies over the right pixels, and is drawn as it is described."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from flawmap.errors import OptionError
from flawmap.records import LinearHead, Pooling, Preprocessing, Thresholds
from flawmap.stages.explain import (
    WEAK,
    activation_map,
    draw_explanation,
    draw_heat,
    explain_photo,
    to_colours,
    to_margins,
    to_photo_heat,
    to_top,
    write_explanation,
)
from flawmap.tools.bundle import Bundle, write_bundle
from flawmap.tools.runtime import Classifier


@pytest.fixture(scope="module")
def classifier(tiny_bundle: Bundle) -> Classifier:
    return Classifier(tiny_bundle)


def random_head(rng: np.random.Generator, n_labels: int, n_inputs: int) -> LinearHead:
    weight = rng.normal(size=(n_labels, n_inputs)).astype(np.float32)
    return LinearHead(weight, rng.normal(size=n_labels).astype(np.float32))


@settings(deadline=None, max_examples=40)
@given(
    seed=st.integers(0, 10**6),
    k=st.integers(1, 12),
    size=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    n_labels=st.integers(1, 5),
    pooling=st.sampled_from(["average", "average+maximum"]),
)
def test_the_map_sums_to_the_logit(
    seed: int, k: int, size: tuple[int, int], n_labels: int, pooling: Pooling
) -> None:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(k, *size)).astype(np.float32)
    pooled = features.mean(axis=(1, 2))
    if pooling == "average+maximum":
        pooled = np.concatenate([pooled, features.max(axis=(1, 2))])
    head = random_head(rng, n_labels, len(pooled))
    for i, logit in enumerate(head.weight @ pooled + head.bias):
        cells = activation_map(features, head, i, pooling)
        assert cells.shape == size
        assert cells.sum() + head.bias[i] == pytest.approx(logit, abs=1e-4)


def test_the_average_branch_is_the_class_activation_map() -> None:
    rng = np.random.default_rng(0)
    features, head = rng.normal(size=(5, 3, 4)), random_head(rng, 2, 5)
    wanted = np.einsum("k,kij->ij", head.weight[1], features) / 12
    np.testing.assert_allclose(activation_map(features, head, 1, "average"), wanted, rtol=1e-6)


def test_the_maximum_branch_stands_at_its_cell() -> None:
    features = np.zeros((2, 3, 3), np.float32)
    features[0, 2, 1], features[1, 0, 0] = 5, 7
    head = LinearHead(np.array([[0, 0, 2, -1]], np.float32), np.zeros(1, np.float32))
    wanted = np.zeros((3, 3))
    wanted[2, 1], wanted[0, 0] = 10, -7
    np.testing.assert_array_equal(activation_map(features, head, 0, "average+maximum"), wanted)


def test_a_head_of_another_width_is_refused() -> None:
    head = LinearHead(np.ones((2, 4), np.float32), np.zeros(2, np.float32))
    with pytest.raises(ValueError, match=r"need features .* 4 inputs over average; got \(2, 3, 3\)"):
        activation_map(np.zeros((2, 3, 3), np.float32), head, 0, "average")


@pytest.mark.parametrize("n_labels", [2, 3, 6])
def test_margins_do_not_change_with_a_shift_of_all_logits(n_labels: int) -> None:
    rng = np.random.default_rng(n_labels)
    head = random_head(rng, n_labels, 4)
    shifted = LinearHead(head.weight + rng.normal(size=4).astype(np.float32), head.bias + 3)
    for values in (to_margins(head, 1.5, False), to_margins(shifted, 1.5, False)):
        logits = head.weight @ np.ones(4) + head.bias
        wanted = [(x - np.delete(logits, i).mean()) / 1.5 for i, x in enumerate(logits)]
        np.testing.assert_allclose(values.weight @ np.ones(4) + values.bias, wanted, atol=1e-5)


def test_margins_of_several_labels_are_their_logits() -> None:
    head = random_head(np.random.default_rng(0), 3, 4)
    np.testing.assert_allclose(to_margins(head, 2.0, True).weight, head.weight / 2)


@pytest.mark.parametrize("crack_at", [0, 24, 56])
def test_the_heat_lies_on_the_crack(classifier: Classifier, tiny: SimpleNamespace, crack_at: int) -> None:
    found = explain_photo(classifier, tiny.make_photo(3, crack_at=crack_at))
    assert found.label == "crack" and found.score > 0.99
    row = int(np.unravel_index(found.heat.argmax(), found.heat.shape)[0])
    assert crack_at <= row < crack_at + 8


def test_the_margin_is_the_log_odds_of_the_score(tiny: SimpleNamespace, tmp_path: Path) -> None:
    spec = tiny.make_spec(thresholds=Thresholds(1.7, 0.5, 0.2, 0.8, 0, 0, 0.01, ""))
    head = tiny.make_head()
    classifier = Classifier(write_bundle(tmp_path / "m", spec, tiny.make_onnx(head), head))
    for label in ("crack", "good"):
        found = explain_photo(classifier, tiny.make_photo(0, crack_at=8), label)
        assert found.score == pytest.approx(1 / (1 + np.exp(-found.margin)), abs=1e-5)
        assert found.cells.sum() + found.bias == pytest.approx(found.margin, abs=1e-4)


def test_any_label_can_be_explained(classifier: Classifier, tiny: SimpleNamespace) -> None:
    image = tiny.make_photo(0, crack_at=8)
    crack, good = explain_photo(classifier, image), explain_photo(classifier, image, "good")
    assert (crack.label, good.label) == ("crack", "good")
    np.testing.assert_allclose(crack.cells, -good.cells, atol=1e-5)
    with pytest.raises(OptionError, match="knows no label 'rust'; it knows: crack, good"):
        explain_photo(classifier, image, "rust")


@pytest.mark.parametrize("size_hw", [(64, 64), (200, 64), (50, 120), (3, 200), (1, 1), (640, 640)])
def test_the_heat_has_the_photos_size(classifier: Classifier, tiny: SimpleNamespace, size_hw) -> None:
    heat = explain_photo(classifier, tiny.make_photo(0, size_hw=size_hw)).heat
    assert heat.shape == size_hw and heat.dtype == np.float32 and np.isfinite(heat).all()


def test_the_padding_is_cut_away() -> None:
    """A photo 2:1 lies in the middle half of a square input: heat in the padding lies outside the photo."""
    preprocessing = Preprocessing((64, 64), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    cells = np.zeros((8, 8))
    cells[:2], cells[6:] = 9, 9
    cells[2, :4] = 1  # the first row of cells within the photo, its left half
    heat = to_photo_heat(cells, (100, 200), preprocessing)
    assert heat.shape == (100, 200)
    assert heat[30:70].max() < 1
    assert heat[11:14, :80].min() > 0.8 > 0.1 > abs(heat[30:70, 130:]).max()
    inside = to_photo_heat(np.pad(np.ones((4, 8)), ((2, 2), (0, 0))), (100, 200), preprocessing)
    assert inside[40:60].min() > 0.95


def test_the_heat_is_not_mirrored_or_turned() -> None:
    preprocessing = Preprocessing((64, 64), (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    cells = np.zeros((8, 8))
    cells[1, 6] = 1
    heat = to_photo_heat(cells, (320, 320), preprocessing)
    row, column = np.unravel_index(heat.argmax(), heat.shape)
    assert abs(row - 60) < 12 and abs(column - 260) < 12  # the cell's centre: (1.5, 6.5) × 40 px


def test_drawing_shows_where_and_only_positive_evidence() -> None:
    image = np.full((60, 60, 3), 120, np.uint8)
    heat = np.zeros((60, 60), np.float32)
    heat[:20], heat[40:] = 4, -4
    drawn = draw_heat(image, heat).astype(int)
    assert drawn.shape == image.shape
    assert np.abs(drawn[5:15, 5:15] - 120).max() > 80
    assert (drawn[45:] == 120).all()


def test_weak_evidence_stays_pale() -> None:
    image = np.full((30, 30, 3), 120, np.uint8)
    weak = draw_heat(image, np.full((30, 30), WEAK / 20, np.float32)).astype(int)
    strong = draw_heat(image, np.full((30, 30), WEAK * 20, np.float32)).astype(int)
    assert np.abs(weak - 120).max() < 40 < np.abs(strong - 120).max()
    assert to_top(np.full((2, 2), -1.0)) == WEAK


def test_the_colours_grow_lighter() -> None:
    lightness = to_colours(np.linspace(0, 1, 50)) @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > 0).all()


def test_a_heat_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match=r"need a heat of the image's size \(4, 5\); got \(5, 4\)"):
        draw_heat(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4), np.float32))


@pytest.mark.parametrize("size_hw", [(40, 60), (900, 300), (2, 300)])
def test_the_picture_holds_photo_heat_and_legend(
    classifier: Classifier, tiny: SimpleNamespace, size_hw: tuple[int, int], tmp_path: Path
) -> None:
    image = tiny.make_photo(0, size_hw=size_hw)
    found = explain_photo(classifier, image)
    picture = draw_explanation(image, found)
    assert picture.dtype == np.uint8 and picture.shape[2] == 3
    for name in ("a.png", "b.jpg"):
        write_explanation(image, found, tmp_path / "new" / name)
        with Image.open(tmp_path / "new" / name) as written:
            assert written.size == picture.shape[1::-1]
    assert len(list((tmp_path / "new").iterdir())) == 2


@pytest.mark.parametrize(("strongest", "is_drawn"), [(0.2, False), (2.0, True)])
def test_the_caption_promises_a_line_where_one_is_drawn(
    classifier: Classifier,
    tiny: SimpleNamespace,
    strongest: float,
    is_drawn: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    image = tiny.make_photo(0, size_hw=(640, 640))
    heat = np.zeros((640, 640), np.float32)
    heat[200:400, 200:400] = strongest
    told: list[str] = []
    monkeypatch.setattr("flawmap.stages.explain._shorten", lambda text, *_: told.append(text) or "")
    draw_explanation(image, replace(explain_photo(classifier, image), heat=heat))
    drawn = draw_heat(np.full_like(image, 60), heat)
    assert (drawn.min(axis=2) > 200).any() == is_drawn
    assert any("Line: half of the brightest" in one for one in told) == is_drawn


def test_other_formats_are_refused(classifier: Classifier, tiny: SimpleNamespace, tmp_path: Path) -> None:
    image = tiny.make_photo(0)
    with pytest.raises(OptionError, match=r"Name it \.png or"):
        write_explanation(image, explain_photo(classifier, image), tmp_path / "heat.txt")
