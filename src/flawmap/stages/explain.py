"""Where a classifier saw what it says: the linear head's contribution at each cell of the last map.

With logit_c = Σ_k w_ck · mean(f_k) + Σ_k v_ck · max(f_k) + b_c, the map gives every cell its part: w · f /
cells for the average branch (class-activation maps, Zhou et al. 2016; with one linear layer Grad-CAM is the
same up to scale and ReLU), and v · max at the cell where the maximum stands. So the map sums to logit_c − b_c
exactly.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import OptionError
from flawmap.records import LinearHead, Pooling, Preprocessing
from flawmap.tools.files import write_file
from flawmap.tools.runtime import Classifier, Predictions, to_predictions

HEAT_COLOURS = (
    (0, 0, 4), (22, 11, 57), (66, 10, 104), (106, 23, 110), (147, 38, 103), (188, 55, 84),
    (221, 81, 58), (243, 120, 25), (252, 165, 10), (246, 215, 70), (252, 255, 164),
)  # fmt: skip
"""The colour map "inferno" (CC0) at eleven even steps: its lightness grows evenly, also without colour."""

MAX_COVER = 0.8
"""How much of the photo the strongest evidence covers."""
COVER_POWER = 0.6
"""Below 1, so that weak evidence shows too."""
WEAK = 0.5
"""Units of the logit per cell: a map that nowhere reaches this is not stretched to the brightest colour, so
that a photo without much evidence looks like one."""
DRAWN_PX, MARGIN_PX, FOOT_PX = 640, 16, 60
PICTURES = (".png", ".jpg", ".jpeg")


@dataclass(frozen=True)
class Explanation:
    """Why a photo got a label."""

    label: str
    score: float
    """Calibrated probability of the label."""
    heat: np.ndarray
    """(H, W) float32 in the photo's pixels: evidence for the label per cell of the last map, in units of
    `margin`; negative where a place speaks against it."""
    cells: np.ndarray
    """(h', w') float32: the same before it was enlarged, padding included. Sums to `margin` - `bias`."""
    margin: float
    """The label's calibrated logit less the mean of the others: with two labels, or several per photo, the
    log-odds of `score`."""
    bias: float
    prediction: Predictions
    """The answer for the photo itself (one row)."""


def activation_map(features: np.ndarray, head: LinearHead, class_index: int, pooling: Pooling) -> np.ndarray:
    """(k, h', w') features → (h', w') float64 contributions, whose sum is the logit less the head's bias."""
    n_channels = len(features)
    width = n_channels * (2 if pooling == "average+maximum" else 1)
    if features.ndim != 3 or head.weight.shape[1] != width:
        raise ValueError(
            f"need features (k, h', w') for a head of {head.weight.shape[1]} inputs over {pooling}; "
            f"got {features.shape}"
        )
    values = features.reshape(n_channels, -1).astype(np.float64)
    weight = head.weight[class_index].astype(np.float64)
    cells = weight[:n_channels] @ values / values.shape[1]
    if pooling == "average+maximum":
        places = values.argmax(axis=1)
        np.add.at(cells, places, weight[n_channels:] * values[np.arange(n_channels), places])
    return cells.reshape(features.shape[1:])


def to_margins(head: LinearHead, temperature: float, is_multilabel: bool) -> LinearHead:
    """The head whose outputs are each calibrated logit less the mean of the others.

    Softmax does not change when one amount is added to every logit, so a single logit means nothing by
    itself, and neither would its map; the margin is what decides. Sigmoids decide alone: that head stays as
    it is.
    """
    n = len(head.bias)
    weight, bias = head.weight / temperature, head.bias / temperature
    if not is_multilabel and n > 1:
        weight = (weight - weight.mean(axis=0)) * (n / (n - 1))
        bias = (bias - bias.mean()) * (n / (n - 1))
    return LinearHead(weight.astype(np.float32), bias.astype(np.float32))


