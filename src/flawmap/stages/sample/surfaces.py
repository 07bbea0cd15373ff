"""Sound surfaces: cast and exposed-aggregate concrete, plaster, brushed and rolled steel, brick, gravel.

Brick and gravel are scikit-image's own photographs (public domain), the rest is drawn.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import numpy as np

from flawmap.stages.sample.canvas import (
    Canvas,
    Size,
    blank_canvas,
    fractal,
    grid,
    linear,
    ramp,
    resize,
    streaks,
)

Rng = np.random.Generator


def _tint(canvas: Canvas, amount: np.ndarray, colour: np.ndarray) -> None:
    """Blend the albedo towards `colour` by `amount` (H, W) 0..1."""
    canvas.albedo += amount[..., None] * (colour - canvas.albedo)


def _pores(rng: Rng, canvas: Canvas, per_megapixel: float, median_radius_px: float) -> None:
    """Blowholes: round, dark, with the shaded wall that a hollow has."""
    from flawmap.stages.sample.flaws import stamp_distance

    height, width = canvas.size_hw
    n = rng.poisson(per_megapixel * height * width / 1e6)
    if not n:
        return
    xy = rng.uniform((0, 0), (width, height), (n, 2)).astype(np.float32)
    radius = np.clip(median_radius_px * np.exp(0.55 * rng.standard_normal(n)), 0.5, 9).astype(np.float32)
    distance = stamp_distance(canvas.size_hw, xy, radius, 2.0)
    distance = distance + 0.35 * fractal(rng, canvas.size_hw, 1.0, 3, 9)
    hole = 1 - ramp(distance, -1.2, 0.7)
    canvas.height -= 2.2 * hole
    canvas.albedo *= 1 - (0.62 * hole)[..., None]


def cast_concrete(rng: Rng, size_hw: Size) -> Canvas:
    """Formed concrete: cloudy, fine-grained, with pores, board lines and trowel marks."""
    base = [
        (158, 156, 151),
        (132, 135, 136),
        (178, 174, 166),
        (112, 121, 124),
        (150, 145, 136),
        (96, 112, 114),
    ]
    canvas = blank_canvas("concrete", size_hw, linear(*base[rng.integers(len(base))]))
    cloud = fractal(rng, size_hw, 2.6, 24, 900)
    mottle = fractal(rng, size_hw, 1.7, 8, 90)
    grain = fractal(rng, size_hw, 0.7, 2, 14)
    tone = (
        rng.uniform(0.07, 0.16) * cloud + rng.uniform(0.03, 0.09) * mottle + rng.uniform(0.04, 0.08) * grain
    )
    canvas.albedo *= np.exp(tone)[..., None]
    warm = 0.02 * fractal(rng, size_hw, 2.4, 24, 500)
    canvas.albedo *= np.stack([1 + warm, np.ones_like(warm), 1 - warm], axis=-1)
    canvas.height += rng.uniform(0.12, 0.3) * grain + rng.uniform(0.1, 0.4) * mottle
    dark = fractal(rng, size_hw, 0.3, 3, 10)
    canvas.albedo *= (1 - 0.45 * ramp(dark, 2.6, 3.4))[..., None]
    _pores(rng, canvas, rng.choice([30, 120, 320]), rng.uniform(0.9, 2.2))
    if rng.random() < 0.4:
        _board_lines(rng, canvas)
    if rng.random() < 0.3:
        marks = streaks(rng, size_hw, rng.uniform(-0.9, 0.9), 90, 1.8) * ramp(mottle, -0.5, 1.5)
        canvas.height += rng.uniform(0.08, 0.2) * marks
        canvas.albedo *= np.exp(0.03 * marks)[..., None]
    return canvas


def _board_lines(rng: Rng, canvas: Canvas) -> None:
    """Marks of formwork boards: each board its own tone, a faint ridge where two met."""
    height, width = canvas.size_hw
    along = width if (is_upright := rng.random() < 0.5) else height
    edges = np.cumsum(rng.uniform(90, 210, 40))
    edges = edges[edges < along - 20]
    position = np.arange(along, dtype=np.float32)
    tone = rng.normal(0, 0.06, len(edges) + 1)[np.searchsorted(edges, position)].astype(np.float32)
    ridge = np.zeros(along, np.float32)
    for edge in edges:
        ridge += rng.uniform(0.4, 1.1) * np.exp(-(((position - edge) / rng.uniform(1.0, 1.8)) ** 2))
    if is_upright:
        tone, ridge = tone[None, :], ridge[None, :]
    else:
        tone, ridge = tone[:, None], ridge[:, None]
    wear = ramp(fractal(rng, canvas.size_hw, 1.6, 8, 120), -1.2, 0.6)
    canvas.albedo *= np.exp(tone - 0.12 * ridge * wear)[..., None]
    canvas.height += ridge * wear


def aggregate_concrete(rng: Rng, size_hw: Size) -> Canvas:
    """Worn or washed concrete that shows its stones."""
    from PIL import Image, ImageDraw

    matrix = [(150, 145, 136), (120, 118, 114), (168, 160, 146)][rng.integers(3)]
    canvas = blank_canvas("aggregate", size_hw, linear(*matrix))
    height, width = size_hw
    stones = [(176, 170, 160), (96, 92, 88), (140, 122, 104), (205, 200, 190), (118, 84, 66), (70, 70, 74)]
    n = int(rng.uniform(1500, 6500) * height * width / 1e6)
    radius = np.sort(np.clip(rng.uniform(1.2, 2.6) * np.exp(0.6 * rng.standard_normal(n)), 0.8, 14))[::-1]
    centre = rng.uniform((0, 0), (width, height), (n, 2))
    image = Image.new("I", (width, height), 0)
    draw = ImageDraw.Draw(image)
    turn = np.linspace(0, 2 * np.pi, 8, endpoint=False)
    wobble = rng.uniform(0.65, 1.2, (n, 8)) * radius[:, None]
    squash, tilt = rng.uniform(0.55, 1.0, n), rng.uniform(0, np.pi, n)
    for i in range(n):
        x, y = wobble[i] * np.cos(turn), wobble[i] * np.sin(turn) * squash[i]
        c, s = np.cos(tilt[i]), np.sin(tilt[i])
        outline = np.stack([centre[i, 0] + c * x - s * y, centre[i, 1] + s * x + c * y], axis=1)
        draw.polygon([(float(px), float(py)) for px, py in outline], fill=i + 1)
    which = np.asarray(image)
    colours = np.stack([linear(*stones[k]) for k in rng.integers(0, len(stones), n + 1)])
    colours *= np.exp(0.18 * rng.standard_normal((n + 1, 1))).astype(np.float32)
    is_stone = ramp(resize((which > 0).astype(np.float32), size_hw), 0.1, 0.9)
    grain = fractal(rng, size_hw, 0.8, 2, 16)
    cover = ramp(fractal(rng, size_hw, 2.0, 6, 160), rng.uniform(-1.6, -0.2), 1.8)
    _tint(canvas, is_stone * (1 - 0.75 * cover), colours[which])
    canvas.albedo *= np.exp(0.1 * grain + 0.08 * fractal(rng, size_hw, 2.4, 16, 600))[..., None]
    canvas.height += 0.9 * is_stone * (1 - cover) + 0.3 * grain
    return canvas


def plaster(rng: Rng, size_hw: Size) -> Canvas:
    """Painted plaster or render: one colour, stippled relief."""
    paint = [
        (196, 190, 178),
        (215, 205, 170),
        (96, 140, 178),
        (168, 168, 166),
        (200, 170, 140),
        (150, 170, 160),
        (128, 128, 126),
    ]
    canvas = blank_canvas("plaster", size_hw, linear(*paint[rng.integers(len(paint))]))
    coarse_px = rng.uniform(5, 16)
    bumps = fractal(rng, size_hw, 1.2, coarse_px * 0.45, coarse_px * 2.2)
    fine = fractal(rng, size_hw, 0.6, 2, 7)
    relief = rng.choice([0.25, 0.7, 1.3])
    shaped = np.where(bumps > 0, bumps, 0.35 * bumps) if rng.random() < 0.5 else bumps
    canvas.height += relief * shaped.astype(np.float32) + rng.uniform(0.04, 0.16) * fine
    canvas.height += 1.2 * fractal(rng, size_hw, 2.5, 40, 400)
    dirt = 0.05 * fractal(rng, size_hw, 2.4, 24, 700) + 0.02 * fine
    canvas.albedo *= np.exp(dirt - 0.05 * relief * np.clip(-bumps, 0, 2))[..., None]
    if rng.random() < 0.5:
        worn = ramp(fractal(rng, size_hw, 2.0, 3, 200), 2.0, 2.5)
        _tint(canvas, 0.7 * worn, linear(170, 165, 155))
        canvas.height -= 0.8 * worn
    return canvas


def brushed_steel(rng: Rng, size_hw: Size) -> Canvas:
    """Ground or brushed sheet: fine lines in one direction under a broad reflection."""
    canvas = blank_canvas(
        "brushed steel", size_hw, linear(*rng.uniform(135, 175) * np.array([1, 1.005, 1.015])), True
    )
    angle = rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.04)
    fine = streaks(rng, size_hw, angle, rng.uniform(40, 110), 0.45)
    broad = streaks(rng, size_hw, angle, 220, 2.2)
    grain = fractal(rng, size_hw, 0.3, 2, 6)
    medium = streaks(rng, size_hw, angle + 0.01, 25, 0.3)
    strength = rng.uniform(0.04, 0.1)
    canvas.albedo *= np.exp(strength * fine + 0.7 * strength * medium + 0.025 * broad + 0.04 * grain)[
        ..., None
    ]
    y, x = grid(size_hw)
    across = (y * np.cos(angle) - x * np.sin(angle)) / max(size_hw)
    for _ in range(rng.integers(1, 4)):
        centre, spread = rng.uniform(-0.6, 0.9), rng.uniform(0.08, 0.35)
        canvas.light *= 1 + rng.uniform(-0.25, 0.55) * np.exp(-(((across - centre) / spread) ** 2))
    canvas.height += 0.1 * fine
    return canvas


def rolled_steel(rng: Rng, size_hw: Size) -> Canvas:
    """Hot-rolled strip: matt, scaly, with bands in the rolling direction."""
    canvas = blank_canvas(
        "rolled steel", size_hw, linear(*rng.uniform(95, 150) * np.array([1.01, 1, 0.99])), True
    )
    angle = rng.choice([0.0, np.pi / 2])
    band = streaks(rng, size_hw, angle, 400, rng.uniform(12, 40))
    scale = fractal(rng, size_hw, 0.9, 2.2, 24)
    cloud = fractal(rng, size_hw, 2.2, 16, 300)
    grind = streaks(rng, size_hw, rng.uniform(0, np.pi), 14, 0.8)
    tone = rng.uniform(0.04, 0.12) * band + rng.uniform(0.06, 0.13) * scale + 0.07 * cloud
    canvas.albedo *= np.exp(tone + rng.uniform(0, 0.08) * grind)[..., None]
    canvas.height += 0.16 * scale
    return canvas


@lru_cache(maxsize=4)
def _texture(name: str) -> np.ndarray:
    """One of scikit-image's bundled grey photographs as (512, 512) float32 linear light, mean 1."""
    import skimage
    from PIL import Image

    path = Path(str(skimage.__file__)).parent / "data" / f"{name}.png"
    grey = np.asarray(Image.open(path).convert("L"), np.float32) / 255
    light = grey**2.2
    return light / light.mean()


