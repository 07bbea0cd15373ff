"""The report holds every section for every kind of task, is one safe file, and is the same twice."""

import dataclasses
import re
from itertools import pairwise
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from flawmap.errors import OptionError
from flawmap.stages.report import (
    RandomSplit,
    ReportFacts,
    ReportOptions,
    write_ranking_charts,
    write_report,
)
from flawmap.stages.report.charts import best_ten_chart, ranking_chart
from flawmap.stages.report.page import SECTIONS
from flawmap.stages.report.pictures import spread_rows, to_picture
from flawmap.stages.report.svg import Scale
from flawmap.stages.report.verdict import caveats, count_outcome, verdict_sentence
from flawmap.stages.report.wording import duration, listed, number, percent, sentence, size_text
from report_facts import FOREIGN, KINDS, make_facts, make_ranking
from report_reader import Reader


def write(facts: ReportFacts, folder: Path, options: ReportOptions | None = None) -> str:
    path = folder / "out" / "report.html"
    write_report(facts, path, options or ReportOptions())
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module", params=KINDS)
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[ReportFacts, str]:
    folder = tmp_path_factory.mktemp("report")
    facts = make_facts(folder, request.param)
    return facts, write(facts, folder)


def test_every_section_is_there_and_in_the_contents(page: tuple[ReportFacts, str]) -> None:
    reader = Reader(page[1])
    ids = [a.get("id") for a in reader.all("section")]
    assert ids == [name for name, _ in SECTIONS]
    assert {f"#{name}" for name in ids} <= {a.get("href") for a in reader.all("a")}


def test_headings_follow_one_another(page: tuple[ReportFacts, str]) -> None:
    levels = [int(tag[1]) for tag, _ in Reader(page[1]).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))


def test_nothing_is_fetched_from_outside(page: tuple[ReportFacts, str]) -> None:
    for _, attributes in Reader(page[1]).tags:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/"))
    assert not re.search(r"url\((?!['\"]?data:)|@import|https?://", page[1])
    assert "<script" not in page[1]


def test_foreign_text_is_escaped(page: tuple[ReportFacts, str]) -> None:
    reader = Reader(page[1])
    assert not {"script", "b", "i", "u"} & {tag for tag, _ in reader.tags}
    assert all("onerror" not in attributes for _, attributes in reader.tags)
    assert FOREIGN in reader.text and "cut off & <u>broken</u>" in reader.text


def test_pictures_have_alternatives_and_tables_captions(page: tuple[ReportFacts, str]) -> None:
    reader = Reader(page[1])
    assert all(a.get("alt") for a in reader.all("img"))
    assert all(a.get("aria-label") for a in reader.all("svg"))
    assert len(reader.all("table")) == len(reader.all("caption"))


