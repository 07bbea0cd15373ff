"""The card of a segmenter: valid front matter, honest figures, and how to use it."""

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from flawmap.records import Cleaning, HeldBackCounts, MaskSpec, ModelSpec
from flawmap.tools.card import to_card

METRICS: dict[str, Any] = {
    "n": 40,
    "tolerance_px": 2.0,
    "f1_tolerant": 0.81,
    "dice": 0.7,
    "mean_iou": 0.76,
    "severstal_score": 0.93,
    "severstal_score_empty": 0.9,
    "flaw_dice": 0.66,
    "cldice": None,
    "ods_f1": 0.999,
    "interval95": {"dice": [0.6, 0.8], "flaw_dice": None},
    "per_class": {
        "crack": {"n_photos_with": 12, "flaw_dice": 0.6, "interval95": {"flaw_dice": [0.5, 0.7]}},
        "stain": {"n_photos_with": 0, "flaw_dice": None},
    },
}


def mask_spec(tiny: SimpleNamespace, **changes: Any) -> ModelSpec:
    cleaning = Cleaning((0.5, 0.75), (0.5, 0.375), (1, 64), is_exclusive=True)
    values = {
        "task": "segmentation",
        "labels": ("crack", "stain"),
        "good_labels": (),
        "masks": MaskSpec("timm/tf_net", 4, "unet", cleaning, macs_per_px=21_000.0, flips=True),
        "metrics": {"test": METRICS},
        "agreement": {"n_photos": 8, "pixels_changed": {"onnxruntime": 1e-6, "openvino": 2e-6}},
    }
    return tiny.make_spec(**(values | changes))


def test_the_card_is_valid_front_matter_and_tells_the_honest_figures(tiny: SimpleNamespace) -> None:
    yaml = pytest.importorskip("yaml")
    card = to_card(mask_spec(tiny), None)
    _, front, text = card.split("---\n", 2)
    fields = yaml.safe_load(front)
    assert fields["pipeline_tag"] == "image-segmentation" and "tf_net" in fields["tags"]
    result = fields["model-index"][0]["results"][0]
    assert result["task"]["type"] == "image-segmentation"
    assert {m["name"]: m["value"] for m in result["metrics"]}["Dice"] == 0.7
    for section in ("## Use", "## How good it is", "## How it was made", "## Limits"):
        assert section in text
    assert "| Dice (strict F1) | 0.700 | 0.600 to 0.800 | – |" in text
    assert "| Severstal score | 0.930 | – | 0.900 |" in text
    assert "| `crack`, 12 photos | 0.600 | 0.500 to 0.700 |" in text
    assert "0.999" not in card and "clDice" not in card and "None" not in card  # no ceiling, nothing made up
    assert max(map(len, text.splitlines())) <= 110


def test_the_card_says_how_to_use_it_and_how_masks_are_made(tiny: SimpleNamespace) -> None:
    card = " ".join(to_card(mask_spec(tiny), None).split())
    assert "--masks png --out" in card and "model.find(image)" in card
    assert "`crack` from 0.5; `stain` from 0.75 (and what reaches 0.375 around it), patches of 64" in card
    assert "goes to the likeliest" in card and "three mirror images" in card
    assert "at most 2.0e-06 of the pixels change sides" in card


def test_a_chain_says_so_and_its_good_label_has_no_mask(tiny: SimpleNamespace) -> None:
    spec = mask_spec(tiny, task="cascade", labels=("crack", "good", "stain"), good_labels=("good",))
    card = " ".join(to_card(spec, tiny.make_head()).split())
    assert "A classifier looks first" in card and "`good` from" not in card


def test_the_card_without_figures_says_so(tiny: SimpleNamespace) -> None:
    card = to_card(mask_spec(tiny, metrics={}, agreement={}), None)
    assert "Not measured on held-back photos." in card and "model-index" not in card
    one = MaskSpec("net", 4, "unet", Cleaning((0.5,)))
    assert "crack" in to_card(dataclasses.replace(mask_spec(tiny), labels=("crack",), masks=one), None)


def test_held_back_photos_are_spoken_of_where_they_are_kept(tiny: SimpleNamespace) -> None:
    counts = HeldBackCounts(40, 60, 12, 20)
    head = tiny.make_head()
    for card in (
        to_card(tiny.make_spec(held_back=counts), head),
        to_card(mask_spec(tiny, held_back=counts), None),
    ):
        item = " ".join(card.split())
        assert "100 photos that" in item and "no photo can be made from them" in item
    assert "held_back" not in to_card(tiny.make_spec(), head)


def test_the_card_does_not_praise_a_kind_that_is_never_found(tiny: SimpleNamespace) -> None:
    row = {"n_photos_with": 4, "flaw_dice": 0.0, "interval95": {"flaw_dice": [0.0, 0.0]}}
    kinds = {"crack": {**row, "n_groups_with": 1}, "stain": {**row, "n_groups_with": 3}}
    card = to_card(mask_spec(tiny, metrics={"test": METRICS | {"per_class": kinds}}), None)
    assert "| `crack`, 4 photos | 0.000 | all from one source: no interval |" in card
    assert "| `stain`, 4 photos | 0.000 | no interval: too few sources |" in card


def test_no_card_denies_that_given_parts_share_sources(tiny: SimpleNamespace) -> None:
    seen = {"n_source_seen_in_training": 5, "are_sources_found": False}
    for spec, head in (
        (mask_spec(tiny, metrics={"test": METRICS | seen}), None),
        (tiny.make_spec(metrics={"test": {"n": 40, "f1": 0.9} | seen}), tiny.make_head()),
    ):
        card = " ".join(to_card(spec, head).split())
        assert "no source photo" not in card
        assert "of these photos 5 have another photo of their source in training: the figures flatter" in card
