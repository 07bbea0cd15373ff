"""Losses fall as masks get better; states are judged by the best pooled Dice there is."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
import torch

from flawmap.stages.train.mask_objective import N_BINS, NOT_COUNTED, MaskObjective, centre_line_dice_loss
from flawmap.stages.train.options import MaskLoss

LOSSES = get_args(MaskLoss)


def draw_lines(*rows: int, side: int = 48, thick: int = 3) -> torch.Tensor:
    """(1, 1, side, side): a horizontal line from each row on."""
    mask = torch.zeros(1, 1, side, side)
    for row in rows:
        mask[..., row : row + thick, 4:-4] = 1
    return mask


def two_labels() -> torch.Tensor:
    return torch.cat([draw_lines(10, 30), draw_lines(20)], dim=1)


def sure(targets: torch.Tensor, factor: float = 30.0) -> torch.Tensor:
    return factor * (2 * targets - 1)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_falls_to_zero_as_masks_get_better(name: str) -> None:
    objective, targets = MaskObjective(name), two_labels()
    wrong, good = sure(1 - targets, 3), sure(targets, 3)
    steps = [objective.loss(wrong + (good - wrong) * i / 6, targets).item() for i in range(7)]
    assert steps == sorted(steps, reverse=True) and len(set(steps)) == 7
    assert objective.loss(sure(targets), targets).item() == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_leads_from_nothing_to_the_masks(name: str) -> None:
    objective, targets = MaskObjective(name), two_labels()
    logits = torch.zeros_like(targets, requires_grad=True)
    for _ in range(200):
        loss = objective.loss(logits, targets)
        (gradient,) = torch.autograd.grad(loss, logits)
        assert torch.isfinite(gradient).all()
        with torch.no_grad():
            logits -= 0.5 * gradient.sign()
    assert torch.equal((logits > 0).float(), targets)


@pytest.mark.parametrize("name", LOSSES)
def test_a_label_that_is_absent_does_no_harm(name: str) -> None:
    objective = MaskObjective(name)
    targets = torch.cat([draw_lines(10), torch.zeros(1, 1, 48, 48)], dim=1)
    assert objective.loss(sure(targets), targets).item() == pytest.approx(0, abs=1e-3)
    empty = torch.zeros(2, 2, 32, 32)
    logits = torch.full_like(empty, 1.0, requires_grad=True)
    loss = objective.loss(logits, empty)
    loss.backward()
    assert torch.isfinite(loss) and logits.grad is not None and (logits.grad > 0).all()
    assert objective.loss(sure(empty), empty).item() == pytest.approx(0, abs=1e-3)


def test_a_missed_pixel_costs_more_than_a_false_one() -> None:
    objective, targets = MaskObjective("tversky+bce"), draw_lines(10, thick=4)
    missed, false = draw_lines(10, thick=3), draw_lines(10, thick=5)
    assert objective.loss(sure(missed, 5), targets) > 1.05 * objective.loss(sure(false, 5), targets)


def test_a_gap_costs_more_centre_line_than_a_thin_line() -> None:
    targets = draw_lines(20, thick=5)
    gap, thin = targets.clone(), draw_lines(22, thick=1)
    gap[..., 18:30] = 0
    perfect, by_gap, by_width = (
        centre_line_dice_loss(found, targets).item() for found in (targets, gap, thin)
    )
    assert perfect == pytest.approx(0, abs=1e-3)
    assert by_gap > 0.1 > by_width
    elsewhere = centre_line_dice_loss(draw_lines(36, thick=5), targets).item()
    assert elsewhere > 0.9


def best_dice_by_hand(probabilities: np.ndarray, truth: np.ndarray) -> float:
    """Over all photos and thresholds 0/40, 1/40, …: mean over the labels that occur."""
    best = []
    for label in range(truth.shape[1]):
        p, t = probabilities[:, label], truth[:, label] > 0
        if t.any():
            masks = [p >= k / N_BINS for k in range(N_BINS)]
            best.append(max(2 * (m & t).sum() / (m.sum() + t.sum()) for m in masks))
    return float(np.mean(best)) if best else 0.0


@pytest.mark.parametrize("seed", range(4))
def test_states_are_judged_by_the_best_pooled_dice(seed: int) -> None:
    rng = np.random.default_rng(seed)
    truth = (rng.random((5, 3, 32, 32)) < (0.02, 0.3, 0.0)[seed % 3]).astype(np.float32)
    truth[:, 2] = 0
    truth[0, 0, :4, :4] = 1
    logits = (rng.normal(size=truth.shape) * 1.5 + 2 * truth - 1).astype(np.float32)
    objective = MaskObjective("dice+bce")
    outputs, losses = (
        torch.cat(parts).numpy()
        for parts in zip(
            *(
                objective.reduce(*map(torch.from_numpy, (logits[i : i + 1], truth[i : i + 1])))
                for i in range(5)
            ),
            strict=True,
        )
    )
    assert outputs.shape == (5, 3, 2, N_BINS) and losses.shape == (5,)
    score = objective.judge(outputs, losses)
    assert score.f1 == pytest.approx(best_dice_by_hand(1 / (1 + np.exp(-logits)), truth), abs=1e-6)
    assert score.loss == pytest.approx(losses.mean())


def test_without_a_true_pixel_the_score_is_0() -> None:
    objective, empty = MaskObjective("focal"), torch.zeros(1, 2, 32, 32)
    outputs, losses = objective.reduce(sure(empty), empty)
    assert objective.judge(outputs.numpy(), losses.numpy()).f1 == 0
    assert objective.judge(outputs.numpy(), np.array([np.nan], np.float32)).loss == 1e9


@pytest.mark.parametrize("name", LOSSES)
def test_pixels_that_do_not_count_change_nothing(name: str) -> None:
    """Whatever is said of the rows and columns around a box gives the figures of the box alone."""
    objective, targets = MaskObjective(name), two_labels()
    logits = torch.randn(targets.shape, generator=torch.Generator().manual_seed(0))
    wanted = objective.reduce(logits, targets)
    framed = [torch.nn.functional.pad(values, (16, 0, 5, 11), value=9.0) for values in (logits, targets)]
    framed[1][..., :16] = framed[1][..., :5, :] = framed[1][..., -11:, :] = NOT_COUNTED
    for found, alone in zip(objective.reduce(framed[0], framed[1]), wanted, strict=True):
        torch.testing.assert_close(found, alone)
