"""Three questions to one model folder: masks are computed where the first answer asks for them alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from flawmap.records import CascadeSpec, Cleaning
from flawmap.tools.cascade import Look, clean_chained, to_look

CLEANING = Cleaning((0.5, 0.5), min_area_px=(4, 4))
SPEC = CascadeSpec(0.1, "none", (0.5, 0.5), most=16.0)


@pytest.fixture
def probabilities() -> np.ndarray:
    """Two labels; the first has patches of 9 and of 64 pixels, the second one of 9."""
    maps = np.zeros((2, 20, 30), np.float32)
    maps[0, 1:4, 1:4] = maps[0, 10:18, 10:18] = maps[1, 1:4, 20:23] = 0.9
    return maps


def areas(probabilities: np.ndarray, scores: tuple[float, float], **changes: object) -> list[int]:
    look = Look(0.9, np.array(scores))
    masks = clean_chained(probabilities, look, CLEANING, replace(SPEC, **changes))  # type: ignore[arg-type]
    return masks.sum(axis=(1, 2)).tolist()


def test_without_a_rule_scores_change_nothing(probabilities: np.ndarray) -> None:
    assert areas(probabilities, (0.0, 0.0)) == [73, 9]


def test_a_veto_drops_the_label_alone(probabilities: np.ndarray) -> None:
    assert areas(probabilities, (0.9, 0.4), rule="veto") == [73, 0]
    assert areas(probabilities, (0.5, 0.5), rule="veto") == [73, 9]


def test_doubt_raises_the_smallest_area(probabilities: np.ndarray) -> None:
    assert areas(probabilities, (0.9, 0.9), rule="area") == [73, 9]
    assert areas(probabilities, (0.0, 0.5), rule="area") == [64, 9]  # 4 × 16 pixels are asked for
    assert areas(probabilities, (0.0, 0.0), rule="area", most=64.0) == [0, 0]
    assert areas(probabilities, (0.4, 0.4), rule="area", most=4.0) == [73, 9]  # 4 × 4^0.2 = 5.3 pixels


def test_the_first_output_is_the_flaw_and_of_one_label_the_only_one() -> None:
    several = to_look(np.array([0.0, 2.0, -2.0]), 2.0, 2)
    assert several.flaw_score == 0.5
    assert several.label_scores == pytest.approx([1 / (1 + np.exp(-1)), 1 / (1 + np.exp(1))])
    single = to_look(np.array([0.0]), 1.0, 1)
    assert single.flaw_score == 0.5 and single.label_scores.tolist() == [0.5]
