"""Two surveys of one structure: what is new, what has grown, what is as it was.

Photos are paired by name, then those left over by the camera's position (within `max_distance_m`). A pair
counts only where the pictures themselves can be laid over one another; findings are then matched by how far
their outlines overlap. Whatever cannot be told is "not comparable", never "unchanged".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from flawmap.errors import OptionError
from flawmap.stages.survey.aligning import Alignment, align_photos
from flawmap.stages.survey.earlier import EarlierSurvey
from flawmap.stages.survey.outlines import distance_m, fill_outline, to_shares
from flawmap.tools.options import Options
from flawmap.tools.plain import different_options

Kind = Literal["new", "grown", "unchanged", "not found again", "not comparable"]
_LEAST_INSIDE = 0.9
"""Of an outline, to count as seen."""
LIMITS = (
    "Photos are paired by name or by the camera's position, and only where their pictures can be laid over "
    "one another as views of one plane; all others are not comparable. “Unchanged” means that no growth of "
    "the width beyond both 95 % intervals, nor of width or length beyond the share given, could be told; "
    "where a finding has no width in both surveys, nor of its area beyond the square of that share. "
    "Lengths are not compared where a crack leaves the photo or its outline is a classifier's. Look at both "
    "photos before you act on a growth."
)


@dataclass(frozen=True)
class CompareOptions(Options):
    """When two findings are the same one, and when it has grown."""

    max_distance_m: float = 10.0
    """Between the cameras of photos that are paired by position; receivers are metres off."""
    least_overlap: float = 0.3
    """Of the smaller outline, for two findings to be the same."""
    least_growth: float = 0.15
    """Of the width or the length, as a share: what another distance and tilt of the camera may feign. Of an
    area it is the square root that has to grow so much."""
    least_agreement: float = 0.6
    """Of two outlines of a classifier (intersection over union), for their sizes to be compared."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("max_distance_m", "least_overlap", "least_growth", "least_agreement"):
            if getattr(self, name) <= 0:
                raise OptionError(f"wanted {name} above 0; got {getattr(self, name)}")


@dataclass(frozen=True)
class Change:
    """One finding of either survey, or one of both. Numbers are those of the overlays, from 1."""

    kind: Kind
    reason: str
    old_photo: str | None = None
    old_finding: int | None = None
    new_photo: str | None = None
    new_finding: int | None = None
    label: str = ""
    old_width_max: float | None = None
    new_width_max: float | None = None
    old_length: float | None = None
    new_length: float | None = None
    unit: str = ""
    """Of the sizes: mm, or px where a scale is missing."""
    old_area_px: int | None = None
    """Where areas are compared, since there is no width in both: in pixels of the new photo."""
    new_area_px: int | None = None


def compare_surveys(old: EarlierSurvey, new: EarlierSurvey, options: CompareOptions) -> tuple[Change, ...]:
    """Every finding of both surveys, once: matched ones together. In the order of the new survey's photos.

    Raises MissingExtraError without OpenCV.
    """
    changes: list[Change] = []
    paired: set[str] = set()
    for name, photo in sorted(new.photos.items()):
        if not photo["findings"] and name not in old.photos:
            continue
        earlier = _find_pair(old, new, name, paired, options)
        if earlier is None:
            changes += _alone(name, photo["findings"], "new", "no earlier photo of this place was found")
            continue
        old_name, alignment = earlier
        paired.add(old_name)
        is_coarse = old.is_coarse or new.is_coarse
        looked_at = (old.looked_at(old_name), new.looked_at(name))
        pair = (old.photos[old_name], photo)
        changes += _compare_pair(*pair, alignment, looked_at, options, is_coarse=is_coarse)
    for name, photo in sorted(old.photos.items()):
        if name not in paired:
            changes += _alone(name, photo["findings"], "old", "no later photo of this place was found")
    return tuple(changes)


def name_differences(old: EarlierSurvey, new: EarlierSurvey) -> list[str]:
    """In what the surveys were made with: the model, limits and scales. Changes may come from these alone."""
    models = [
        f"{one.model.get('name', '')}, digest {str(one.model.get('digest', ''))[:16]}" for one in (old, new)
    ]
    is_same = old.model.get("digest") == new.model.get("digest")
    return ([] if is_same else [f"model ({models[0]}; now {models[1]})"]) + different_options(
        old.options, new.options
    )


