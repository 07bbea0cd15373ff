"""What the report says is exact: which epoch, which class, how many, and nothing covers its own letters."""

import dataclasses
import re
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from flawmap.records import Cut, Epoch, Evaluation, LabelSuspect, Ranking
from flawmap.stages.report import RandomSplit, ReportFacts, ReportOptions, wanted_heats
from flawmap.stages.report.charts import best_ten_chart, ranking_chart
from flawmap.stages.report.folder import choice_section, split_section
from flawmap.stages.report.heats import mistake_label, suspect_label
from flawmap.stages.report.model import mistakes_section, suspects_section
from flawmap.stages.report.pictures import Picture
from flawmap.stages.report.results import escape_words, review_section
from flawmap.stages.report.svg import even_decimals, text_width
from flawmap.stages.report.training import kept_epoch, training_chart, training_section
from flawmap.stages.report.verdict import caveats, count_outcome, interval_text, verdict_sentence
from flawmap.stages.report.wording import number, percent
from report_facts import make_facts, make_ranking

Box = tuple[float, float, float, float]


def history(*phases: tuple[str, list[tuple[float, float]]]) -> tuple[Epoch, ...]:
    """Epochs of each phase, from pairs of validation F1 and loss."""
    return tuple(
        Epoch(name, i, 0.5 - 0.01 * i, loss, f1, 1.0)
        for name, pairs in phases
        for i, (f1, loss) in enumerate(pairs)
    )


def drawings(chart: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(svg) for svg in re.findall(r"<svg.*?</svg>", chart)]


def text_boxes(group: ElementTree.Element) -> list[tuple[str, Box]]:
    """Every text of a drawing with the box of its letters."""
    found = []
    for text in group.findall("text"):
        words = text.text or ""
        width = text_width(words)
        x, y = float(text.get("x", 0)), float(text.get("y", 0))
        x -= {"start": 0.0, "middle": width / 2, "end": width}[text.get("text-anchor", "start")]
        found.append((words, (x, y - 9, x + width, y + 2)))
    return found


def overlap(one: Box, other: Box) -> bool:
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


# -- training ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("winner", "wanted"), [("head", 1), ("fine-tuned", 4), ("probe", None), ("untrained", None)]
)
def test_the_kept_epoch_is_the_winners_and_the_loss_breaks_ties(winner: str, wanted: int | None) -> None:
    epochs = history(
        ("head", [(0.9, 0.3), (0.9, 0.2), (0.9, 0.2)]),
        ("fine-tuning", [(0.95, 0.3), (0.9500000001, 0.1), (0.95, 0.1)]),
    )
    assert kept_epoch(epochs, winner) == wanted


@pytest.mark.parametrize("shape", [(1, 0), (0, 1), (1, 1), (1, 29), (29, 1), (12, 12)])
@pytest.mark.parametrize("winner", ["probe", "head", "fine-tuned"])
def test_no_word_of_the_training_chart_covers_another(shape: tuple[int, int], winner: str) -> None:
    rng = np.random.default_rng(3)
    n_head, n_tuning = shape
    epochs = history(
        ("head", [(float(f), 0.4) for f in rng.uniform(0.80, 0.84, n_head)]),
        ("fine-tuning", [(float(f), 0.3) for f in rng.uniform(0.80, 0.9, n_tuning)]),
    )
    contenders = {"untrained": {"f1": 0.79, "loss": 1.0}, "probe": {"f1": 0.82, "loss": 0.4}}
    chart = training_chart(epochs, contenders, winner)
    for drawing, width in zip(drawings(chart), (760, 340), strict=True):
        for panel in drawing.findall("g"):
            boxes = text_boxes(panel)
            for i, (words, box) in enumerate(boxes):
                assert box[0] >= -1 and box[2] <= width + 12, words
                for other, other_box in boxes[i + 1 :]:
                    assert not overlap(box, other_box), (words, other)
            names = [words for words, _ in boxes if words in ("head", "fine-tuning")]
            assert names == [n for n, k in zip(("head", "fine-tuning"), shape, strict=True) if k]


