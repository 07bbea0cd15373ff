"""What is not a flaw but looks like one at a glance: joints, shadows, stains, rust runs, chalk, smears."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from flawmap.stages.sample.canvas import Canvas, fractal, grid, linear, ramp, smooth_walk
from flawmap.stages.sample.flaws import stamp_distance

Rng = np.random.Generator


def _line_coordinates(rng: Rng, canvas: Canvas, is_free: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) coordinates across and along a straight line through the photo, upright or level by default."""
    height, width = canvas.size_hw
    angle = rng.uniform(0, np.pi) if is_free else rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.015)
    y, x = grid(canvas.size_hw)
    y, x = y - rng.uniform(0.15, 0.85) * height, x - rng.uniform(0.15, 0.85) * width
    return y * np.cos(angle) - x * np.sin(angle), x * np.cos(angle) + y * np.sin(angle)


def joint(rng: Rng, canvas: Canvas) -> None:
    """A straight joint of constant width: cut, or filled with sealant."""
    across, _ = _line_coordinates(rng, canvas)
    across = across + 0.3 * fractal(rng, canvas.size_hw, 1.6, 6, 60)
    half = rng.uniform(1.2, 6.0)
    edge = np.abs(across) - half
    inside = np.clip(0.5 - edge, 0, 1).astype(np.float32)
    if half > 2.5 and rng.random() < 0.6:
        filler = linear(*(np.array([95, 94, 92]) * rng.uniform(0.7, 1.5)))
        canvas.albedo += (0.9 * inside)[..., None] * (filler - canvas.albedo)
        canvas.height -= 1.2 * (1 - ramp(edge, -1.5, 1.0))
    else:
        canvas.albedo *= (1 - rng.uniform(0.5, 0.85) * inside)[..., None]
        canvas.height -= 2.0 * (1 - ramp(edge, -1.5, 1.0))


def railing_shadow(rng: Rng, canvas: Canvas) -> None:
    """The soft shadow of a railing: parallel bars."""
    across, _ = _line_coordinates(rng, canvas, is_free=True)
    period, bar = rng.uniform(70, 190), rng.uniform(0.08, 0.3)
    phase = np.abs(((across / period) % 1.0) - 0.5)
    soft = rng.uniform(1.2, 9.0) / period
    shade = 1 - ramp(phase, bar / 2 - soft, bar / 2 + soft)
    canvas.light *= 1 - rng.uniform(0.25, 0.6) * shade


def foliage_shadow(rng: Rng, canvas: Canvas) -> None:
    """The shadow of leaves and twigs: soft patches with a few thin lines."""
    height, width = canvas.size_hw
    leaf_px = rng.uniform(30, 70)
    leaves = fractal(rng, canvas.size_hw, 1.6, leaf_px, 5 * leaf_px)
    where = fractal(rng, canvas.size_hw, 3.0, 120, 1500)
    level = rng.uniform(-0.4, 0.4)
    shade = ramp(leaves, level, level + rng.uniform(0.8, 1.6)) * ramp(where, -0.5, 1.0)
    for _ in range(rng.integers(0, 4)):
        n = 500
        heading = rng.uniform(0, 2 * np.pi) + 0.5 * smooth_walk(rng, n, 120)
        path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0)
        path += rng.uniform((0, 0), (width, height))
        half = np.linspace(rng.uniform(2, 5), 0.8, n).astype(np.float32)
        twig = stamp_distance(canvas.size_hw, path.astype(np.float32), half, 6.0)
        shade = np.maximum(shade, 0.8 * (1 - ramp(twig, -3.0, 4.0)))
    canvas.light *= 1 - rng.uniform(0.3, 0.55) * shade


def water_mark(rng: Rng, canvas: Canvas) -> None:
    """A damp patch or two, with the paler or darker line that it dries to."""
    shape = fractal(rng, canvas.size_hw, 3.4, 40, 900) + 0.05 * fractal(rng, canvas.size_hw, 1.6, 4, 60)
    level = rng.uniform(0.5, 1.3)
    soft = rng.uniform(0.1, 0.5)
    damp = ramp(shape, level, level + soft)
    rim = np.exp(-(((shape - level - soft / 2) / 0.07) ** 2))
    canvas.albedo *= (1 - rng.uniform(0.06, 0.24) * damp + rng.uniform(-0.12, 0.06) * rim)[..., None]
    canvas.albedo *= 1 - (0.5 * damp + rim)[..., None] * np.array([0, 0.008, 0.03], np.float32)