def _find_pair(
    old: EarlierSurvey, new: EarlierSurvey, name: str, taken: set[str], options: CompareOptions
) -> tuple[str, Alignment] | None:
    """The earlier photo of the same place: that of the same name, else the best aligned one nearby."""
    photo = new.photos[name]
    nearby = [
        other
        for other, earlier in old.photos.items()
        if other not in taken and other != name and _distance_m(photo, earlier) <= options.max_distance_m
    ]
    for names in ([name] if name in old.photos and name not in taken else [], sorted(nearby)):
        found = [(other, _align(old, new, other, name)) for other in names]
        fitting = [(other, alignment) for other, alignment in found if alignment is not None]
        if fitting:
            return max(fitting, key=lambda one: one[1].n_inliers)
    return None


def _align(old: EarlierSurvey, new: EarlierSurvey, old_name: str, new_name: str) -> Alignment | None:
    if not (old.photos[old_name]["findings"] or new.photos[new_name]["findings"]):
        return None  # nothing to compare
    first, second = old.picture(old_name), new.picture(new_name)
    return None if first is None or second is None else align_photos(first, second)


def _compare_pair(
    old: dict[str, Any],
    new: dict[str, Any],
    alignment: Alignment,
    looked_at: tuple[np.ndarray | None, np.ndarray | None],
    options: CompareOptions,
    *,
    is_coarse: bool,
) -> Iterator[Change]:
    """The findings of two photos of one place. `looked_at`: of each photo, as `EarlierSurvey.looked_at`."""
    old_looked_at, new_looked_at = looked_at
    old_shapes = [alignment.to_second(_outline(finding, old)) for finding in old["findings"]]
    new_shapes = [_outline(finding, new) for finding in new["findings"]]
    old_masks, new_masks = (
        [fill_outline(one) for one in old_shapes],
        [fill_outline(one) for one in new_shapes],
    )
    matches = _match(old_masks, new_masks, options.least_overlap)
    back = [alignment.to_first(shape) for shape in new_shapes]
    unseen_before = [_why_unseen(shape, old, old_looked_at, "earlier") for shape in back]
    unseen_now = [_why_unseen(shape, new, new_looked_at, "later") for shape in old_shapes]
    for i, j in sorted(matches.items(), key=lambda pair: pair[1]):
        stretch = math.sqrt(_area(old_shapes[i]) / max(_area(_outline(old["findings"][i], old)), 1e-12))
        is_whole = not (unseen_before[j] or unseen_now[i])
        pair = (old, i), (new, j)
        change = _judge(*pair, stretch * new["width_px"] / old["width_px"], options, is_whole, is_coarse)
        a, b = old_masks[i], new_masks[j]
        if is_coarse and (a & b).sum() < options.least_agreement * (a | b).sum():
            why = "the classifier marked another part of it, so that sizes say nothing"
            change = replace(change, kind="not comparable", reason=why)
        yield change if not is_coarse else _without_length(change)
    for j in set(range(len(new_masks))) - set(matches.values()):
        yield _one_sided("not comparable" if unseen_before[j] else "new", unseen_before[j], new, j, "new")
    for i in set(range(len(old_masks))) - set(matches):
        kind: Kind = "not comparable" if unseen_now[i] else "not found again"
        yield _one_sided(kind, unseen_now[i], old, i, "old")


def _why_unseen(shape: np.ndarray, photo: dict[str, Any], looked_at: np.ndarray | None, which: str) -> str:
    """Why a photo tells nothing of an outline in shares of it; "" where it was looked at as a whole."""
    if not photo["assessable"] or not _is_inside(shape):
        return f"the {which} photo shows only part of it, or could not be judged"
    if looked_at is None:
        return f"the {which} survey looked at a part of the photo, and which one cannot be told any more"
    if looked_at[fill_outline(shape)].mean() < _LEAST_INSIDE:
        return f"it lies outside the region that the {which} survey looked at, or partly so"
    return ""


def _match(old: list[np.ndarray], new: list[np.ndarray], least_overlap: float) -> dict[int, int]:
    """Indices of findings that are the same, those that overlap most first."""
    overlaps = [
        (float((a & b).sum() / max(min(a.sum(), b.sum()), 1)), i, j)
        for i, a in enumerate(old)
        for j, b in enumerate(new)
    ]
    matches: dict[int, int] = {}
    for overlap, i, j in sorted(overlaps, key=lambda one: (-one[0], one[1], one[2])):
        if overlap >= least_overlap and i not in matches and j not in matches.values():
            matches[i] = j
    return matches


