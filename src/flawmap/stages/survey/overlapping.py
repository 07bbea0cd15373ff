"""Photos of one survey that show the same place, and findings of them that are the same flaw.

Photos are compared that follow each other by name in one folder, that were taken next to each other, or, of
few photos, all with all: of thousands, all pairs would take weeks. A pair counts where the pictures can be
laid over one another as views of one plane, by points that lie all over what both show. Findings of one label
whose outlines then overlap, within what both photos show, are one flaw. What a pair gave the journal keeps.
Photos of the same bytes lie over one another wherever they are, whatever can be seen on them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import PurePosixPath

import numpy as np

from flawmap.records import Finding, Overlaps, Progress, SurveyRow, no_progress
from flawmap.stages.survey.aligning import Alignment, Points, align_points, find_points
from flawmap.stages.survey.journal import Journal
from flawmap.stages.survey.options import SurveyOptions
from flawmap.stages.survey.outlines import fill_outline, outline_of
from flawmap.tools.runtime import map_ordered, n_usable_cores

_ALL_UP_TO = 12
"""Photos with findings, up to which every pair is compared."""
_N_NEAR, _NEAR_M = 6, 10.0
"""Photos taken nearest, and within this distance; receivers are metres off."""
_N_POINTS = 1500
_LEAST_SPREAD = 0.2
_LEAST_OVERLAP, _LEAST_PX = 0.3, 25
"""Of the smaller of two outlines, where both photos show them; and of each, in pixels of the canvas."""
_BLOCK = 64
"""Pairs that are compared before the journal is written: photos' points are held for two blocks."""
_FRAME = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)
Pair = tuple[str, str]


def find_overlaps(
    rows: Sequence[SurveyRow],
    journal: Journal,
    options: SurveyOptions,
    progress: Progress = no_progress,
) -> Overlaps | None:
    """Which findings of a survey's photos are one flaw; None where `match_neighbours` is 0.

    Pairs whose photos the journal holds as they were are not compared again. Raises MissingExtraError without
    OpenCV.
    """
    if options.match_neighbours == 0:
        return None
    digests = journal.digests()
    copies = _find_copies(rows, digests)
    pairs = choose_pairs(rows, options.match_neighbours, copies)
    known = {row.name: row for row in rows}
    alignments = journal.alignments(pairs)
    are_copies = {pair: digests[pair[0]] == digests[pair[1]] != "" for pair in pairs}
    alignments |= {pair: _as_it_is(known[pair[0]]) for pair in pairs if are_copies[pair]}
    todo = [pair for pair in pairs if pair not in alignments]
    points: dict[str, Points | None] = {}
    n_threads = options.n_threads or n_usable_cores()
    for start in range(0, len(todo), _BLOCK):
        progress("matching pairs of photos", len(pairs) - len(todo) + start, len(pairs))
        block = todo[start : start + _BLOCK]
        points = _find_points(sorted({name for pair in block for name in pair}), points, journal, n_threads)
        given = [(points[first], points[second]) for first, second in block]
        found = dict(zip(block, map_ordered(_align, given, n_threads), strict=True))
        journal.add_alignments(found)
        alignments |= found
    if todo:
        progress("matching pairs of photos", len(pairs), len(pairs))
    matched = {pair: one for pair in pairs if (one := alignments[pair]) is not None}
    same = [
        ((first, i), (second, j))
        for (first, second), one in matched.items()
        for i, j in find_same(known[first], known[second], one)
    ]
    return Overlaps(len(pairs), len(matched), _to_groups(same), copies)


def choose_pairs(
    rows: Sequence[SurveyRow], n_neighbours: int, copies: Iterable[Sequence[str]] = ()
) -> list[Pair]:
    """Names of photos with findings that are worth comparing, the first before the second. `copies` are names
    of photos of the same bytes, sorted: each is compared with the first."""
    shown = [row for row in rows if row.inspection.findings and row.inspection.width_px]
    names = [row.name for row in shown]
    if len(shown) <= _ALL_UP_TO:
        return list(combinations(names, 2))
    pairs = set(_nearest(shown))
    for group in copies:
        first, *others = [name for name in group if name in names] or [""]
        pairs |= {(first, other) for other in others}
    is_shown, ordered = set(names), sorted((row.name for row in rows), key=_by_number)
    for at, name in enumerate(ordered):
        beside = ordered[at + 1 : at + 1 + n_neighbours]
        near = [other for other in beside if _folder(other) == _folder(name) and other in is_shown]
        pairs |= {(min(name, other), max(name, other)) for other in near if name in is_shown}
    return sorted(pairs)


