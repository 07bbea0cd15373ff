"""The report of a segmenter holds every section, is one safe file, and draws truth, found and difference."""

import dataclasses
import re
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from flawmap.records import MaskEvaluation, MaskRow
from flawmap.stages.report import (
    MaskPicture,
    MaskReportFacts,
    ReportOptions,
    wanted_pictures,
    write_mask_report,
)
from flawmap.stages.report.mask_drawing import draw_outline, draw_panels, to_differences
from flawmap.stages.report.mask_examples import chosen_rows
from flawmap.stages.report.mask_model import mask_agreement_words
from flawmap.stages.report.mask_page import SECTIONS
from flawmap.stages.report.mask_verdict import count_masks, mask_caveats, verdict_sentence
from mask_report_facts import CASCADE, FOREIGN, KINDS, make_mask_facts
from report_reader import Reader


def write(facts: MaskReportFacts, folder: Path, options: ReportOptions | None = None) -> str:
    path = folder / "out" / "report.html"
    write_mask_report(facts, path, options or ReportOptions())
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=KINDS)
def page(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[MaskReportFacts, str]:
    folder = tmp_path_factory.mktemp("report")
    facts = make_mask_facts(folder, request.param)
    return facts, write(facts, folder)


def test_every_section_is_there_and_in_the_contents(page: tuple[MaskReportFacts, str]) -> None:
    reader = Reader(page[1])
    ids = [a.get("id") for a in reader.all("section")]
    assert ids == [name for name, _ in SECTIONS if name != "chain"]
    assert {f"#{name}" for name in ids} <= {a.get("href") for a in reader.all("a")}
    levels = [int(tag[1]) for tag, _ in reader.tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(after <= before + 1 for before, after in pairwise(levels))


def test_it_is_one_safe_file(page: tuple[MaskReportFacts, str]) -> None:
    reader = Reader(page[1])
    for _, attributes in reader.tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/"))
    assert not re.search(r"url\((?!['\"]?data:)|@import|https?://", page[1])
    assert not {"script", "b", "i", "u"} & {tag for tag, _ in reader.tags}
    assert FOREIGN in reader.text and "cut off & <u>broken</u>" in reader.text
    assert all(a.get("alt") for a in reader.all("img"))
    assert all(a.get("aria-label") for a in reader.all("svg"))
    assert len(reader.all("table")) == len(reader.all("caption"))


def test_every_cell_that_a_phone_shows_by_itself_has_its_name(page: tuple[MaskReportFacts, str]) -> None:
    tables = re.findall(r'<table class="[^"]*stacked.*?</table>', page[1], re.DOTALL)
    assert tables
    assert all("data-name" in cell for table in tables for cell in re.findall("<td[^>]*>", table))


def test_ceilings_stand_apart_from_the_figures(page: tuple[MaskReportFacts, str]) -> None:
    before, after = page[1].split('<div class="ceiling">')
    assert "ODS" in after and "ODS" not in before and "Empty answer" in before


def test_the_table_of_kinds_breaks_its_lines_instead_of_running_off_the_page(tmp_path: Path) -> None:
    text = write(make_mask_facts(tmp_path, "several kinds"), tmp_path)
    table = text[text.index("Figures per kind of flaw on the test part") :]
    assert all(f'data-name="{name}"' in table for name in ("Flaw Dice", "Escape rate", "Overkill rate"))
    assert '<table class="stacked kinds">' in text and ".kinds .n { white-space: normal; }" in text


def test_a_figure_above_its_ceiling_is_told(tmp_path: Path) -> None:
    facts = make_mask_facts(tmp_path, "several kinds")
    dice = facts.test.metrics["dice"]
    words = "Where this model lies above a ceiling, cleaning or a threshold for each kind of flaw does better"
    high = {"ods_f1": 1.0, "ods_f1_tolerant": 1.0, "ois_f1": 1.0, "ois_f1_tolerant": 1.0}
    assert words in Reader(write(changed_metrics(facts, **high | {"ods_f1": dice - 0.1}), tmp_path)).text
    assert "lies above a ceiling" not in Reader(write(changed_metrics(facts, **high), tmp_path)).text


def test_the_share_of_changed_pixels_reads_well() -> None:
    words = mask_agreement_words({"n_photos": 8, "pixels_changed": {"onnxruntime": 3e-8}})
    assert "in onnxruntime: under 0.001\u202f% of the pixels change sides" in words
    words = mask_agreement_words({"n_photos": 8, "pixels_changed": {"onnxruntime": 0.002}})
    assert "at most 0.200\u202f% of the pixels" in words


def test_examples_are_drawn_four_times(page: tuple[MaskReportFacts, str]) -> None:
    facts, text = page
    names = wanted_pictures(facts.test, ReportOptions())
    assert len(names) == len(set(names)) > 0
    alts = [a.get("alt") or "" for a in Reader(text).all("img")]
    for name in names:
        assert {f"{what} of {name}" for what in ("Photo", "Truth", "Found", "Difference")} <= set(alts)
    assert ("found, but as another kind" in text) == (len(facts.spec.labels) > 1)


def test_the_verdict_counts_photos(tmp_path: Path) -> None:
    facts = make_mask_facts(tmp_path, "one kind")
    # Test rows 40..59: even ones are good, every fourth of them with a false alarm; odd ones are flawed, and
    # 49 and 59 got nothing.
    outcome = count_masks(facts)
    wrong = [row.name for row in outcome.overkilled]
    assert wrong == ["040.png", "044.png", "048.png", "052.png", "part & <b>056</b>.png"]
    assert sorted(row.name for row in outcome.escaped) == ["059.png", "part & <b>049</b>.png"]
    assert verdict_sentence(facts, outcome).endswith(
        "on 8 of 10 flawed photos and something on 5 of 10 good ones."
    )
    text = Reader(write(facts, tmp_path)).text
    assert "2 of the 10 flawed test photos got no mark" in text and "no mark lies on the flaw" not in text


def test_a_mark_beside_the_flaw_is_not_called_found(tmp_path: Path) -> None:
    facts = make_mask_facts(tmp_path, "one kind")
    rows = list(facts.test.rows)
    for i in [i for i, row in enumerate(rows) if row.true_px and row.found_px][:3]:
        rows[i] = dataclasses.replace(rows[i], dice=0.0)
    facts = dataclasses.replace(facts, test=dataclasses.replace(facts.test, rows=tuple(rows)))
    outcome = count_masks(facts)
    assert len(outcome.beside) == 3 and len(outcome.escaped) == 2
    assert "marked the flaw on 5 of 10 flawed photos (on 3 more only" in verdict_sentence(facts, outcome)
    text = Reader(write(facts, tmp_path)).text
    assert "On 3 more no mark lies on the flaw" in text and "marked beside the flaw" in text


def changed_metrics(facts: MaskReportFacts, **changes: object) -> MaskReportFacts:
    return dataclasses.replace(
        facts, test=dataclasses.replace(facts.test, metrics=facts.test.metrics | changes)
    )


def test_kinds_that_are_not_found_are_the_first_caveat(tmp_path: Path) -> None:
    facts = make_mask_facts(tmp_path, "several kinds")

    def first(**dice: float | None) -> dict[str, str]:
        kinds = {name[1:]: {"flaw_dice": value, "n_photos_with": 30} for name, value in dice.items()}
        changed = changed_metrics(facts, per_class=kinds, n_seen_in_training=3)
        return mask_caveats(changed, count_masks(changed))[0]

    assert first(_1=0.6, _2=0.09, _3=0.1, _4=0.0)["title"] == ("2 of 4 kinds are practically not found: 2, 4")
    assert "0.090 for kind 2 and 0.000 for kind 4" in first(_1=0.6, _2=0.09, _4=0.0)["text"]
    assert first(_1=0.6, _dent=0.0)["title"] == "1 of 2 kinds is practically not found: dent"
    assert first(_dent=0.0)["title"] == "The flaws are practically not found"
    assert "practically" not in first(_1=0.6, _2=None)["title"]  # no test photo shows it: nothing to find


def test_a_fall_from_validation_to_test_is_told(tmp_path: Path) -> None:
    facts = make_mask_facts(tmp_path, "one kind")

    def text(validation: dict[str, float], **test: float) -> str:
        metrics = facts.validation.metrics | {"n": 90, "n_with_flaw": 50} | validation
        changed = dataclasses.replace(
            changed_metrics(facts, **test), validation=dataclasses.replace(facts.validation, metrics=metrics)
        )
        found = mask_caveats(changed, count_masks(changed))
        return next((c["text"] for c in found if c["title"].startswith("Much worse")), "")

    before = {"flaw_dice": 0.6, "dice": 0.6, "overkill_rate": 0.1}
    assert text(before, flaw_dice=0.5, dice=0.5, overkill_rate=0.25) == ""
    assert "flaw Dice fell from 0.600 to 0.300:" in text(before, flaw_dice=0.3, dice=0.5, overkill_rate=0.1)
    worse = text(before, flaw_dice=0.5, dice=0.3, overkill_rate=0.4)
    assert "test Dice fell from 0.600 to 0.300 and the overkill rate rose from 10.0" in worse
    quiet = before | {"overkill_rate": 0.0}
    assert not text(quiet, flaw_dice=0.5, dice=0.5, overkill_rate=0.07)  # less than three photos in forty
    assert text(quiet, flaw_dice=0.5, dice=0.5, overkill_rate=0.1)


def test_kinds_with_numbers_are_told_how_they_get_names(tmp_path: Path) -> None:
    facts = make_mask_facts(tmp_path, "several kinds")

    def texts(labels: tuple[str, ...], layout: str) -> str:
        kinds = dict(zip(labels, facts.test.metrics["per_class"].values(), strict=True))
        dataset = dataclasses.replace(facts.dataset, labels=labels, layout=layout)
        changed = dataclasses.replace(changed_metrics(facts, per_class=kinds), dataset=dataset)
        return " ".join(c["text"] for c in mask_caveats(changed, count_masks(changed)))

    numbers = ("1", "2", "3")
    runs, images = "photos and runs of masks in train.csv", "parts (train, test) with photos and masks"
    assert "classes.txt" in texts(numbers, runs) and "classes.txt" in texts(numbers, images)
    assert "show kind 1 (" in texts(numbers, runs)
    assert "classes.txt" not in texts(numbers, "COCO masks in annotations.json")
    assert "classes.txt" not in texts(("1", "2", "crack"), runs)


def test_the_verdict_calls_no_source_unseen_that_training_knew(tmp_path: Path) -> None:
    facts = make_mask_facts(tmp_path, "one kind")
    assert "it had never seen, this model marked" in verdict_sentence(facts, count_masks(facts))
    metrics = facts.test.metrics | {"n_source_seen_in_training": 1, "are_sources_found": False}
    facts = dataclasses.replace(facts, test=dataclasses.replace(facts.test, metrics=metrics))
    said = verdict_sentence(facts, count_masks(facts))
    assert "never seen" not in said and "1 has another photo of its source in training), this model" in said
    assert "The given parts share sources" in [c["title"] for c in mask_caveats(facts, count_masks(facts))]


def test_grave_caveats_come_first(tmp_path: Path) -> None:
    facts = make_mask_facts(tmp_path, "all flawed")
    metrics = facts.test.metrics | {"n_seen_in_training": 3}
    facts = dataclasses.replace(facts, test=dataclasses.replace(facts.test, metrics=metrics))
    found = mask_caveats(facts, count_masks(facts))
    grave = [c["title"] for c in found if c["level"] == "grave"]
    assert grave == [c["title"] for c in found][: len(grave)]
    assert {"The test part holds no good photo", "Test photos were seen in training"} <= set(grave)


def test_masks_to_check_are_named(tmp_path: Path) -> None:
    facts = make_mask_facts(tmp_path, "one kind")
    name = facts.test.rows[facts.test.worst[0]].name
    flawed = next(row.name for row in facts.validation.rows if row.true_px)
    test, validation = (
        dataclasses.replace(part, metrics=part.metrics | {"masks_to_check": [one]})
        for part, one in ((facts.test, name), (facts.validation, flawed))
    )
    changed = dataclasses.replace(facts, test=test, validation=validation)
    assert "Masks to check" not in {c["title"] for c in mask_caveats(facts, count_masks(facts))}
    text = next(
        c["text"] for c in mask_caveats(changed, count_masks(changed)) if c["title"] == "Masks to check"
    )
    assert f"{name} (test), {flawed} (validation)" in text


def test_a_score_that_good_photos_give_away_is_called_so(tmp_path: Path) -> None:
    facts = make_mask_facts(tmp_path, "several kinds")

    def titles(low: float) -> set[str]:
        interval = facts.test.metrics["interval95"] | {"severstal_score": [low, 0.99]}
        metrics = facts.test.metrics | {"severstal_score_empty": 0.9, "interval95": interval}
        changed = dataclasses.replace(facts, test=dataclasses.replace(facts.test, metrics=metrics))
        return {c["title"] for c in mask_caveats(changed, count_masks(changed))}

    assert "Severstal score not shown to beat an empty answer" in titles(0.89)
    assert "Severstal score not shown to beat an empty answer" not in titles(0.91)


def test_a_chain_has_its_section(tmp_path: Path) -> None:
    facts = dataclasses.replace(make_mask_facts(tmp_path, "several kinds"), cascade=CASCADE)
    text = write(facts, tmp_path)
    assert '<section id="chain"' in text and 'href="#chain"' in text
    words = Reader(text).text
    assert "9.0 times as fast" in words and "8 % slower" in words
    assert "on the validation part, by the mask network alone" in words
    compared = text[text.index("Rules on the validation part") :]
    rows = re.findall("<tr.*?</tr>", compared)[1:4]
    assert [Reader(row).text for row in rows] == [
        "nothing is done0.6201.2\u202f%0.750",
        "its smallest area is up to 4 times as large0.6151.2\u202f%0.750",
        "its mask is dropped0.6101.2\u202f%0.750",
    ]
    assert ["chosen-row" in row for row in rows] == [False, False, True]
    assert not re.search("is chosen|overkill_rate|>overkill rate<|>yes<", compared)


def test_missing_pieces_are_plain_sentences(tmp_path: Path) -> None:
    facts = make_mask_facts(tmp_path, "one kind")
    bare = dataclasses.replace(
        facts,
        history=(),
        choice_rows=(),
        choice_figures={},
        training_note="",
        n_parameters=None,
        pictures={},
        file_sizes={},
        timings={},
        command="",
        spec=dataclasses.replace(facts.spec, agreement={}, options={}),
    )
    text = Reader(write(bare, tmp_path)).text
    for words in ("No training curves", "Not drawn.", "The command was not recorded"):
        assert words in text
    for photo in facts.dataset.photos:
        photo.path.unlink()
    assert "not readable any more" in write(bare, tmp_path)


@pytest.mark.parametrize("level", [1, 246, 255])
def test_a_threshold_at_the_end_of_the_range_is_called_so(level: int, tmp_path: Path) -> None:
    facts = make_mask_facts(tmp_path, "one kind")
    row = next(row for row in facts.choice_rows if row["step"] == "threshold")
    moved = dataclasses.replace(facts, choice_rows=({**row, "threshold": level / 256, "is_chosen": True},))
    is_said = "end of the range that was tried" in Reader(write(moved, tmp_path)).text
    assert is_said == (level in (1, 255))


@pytest.mark.slow
def test_same_facts_same_bytes_within_the_allowance(tmp_path: Path) -> None:
    facts = make_mask_facts(tmp_path, "several kinds")
    assert write(facts, tmp_path / "a") == write(facts, tmp_path / "b")
    noise = np.random.default_rng(0).integers(0, 255, (400, 600, 3), np.uint8)
    empty = np.zeros((3, 400, 600), bool)
    facts = dataclasses.replace(
        facts, pictures={name: MaskPicture(noise, empty, empty) for name in facts.pictures}
    )
    bare = len(write(facts, tmp_path, ReportOptions(n_samples_per_class=0, n_examples=0)))
    options = ReportOptions(n_samples_per_class=0, n_examples=2, max_picture_bytes=100_000)
    assert len(write(facts, tmp_path, options)) - bare < 100_000 * 4 / 3 + 10_000


def test_wanted_pictures_are_best_typical_worst_each_once() -> None:
    def row(name: str, dice: float) -> MaskRow:
        return MaskRow(name, dice, None, 10, 10)

    rows = tuple(row(f"{i}", d) for i, d in enumerate((1.0, 0.9, 0.6, 0.5, 0.1, 0.0)))
    test = MaskEvaluation({}, rows, best=(0, 1, 2, 3), typical=(2, 3, 1, 4), worst=(5, 4, 3, 0))
    assert wanted_pictures(test, ReportOptions(n_examples=2)) == ("0", "1", "2", "3", "5", "4")
    perfect = MaskEvaluation({}, rows[:1], best=(0,), typical=(0,), worst=(0,))
    assert wanted_pictures(perfect, ReportOptions()) == ("0",)


def test_false_alarms_do_not_push_missed_flaws_out_of_the_worst() -> None:
    alarms = [MaskRow(f"alarm {i}", 0.0, None, 0, 900 + i) for i in range(4)]
    missed = [MaskRow("small", 0.0, 0.0, 10, 0), MaskRow("large", 0.0, 0.0, 50, 0)]
    poor, quiet = MaskRow("poor", 0.1, 0.2, 50, 50), MaskRow("quiet", 1.0, None, 0, 0)

    def worst(*rows: MaskRow, n: int = 3) -> list[str]:
        test = MaskEvaluation({}, rows, best=(), typical=(), worst=())
        return [rows[row].name for row in chosen_rows(test, ReportOptions(n_examples=n))["worst"]]

    assert worst(*alarms, *missed, poor, quiet) == ["large", "small", "alarm 3"]
    assert worst(*alarms, *missed, poor, quiet, n=5) == ["large", "small", "poor", "alarm 3", "alarm 2"]
    assert worst(*alarms, missed[0], n=3) == ["small", "alarm 3", "alarm 2"]
    assert worst(*missed, poor, quiet) == ["large", "small", "poor"]
    assert worst(*alarms, n=1) == ["alarm 3"] and worst(*alarms, poor, n=1) == ["poor"]


def test_differences_are_right_missed_false_and_another_kind() -> None:
    truth = np.array([[[1, 1, 0, 0]], [[0, 0, 0, 1]]], bool)
    found = np.array([[[1, 0, 1, 1]], [[0, 0, 0, 0]]], bool)
    right, missed, false, other = to_differences(truth, found)
    assert right.tolist() == [[True, False, False, False]] and missed.tolist() == [
        [False, True, False, False]
    ]
    assert false.tolist() == [[False, False, True, False]] and other.tolist() == [[False, False, False, True]]


def test_panels_have_the_colours_of_the_legend() -> None:
    truth, found = np.zeros((1, 40, 60), bool), np.zeros((1, 40, 60), bool)
    truth[0, 10:20, 10:30] = True
    found[0, 10:20, 20:40] = True
    panels = draw_panels(MaskPicture(np.full((40, 60, 3), 100, np.uint8), truth, found), 60)
    difference = panels["difference"][::2, ::2]
    colours = ["".join(f"{v:02x}" for v in difference[15, x]) for x in (15, 25, 35)]
    assert [f"#{c}" for c in colours] == ["#d55e00", "#56b4e9", "#f0e442"]
    assert (panels["photo"] == 100).all() and (difference[30] == 50).all()


def test_a_crack_of_one_pixel_survives_shrinking() -> None:
    image, truth = np.full((400, 600, 3), 128, np.uint8), np.zeros((1, 400, 600), bool)
    truth[0, :, 300] = True
    panels = draw_panels(MaskPicture(image, truth, truth), 200)
    assert (panels["truth"].max(axis=(1, 2)) > 120).all()
    outlined = draw_outline(image, truth[0], 200)
    assert (outlined[60] == (0xF0, 0xE4, 0x42)).all(axis=1).any()
    assert (outlined[60, 100] == 128).all()  # the crack itself stays bare


def test_a_picture_has_masks_of_its_size() -> None:
    with pytest.raises(ValueError, match="n_labels, H, W"):
        MaskPicture(np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 5), bool), np.zeros((1, 4, 5), bool))
