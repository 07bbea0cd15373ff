"""What the commands print, line by line."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from flawmap.pipeline.mask_texts import mask_evaluation_lines, unused_cost_lines
from flawmap.pipeline.texts import dataset_lines, evaluation_lines, picture_lines, split_line
from flawmap.records import Audit
from flawmap.stages.evaluate import EvaluateOptions
from flawmap.tools.words import counted
from mask_report_facts import make_mask_facts
from report_facts import make_facts


def test_no_interval_is_printed_where_no_error_was_met(tmp_path: Path) -> None:
    test = make_facts(tmp_path, "no good class").test
    perfect = {
        "macro_f1": 1.0,
        "accuracy": 1.0,
        "interval95": {"macro_f1": [1.0, 1.0], "accuracy": [0.9, 1.0]},
    }
    lines = evaluation_lines(replace(test, metrics=test.metrics | perfect | {"claims": []}), "test", "here")
    shown = {line.split("  ")[1].strip(): line for line in lines[1:]}
    assert "1.000  no error met, so no interval" in shown["macro F1"] and "[" not in shown["macro F1"]
    assert "1.000  [0.900, 1.000]" in shown["accuracy"]


def test_a_figure_that_is_all_wrong_is_not_said_to_have_met_no_error(tmp_path: Path) -> None:
    test = make_facts(tmp_path, "no good class").test
    wrong = {"macro_f1": 0.0, "n_groups": 3, "claims": [], "interval95": {"macro_f1": [0.0, 0.0]}}
    lines = evaluation_lines(replace(test, metrics=test.metrics | wrong), "test", "here")
    assert any("0.000  no interval: too few sources" in line for line in lines)


def test_good_photos_are_counted_where_no_label_is_good(tmp_path: Path) -> None:
    masked = make_mask_facts(tmp_path, "one kind").dataset
    n_good = sum(not any(len(runs) for runs in mask.runs) for mask in masked.masks)
    names = tuple(photo.name for photo in masked.photos)
    audit = Audit(groups=names, group_origin="photos", class_counts={"crack": 7})
    assert n_good and f" (7 crack); {n_good} good; " in dataset_lines(masked, audit)[0]
    named = replace(masked, labels=("ok",), good_labels=("ok",), masks=())
    assert "; good: ok; " in dataset_lines(named, audit)[0]


def test_what_is_counted_agrees_with_its_noun(tmp_path: Path) -> None:
    assert counted(1, "photo") == "1 photo" and counted(1200, "photo") == "1,200 photos"
    assert counted(2, "box", "boxes") == "2 boxes" and counted(0, "label") == "0 labels"
    facts = make_facts(tmp_path, "two classes", 9)
    assert "train 3 (1 source)" in split_line(facts.split)
    one = replace(facts.test, metrics=facts.test.metrics | {"n": 1, "claims": []})
    assert evaluation_lines(one, "test", "here")[0] == "test: 1 photo here"


def test_where_no_label_is_good_the_option_is_named(tmp_path: Path) -> None:
    remedy = "good: none (if a label is, name it: --good (Python: options.dataset.good))"
    for kind, is_said in (("no good class", True), ("two classes", False), ("several labels", False)):
        facts = make_facts(tmp_path, kind, 9)
        assert (remedy in dataset_lines(facts.dataset, facts.audit)[0]) == is_said


def test_sizes_and_brightness_are_a_line(tmp_path: Path) -> None:
    sizes = {"640 × 480": 5, "64 × 64": 1, "10 × 8": 1, "8 × 8": 1}
    summary = {"sizes": sizes, "n_sizes": 4, "brightness": {"p5": 80.2, "median": 120.0, "p95": 160.0}}
    audit = replace(make_facts(tmp_path, "two classes", 9).audit, summary=summary)
    assert picture_lines(audit) == (
        "  width × height: 640 × 480 (5 photos), 64 × 64 (1 photo), 10 × 8 (1 photo) and 1 other size; "
        "median brightness 120 of 255, 80 to 160 for nine in ten photos",
    )


def test_costs_are_not_for_masks() -> None:
    assert unused_cost_lines(EvaluateOptions()) == ()
    assert "have no effect" in unused_cost_lines(EvaluateOptions(cost_miss=3.0))[0]


def test_each_kind_of_flaw_has_its_dice_with_an_interval(tmp_path: Path) -> None:
    test = make_mask_facts(tmp_path, "several kinds").test
    figures = {"n_photos_with": 9, "n_groups_with": 4, "flaw_dice": 0.7}
    per_class = {
        "crack": figures | {"interval95": {"flaw_dice": [0.61, 0.8]}},
        "dent": figures | {"interval95": {"flaw_dice": [0.7, 0.7]}},
        "stain": figures | {"flaw_dice": None, "n_photos_with": 0},
    }
    lines = mask_evaluation_lines(replace(test, metrics=test.metrics | {"per_class": per_class}), "test", "")
    assert "  crack: flaw Dice 0.700  [0.610, 0.800] (9 photos)" in lines
    assert "  dent: flaw Dice 0.700  no interval: too few sources (9 photos)" in lines
    assert "  stain: no photo shows it (0 photos)" in lines


def test_ceilings_are_printed_in_words(tmp_path: Path) -> None:
    test = make_mask_facts(tmp_path, "one kind").test
    ceilings = {"ods_f1": 0.7, "ois_f1": 0.8, "ods_f1_tolerant": 0.71, "ois_f1_tolerant": 0.81}
    text = "\n".join(mask_evaluation_lines(replace(test, metrics=test.metrics | ceilings), "test", "here"))
    assert "ceiling of F1: 0.700 at the best threshold for all photos (ODS), 0.800 at the best for" in text
    assert "ceiling of F1 within 2 px: 0.710" in text and "ods_f1" not in text
    none = dict.fromkeys(ceilings)
    bare = mask_evaluation_lines(replace(test, metrics=test.metrics | none), "test", "here")
    assert not any("ceiling of" in line for line in bare)