def test_same_facts_same_bytes(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")
    assert write(facts, tmp_path / "a") == write(facts, tmp_path / "b")


def test_missing_pieces_are_plain_sentences(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")
    bare = dataclasses.replace(
        facts,
        audit=dataclasses.replace(facts.audit, label_suspects=()),
        validation=None,
        before_training=None,
        history=(),
        contenders={},
        class_weights=(),
        random_split=None,
        heats={},
        file_sizes={},
        timings={},
        command="",
        spec=dataclasses.replace(facts.spec, winner="probe", agreement={}, options={}),
        test=dataclasses.replace(facts.test, worst=(), curves={}, metrics={}),
    )
    text = Reader(write(bare, tmp_path)).text
    for words in ("No label stands out", "No training curves", "No random split", "No curves", "No claim"):
        assert words in text


def test_a_photo_that_is_gone_leaves_a_word(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")
    for photo in facts.dataset.photos:
        photo.path.unlink()
    assert "not readable any more" in write(facts, tmp_path)


def test_pictures_stay_within_their_allowance(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (600, 800, 3), np.uint8)
    small = to_picture(noise, 300, 4_000)
    assert len(small.address) < 4_000 * 4 / 3 + 64
    assert max(small.width_px, small.height_px) <= 300
    facts = make_facts(tmp_path, "six classes", n=18)
    for photo in facts.dataset.photos:
        Image.fromarray(noise[:200, :250]).save(photo.path)
    bare = len(write(facts, tmp_path, ReportOptions(0, 0, 0)))
    options = ReportOptions(n_samples_per_class=1, n_mistakes=2, max_picture_bytes=60_000)
    assert len(write(facts, tmp_path, options)) - bare < 60_000 * 4 / 3 + 10_000


def test_the_verdict_counts_photos(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")
    outcome = count_outcome(facts, facts.test)
    # Test rows 40..59 alternate good, flawed; every fifth is wrong: rows 40 and 50 good, 45 and 55 flawed.
    assert verdict_sentence(facts, outcome).endswith(
        "found 8 of 10 flawed photos and rejected 2 of 10 good ones."
    )
    assert "7 sources" in verdict_sentence(facts, outcome)


def test_the_verdict_calls_no_source_unseen_that_training_knew(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")
    assert "7 sources it had never seen, this model" in verdict_sentence(
        facts, count_outcome(facts, facts.test)
    )
    metrics = facts.test.metrics | {"n_source_seen_in_training": 12, "are_sources_found": True}
    facts = dataclasses.replace(facts, test=dataclasses.replace(facts.test, metrics=metrics))
    outcome = count_outcome(facts, facts.test)
    said = verdict_sentence(facts, outcome)
    assert "never seen" not in said and "12 appear to have another photo of their source in training" in said
    (told,) = [c for c in caveats(facts, outcome) if c["title"] == "The given parts share sources"]
    assert told["level"] == "grave" and "the figures flatter" in told["text"]


def test_grave_caveats_come_first(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")
    metrics = facts.test.metrics | {
        "n_seen_in_training": 3,
        "interval95": {"f1": [0.4, 0.9]},
    }
    facts = dataclasses.replace(facts, test=dataclasses.replace(facts.test, metrics=metrics))
    found = caveats(facts, count_outcome(facts, facts.test))
    titles = [c["title"] for c in found if c["level"] == "grave"]
    assert titles == [c["title"] for c in found][:3]
    assert "Not shown to beat the trivial answer" in titles


def test_uneven_parts_are_told(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")
    split = dataclasses.replace(facts.split, uneven="the sources are too few")
    found = caveats(dataclasses.replace(facts, split=split), count_outcome(facts, facts.test))
    (text,) = [c["text"] for c in found if c["title"] == "The parts of the split are uneven"]
    assert text.startswith("The sources are too few. ")


def test_sources_that_nobody_named_are_told(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")
    title = "Sources were found, not given"
    assert title not in [c["title"] for c in caveats(facts, count_outcome(facts, facts.test))]
    audit = dataclasses.replace(facts.audit, group_origin="content", are_groups_found=True)
    facts = dataclasses.replace(facts, audit=audit)
    (text,) = [c["text"] for c in caveats(facts, count_outcome(facts, facts.test)) if c["title"] == title]
    assert "told from content" in text and "--group-by" in text


def test_charts_mark_the_chosen_one_and_the_control() -> None:
    ranking = make_ranking(30)
    chart = ranking_chart(ranking)
    assert chart.count('class="dot chosen"') == 2 == chart.count('class="dot control"')  # desk and phone
    assert best_ten_chart(ranking).count("ball-text") == 20
    same = dataclasses.replace(ranking, control=ranking.chosen)
    assert "also the control" in ranking_chart(same) and "dot control" not in ranking_chart(same)


def test_ranking_charts_are_files_of_their_own(tmp_path: Path) -> None:
    write_ranking_charts(make_ranking(30), tmp_path)
    for name in ("ranking.svg", "ranking_best.svg"):
        drawing = ElementTree.parse(tmp_path / name).getroot()
        assert drawing.tag.endswith("svg") and len(list(drawing.iter())) > 30


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("linear", 0, 10), ("log", 1e6, 1e9), ("logit", 0.001, 0.999)]
)
def test_scales_map_their_ends_and_hold_outliers(
    kind: Literal["linear", "log", "logit"], low: float, high: float
) -> None:
    scale = Scale(low, high, 40, 300, kind)
    assert scale(low) == pytest.approx(40) and scale(high) == pytest.approx(300)
    assert scale(high * 10) == pytest.approx(300)


def test_ticks_lie_inside() -> None:
    assert Scale(0.5, 0.5, 0, 10)(0.5) == 0
    for ticks in (Scale(1e6, 3e7, 0, 1, "log").ticks(), Scale(1e6, 1.4e6, 0, 1, "log").ticks()):
        assert ticks and all(1e6 <= tick <= 3e7 for tick in ticks)
    assert Scale(0.92, 0.97, 0, 1).ticks() == [0.92, 0.93, 0.94, 0.95, 0.96, 0.97]


def test_samples_come_from_many_sources() -> None:
    groups = [f"g{i // 10}" for i in range(60)]
    assert len({groups[row] for row in spread_rows(range(60), groups, 6)}) == 6
    assert len(set(spread_rows(range(20), groups, 6))) == 6
    assert spread_rows([3], groups, 6) == [3]
    assert spread_rows([], groups, 6) == []


def test_numbers_never_round_to_certainty() -> None:
    assert percent(0.9999) == "over 99.9\u202f%" and percent(1.0) == "100\u202f%"
    assert percent(0.0001) == "under 0.1\u202f%" and percent(0.0) == "0\u202f%"
    assert number(0.99996) == "0.99996" and number(1.0) == "1.000"
    assert number(None) == number(float("nan")) == "–"
    assert number(np.float32(0.5)) == "0.500"


def test_words() -> None:
    assert duration(0.04) == "40\u202fms" and duration(125) == "2\u202fmin"
    assert size_text(9_400_000) == "9.4\u202fMB"
    assert listed(["a", "b", "c"]) == "a, b and c"
    assert (
        sentence("fine-tuned won") == "Fine-tuned won." and sentence("tf_net is best.") == "tf_net is best."
    )


def test_options_and_claims_are_checked() -> None:
    with pytest.raises(OptionError, match="n_mistakes"):
        ReportOptions(n_mistakes=-1)
    with pytest.raises(ValueError, match="honest_f1"):
        RandomSplit(0.9, 1.9, 10)
