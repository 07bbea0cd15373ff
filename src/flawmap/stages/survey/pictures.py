"""Pictures of a survey: overlays and heat maps as files, and small ones that the journal keeps."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from flawmap.errors import PhotoError
from flawmap.records import Finding, InspectedPhoto, Inspection
from flawmap.stages.survey.drawing import draw_findings, draw_one
from flawmap.tools.close_ups import close_up_corner, cut_close_up
from flawmap.tools.files import write_file
from flawmap.tools.photos import read_image
from flawmap.tools.remote import read_place

KEPT_PX = 900
"""Longer side of the photo that is kept for reports."""
_KEPT_TEXT_PX = 24
"""Of the numbers on it, which are read on a page of a report and on paper."""
_HEAT = (230, 60, 10)
_THUMB_PX = 320
_JPEG_QUALITY, _KEPT_QUALITY = 88, 80


class PictureFolder:
    """Writes `overlays/` and, if asked, `heat/`, named like the photos."""

    def __init__(
        self, folder: Path, names: Iterable[str], *, heatmaps: bool, kinds: Sequence[str] = ()
    ) -> None:
        """`names` are all photos of the survey: where two differ in nothing but the extension, it stays.
        `kinds` are the labels that the model tells apart; see draw_findings()."""
        self._folder, self.heatmaps, self.kinds = folder, heatmaps, tuple(kinds)
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

    def names_of(self, name: str, drawn: Iterable[str] = ("overlay", "heat")) -> list[str]:
        """Where a photo's pictures lie, as overlay_name() and heat_name() say."""
        places = {"overlay": self.overlay_name, "heat": self.heat_name}
        return [places[kind](name) for kind in drawn]

    def remove(self, paths: Iterable[str]) -> None:
        """Pictures that are there no longer are no error."""
        for path in paths:
            (self._folder / path).unlink(missing_ok=True)

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


def draw_pictures(seen: InspectedPhoto, *, heatmaps: bool, kinds: Sequence[str] = ()) -> dict[str, bytes]:
    """The files of one photo: "overlay" (JPEG) where something was found, "heat" (PNG) where asked for.
    `kinds` as for draw_findings()."""
    findings, size = seen.inspection.findings, seen.inspection.width_px
    drawn: dict[str, bytes] = {}
    if seen.preview is not None and findings and size:
        overlay = draw_findings(seen.preview, findings, seen.preview.shape[1] / size, kinds=kinds)
        drawn["overlay"] = to_jpeg(overlay.image, _JPEG_QUALITY)
    if heatmaps and seen.preview is not None and seen.heat is not None:
        drawn["heat"] = to_png(draw_heat(seen.preview, seen.heat))
    return drawn


def to_kept_pictures(seen: InspectedPhoto, max_close_ups: int) -> dict[tuple[str, int], bytes]:
    """Of a photo with findings: the photo, made small, and close-ups of its first findings, outlined, as
    JPEG."""
    if seen.preview is None or not seen.inspection.findings:
        return {}
    kept = {("photo", 0): to_jpeg(shrink(seen.preview, KEPT_PX), _KEPT_QUALITY)}
    found = seen.inspection
    size_hw = (found.height_px or 0, found.width_px or 0)
    for i, (image, one) in enumerate(zip(seen.close_ups[:max_close_ups], found.findings, strict=False)):
        kept["close-up", i] = _outlined(image, one, size_hw)
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


def draw_kept(
    photo: bytes, inspection: Inspection, first: int, kinds: Sequence[str] = ()
) -> tuple[bytes, int]:
    """A kept photo (see to_kept_pictures) with the findings drawn in, as JPEG, and how many of them are
    numbered; see draw_findings()."""
    from PIL import Image

    with Image.open(io.BytesIO(photo)) as image:
        pixels = np.asarray(image.convert("RGB"))
    scale = pixels.shape[1] / (inspection.width_px or pixels.shape[1])
    drawn = draw_findings(pixels, inspection.findings, scale, first, _KEPT_TEXT_PX, kinds)
    return to_jpeg(drawn.image, _JPEG_QUALITY), drawn.n_numbered


def draw_close_up(inspection: Inspection, index: int) -> bytes | None:
    """A finding's surroundings at full size, outlined, as JPEG, from the photo where it lay; None where that
    has gone."""
    try:
        image = read_image(read_place(inspection.path))
    except PhotoError:
        return None
    finding = inspection.findings[index]
    return _outlined(cut_close_up(image, finding), finding, image.shape[:2])


def _outlined(close_up: np.ndarray, finding: Finding, size_hw: tuple[int, ...]) -> bytes:
    return to_jpeg(draw_one(close_up, finding, close_up_corner(finding, size_hw)), _KEPT_QUALITY)


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
