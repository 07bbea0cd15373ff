"""Pictures of a survey: overlays and heat maps as files, and small ones that the journal keeps."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np

from flawmap.errors import PhotoError
from flawmap.records import Finding, InspectedPhoto, Inspection
from flawmap.tools.files import write_file
from flawmap.tools.photos import read_image
from flawmap.tools.remote import read_place

KEPT_PX = 900
"""Longer side of the photo that is kept for reports."""
_OUTLINE, _CASING, _INK = (240, 228, 66), (20, 24, 30), (20, 24, 30)
_HEAT = (230, 60, 10)
_CLOSE_UP_PX, _THUMB_PX = 480, 320
_JPEG_QUALITY, _KEPT_QUALITY = 88, 80


class PictureFolder:
    """Writes `overlays/` and, if asked, `heat/`, named like the photos."""

    def __init__(self, folder: Path, names: Iterable[str], *, heatmaps: bool) -> None:
        """`names` are all photos of the survey: where two differ in nothing but the extension, it stays."""
        self._folder, self.heatmaps = folder, heatmaps
        self._stems = Counter(_stem(name) for name in names)

    def clear_unfinished(self) -> None:
        """Remove what a kill left half written. Only for the one process that writes here."""
        for path in self._folder.rglob(".*.????????.part"):
            path.unlink(missing_ok=True)

    def overlay_name(self, name: str) -> str:
        """Where the overlay of a photo lies, relative to the survey's folder."""
        return f"overlays/{self._base(name)}.jpg"

    def heat_name(self, name: str) -> str:
        return f"heat/{self._base(name)}.png"

    def has_heat(self, name: str) -> bool:
        """Whether a photo's heat map is there, or not asked for."""
        return not self.heatmaps or (self._folder / self.heat_name(name)).is_file()

    def write(self, name: str, drawn: Mapping[str, bytes]) -> None:
        """What draw_pictures() gave for a photo; the overlay of an earlier look goes where there is none."""
        if "overlay" in drawn:
            write_file(self._folder / self.overlay_name(name), drawn["overlay"])
        else:
            (self._folder / self.overlay_name(name)).unlink(missing_ok=True)
        if "heat" in drawn:
            write_file(self._folder / self.heat_name(name), drawn["heat"])

    def _base(self, name: str) -> str:
        stem = _stem(name)
        return stem if self._stems[stem] == 1 else name


def draw_pictures(seen: InspectedPhoto, *, heatmaps: bool) -> dict[str, bytes]:
    """The files of one photo: "overlay" (JPEG) where something was found, "heat" (PNG) where asked for."""
    findings, size = seen.inspection.findings, seen.inspection.width_px
    drawn: dict[str, bytes] = {}
    if seen.preview is not None and findings and size:
        overlay = draw_findings(seen.preview, findings, seen.preview.shape[1] / size)
        drawn["overlay"] = to_jpeg(overlay, _JPEG_QUALITY)
    if heatmaps and seen.preview is not None and seen.heat is not None:
        drawn["heat"] = to_png(draw_heat(seen.preview, seen.heat))
    return drawn


def to_kept_pictures(seen: InspectedPhoto, max_close_ups: int) -> dict[tuple[str, int], bytes]:
    """Of a photo with findings: the photo, made small, and close-ups of its first findings, as JPEG."""
    if seen.preview is None or not seen.inspection.findings:
        return {}
    kept = {("photo", 0): to_jpeg(shrink(seen.preview, KEPT_PX), _KEPT_QUALITY)}
    for i, image in enumerate(seen.close_ups[: min(max_close_ups, len(seen.inspection.findings))]):
        kept["close-up", i] = to_jpeg(image, _KEPT_QUALITY)
    return kept


def to_layers(seen: InspectedPhoto) -> dict[str, bytes]:
    """What a page lays over a photo: "thumb.jpg", small; "heat.png", the flaw score as red of that opacity,
    one pixel per cell. Empty where the photo could not be read."""
    if seen.preview is None:
        return {}
    layers = {"thumb.jpg": to_jpeg(shrink(seen.preview, _THUMB_PX), _KEPT_QUALITY)}
    if seen.heat is not None:
        opacity = (255 * np.clip(seen.heat, 0, 1)).round().astype(np.uint8)[..., None]
        red = np.broadcast_to(np.array(_HEAT, np.uint8), (*seen.heat.shape, 3))
        layers["heat.png"] = to_png(np.concatenate([red, opacity], axis=2))
    return layers


