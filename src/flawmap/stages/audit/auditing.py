"""Put the findings together: duplicates, sources, leaks, label suspects and plain counts."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from flawmap.errors import DatasetError, OptionError, option
from flawmap.records import Audit, Dataset, Embeddings, Progress, no_progress
from flawmap.stages.audit.duplicates import (
    all_pairs,
    exact_duplicates,
    leaks,
    near_duplicates,
    shared_groups,
)
from flawmap.stages.audit.pictures import Pictures, read_pictures
from flawmap.stages.audit.sources import Sources, find_sources
from flawmap.stages.audit.suspects import label_suspects
from flawmap.tools.options import Options
from flawmap.tools.photos import PhotoOptions


@dataclass(frozen=True)
class AuditOptions(Options):
    """What an audit may be told."""

    group_by: str | None = None
    """A regular expression on photo names; its first capture group, or the whole match, names the source."""
    min_suspect_score: float = 0.97
    """How sure the out-of-fold model must be of another label."""
    seed: int = 0
    photos: PhotoOptions = field(default_factory=PhotoOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.5 <= self.min_suspect_score <= 1:
            raise OptionError(f"min_suspect_score is {self.min_suspect_score}; wanted 0.5 to 1")
        try:
            re.compile(self.group_by or "")
        except re.error as error:
            raise OptionError(
                f"'{self.group_by}' is not a regular expression for {option('--group-by')}: {error}"
            ) from None


def given_groups(dataset: Dataset, options: AuditOptions) -> tuple[str, ...] | None:
    """The sources that the user gives, by pattern or by a manifest's column; None where none are given.

    A photo that is given no source is one by itself. Raises OptionError for a pattern that matches no
    name.
    """
    names = [photo.name for photo in dataset.photos]
    if options.group_by is not None:
        pattern = re.compile(options.group_by)
        matches = [pattern.search(name) for name in names]
        if not any(matches):
            example = f", such as '{names[0]}'" if names else ""
            raise OptionError(
                f"'{options.group_by}' matches none of {len(names)} names{example}; give "
                f"{option('--group-by')} a pattern that finds the source in a name"
            )
        found = [
            m and (m.group(1) if pattern.groups and m.group(1) is not None else m.group(0)) for m in matches
        ]
        return tuple(group if group is not None else name for group, name in zip(found, names, strict=True))
    if any(group is not None for group in dataset.groups):
        return tuple(
            group if group is not None else name for group, name in zip(dataset.groups, names, strict=True)
        )
    return None


def audit(
    dataset: Dataset,
    embeddings: Embeddings,
    options: AuditOptions | None = None,
    progress: Progress = no_progress,
) -> Audit:
    """Look a data set over. `embeddings` are of its photos, row by row, with at least one depth of quadrants.

    Raises OptionError for a bad `group_by`, DatasetError where embeddings and photos do not belong together.
    The findings depend on names and content only, not on the order of the rows.
    """
    options = options or AuditOptions()
    digests = [photo.digest for photo in dataset.photos]
    if list(embeddings.digests) != digests:
        raise DatasetError("the embeddings are not of these photos in this order; embed the data set again")
    given = given_groups(dataset, options)
    pictures = read_pictures(dataset.photos, options.photos, progress)
    exact = exact_duplicates(digests)
    near = near_duplicates(pictures, digests, progress)
    copies = np.concatenate([all_pairs(exact), near])
    if given is None:
        groups, blocks, sources = _found_groups(dataset, embeddings, pictures, copies, options, progress)
        origin = sources.origin
    else:
        groups, blocks, sources = given, given, None
        origin = "the group column" if options.group_by is None else f"the pattern {options.group_by}"
    numbers = np.unique(np.array(groups), return_inverse=True)[1] if groups else np.zeros(0, np.int64)
    suspects = label_suspects(dataset, embeddings, numbers, options.min_suspect_score, options.seed)
    leaked = leaks(dataset, copies)
    return Audit(
        groups=groups,
        blocks=blocks,
        group_origin=origin,
        exact_duplicates=tuple(_names(dataset, rows) for rows in exact),
        conflicting_duplicates=tuple(_names(dataset, rows) for rows in exact if _conflict(dataset, rows)),
        near_duplicates=tuple(_pair(dataset, a, b) for a, b in near),
        leaks=tuple(_pair(dataset, a, b) for a, b in leaked),
        shared_groups=tuple(shared_groups(dataset, groups, leaked)),
        label_suspects=suspects,
        class_counts={
            label: int(n) for label, n in zip(dataset.labels, dataset.targets.sum(axis=0), strict=True)
        },
        summary=_summary(dataset, pictures, groups, sources),
        are_groups_found=given is None,
    )


def audit_to_dict(audit: Audit, dataset: Dataset) -> dict[str, Any]:
    """The object that `flawmap audit --json` writes; plain JSON values."""
    names = [photo.name for photo in dataset.photos]
    return {
        "n_photos": len(dataset),
        "unreadable": [{"path": u.path, "reason": u.reason} for u in dataset.unreadable],
        "exact_duplicates": [list(paths) for paths in audit.exact_duplicates],
        "conflicting_duplicates": [list(paths) for paths in audit.conflicting_duplicates],
        "leaks": [list(pair) for pair in audit.leaks],
        "shared_groups": list(audit.shared_groups),
        "near_duplicates": [list(pair) for pair in audit.near_duplicates],
        "n_groups": len(set(audit.groups)),
        "group_origin": audit.group_origin,
        "groups": dict(zip(names, audit.groups, strict=True)),
        "label_suspects": [
            {"path": s.path, "label": s.label, "suggested": s.suggested, "score": s.score}
            for s in audit.label_suspects
        ],
        "class_counts": dict(audit.class_counts),
        "summary": audit.summary,
    }


def _found_groups(
    dataset: Dataset,
    embeddings: Embeddings,
    pictures: Pictures,
    copies: np.ndarray,
    options: AuditOptions,
    progress: Progress,
) -> tuple[tuple[str, ...], tuple[str, ...], Sources]:
    """Names of groups and blocks, found in an order of the rows that depends on content alone."""
    keys = sorted(range(len(dataset)), key=lambda i: (dataset.photos[i].digest, dataset.photos[i].name))
    order = np.array(keys, np.int64)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    sources = find_sources(
        [dataset.photos[i].name for i in order],
        np.unique(dataset.targets, axis=0, return_inverse=True)[1].ravel()[order],
        {depth: values[order] for depth, values in embeddings.quadrants.items()},
        pictures.take(order),
        np.sort(place[copies], axis=1),
        options.seed,
        progress,
    )
    return (
        _spelled(dataset, sources.groups[place], "source"),
        _spelled(dataset, sources.blocks[place], "block"),
        sources,
    )


def _spelled(dataset: Dataset, numbers: np.ndarray, word: str) -> tuple[str, ...]:
    """Group names, numbered by the first photo name in each."""
    by_name = sorted(range(len(dataset)), key=lambda i: dataset.photos[i].name)
    known: dict[int, str] = {}
    for i in by_name:
        known.setdefault(int(numbers[i]), f"{word}-{len(known) + 1:05d}")
    return tuple(known[int(number)] for number in numbers)


def _names(dataset: Dataset, rows: list[int]) -> tuple[str, ...]:
    return tuple(sorted(dataset.photos[row].name for row in rows))


def _pair(dataset: Dataset, a: int, b: int) -> tuple[str, str]:
    first, second = sorted((dataset.photos[a].name, dataset.photos[b].name))
    return first, second


def _conflict(dataset: Dataset, rows: list[int]) -> bool:
    return len(np.unique(dataset.targets[rows], axis=0)) > 1


def _summary(
    dataset: Dataset, pictures: Pictures, groups: tuple[str, ...], sources: Sources | None
) -> dict[str, Any]:
    """Plain JSON values: sizes, brightness, modes, notes, group sizes, what a random split would leak."""
    sizes = Counter(f"{photo.size_hw[1]} × {photo.size_hw[0]}" for photo in dataset.photos)
    group_sizes = sorted(Counter(groups).values(), reverse=True)
    n_grey = int(pictures.is_grey.sum())
    summary: dict[str, Any] = {
        "sizes": dict(sizes.most_common(20)),
        "n_sizes": len(sizes),
        "brightness": _spread(pictures.brightness),
        "contrast": _spread(pictures.contrast),
        "modes": {"colour": len(dataset) - n_grey, "grey": n_grey},
        "notes": dict(Counter(photo.note for photo in dataset.photos if photo.note).most_common()),
        "group_sizes": {str(size): n for size, n in sorted(Counter(group_sizes).items())},
        "largest_group": group_sizes[0] if group_sizes else 0,
        "random_split_leak": _random_leak(np.array(group_sizes)),
    }
    if sources is not None:
        summary["n_overlapping_pairs"] = sources.n_overlaps
        summary["file_order_share_close"] = sources.order and round(sources.order.share_close, 3)
        summary["n_blocks"] = int(sources.blocks.max(initial=-1)) + 1
    return summary


def _spread(values: np.ndarray) -> dict[str, float]:
    """The 5th, 50th and 95th percentile."""
    if not len(values):
        return {}
    low, middle, high = np.percentile(values, [5, 50, 95])
    return {"p5": round(float(low), 1), "median": round(float(middle), 1), "p95": round(float(high), 1)}


def _random_leak(group_sizes: np.ndarray, train_share: float = 0.6) -> float | None:
    """Expected share of test photos with a photo of their group in training, were photos drawn at random.

    A test photo of a group of s escapes when none of the s - 1 others is drawn into training.
    """
    if not len(group_sizes):
        return None
    escapes = (1 - train_share) ** (group_sizes - 1.0)
    return round(float((group_sizes * (1 - escapes)).sum() / group_sizes.sum()), 4)
