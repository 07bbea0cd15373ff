"""Two models on the same photos: where they differ, and how often they agree."""

from __future__ import annotations

from collections.abc import Sequence

from flawmap.service import shapes
from flawmap.service.sampling import to_rate
from flawmap.service.shapes_quality import ComparedPhoto, Comparison, PhotoVerdict


def compare_photos(first: Sequence[shapes.SeenPhoto], second: Sequence[shapes.SeenPhoto]) -> Comparison:
    """Photos are paired by number and bytes; those that differ in their verdict come first, then those whose
    scores differ most. Raises ValueError where the photos are not the same ones."""
    if [one.photo for one in first] != [one.photo for one in second]:
        raise ValueError("the two inspections are of other photos")
    photos = [_compare(a, b) for a, b in zip(first, second, strict=True) if a.is_done and b.is_done]
    both = [one for one in photos if {one.first, one.second} <= {"finding", "no finding"}]
    counts = {
        (a, b): sum(one.first == a and one.second == b for one in both)
        for a in ("finding", "no finding")
        for b in ("finding", "no finding")
    }
    return Comparison(
        n_photos=len(first),
        n_compared=len(photos),
        n_judged_by_both=len(both),
        both_find=counts["finding", "finding"],
        first_only=counts["finding", "no finding"],
        second_only=counts["no finding", "finding"],
        neither_finds=counts["no finding", "no finding"],
        agreement=to_rate([one.first == one.second for one in both]),
        kappa=_kappa(counts),
        photos=sorted(photos, key=lambda one: (not one.is_different, -one.difference, one.number)),
    )


def _compare(first: shapes.SeenPhoto, second: shapes.SeenPhoto) -> ComparedPhoto:
    said_first, said_second = verdict_of(first), verdict_of(second)
    score_first, score_second = _score(first), _score(second)
    return ComparedPhoto(
        number=first.number,
        photo=first.photo,
        name=first.name,
        first=said_first,
        second=said_second,
        n_first=len(first.findings),
        n_second=len(second.findings),
        score_first=score_first,
        score_second=score_second,
        difference=abs((score_first or 0.0) - (score_second or 0.0)),
        is_different=said_first != said_second,
    )


def verdict_of(photo: shapes.SeenPhoto) -> PhotoVerdict:
    """What the model said of a photo as a whole."""
    if photo.error:
        return "not readable"
    if not photo.assessable:
        return "not assessable"
    return "finding" if photo.findings else "no finding"


def _score(photo: shapes.SeenPhoto) -> float | None:
    return max((one.score for one in photo.findings), default=None)


def _kappa(counts: dict[tuple[str, str], int]) -> float | None:
    """Cohen's kappa (1960): agreement beyond what chance gives; None where one verdict is all there is."""
    n = sum(counts.values())
    if not n:
        return None
    kinds = ("finding", "no finding")
    agreed = sum(counts[kind, kind] for kind in kinds) / n
    by_chance = 0.0
    for kind in kinds:
        n_first, n_second = (sum(counts[pair] for pair in counts if pair[i] == kind) for i in (0, 1))
        by_chance += n_first * n_second / n**2
    return None if by_chance == 1 else (agreed - by_chance) / (1 - by_chance)