def _courses(rng: Rng, size_hw: Size) -> np.ndarray:
    """A piece of the brick photograph, courses level, enlarged until it covers the photo; mean about 1."""
    texture = np.rot90(_texture("brick"))
    if rng.random() < 0.5:
        texture = texture[:, ::-1]
    zoom = max(size_hw[0] / texture.shape[0], size_hw[1] / texture.shape[1]) * rng.uniform(1.02, 1.5)
    zoom = max(zoom, 1.0)
    texture = resize(texture, (round(texture.shape[0] * zoom), round(texture.shape[1] * zoom)))
    top, left = (rng.integers(0, texture.shape[i] - size_hw[i] + 1) for i in range(2))
    return np.clip(texture[top : top + size_hw[0], left : left + size_hw[1]], 0.02, 4)


def _pebbles(rng: Rng, size_hw: Size, zoom: float) -> np.ndarray:
    """The gravel photo, reduced; pieces turned and shifted at random, so that none repeats in sight."""
    side = round(512 * zoom)
    texture = resize(_texture("gravel"), (side, side))
    best = np.full(size_hw, -9, np.float32)
    out = np.ones(size_hw, np.float32)
    for _ in range(5):
        piece = np.rot90(texture, int(rng.integers(4)))
        piece = np.roll(piece, rng.integers(0, side, 2).tolist(), axis=(0, 1))
        repeat = [-(-size_hw[i] // side) for i in range(2)]
        piece = np.tile(piece, repeat)[: size_hw[0], : size_hw[1]]
        vote = fractal(rng, size_hw, 2.0, 16, 0.5 * side)
        share = ramp(vote - best, -0.06, 0.06)
        out += share * (piece - out)
        best = np.maximum(best, vote)
    return np.clip(out, 0.05, 4)


def brickwork(rng: Rng, size_hw: Size) -> Canvas:
    """scikit-image's brick wall, coloured: mortar is told from brick by its brightness."""
    light = _courses(rng, size_hw)
    brick = [(158, 96, 74), (142, 84, 68), (172, 124, 96), (120, 88, 76), (176, 140, 110)][rng.integers(5)]
    canvas = blank_canvas("brick", size_hw, linear(*brick))
    hue = fractal(rng, size_hw, 1.8, 24, 120)
    canvas.albedo *= np.stack([1 + 0.05 * hue, 1 + 0.01 * hue, 1 - 0.02 * hue], axis=-1)
    mortar = ramp(light, 1.3, 1.7)
    shade = rng.uniform(0.75, 1.15)
    _tint(canvas, mortar, linear(*(np.array([150, 145, 136]) * shade)))
    grain = fractal(rng, size_hw, 0.9, 2, 18)
    pitted = ramp(fractal(rng, size_hw, 0.8, 3, 14), 1.9, 3.0) * (1 - mortar)
    tone = np.exp((0.1 + 0.06 * mortar) * grain + 0.1 * fractal(rng, size_hw, 2.2, 24, 500))
    canvas.albedo *= (np.clip(light, 0, 1.6) ** rng.uniform(0.7, 1.0) * tone * (1 - 0.4 * pitted))[..., None]
    canvas.height += 0.25 * grain - 1.2 * mortar - 0.8 * pitted
    return canvas


def gravel(rng: Rng, size_hw: Size) -> Canvas:
    """scikit-image's gravel, reduced and bound: a rough-cast or bituminous surface."""
    light = _pebbles(rng, size_hw, rng.uniform(0.4, 0.7))
    base = [(92, 92, 94), (118, 114, 108), (140, 134, 124), (110, 112, 112)][rng.integers(4)]
    canvas = blank_canvas("gravel", size_hw, linear(*base))
    worn = ramp(fractal(rng, size_hw, 2.0, 6, 200), rng.uniform(-1.5, 0.5), 2.0)
    relief = np.log(light) * rng.uniform(0.35, 0.6) * (1 - 0.6 * worn)
    canvas.albedo *= np.exp(relief + 0.1 * fractal(rng, size_hw, 2.2, 24, 600))[..., None]
    canvas.albedo *= np.exp(0.1 * fractal(rng, size_hw, 0.8, 2, 12))[..., None]
    return canvas


SURFACES: dict[str, Callable[[Rng, Size], Canvas]] = {
    "concrete": cast_concrete,
    "aggregate": aggregate_concrete,
    "plaster": plaster,
    "brushed steel": brushed_steel,
    "rolled steel": rolled_steel,
    "brick": brickwork,
    "gravel": gravel,
}