def draw_findings(image: np.ndarray, findings: Iterable[Finding], scale: float) -> np.ndarray:
    """(h, w, 3) uint8 RGB with a numbered line around every finding, which leaves the flaw itself bare.

    `scale` is pixels of the image per pixel of the photo.
    """
    from PIL import Image, ImageDraw, ImageFont

    picture = Image.fromarray(np.ascontiguousarray(image))
    draw = ImageDraw.Draw(picture)
    line = max(2, round(max(image.shape[:2]) / 500))
    font = ImageFont.load_default(size=max(13, 7 * line))
    findings = list(findings)
    outlines = [[(x * scale, y * scale) for x, y in _outline(one)] for one in findings]
    for width, colour in ((line + 3, _CASING), (line, _OUTLINE)):
        for outline in outlines:
            draw.line([*outline, outline[0], outline[1]], fill=colour, width=width, joint="curve")
    for number, one in reversed(list(enumerate(findings, start=1))):  # the first ones on top
        x, y = one.box_xyxy[0] * scale, one.box_xyxy[1] * scale
        left, top, right, bottom = draw.textbbox((0, 0), str(number), font=font)
        width, height, pad = right - left, bottom - top, 2 * line
        x = min(max(x, 0), max(picture.width - width - 2 * pad, 0))
        y = min(max(y - height - 2 * pad, 0), max(picture.height - height - 2 * pad, 0))
        draw.rectangle((x, y, x + width + 2 * pad, y + height + 2 * pad), fill=_OUTLINE)
        draw.text((x + pad - left, y + pad - top), str(number), fill=_INK, font=font)
    return np.asarray(picture)


def draw_kept(photo: bytes, inspection: Inspection) -> bytes:
    """A kept photo (see to_kept_pictures) with the findings drawn in, as JPEG."""
    from PIL import Image

    with Image.open(io.BytesIO(photo)) as image:
        pixels = np.asarray(image.convert("RGB"))
    scale = pixels.shape[1] / (inspection.width_px or pixels.shape[1])
    return to_jpeg(draw_findings(pixels, inspection.findings, scale), _JPEG_QUALITY)


def cut_close_up(inspection: Inspection, index: int) -> bytes | None:
    """A finding's surroundings at full size, as JPEG, from the photo where it lay; None where it has gone."""
    try:
        image = read_image(read_place(inspection.path))
    except PhotoError:
        return None
    return to_jpeg(cut_around(image, inspection.findings[index]), _KEPT_QUALITY)


def cut_around(image: np.ndarray, finding: Finding) -> np.ndarray:
    """A finding's surroundings in an upright photo, (H, W, 3) uint8 RGB, at full size."""
    left, top, right, bottom = finding.box_xyxy
    height, width = image.shape[:2]
    x = max(0, min(round((left + right - _CLOSE_UP_PX) / 2), width - _CLOSE_UP_PX))
    y = max(0, min(round((top + bottom - _CLOSE_UP_PX) / 2), height - _CLOSE_UP_PX))
    return image[y : y + _CLOSE_UP_PX, x : x + _CLOSE_UP_PX]


def draw_heat(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """(h, w, 3) uint8 RGB: the photo in grey, redder where the flaw score (h', w') is higher."""
    from PIL import Image

    size = (image.shape[1], image.shape[0])
    share = np.asarray(Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR))
    share = np.clip(share, 0, 1)[..., None]
    grey = np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)
    return (grey * (1 - 0.6 * share) + np.array(_HEAT) * 0.6 * share).round().astype(np.uint8)


def to_jpeg(image: np.ndarray, quality: int) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, "JPEG", quality=quality)
    return stream.getvalue()


def to_png(image: np.ndarray) -> bytes:
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(image)).save(stream, "PNG")
    return stream.getvalue()


def _outline(finding: Finding) -> list[tuple[float, float]]:
    """The polygon, or the box of a finding that has none."""
    left, top, right, bottom = finding.box_xyxy
    box = [(left, top), (right, top), (right, bottom), (left, bottom)]
    return list(finding.polygon) if len(finding.polygon) >= 3 else box


def _stem(name: str) -> str:
    return str(PurePosixPath(name).with_suffix(""))


def shrink(image: np.ndarray, side_px: int) -> np.ndarray:
    """(H, W, 3) uint8 RGB with its longer side at most `side_px`."""
    from PIL import Image

    scale = side_px / max(image.shape[:2])
    if scale >= 1:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, Image.Resampling.LANCZOS))
