"""One photo: its surface, flaws and distractors, and the tiles cut from it."""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from flawmap.stages.sample.camera import take_photo
from flawmap.stages.sample.canvas import Size
from flawmap.stages.sample.distractors import add_distractors
from flawmap.stages.sample.flaws import (
    Strokes,
    mark_surface,
    plan_cracks,
    plan_network,
    plan_pits,
    plan_scratches,
    roughen,
    stamp_distance,
    visibility,
)
from flawmap.stages.sample.surfaces import SURFACES

Rng = np.random.Generator
CLEAR_PX = 6.0
"""A sound tile keeps at least this far from the edge of any flaw."""
VISIBLE = 0.5
"""The fade from which on a flaw counts as there."""
_DECK = (
    ("concrete",) * 4 + ("plaster",) * 3 + ("aggregate", "brushed steel", "rolled steel", "brick", "gravel")
)
_N_ATTEMPTS = 25


@dataclass(frozen=True)
class Tile:
    """A tile as it is written; `row` holds its columns of tiles.csv, without the file names."""

    jpeg: bytes
    mask_png: bytes
    is_flawed: bool
    row: dict[str, str | int | float]


@dataclass(frozen=True)
class DrawnPhoto:
    """A whole photo, its mask and the tiles chosen from it, in reading order."""

    name: str
    jpeg: bytes
    mask_png: bytes
    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class _Layout:
    """Strokes, with the cells (x, y of their corners) that clearly show a flaw and that clearly do not."""

    strokes: Strokes | None
    flawed: tuple[tuple[int, int], ...]
    sound: tuple[tuple[int, int], ...]


def draw_photo(index: int, seed: int, n_tiles: int, tile_px: int) -> DrawnPhoto:
    """Photo number `index` of a sample: the same bytes for the same four numbers."""
    rng = np.random.default_rng([seed, index, n_tiles, tile_px])
    order = np.random.default_rng([seed, index // len(_DECK)]).permutation(len(_DECK))
    kind = _DECK[order[index % len(_DECK)]]
    size_hw = _photo_size(n_tiles, tile_px)
    layout = _plan(rng, kind, size_hw, n_tiles, tile_px)
    canvas = SURFACES[kind](rng, size_hw)
    mask = np.zeros(size_hw, bool)
    if layout.strokes is not None:
        distance = roughen(
            rng, stamp_distance(size_hw, layout.strokes.xy, layout.strokes.half_width), layout.strokes
        )
        strength = visibility(size_hw, layout.strokes)
        mark_surface(rng, canvas, layout.strokes.kind, distance, strength)
        mask = (distance < 0) & (strength > VISIBLE)
    add_distractors(rng, canvas)
    image = take_photo(rng, canvas)
    quality = int(rng.integers(82, 96))
    name = f"site_{index + 1:04d}"
    about = {"photo": name, "surface": kind, "distractors": "; ".join(canvas.distractors)}
    tiles = []
    for (x, y), is_flawed in _choose(rng, layout, n_tiles):
        cut = np.s_[y : y + tile_px, x : x + tile_px]
        row: dict[str, str | int | float] = {**about, "x": x, "y": y}
        if is_flawed and layout.strokes is not None:
            row |= _measure(layout.strokes, x, y, tile_px)
        tiles.append(Tile(_to_jpeg(image[cut], quality), _to_png(mask[cut]), is_flawed, row))
    return DrawnPhoto(name, _to_jpeg(image, quality), _to_png(mask), tuple(tiles))


def _photo_size(n_tiles: int, tile_px: int) -> Size:
    """Room for about half as many tiles again, so that the unclear ones can be left out."""
    n_cells = -(-n_tiles * 7 // 5)
    n_columns = max(2, round((n_cells * 4 / 3) ** 0.5))
    return -(-n_cells // n_columns) * tile_px, n_columns * tile_px


def _plan(rng: Rng, kind: str, size_hw: Size, n_tiles: int, tile_px: int) -> _Layout:
    """Lay flaws until enough tiles are clearly flawed or clearly sound; else leave the photo sound."""
    cells = tuple((x, y) for y in range(0, size_hw[0], tile_px) for x in range(0, size_hw[1], tile_px))
    for _ in range(_N_ATTEMPTS):
        if kind.endswith("steel"):
            strokes = (plan_scratches if rng.random() < 0.55 else plan_pits)(rng, size_hw)
        elif kind in ("plaster", "concrete") and rng.random() < 0.15:
            strokes = plan_network(rng, size_hw)
        else:
            strokes = plan_cracks(rng, size_hw)
        flawed = tuple(c for c in cells if _is_flawed(strokes, *c, tile_px))
        sound = tuple(c for c in cells if _is_sound(strokes, *c, tile_px))
        if len(flawed) + len(sound) >= n_tiles and min(len(flawed), len(sound)) >= 0.3 * n_tiles:
            return _Layout(strokes, flawed, sound)
    return _Layout(None, (), cells)


def _within(strokes: Strokes, x: int, y: int, tile_px: int, margin_px: np.ndarray | float) -> np.ndarray:
    """(n,) bool: the samples inside a cell that is grown by a margin (negative: shrunk)."""
    px, py = strokes.xy[:, 0], strokes.xy[:, 1]
    return (
        (px >= x - margin_px)
        & (px < x + tile_px + margin_px)
        & (py >= y - margin_px)
        & (py < y + tile_px + margin_px)
    )


def _is_flawed(strokes: Strokes, x: int, y: int, tile_px: int) -> bool:
    """Enough of the flaw, seen clearly: a third of the tile's side, or some eight pits."""
    seen = _within(strokes, x, y, tile_px, -3.0) & (strokes.fade > 0.6)
    least_px = 26.0 if strokes.kind == "pit" else tile_px / 3
    return float(strokes.length[seen].sum()) >= least_px


def _is_sound(strokes: Strokes, x: int, y: int, tile_px: int) -> bool:
    return not _within(strokes, x, y, tile_px, strokes.half_width + CLEAR_PX).any()


def _choose(rng: Rng, layout: _Layout, n_tiles: int) -> list[tuple[tuple[int, int], bool]]:
    """About as many flawed cells as sound ones, in reading order."""
    wanted = round(n_tiles * rng.uniform(0.3, 0.7))
    n_flawed = int(np.clip(wanted, n_tiles - len(layout.sound), len(layout.flawed)))
    chosen = [(layout.flawed[i], True) for i in rng.permutation(len(layout.flawed))[:n_flawed]]
    chosen += [(layout.sound[i], False) for i in rng.permutation(len(layout.sound))[: n_tiles - n_flawed]]
    return sorted(chosen, key=lambda cell: (cell[0][1], cell[0][0]))


def _measure(strokes: Strokes, x: int, y: int, tile_px: int) -> dict[str, str | int | float]:
    """The true width and length of what lies in a cell."""
    seen = _within(strokes, x, y, tile_px, 0.0) & (strokes.fade > VISIBLE)
    width, length = 2 * strokes.half_width[seen], strokes.length[seen]
    return {
        "flaw": strokes.kind,
        "width_px": round(float(np.average(width, weights=length)), 2),
        "width_max_px": round(float(width.max()), 2),
        "length_px": round(float(length.sum()), 1),
    }


def _to_jpeg(image: np.ndarray, quality: int) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def _to_png(mask: np.ndarray) -> bytes:
    """(h, w) bool → a grey PNG of 0 and 255."""
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(stream, "PNG")
    return stream.getvalue()
