"""Flaws of known width: where they run, how far a pixel is from their edge, how they mark a surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flawmap.stages.sample.canvas import Canvas, Size, fractal, ramp, resize, smooth_walk

Rng = np.random.Generator
STEP_PX = 0.5
"""Distance between two samples of a stroke."""
REACH_PX = 7.0
"""How far beyond a flaw's edge the distance field is exact."""
MIN_WIDTH_PX, MAX_WIDTH_PX = 1.0, 8.0


@dataclass(frozen=True)
class Strokes:
    """Centre lines, sampled every STEP_PX. All flaws of one photo, in one kind."""

    kind: str
    xy: np.ndarray
    """(n, 2) float32."""
    half_width: np.ndarray
    """(n,) float32: half the flaw's width at each sample."""
    length: np.ndarray
    """(n,) float32: the length that each sample stands for."""
    fade: np.ndarray
    """(n,) float32, 0..1: how visible the flaw is at each sample."""


def stamp_distance(
    size_hw: Size, xy: np.ndarray, half_width: np.ndarray, reach_px: float = REACH_PX
) -> np.ndarray:
    """(H, W) float32: signed distance to the edge of the strokes sampled at `xy`; negative inside.

    Right up to `reach_px` outside the edge, where it is capped. A pixel lies beside a stroke, not beside a
    sample of it: the mean square of the way along to the nearest sample, STEP_PX²/12, is taken off.
    """
    height, width = size_hw
    field = np.full(height * width, reach_px, np.float32)
    order = np.argsort(half_width, kind="stable")
    for part in np.array_split(order, max(1, len(order) // 1500)):
        if not len(part):
            continue
        radius = int(np.ceil(float(half_width[part].max()) + reach_px))
        offset = np.arange(-radius, radius + 1)
        base = np.floor(xy[part]).astype(np.int64)
        px = base[:, 0, None] + offset
        py = base[:, 1, None] + offset
        dx = (px - xy[part, 0, None]).astype(np.float32) ** 2
        dy = (py - xy[part, 1, None]).astype(np.float32) ** 2
        square = np.maximum(dy[:, :, None] + dx[:, None, :] - STEP_PX**2 / 12, 0)
        distance = np.sqrt(square) - half_width[part, None, None]
        is_in = ((py >= 0) & (py < height))[:, :, None] & ((px >= 0) & (px < width))[:, None, :]
        is_in &= distance < reach_px
        flat = (py * width)[:, :, None] + px[:, None, :]
        np.minimum.at(field, flat[is_in], distance[is_in])
    return field.reshape(size_hw)


def _walk(rng: Rng, start: np.ndarray, heading: float, length_px: float, jag: float) -> np.ndarray:
    """A crack's path: straight pieces that turn at grains, holding to a slowly drifting heading."""
    n = max(8, int(length_px / STEP_PX))
    drift = heading + 0.35 * smooth_walk(rng, n, 180 / STEP_PX)
    piece = np.zeros(n, np.float32)
    i = 0
    while i < n:
        run = max(3, int(rng.exponential(9) / STEP_PX))
        piece[i : i + run] = rng.normal(0, jag)
        i += run
    kernel = np.ones(5, np.float32) / 5
    angle = drift + np.convolve(piece, kernel, mode="same")
    angle += 0.12 * smooth_walk(rng, n, 3)
    steps = np.stack([np.cos(angle), np.sin(angle)], axis=1) * STEP_PX
    return (start + np.cumsum(steps, axis=0)).astype(np.float32)


def _widths(rng: Rng, n: int, width_px: float, tapers: tuple[bool, bool]) -> tuple[np.ndarray, np.ndarray]:
    """Width and visibility along a path; a tapered end thins out to a hairline and fades."""
    s = np.arange(n) * STEP_PX
    modulation = 0.26 * smooth_walk(rng, n, 45 / STEP_PX) + 0.12 * smooth_walk(rng, n, 9 / STEP_PX)
    width = width_px * np.exp(modulation)
    fade = np.ones(n, np.float32)
    for is_tapered, distance in zip(tapers, (s, s[-1] - s), strict=True):
        if is_tapered:
            span = min(70.0 + 6 * width_px, s[-1] * 0.5 + 1)
            width = width * np.minimum(1, 0.12 + 0.88 * np.sqrt(distance / span))
            fade = fade * ramp(distance, -4, 22)
    return np.clip(width, MIN_WIDTH_PX, MAX_WIDTH_PX).astype(np.float32), fade.astype(np.float32)


def _gather(kind: str, parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Strokes:
    """Join paths (xy, width, fade). A line's samples stand for STEP_PX each, a pit's for its diameter."""
    if kind == "pit":
        length = np.concatenate([p[1] / len(p[1]) for p in parts])
    else:
        length = np.full(sum(len(p[0]) for p in parts), STEP_PX)
    xy = np.concatenate([p[0] for p in parts]).astype(np.float32)
    half = np.concatenate([p[1] for p in parts]).astype(np.float32) / 2
    fade = np.concatenate([p[2] for p in parts]).astype(np.float32)
    return Strokes(kind, xy, half, length.astype(np.float32), fade)


def plan_cracks(rng: Rng, size_hw: Size) -> Strokes:
    """One to three branching cracks that cross the photo or end in it."""
    height, width = size_hw
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    jag = rng.uniform(0.25, 0.75)
    main_width = float(np.exp(rng.uniform(np.log(1.6), np.log(6.5))))
    for _ in range(rng.choice([1, 1, 1, 2, 2, 3])):
        is_upright = rng.random() < 0.5
        length = (height if is_upright else width) * rng.uniform(0.55, 1.3)
        if is_upright:
            start, heading = np.array([rng.uniform(0.1, 0.9) * width, -4.0]), np.pi / 2
        else:
            start, heading = np.array([-4.0, rng.uniform(0.1, 0.9) * height]), 0.0
        if begins_inside := rng.random() < 0.3:
            start = rng.uniform((0.15 * width, 0.15 * height), (0.6 * width, 0.6 * height))
        heading += rng.normal(0, 0.3)
        _grow(
            rng, parts, (start, heading, length, main_width * rng.uniform(0.6, 1.1)), (begins_inside, jag, 2)
        )
    return _gather("crack", parts)


def _grow(
    rng: Rng,
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
    trunk: tuple[np.ndarray, float, float, float],
    how: tuple[bool, float, int],
) -> None:
    """Add a path (start, heading, length, width) and its branches to `parts`."""
    start, heading, length, width_px = trunk
    begins_inside, jag, n_levels = how
    xy = _walk(rng, start, heading, length, jag)
    width, fade = _widths(rng, len(xy), width_px, (begins_inside, True))
    parts.append((xy, width, fade))
    if n_levels == 0:
        return
    for _ in range(rng.poisson(length / 330)):
        i = int(rng.uniform(0.08, 0.85) * len(xy))
        towards = xy[min(i + 12, len(xy) - 1)] - xy[max(i - 12, 0)]
        turn = rng.choice([-1, 1]) * rng.uniform(0.4, 1.2)
        child_width = float(width[i]) * rng.uniform(0.35, 0.75)
        child = (
            xy[i],
            float(np.arctan2(towards[1], towards[0])) + turn,
            length * rng.uniform(0.12, 0.45),
            child_width,
        )
        _grow(rng, parts, child, (False, jag * 1.1, n_levels - 1))


def plan_network(rng: Rng, size_hw: Size) -> Strokes:
    """Map cracking: a net of hairlines over part of the photo, as shrinkage leaves it."""
    from scipy.spatial import Voronoi

    height, width = size_hw
    cell = rng.uniform(60, 120)
    centre = rng.uniform((0.2 * width, 0.2 * height), (0.8 * width, 0.8 * height))
    reach = rng.uniform(0.28, 0.42) * max(height, width)
    n = int(4 * reach * reach / cell**2) + 12
    net = Voronoi(centre + rng.uniform(-reach, reach, (n, 2)))
    width_px = rng.uniform(1.2, 2.0)
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for a, b in net.ridge_vertices:
        if a < 0 or b < 0:
            continue
        ends = net.vertices[[a, b]]
        distance = np.linalg.norm(ends - centre, axis=1).max() / reach
        length = float(np.linalg.norm(ends[1] - ends[0]))
        if distance > 0.95 or not 10 < length < 3 * cell or rng.random() < 0.12:
            continue
        n_samples = max(8, int(length / STEP_PX))
        t = np.linspace(0, 1, n_samples)[:, None]
        normal = np.array([ends[0, 1] - ends[1, 1], ends[1, 0] - ends[0, 0]]) / length
        bow = (
            7 * smooth_walk(rng, n_samples, 60)
            + 2.2 * smooth_walk(rng, n_samples, 22)
            + 0.5 * smooth_walk(rng, n_samples, 7)
        )
        bow = bow * np.sin(np.pi * t[:, 0]) ** 0.6
        xy = ends[0] + t * (ends[1] - ends[0]) + bow[:, None] * normal
        w, fade = _widths(rng, n_samples, width_px * rng.uniform(0.7, 1.3), (False, False))
        parts.append((xy, w, fade * float(np.clip(1.9 - 1.3 * distance, 0.5, 1))))
    return _gather("crack", parts) if parts else plan_cracks(rng, size_hw)


def plan_scratches(rng: Rng, size_hw: Size) -> Strokes:
    """A few long, hardly bent scratches, often in parallel."""
    height, width = size_hw
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for _ in range(rng.integers(2, 5)):
        heading = rng.uniform(0, np.pi)
        length = rng.uniform(0.3, 0.95) * min(size_hw)
        middle = rng.uniform((0.1 * width, 0.1 * height), (0.9 * width, 0.9 * height))
        width_px = float(np.exp(rng.uniform(np.log(1.4), np.log(4.5))))
        for k in range(rng.choice([1, 1, 2, 3])):
            n = max(16, int(length * rng.uniform(0.6, 1) / STEP_PX))
            bend = heading + rng.normal(0, 0.15) * np.linspace(-1, 1, n) + 0.02 * smooth_walk(rng, n, 60)
            steps = np.stack([np.cos(bend), np.sin(bend)], axis=1) * STEP_PX
            xy = np.cumsum(steps, axis=0)
            aside = np.array([-np.sin(heading), np.cos(heading)]) * k * rng.uniform(4, 12)
            xy = xy - xy[n // 2] + middle + aside
            w, fade = _widths(rng, n, width_px * (1 if k == 0 else rng.uniform(0.4, 0.9)), (True, True))
            parts.append((xy, w, fade * (0.65 + 0.35 * ramp(smooth_walk(rng, n, 40), -1.2, 0))))
    return _gather("scratch", parts)


def plan_pits(rng: Rng, size_hw: Size) -> Strokes:
    """Clusters of corrosion pits, a few pixels across."""
    height, width = size_hw
    parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for _ in range(rng.integers(2, 5)):
        centre = rng.uniform((0.08 * width, 0.08 * height), (0.92 * width, 0.92 * height))
        spread = rng.uniform(0.05, 0.16) * width * np.array([1, rng.uniform(0.4, 1.0)])
        stretch = rng.uniform(0, np.pi)
        for _ in range(rng.integers(30, 110)):
            diameter = float(np.clip(3.2 * np.exp(0.4 * rng.standard_normal()), 2.0, MAX_WIDTH_PX))
            n = 1 + int(rng.exponential(0.35) * diameter / STEP_PX)
            along = np.arange(n)[:, None] * STEP_PX * np.array([[np.cos(stretch), np.sin(stretch)]])
            xy = centre + rng.normal(0, 1, 2) * spread + along
            visible = np.full(n, rng.uniform(0.6, 1), np.float32)
            parts.append((xy, np.full(n, diameter, np.float32), visible))
    return _gather("pit", parts)


def roughen(rng: Rng, distance: np.ndarray, strokes: Strokes) -> np.ndarray:
    """The distance field with a ragged edge whose mean stays in place."""
    amount = {"crack": 0.18, "scratch": 0.12, "pit": 0.3}[strokes.kind]
    amount += 0.06 * float(strokes.half_width.mean() - 0.5) * (strokes.kind == "crack")
    return distance + amount * fractal(rng, (distance.shape[0], distance.shape[1]), 0.9, 2.5, 12)


def mark_surface(rng: Rng, canvas: Canvas, kind: str, distance: np.ndarray, strength: np.ndarray) -> None:
    """Work flaws, given by their distance field and visibility (H, W), into a canvas."""
    if kind == "crack":
        _open_crack(rng, canvas, distance, strength)
    elif kind == "scratch":
        _score(rng, canvas, distance, strength)
    else:
        _pit(rng, canvas, distance, strength)


def visibility(size_hw: Size, strokes: Strokes) -> np.ndarray:
    """(H, W) float32: the fade of the nearest strokes, spread softly around them."""
    from scipy.ndimage import gaussian_filter

    small = (size_hw[0] // 4 + 1, size_hw[1] // 4 + 1)
    weight, total = np.zeros(small, np.float32), np.zeros(small, np.float32)
    column = np.clip((strokes.xy[:, 0] / 4).astype(int), 0, small[1] - 1)
    row = np.clip((strokes.xy[:, 1] / 4).astype(int), 0, small[0] - 1)
    np.add.at(weight, (row, column), 1.0)
    np.add.at(total, (row, column), strokes.fade)
    mean = gaussian_filter(total, 1.5) / (gaussian_filter(weight, 1.5) + 1e-4)
    return np.clip(resize(mean, size_hw), 0, 1)


def _open_crack(rng: Rng, canvas: Canvas, distance: np.ndarray, strength: np.ndarray) -> None:
    inside = np.clip(0.5 - distance, 0, 1) * strength
    deep = ramp(-distance, 0.2, 1.8) * strength
    darkness = rng.uniform(0.72, 0.94)
    canvas.albedo *= (1 - inside * (darkness + (0.97 - darkness) * deep))[..., None]
    canvas.height -= (rng.uniform(1.2, 2.6) * (1 - ramp(distance, -1.5, 1.2)) * strength).astype(np.float32)
    chips = ramp(fractal(rng, canvas.size_hw, 1.2, 3, 22), rng.uniform(0.4, 1.3), 2.0)
    rim = np.clip(1 - np.abs(distance - 1.6) / rng.uniform(1.6, 3.6), 0, 1) * (distance > 0.3) * strength
    spall = rim * chips
    canvas.albedo += (rng.uniform(0.15, 0.4) * spall)[..., None] * (linear_mean(canvas) * 1.5 - canvas.albedo)
    canvas.height -= 1.1 * spall
    soil = (
        rng.choice([0.0, 0.08, 0.2])
        * (1 - ramp(distance, 0.0, REACH_PX - 0.5))
        * strength
        * ramp(chips + 0.5, 0, 1)
    )
    canvas.albedo *= (1 - soil * (1 - inside))[..., None]


def linear_mean(canvas: Canvas) -> np.ndarray:
    """(3,) the canvas's mean reflectance."""
    return canvas.albedo[::8, ::8].mean(axis=(0, 1))


def _score(rng: Rng, canvas: Canvas, distance: np.ndarray, strength: np.ndarray) -> None:
    inside = np.clip(0.5 - distance, 0, 1) * strength
    grain = 1 + 0.25 * fractal(rng, canvas.size_hw, 0.8, 2, 14)
    if rng.random() < 0.6:
        gain = rng.uniform(0.6, 1.5)
        canvas.albedo *= (1 + gain * inside * grain)[..., None]
    else:
        canvas.albedo *= (1 - rng.uniform(0.4, 0.75) * inside * np.clip(grain, 0.5, 1.2))[..., None]
    burr = np.exp(-(((distance - 0.8) / 0.9) ** 2)) * strength
    canvas.height += (0.7 * burr - 1.1 * inside).astype(np.float32)


def _pit(rng: Rng, canvas: Canvas, distance: np.ndarray, strength: np.ndarray) -> None:
    inside = (1 - ramp(distance, -0.8, 0.6)) * strength
    canvas.albedo *= (1 - rng.uniform(0.45, 0.78) * inside)[..., None]
    canvas.height -= (rng.uniform(1.4, 3.0) * (1 - ramp(distance, -2.2, 1.6)) * strength).astype(np.float32)
    rust = (1 - ramp(distance, 0.0, 5.0)) * strength * rng.choice([0.0, 0.0, 0.25])
    canvas.albedo *= 1 - rust[..., None] * np.array([0.15, 0.45, 0.7], np.float32)