def _judge(
    old: tuple[dict[str, Any], int],
    new: tuple[dict[str, Any], int],
    px_ratio: float,
    options: CompareOptions,
    is_whole: bool,
    is_coarse: bool,
) -> Change:
    """`px_ratio`: pixels of the new photo per pixel of the old one, at this place. `is_whole`: both surveys
    looked at all of it."""
    (old_photo, i), (new_photo, j) = old, new
    was, now = old_photo["findings"][i], new_photo["findings"][j]
    names = (old_photo["name"], i + 1, new_photo["name"], j + 1, now["label"])
    is_whole = is_whole and not (_leaves(was, old_photo) or _leaves(now, new_photo))
    if was["width_max_px"] is None or now["width_max_px"] is None:
        if is_coarse:
            return Change(
                "not comparable", "without a width, and areas of a classifier's findings vary", *names
            )
        if not is_whole:
            return Change("not comparable", "without a width, and seen in part, so without its area", *names)
        return _judge_area(was, now, px_ratio, options, names)
    unit = "mm" if was["width_max_mm"] is not None and now["width_max_mm"] is not None else "px"
    factor = 1.0 if unit == "mm" else px_ratio
    width, length, half = (f"{key}_{unit}" for key in ("width_max", "length", "width_max_u95"))
    was_width, was_length = was[width] * factor, was[length] * factor
    is_sure = was["is_resolved"] and now["is_resolved"]
    least = max(math.hypot(was[half] * factor, now[half]), options.least_growth * was_width)
    is_wider = is_sure and now[width] - was_width > least
    is_longer = is_whole and now[length] > was_length * (1 + options.least_growth)
    why = " and ".join(word for word, is_so in (("wider", is_wider), ("longer", is_longer)) if is_so)
    return Change(
        "grown" if why else "unchanged",
        why,
        *names,
        old_width_max=round(was_width, 4),
        new_width_max=now[width],
        old_length=round(was_length, 4),
        new_length=now[length],
        unit=unit,
    )


def _judge_area(
    was: dict[str, Any],
    now: dict[str, Any],
    px_ratio: float,
    options: CompareOptions,
    names: tuple[str, int, str, int, str],
) -> Change:
    """Two findings of which at least one has no width, but which both surveys show as a whole."""
    was_px, now_px = was["area_px"] * px_ratio**2, now["area_px"]
    is_larger = now_px > was_px * (1 + options.least_growth) ** 2
    kind, why = ("grown", "larger") if is_larger else ("unchanged", "by its area, as it has no width in both")
    return Change(kind, why, *names, unit="px", old_area_px=round(was_px), new_area_px=now_px)


def _without_length(change: Change) -> Change:
    """Of a classifier's finding: how much of a crack it marks is no growth."""
    if change.kind == "grown" and "wider" not in change.reason:
        return replace(change, kind="unchanged", reason="not wider; lengths of a classifier's findings vary")
    return replace(change, reason="wider") if change.kind == "grown" else change


def _one_sided(kind: Kind, reason: str, photo: dict[str, Any], index: int, side: str) -> Change:
    finding = photo["findings"][index]
    unit = "mm" if finding["width_max_mm"] is not None else "px"
    values = {
        f"{side}_photo": photo["name"],
        f"{side}_finding": index + 1,
        f"{side}_width_max": finding[f"width_max_{unit}"],
        f"{side}_length": finding[f"length_{unit}"],
    }
    return Change(kind, reason, label=finding["label"], unit=unit, **values)


def _alone(name: str, findings: list[dict[str, Any]], side: str, reason: str) -> list[Change]:
    photo = {"name": name, "findings": findings}
    return [_one_sided("not comparable", reason, photo, i, side) for i in range(len(findings))]


def _outline(finding: dict[str, Any], photo: dict[str, Any]) -> np.ndarray:
    """(n, 2) shares of the photo's width and height."""
    return to_shares(finding["polygon"], finding["box_xyxy"], (photo["width_px"], photo["height_px"]))


def _area(shape: np.ndarray) -> float:
    rolled = np.roll(shape, -1, axis=0)
    return abs(0.5 * float((shape[:, 0] * rolled[:, 1] - shape[:, 1] * rolled[:, 0]).sum()))


def _is_inside(shape: np.ndarray) -> bool:
    """Whether nearly all corners lie within the photo."""
    return bool(((shape >= 0) & (shape <= 1)).all(axis=1).mean() > _LEAST_INSIDE)


def _leaves(finding: dict[str, Any], photo: dict[str, Any]) -> bool:
    left, top, right, bottom = finding["box_xyxy"]
    return left <= 1 or top <= 1 or right >= photo["width_px"] - 1 or bottom >= photo["height_px"] - 1


def _distance_m(one: dict[str, Any], other: dict[str, Any]) -> float:
    places = [
        None if photo.get("camera_lon") is None else (photo["camera_lon"], photo["camera_lat"])
        for photo in (one, other)
    ]
    return distance_m(places[0], places[1])