def explain_photo(classifier: Classifier, image: np.ndarray, label: str | None = None) -> Explanation:
    """Explain the printed label of a (H, W, 3) uint8 image, or the given one, which must be known."""
    spec = classifier.spec
    if label is not None and label not in spec.labels:
        raise OptionError(f"the model knows no label '{label}'; it knows: {', '.join(spec.labels)}")
    features, logits = classifier.run(image)
    prediction = to_predictions(logits[None], spec)
    class_index = _printed_index(prediction) if label is None else spec.labels.index(label)
    head = to_margins(classifier.bundle.head, spec.thresholds.temperature, spec.is_multilabel)
    cells = activation_map(features, head, class_index, spec.cut.pooling)
    bias = float(head.bias[class_index])
    return Explanation(
        label=spec.labels[class_index],
        score=float(prediction.probabilities[0, class_index]),
        heat=to_photo_heat(cells, image.shape[:2], spec.preprocessing),
        cells=cells.astype(np.float32),
        margin=float(cells.sum()) + bias,
        bias=bias,
        prediction=prediction,
    )


def to_photo_heat(cells: np.ndarray, size_hw: tuple[int, ...], preprocessing: Preprocessing) -> np.ndarray:
    """(h', w') over the padded input → (H, W) float32 over the photo: enlarged smoothly, the padding cut
    away.

    Cell centres stay where they are; values stay within those of the cells.
    """
    from PIL import Image

    (input_h, input_w), (height, width) = preprocessing.input_hw, size_hw
    scale = min(input_h / height, input_w / width)
    # The edges of the photo within the cells, as fractions of a cell: the reverse of fit_image().
    fitted_h, fitted_w = max(1, round(height * scale)), max(1, round(width * scale))
    top, left = (input_h - fitted_h) // 2, (input_w - fitted_w) // 2
    per_y, per_x = cells.shape[0] / input_h, cells.shape[1] / input_w
    box = (left * per_x, top * per_y, (left + fitted_w) * per_x, (top + fitted_h) * per_y)
    enlarged = Image.fromarray(cells.astype(np.float32)).resize(
        (width, height), Image.Resampling.BICUBIC, box=box
    )
    return np.clip(np.asarray(enlarged), cells.min(), cells.max()).astype(np.float32)


def draw_heat(image: np.ndarray, heat: np.ndarray, top: float | None = None) -> np.ndarray:
    """(H, W, 3) uint8: the image under its heat. Positive evidence only, from none to `top` (to_top()).

    Where the evidence is stronger the colour covers more of the photo; a thin line runs where it is half of
    the brightest. A heat without any positive value leaves the photo almost grey.
    """
    if image.shape[:2] != heat.shape:
        raise ValueError(f"need a heat of the image's size {image.shape[:2]}; got {heat.shape}")
    top = to_top(heat) if top is None else top
    strength = np.clip(heat / top, 0.0, 1.0)
    grey = image.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    base = (0.35 * image + 0.65 * grey[..., None]).astype(np.float32)
    alpha = (MAX_COVER * strength**COVER_POWER)[..., None]
    drawn = base * (1 - alpha) + to_colours(strength) * alpha
    line = _half_line(heat, top)
    drawn[line] = 0.25 * drawn[line] + 0.75 * 255
    return drawn.round().clip(0, 255).astype(np.uint8)


def _half_line(heat: np.ndarray, top: float) -> np.ndarray:
    """(H, W) bool: where the evidence is half of the brightest; nowhere where all of it is weaker."""
    return _contour(heat / top, 0.5, max(1, round(min(heat.shape) / 300)))


def to_top(heat: np.ndarray) -> float:
    """The evidence that gets the brightest colour: the strongest, but no less than WEAK."""
    return max(float(heat.max()), WEAK)


def to_colours(strength: np.ndarray) -> np.ndarray:
    """(...) in 0..1 → (..., 3) float RGB 0..255 of the heat's colour map."""
    table = np.asarray(HEAT_COLOURS, np.float32)
    at = np.linspace(0, 1, len(table))
    return np.stack([np.interp(strength, at, table[:, i]) for i in range(3)], axis=-1).astype(np.float32)