def test_the_ring_stands_in_the_winners_phase() -> None:
    epochs = history(("head", [(0.9, 0.2)] * 4), ("fine-tuning", [(0.99, 0.1)]))
    for winner, n_rings in (("head", 4), ("fine-tuned", 4), ("probe", 0)):
        chart = training_chart(epochs, {"probe": {"f1": 0.9, "loss": 0.2}}, winner)
        assert chart.count('class="best"') == n_rings  # on loss and F1, for desk and phone
        for panel in (g for drawing in drawings(chart) for g in drawing.findall("g")):
            border = float(next(e for e in panel.iter("line") if e.get("class") == "phase").get("x1", 0))
            for ring in (e for e in panel.iter("circle") if e.get("class") == "best"):
                assert (float(ring.get("cx", 0)) > border) == (winner == "fine-tuned")
    assert "probe 0.900, shipped" in training_chart(epochs, {"probe": {"f1": 0.9, "loss": 0.2}}, "probe")


def test_the_training_section_says_what_decided(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")
    for losses, wanted in (((0.3, 0.2), "the loss decided"), ((0.2, 0.2), "it is the simpler")):
        contenders = {
            "probe": {"f1": 0.9, "loss": losses[1]},
            "fine-tuned": {"f1": 0.9 + 1e-9, "loss": losses[0]},
        }
        spec = dataclasses.replace(facts.spec, winner="probe")
        section = training_section(dataclasses.replace(facts, contenders=contenders, spec=spec))
        assert wanted in section["tie"] and "Fine-tuned" in section["tie"]
        assert section["won_untouched"] and section["kept"] == ""
    section = training_section(facts)
    assert section["tie"] == "" and section["kept"] == "epoch 3 of fine-tuning"


def test_a_loss_that_jumps_between_two_phases_is_explained(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")
    head, tuned = ("head", [(0.9, 0.2)] * 2), ("fine-tuning", [(0.99, 0.1)])
    for phases, is_explained in (((head, tuned), True), ((head,), False), ((), False)):
        section = training_section(dataclasses.replace(facts, history=history(*phases)))
        assert ("jumps" in section["jump"]) == is_explained


# -- ranking -------------------------------------------------------------------------------------------------


def with_control_only() -> Ranking:
    """Twelve candidates, and two that stand there as controls, one of them first of all."""
    ranking = make_ranking(14)
    beyond = [
        dataclasses.replace(c, backbone_id=name, cut=Cut(9, "average"), is_choosable=False, f1=f1)
        for c, name, f1 in zip(ranking.candidates[12:], ("deep", "poor"), (0.99, 0.5), strict=True)
    ]
    rest = ranking.candidates[:12]
    return dataclasses.replace(ranking, candidates=(beyond[0], *rest, beyond[1]), control=beyond[0])


def test_what_cannot_be_chosen_is_marked_and_not_counted(tmp_path: Path) -> None:
    ranking = with_control_only()
    assert len(ranking.choosable) == 12
    chart = ranking_chart(ranking)
    assert chart.count('class="dot beyond"') == 2 == chart.count('class="dot control"')
    assert "F1 against cost of 12 candidates" in chart
    assert "depth 9" not in best_ten_chart(ranking)
    section = choice_section(dataclasses.replace(make_facts(tmp_path, "two classes"), ranking=ranking))
    assert section["n"] == "12 candidates" and section["has_unmarked_beyond"]
    assert "2 last layers were scored too" in section["beyond"]
    *ten, control = section["rows"]
    assert [row["rank"] for row in ten] == [str(i) for i in range(1, 11)]
    assert not any(row["note"] for row in ten) and ten[0]["marks"] == ["chosen"]
    assert (control["rank"], control["marks"], control["note"]) == ("–", ["control"], "for comparison only")


def test_names_in_the_ranking_chart_keep_clear_of_error_bars() -> None:
    ranking = make_ranking(30)
    tall = [dataclasses.replace(c, standard_error=0.03) for c in ranking.candidates]
    ranking = dataclasses.replace(ranking, candidates=tuple(tall), chosen=tall[0], control=tall[-1])
    for drawing in drawings(ranking_chart(ranking)):
        elements = list(drawing)
        bars = [e for e in elements if (e.get("class") or "").startswith("error")]
        names = [e for e in elements if (e.get("class") or "").startswith("mark-name")]
        assert len(names) == 2 and len(bars) == 30
        assert elements.index(names[0]) > max(elements.index(bar) for bar in bars)  # drawn over them
        for words, box in text_boxes(drawing):
            if words.startswith(("chosen", "control")):
                for bar in bars:
                    x, y1, y2 = (float(bar.get(k, 0)) for k in ("x1", "y2", "y1"))
                    assert not overlap(box, (x - 1, y1, x + 1, y2)), words


def test_in_the_ten_best_every_number_has_its_own_bar() -> None:
    ranking = make_ranking(10)
    best = ranking.candidates[0]
    same = [dataclasses.replace(best, backbone_id=f"network {i}") for i in range(10)]
    cheap = dataclasses.replace(best.cost, macs=best.cost.macs // 10)
    same[-1] = dataclasses.replace(same[-1], cost=cheap)  # so that all others stand near the right end
    chart = best_ten_chart(dataclasses.replace(ranking, candidates=tuple(same), chosen=same[0]))
    for drawing in drawings(chart):
        bars = [e for e in drawing if e.get("class") == "error"]
        balls = [e for e in drawing if (e.get("class") or "").startswith("ball") and e.tag == "circle"]
        assert [e.get("x1") for e in bars] == [e.get("cx") for e in balls]
        ends = [float(e.get(key, 0)) for e in drawing if e.get("class") == "axis" for key in ("x1", "x2")]
        assert all(min(ends) <= float(e.get("cx", 0)) <= max(ends) for e in balls)
        spans = [
            (
                float(e.get("cx", 0)) - 9,
                float(b.get("y2", 0)),
                float(e.get("cx", 0)) + 9,
                float(b.get("y1", 0)),
            )
            for e, b in zip(balls, bars, strict=True)
        ]
        assert not any(overlap(a, b) for i, a in enumerate(spans) for b in spans[i + 1 :])


def test_ticks_are_written_exactly() -> None:
    assert even_decimals(0.9875, 1.0)(0.9975) == "0.9975"  # steps of 0.0025 need four places
    assert even_decimals(0.5, 1.0)(0.6) == "0.60"


# -- heat maps -----------------------------------------------------------------------------------------------


def heat_labels(facts: ReportFacts, row: int, truth: list[int], said: list[int], p: list[float]) -> str:
    printed, probabilities = facts.test.printed.copy(), facts.test.probabilities.copy()
    printed[row], probabilities[row] = said, p
    test = dataclasses.replace(facts.test, printed=printed, probabilities=probabilities)
    return mistake_label(test, row, np.array(truth, np.uint8), facts.spec)


def test_a_missed_flaw_is_explained_by_the_flaw_and_a_false_alarm_by_what_was_said(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "six classes")
    scores = [0.5, 0.1, 0.1, 0.1, 0.1, 0.1]
    good, crack, fray = ([int(i == k) for i in range(6)] for k in range(3))
    assert heat_labels(facts, 0, crack, good, scores) == "crack"
    assert heat_labels(facts, 0, good, fray, scores) == "fray"
    assert heat_labels(facts, 0, crack, fray, scores) == "fray"


def test_of_several_labels_the_likeliest_in_question_is_explained(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "several labels")
    assert heat_labels(facts, 0, [1, 1, 0], [0, 0, 0], [0.2, 0.4, 0.9]) == "spalling"
    assert heat_labels(facts, 0, [1, 1, 0], [1, 0, 0], [0.9, 0.4, 0.3]) == "spalling"
    assert heat_labels(facts, 0, [1, 0, 0], [1, 1, 0], [0.9, 0.6, 0.3]) == "spalling"


def test_a_label_suspect_is_explained_by_the_flaw_in_question(tmp_path: Path) -> None:
    spec = make_facts(tmp_path, "six classes").spec
    for given, suggested, wanted in (
        ("free", "crack", "crack"),
        ("crack", "free", "crack"),
        ("crack", "fray", "fray"),
        ("crack", "not crack", "crack"),
        ("not crack", "crack", "crack"),
        ("free", "not free", "free"),
    ):
        assert suspect_label(LabelSuspect("a.png", given, suggested, 0.99), spec) == wanted


def test_the_page_shows_every_heat_that_it_asks_for_and_says_for_which_class(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")
    options = ReportOptions(n_mistakes=3)
    wanted = wanted_heats(facts.dataset, facts.audit, facts.test, facts.spec, options)
    assert len(wanted) == 4 and len(set(wanted)) == 4
    asked = []

    def show_heat(name: str, label: str) -> Picture:
        asked.append((name, label))
        return Picture("data:", 1, 1)

    outcome = count_outcome(facts, facts.test)
    mistakes = mistakes_section(facts, outcome, options, lambda _: Picture("", 0, 0), show_heat)
    suspects = suspects_section(facts, options, lambda _: Picture("", 0, 0), show_heat)
    assert tuple(asked) == wanted
    flaw = facts.spec.labels[1]
    for card in mistakes["cards"]:
        assert card["heat"]["label"] == flaw  # missed, or raised wrongly: two classes have no third
        assert (
            card["heat"]["why"]
            == {"miss": "the flaw it missed", "alarm": "said wrongly"}[card["kind"]["css"]]
        )
    assert suspects["cards"][0]["heat"]["why"] == "the label given"  # the suggestion is good


def test_mistakes_are_counted_in_plain_words(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")

    def summary(facts: ReportFacts, n_shown: int) -> str:
        outcome = count_outcome(facts, facts.test)
        picture = Picture("", 0, 0)
        options = ReportOptions(n_mistakes=n_shown)
        return mistakes_section(facts, outcome, options, lambda _: picture, lambda *_: None)["summary"]

    assert summary(facts, 12) == (
        "4 of the 20 test photos got a wrong answer; all are shown, the most certain first."
    )
    assert "Here are the 2 of which it was most certain" in summary(facts, 2)
    right = dataclasses.replace(facts, test=part(facts, np.arange(1, 5)))
    assert summary(right, 12).startswith("Not one of the 4 test photos")
    assert summary(dataclasses.replace(facts, test=part(facts, np.array([1]))), 12).startswith(
        "The only test"
    )


# -- verdict -------------------------------------------------------------------------------------------------


def part(facts: ReportFacts, rows: np.ndarray) -> Evaluation:
    """An evaluation of some of the test photos."""
    test = facts.test
    return dataclasses.replace(
        test,
        names=tuple(test.names[row] for row in rows),
        printed=test.printed[rows],
        probabilities=test.probabilities[rows],
        flaw_scores=test.flaw_scores[rows],
        worst=tuple(i for i, row in enumerate(rows) if row % 5 == 0),
    )


def alarm_text(facts: ReportFacts, overkill: list[float] | None) -> str:
    metrics = facts.test.metrics | {"interval95": {"overkill_rate": overkill} if overkill else {}}
    facts = dataclasses.replace(facts, test=dataclasses.replace(facts.test, metrics=metrics))
    found = caveats(facts, count_outcome(facts, facts.test))
    return next(c["text"] for c in found if c["title"].startswith("Alarms"))


def test_how_many_alarms_are_real_is_said_in_hundreds(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")  # finds 8 of 10, rejects 2 of 10
    text = alarm_text(facts, [0.1, 0.95])
    # 0.01 · 0.8 of 0.01 · 0.8 + 0.99 · 0.2 alarms are real: 3.9 %; with 0.95 for 0.2: 0.84 %.
    assert "about 4 in 100 alarms would be real flaws" in text
    assert "upper end of its interval, fewer than 1 in 100" in text and "as few as" not in text
    assert "upper end" not in alarm_text(facts, [0.1, 0.2]) and "upper end" not in alarm_text(facts, None)
    perfect = dataclasses.replace(facts, test=part(facts, np.array([1, 2, 3, 4])))
    assert "all alarms would be real flaws; if" in alarm_text(perfect, [0.0, 0.3])


def test_one_photo_one_source_and_a_test_part_without_good_photos(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")  # test rows: good, flaw, good, …; each fifth is wrong
    start = "On {} it had never seen, this model "
    for rows, words, missing in (
        ([1], start.format("1 photo from 1 source") + "found 1 of 1 flawed photo; none was good.", "good"),
        (
            [1, 3],
            start.format("2 photos from 2 sources") + "found 2 of 2 flawed photos; none was good.",
            "good",
        ),
        (
            [2],
            start.format("1 photo from 1 source") + "rejected 0 of 1 good photo; none was flawed.",
            "flawed",
        ),
        ([1, 2], "found 1 of 1 flawed photo and rejected 0 of 1 good one.", ""),
    ):
        some = dataclasses.replace(facts, test=part(facts, np.array(rows)))
        outcome = count_outcome(some, some.test)
        assert verdict_sentence(some, outcome).endswith(words)
        grave = [c["title"] for c in caveats(some, outcome) if c["level"] == "grave"]
        assert (f"The test part holds no {missing} photo" in grave) == bool(missing)
        section = review_section(some, outcome)
        assert section["can_be_good"] and section["has_band"] == (not missing)
    no_good = make_facts(tmp_path, "no good class")
    outcome = count_outcome(no_good, no_good.test)
    assert "named the right class for 16 of 20." in verdict_sentence(no_good, outcome)
    assert not review_section(no_good, outcome)["can_be_good"]


def test_intervals_are_not_sworn_by_where_sources_are_few(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")
    intervals = {"escape_rate": [0.1, 0.4], "overkill_rate": [0.0, 0.3]}
    test = dataclasses.replace(facts.test, metrics=facts.test.metrics | {"interval95": intervals})
    facts = dataclasses.replace(facts, test=test)
    outcome = count_outcome(facts, test)
    assert escape_words(facts, outcome).startswith("Roughly, for want of sources, it finds 60.0")
    assert escape_words(facts, dataclasses.replace(outcome, n_groups=20)).startswith("With 95 % confidence")
    assert interval_text((1.0, 1.0), number, "95 %: ") == "no error met, so no interval"
    assert interval_text((0.0, 0.0), number, n_sources=1) == "all from one source: no interval"
    assert interval_text((0.0, 0.0), percent, best=0.0) == "no error met, so no interval"
    assert interval_text((0.2, 0.4), percent, "95 %: ") == "95 %: 20.0\u202f% to 40.0\u202f%"


def test_label_suspects_are_counted_by_photo_and_by_part(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")

    def text(*rows: int) -> str:
        suspects = tuple(LabelSuspect(facts.dataset.photos[row].name, "a", "b", 0.99) for row in rows)
        some = dataclasses.replace(facts, audit=dataclasses.replace(facts.audit, label_suspects=suspects))
        found = caveats(some, count_outcome(some, some.test))
        return next(c["text"] for c in found if c["title"] == "Labels to check")

    assert "1 photo may carry a wrong label; it is listed below and is not in the test part." in text(0)
    assert "it is listed below and is in the test part." in text(59)
    assert "2 photos may carry a wrong label; they are listed below, and none is in" in text(0, 1)
    assert "3 photos may carry a wrong label; they are listed below, and 1 is in" in text(0, 1, 59, 59)


def test_the_random_split_counts_sisters(tmp_path: Path) -> None:
    facts = make_facts(tmp_path, "two classes")

    def section(*claim: float) -> dict[str, str]:
        return split_section(dataclasses.replace(facts, random_split=RandomSplit(*claim)))["random"]  # type: ignore[arg-type]

    flattered = section(0.98, 0.95, 12, 0.75)
    assert (
        "claimed 3.0 points of F1 too much: 0.980 instead of 0.950 for the linear probe" in flattered["words"]
    )
    assert "9 of the 12 test photos (75\u202f%) have a sister in training" in flattered["sisters"]
    assert "would not have claimed more here" in section(0.9, 0.95, 12, 0.75)["words"]
    assert "1 of the 1 test photo (100\u202f%) has a sister" in section(0.9, 0.95, 1, 1.0)["sisters"]
    assert section(0.9, 0.95, 12)["sisters"] == ""
