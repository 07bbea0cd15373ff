"""What ships where a shallow cut and a deep one were trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from flawmap.pipeline import labelling
from flawmap.pipeline.labelling import learn_shallow_or_deep, refit_labels
from flawmap.pipeline.preparing import Chosen
from flawmap.pipeline.settings import RunOptions
from flawmap.records import Candidate, Cut, CutCost, LinearHead, Ranking, TrainedModel, no_progress
from flawmap.stages.rank import Prefer, RankOptions
from flawmap.stages.train import TrainOptions


def make_candidate(depth: int) -> Candidate:
    cost = CutCost(depth, 8, 10, 40, 10 ** (depth + 1))
    return Candidate("net", Cut(depth, "average"), cost, 0.9, 0.01, 1.0, 1.0, 1.0)


SHALLOW, DEEP = make_candidate(1), make_candidate(5)
RANKING = Ranking((SHALLOW, DEEP), SHALLOW, DEEP, "the cheapest of two", "balanced", 5, DEEP)
NOTHING: Any = None  # training is stood in for: nobody looks at photos and networks
CHOSEN = Chosen(RANKING, NOTHING, NOTHING, Chosen(replace(RANKING, chosen=DEEP), NOTHING, NOTHING))


def learn(
    monkeypatch: pytest.MonkeyPatch,
    f1: dict[int, float],
    prefer: Prefer = "balanced",
    epochs: int | None = None,
) -> tuple[Chosen, Any, list[tuple[int, Path]]]:
    """What ships where the cuts reach that validation F1, and what was trained in which folder."""
    trained: list[tuple[int, Path]] = []

    def learn_labels(prepared: Any, chosen: Chosen, options: RunOptions, work: Path, progress: Any) -> Any:
        depth = chosen.ranking.chosen.cut.depth
        trained.append((depth, work))
        progress("training: fine-tuning", 1, 2)
        return SimpleNamespace(winner="head", contenders={"head": {"f1": f1[depth]}, "probe": {"f1": 0.0}})

    monkeypatch.setattr(labelling, "learn_labels", learn_labels)
    options = RunOptions(rank=RankOptions(prefer=prefer), train=TrainOptions(epochs=epochs))
    taken, model = learn_shallow_or_deep(NOTHING, CHOSEN, options, Path("work"), no_progress)
    return taken, model, trained


def test_a_deep_cut_that_learns_more_ships(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, model, trained = learn(monkeypatch, {1: 0.95, 5: 0.97})
    assert taken.ranking.chosen == DEEP and model.contenders["head"]["f1"] == 0.97
    assert trained == [(1, Path("work")), (5, Path("work/deeper"))]
    assert taken.ranking.why == (
        "trained, it reached a validation F1 of 0.970 against 0.950 of net, depth 1, average pooled, which "
        "came first before training: the cheapest of two"
    )


COSTS: tuple[tuple[float, Prefer, str], ...] = (
    (0.953, "balanced", "gained under 0.5 points: validation F1 0.953 against 0.950"),
    (0.9, "balanced", "did no better: validation F1 0.900 against 0.950"),
    (0.953, "accuracy", ""),
    (0.95, "accuracy", "did no better: validation F1 0.950 against 0.950"),
)


@pytest.mark.parametrize(("deep_f1", "prefer", "not_worth_it"), COSTS)
def test_its_cost_has_to_be_worth_it(
    monkeypatch: pytest.MonkeyPatch, deep_f1: float, prefer: Prefer, not_worth_it: str
) -> None:
    taken, _, _ = learn(monkeypatch, {1: 0.95, 5: deep_f1}, prefer)
    assert (taken.ranking.chosen == DEEP) is (not not_worth_it)
    if not_worth_it:
        then = f"net, depth 5, average pooled, was trained too and {not_worth_it}"
        assert taken.ranking.why == f"the cheapest of two; {then}"


def test_a_probe_that_won_is_fitted_to_both_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted: list[list[int]] = []

    class Network:
        head = "of the training part"

        def set_head(self, head: str) -> None:
            self.head = head

    def to_probe(prepared: Any, chosen: Chosen, rows: np.ndarray) -> str:
        fitted.append(rows.tolist())
        return "of both parts"

    monkeypatch.setattr(labelling, "to_probe", to_probe)
    prepared: Any = SimpleNamespace(split=SimpleNamespace(development=np.arange(5)))
    head = LinearHead(np.zeros((2, 3), np.float32), np.zeros(2, np.float32))
    model = TrainedModel(Network(), "probe", {}, head, (), (1.0, 1.0))
    final = refit_labels(prepared, CHOSEN, model, RunOptions(), Path("work"), no_progress)
    assert (final.network.head, model.network.head) == ("of both parts", "of the training part")
    assert fitted == [list(range(5))] and final.refit == "by fitting the probe to both parts"


def test_without_fine_tuning_only_the_choice_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    taken, _, trained = learn(monkeypatch, {1: 0.95, 5: 0.97}, epochs=0)
    assert taken is CHOSEN and [depth for depth, _ in trained] == [1]