def _run_down(rng: Rng, canvas: Canvas, n_runs: int, half_px: tuple[float, float]) -> np.ndarray:
    """(H, W) 0..1: runs that start somewhere and go down, widening and fading."""
    height, width = canvas.size_hw
    y, x = grid(canvas.size_hw)
    amount = np.zeros(canvas.size_hw, np.float32)
    for _ in range(n_runs):
        top, length = rng.uniform(-0.3, 0.5) * height, rng.uniform(0.3, 1.1) * height
        centre = rng.uniform(0, width) + 3 * smooth_walk(rng, height, 90)[:, None]
        below = (y - top) / length
        half = (
            rng.uniform(*half_px)
            * (0.7 + 0.9 * np.clip(below, 0, 1))
            * (1 + 0.2 * smooth_walk(rng, height, 25)[:, None])
        )
        fall = ramp(below, 0.0, 0.03) * (1 - ramp(below, 0.25, 1.0))
        amount = np.maximum(amount, fall * np.exp(-(((x - centre) / half) ** 2)))
    texture = np.exp(0.35 * fractal(rng, canvas.size_hw, 1.4, 3, 80))
    return np.clip(amount * texture, 0, 1).astype(np.float32)


def rust_run(rng: Rng, canvas: Canvas) -> None:
    """Rust washed down from a fixing or a bar."""
    amount = rng.uniform(0.35, 0.8) * _run_down(rng, canvas, int(rng.integers(1, 4)), (3, 16))
    canvas.albedo *= 1 - amount[..., None] * np.array([0.25, 0.58, 0.8], np.float32)


def lime_run(rng: Rng, canvas: Canvas) -> None:
    """White lime washed out, or a pale or dark streak of dirt."""
    amount = rng.uniform(0.3, 0.7) * _run_down(rng, canvas, int(rng.integers(2, 7)), (3, 30))
    colour = linear(205, 203, 196) if rng.random() < 0.5 else linear(62, 62, 58)
    canvas.albedo += (amount * 0.7)[..., None] * (colour - canvas.albedo)


def chalk_mark(rng: Rng, canvas: Canvas) -> None:
    """A hand-drawn crayon line, as inspectors leave them."""
    height, width = canvas.size_hw
    n = int(rng.uniform(150, 500))
    heading = rng.uniform(0, 2 * np.pi) + 0.8 * smooth_walk(rng, n, 70)
    path = np.cumsum(np.stack([np.cos(heading), np.sin(heading)], axis=1), axis=0)
    path += rng.uniform((0.1 * width, 0.1 * height), (0.9 * width, 0.9 * height))
    distance = stamp_distance(
        canvas.size_hw, path.astype(np.float32), np.full(n, rng.uniform(1.2, 2.6), np.float32), 3
    )
    waxy = np.clip(0.5 - distance, 0, 1) * ramp(fractal(rng, canvas.size_hw, 0.8, 2, 12), -0.9, 0.5)
    crayons = [(60, 90, 170), (190, 60, 50), (235, 235, 230), (225, 190, 60)]
    canvas.albedo += (0.75 * waxy)[..., None] * (linear(*crayons[rng.integers(4)]) - canvas.albedo)


def smear(rng: Rng, canvas: Canvas) -> None:
    """Oil or a wiped cloth on metal: soft edges, changes the sheen."""
    shape = fractal(rng, canvas.size_hw, 2.8, 16, 500)
    film = ramp(shape, rng.uniform(0.3, 0.9), 2.0)
    wipe = 1 + 0.12 * fractal(rng, canvas.size_hw, 1.5, 6, 60)
    canvas.albedo *= (1 + rng.uniform(-0.35, 0.25) * film * wipe)[..., None]


def roller_marks(rng: Rng, canvas: Canvas) -> None:
    """Bands across the sheet, even and straight."""
    across, _ = _line_coordinates(rng, canvas)
    for _ in range(rng.integers(1, 4)):
        centre, half = rng.uniform(-250, 250), rng.uniform(2, 26)
        band = 1 - ramp(np.abs(across - centre), 0.4 * half, half + 2)
        canvas.albedo *= (1 + rng.choice([-1, 1]) * rng.uniform(0.05, 0.16) * band)[..., None]


MINERAL: dict[str, Callable[[Rng, Canvas], None]] = {
    "joint": joint,
    "railing shadow": railing_shadow,
    "foliage shadow": foliage_shadow,
    "water mark": water_mark,
    "rust run": rust_run,
    "lime run": lime_run,
    "chalk mark": chalk_mark,
}
METAL: dict[str, Callable[[Rng, Canvas], None]] = {
    "railing shadow": railing_shadow,
    "smear": smear,
    "water mark": water_mark,
    "roller marks": roller_marks,
}


def add_distractors(rng: Rng, canvas: Canvas) -> None:
    """Between none and three kinds, noted in `canvas.distractors`."""
    choices = METAL if canvas.is_metal else MINERAL
    names = [name for name in choices if name != "joint" or canvas.kind != "brick"]
    n = int(rng.choice([0, 1, 1, 2, 3] if not canvas.is_metal else [0, 1, 1, 2]))
    for name in rng.permutation(names)[:n].tolist():
        choices[name](rng, canvas)
        canvas.distractors.append(name)