def find_same(first: SurveyRow, second: SurveyRow, alignment: Alignment) -> list[tuple[int, int]]:
    """Indices of findings of two photos that are the same flaw."""
    if first.inspection.findings == second.inspection.findings:  # to the digit: two copies of one photo
        return [(i, i) for i in range(len(first.inspection.findings))]
    seen = fill_outline(alignment.to_second(_FRAME))
    firsts = [
        seen & fill_outline(alignment.to_second(_outline(one, first))) for one in first.inspection.findings
    ]
    seconds = [seen & fill_outline(_outline(one, second)) for one in second.inspection.findings]
    return [
        (i, j)
        for i, a in enumerate(firsts)
        for j, b in enumerate(seconds)
        if first.inspection.findings[i].label == second.inspection.findings[j].label and _is_same(a, b)
    ]


def _find_copies(rows: Iterable[SurveyRow], digests: Mapping[str, str]) -> tuple[tuple[str, ...], ...]:
    """Names of photos of the same bytes; what could not be read is nobody's copy."""
    by_digest: dict[str, list[str]] = {}
    for row in rows:
        if not row.inspection.error and digests.get(row.name):
            by_digest.setdefault(digests[row.name], []).append(row.name)
    return tuple(sorted(tuple(sorted(names)) for names in by_digest.values() if len(names) > 1))


def _as_it_is(row: SurveyRow) -> Alignment:
    """Of a photo over its copy."""
    size_wh = (row.inspection.width_px or 1, row.inspection.height_px or 1)
    return Alignment(((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0)), size_wh, size_wh, 0)


def _is_same(one: np.ndarray, other: np.ndarray) -> bool:
    smaller = min(one.sum(), other.sum())
    return bool(smaller >= _LEAST_PX and (one & other).sum() >= _LEAST_OVERLAP * smaller)


def _outline(finding: Finding, row: SurveyRow) -> np.ndarray:
    return outline_of(finding, (row.inspection.width_px or 1, row.inspection.height_px or 1))


def _to_groups(
    same: Iterable[tuple[tuple[str, int], tuple[str, int]]],
) -> tuple[tuple[tuple[str, int], ...], ...]:
    """Everything that is the same by any chain of pairs, sorted."""
    group_of: dict[tuple[str, int], set[tuple[str, int]]] = {}
    for one, other in same:
        joined = group_of.get(one, {one}) | group_of.get(other, {other})
        group_of |= dict.fromkeys(joined, joined)
    return tuple(sorted({tuple(sorted(group)) for group in group_of.values()}))


def _find_points(
    names: Sequence[str], known: Mapping[str, Points | None], journal: Journal, n_threads: int
) -> dict[str, Points | None]:
    """Of each named photo, taken from `known` where it is there; None for one without a kept picture."""
    new = [name for name in names if name not in known]
    pictures = (journal.picture(name, "photo") for name in new)
    found = dict(zip(new, map_ordered(_points_of, pictures, n_threads), strict=True))
    return {name: found[name] if name in found else known[name] for name in names}


def _points_of(jpeg: bytes | None) -> Points | None:
    from PIL import Image

    if jpeg is None:
        return None
    with Image.open(io.BytesIO(jpeg)) as image:
        return find_points(np.asarray(image.convert("RGB")), _N_POINTS)


def _align(pair: tuple[Points | None, Points | None]) -> Alignment | None:
    first, second = pair
    if first is None or second is None:
        return None
    found = align_points(first, second)
    return found if found is not None and found.spread >= _LEAST_SPREAD else None


def _nearest(rows: Sequence[SurveyRow]) -> Iterable[Pair]:
    """Each photo with those taken nearest to it; straight through the earth, which over metres is level."""
    from scipy.spatial import KDTree

    places = {row.name: row.camera_lon_lat for row in rows if row.camera_lon_lat is not None}
    if len(places) < 2:
        return
    placed = list(places)
    lon, lat = np.radians(np.array(list(places.values()))).T
    xyz = 6_371_000 * np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=1)
    n_asked = min(_N_NEAR + 1, len(placed))
    _, nearest = KDTree(xyz).query(xyz, k=n_asked, distance_upper_bound=_NEAR_M)
    for name, others in zip(placed, np.reshape(nearest, (len(placed), n_asked)), strict=True):
        for other in (placed[i] for i in others if i < len(placed)):
            if other != name:
                yield min(name, other), max(name, other)


def _by_number(name: str) -> tuple[str, list[tuple[int, str]]]:
    """Sorts IMG_9 before IMG_10, folder by folder."""
    parts = re.split(r"(\d+)", PurePosixPath(name).name)
    return _folder(name), [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


def _folder(name: str) -> str:
    return str(PurePosixPath(name).parent)