def draw_explanation(image: np.ndarray, explanation: Explanation) -> np.ndarray:
    """The photo, the photo under its heat, what it means and a legend, as one (H', W', 3) uint8 picture."""
    from PIL import Image, ImageDraw, ImageFont

    size_hw = _drawn_size(image.shape[:2])
    photo = Image.fromarray(image).resize((size_hw[1], size_hw[0]), Image.Resampling.LANCZOS)
    heat = Image.fromarray(explanation.heat).resize((size_hw[1], size_hw[0]), Image.Resampling.BICUBIC)
    top = to_top(explanation.heat)
    drawn = draw_heat(np.asarray(photo), np.asarray(heat), top)
    words = _to_caption(explanation.label, has_line=bool(_half_line(np.asarray(heat), top).any()))
    height, width = size_hw
    canvas = Image.new("RGB", (2 * width + 3 * MARGIN_PX, height + FOOT_PX + 2 * MARGIN_PX), (250, 250, 249))
    canvas.paste(photo, (MARGIN_PX, MARGIN_PX))
    canvas.paste(Image.fromarray(drawn), (2 * MARGIN_PX + width, MARGIN_PX))
    pen, large, small = ImageDraw.Draw(canvas), ImageFont.load_default(22), ImageFont.load_default(14)
    y = height + 2 * MARGIN_PX
    said = f"{explanation.label}: {explanation.score:.1%}"
    pen.text((MARGIN_PX, y - 4), _shorten(said, large, width), fill=(20, 20, 20), font=large)
    pen.text((MARGIN_PX, y + 28), _shorten(words, small, width), fill=(90, 90, 90), font=small)
    x = 2 * MARGIN_PX + width
    _draw_legend(canvas, (x, y, x + width, y + 14))
    pen.text((x, y + 20), "none or against", fill=(90, 90, 90), font=small)
    pen.text((x + width, y + 20), f"+{top:.2g} per cell", fill=(90, 90, 90), font=small, anchor="ra")
    return np.asarray(canvas)


def check_picture(path: Path) -> None:
    """Raise OptionError unless a picture can have this name."""
    if path.suffix.lower() not in PICTURES:
        raise OptionError(f"cannot write a picture to {path}. Name it {' or '.join(PICTURES)}.")


def write_explanation(image: np.ndarray, explanation: Explanation, path: Path | str) -> None:
    """Write the picture as PNG or JPEG. Raises OptionError for another extension or a folder."""
    from PIL import Image

    path, content = Path(path), io.BytesIO()
    check_picture(path)
    kind = "PNG" if path.suffix.lower() == ".png" else "JPEG"
    Image.fromarray(draw_explanation(image, explanation)).save(content, kind, quality=92)
    write_file(path, content.getvalue())


def _drawn_size(size_hw: tuple[int, ...]) -> tuple[int, int]:
    """Tiles are enlarged and photos made smaller until the longer side is DRAWN_PX."""
    scale = DRAWN_PX / max(size_hw)
    return max(1, round(size_hw[0] * scale)), max(1, round(size_hw[1] * scale))


def _contour(strength: np.ndarray, level: float, width_px: int) -> np.ndarray:
    """(H, W) bool: pixels at or above the level that touch one below it, `width_px` wide."""
    inside = strength >= level
    core = inside
    for _ in range(width_px):
        padded = np.pad(core, 1, mode="edge")
        core = core & padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    return inside & ~core


def _draw_legend(canvas: Any, box_xyxy: tuple[int, int, int, int]) -> None:
    """The colours as they look on mid-grey, from none to the strongest."""
    from PIL import Image

    x0, y0, x1, y1 = box_xyxy
    ramp = np.broadcast_to(np.linspace(0, 1, x1 - x0, dtype=np.float32), (y1 - y0, x1 - x0))
    alpha = (MAX_COVER * ramp**COVER_POWER)[..., None]
    bar = (150 * (1 - alpha) + to_colours(ramp) * alpha).round().astype(np.uint8)
    canvas.paste(Image.fromarray(bar), (x0, y0))


def _to_caption(label: str, *, has_line: bool) -> str:
    line = "Line: half of the brightest." if has_line else "All of it is weak."
    return f"Colour: what speaks for {label}, in units of its logit. {line}"


def _shorten(text: str, font: Any, width_px: int) -> str:
    while len(text) > 1 and font.getlength(text) > width_px:
        text = text[:-2].rstrip() + "…"
    return text


def _printed_index(prediction: Predictions) -> int:
    """The likeliest printed label; where none is printed, the likeliest of all."""
    shown = np.where(prediction.printed[0] > 0, prediction.probabilities[0], -1.0)
    return int((shown if shown.max() >= 0 else prediction.probabilities[0]).argmax())
