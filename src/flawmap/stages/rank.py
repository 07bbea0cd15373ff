"""Embeddings per backbone → Ranking: every cut of every backbone, scored by a linear probe over groups.

Only the training and validation parts are looked at. Photos are taken in the order of their contents, so
that names and order of the files do not change a figure. What the probes printed is kept in the cache folder,
keyed by all that decides it; the choice among candidates is made anew each time from that.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from flawmap.errors import DatasetError, OptionError
from flawmap.records import (
    Candidate,
    Cut,
    Dataset,
    Embeddings,
    LinearHead,
    Pooling,
    Progress,
    Ranking,
    Split,
    no_progress,
)
from flawmap.tools import scores
from flawmap.tools.bootstrap import draw_groups
from flawmap.tools.files import cache_folder, write_file
from flawmap.tools.folds import assign_folds
from flawmap.tools.options import Options
from flawmap.tools.probe import ProbeFit, Problem, Scaling, fit_head, one_thread, to_axes, to_logits
from flawmap.tools.tables import csv_line
from flawmap.tools.thresholds import best_threshold

Prefer = Literal["balanced", "accuracy", "size", "speed"]

_METHOD = "probe 1"
"""Part of the cache key; raised whenever the same input would give other scores."""
_POOLINGS: tuple[Pooling, ...] = ("average", "average+maximum")
_STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
"""C times the number of features: with standardised features this hardly depends on the backbone's width."""
TOLERATED_LOSS = 0.005
"""Half a point of F1: what `balanced` gives up for a cheaper candidate."""


@dataclass(frozen=True)
class RankOptions(Options):
    """How candidates are scored and which of them is chosen."""

    prefer: Prefer = "balanced"
    max_depth: int | None = None
    """Deepest stage that may be chosen; None: all."""
    n_folds: int = 5
    n_resamples: int = 1000
    seed: int = 0
    cache: Path | None = None
    """Folder for finished scores; None: $FLAWMAP_CACHE or the user's cache."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_folds < 2:
            raise OptionError(f"n_folds is {self.n_folds}; give 2 or more (5 is usual)")
        if self.max_depth is not None and self.max_depth < 0:
            raise OptionError(f"max_depth is {self.max_depth}; give 0 or more")
        if self.n_resamples < 2:
            raise OptionError(f"n_resamples is {self.n_resamples}; give 2 or more (1000 is usual)")


@dataclass(frozen=True)
class _Trial:
    """The photos that the probes see, in the order of their contents, and the fold that holds each out."""

    rows: np.ndarray
    targets: np.ndarray
    groups: tuple[str, ...]
    digests: tuple[str, ...]
    fold_of: np.ndarray
    n_folds: int
    is_flaw: np.ndarray
    is_multilabel: bool

    @property
    def key(self) -> str:
        """All that decides a probe's answers, but for the features."""
        parts = (_METHOD, _STRENGTHS, self.digests, self.targets.tolist(), self.fold_of.tolist())
        told = (*parts, self.is_flaw.tolist(), self.is_multilabel)
        return hashlib.blake2b(repr(told).encode(), digest_size=16).hexdigest()


@dataclass(frozen=True)
class _Score:
    """What one candidate's probe printed for the photos it had not seen."""

    printed: np.ndarray
    c: float
    elapsed_s: float

    def to_json(self) -> dict[str, Any]:
        bits = np.packbits(self.printed.astype(bool).ravel()).tobytes().hex()
        return {"printed": bits, "c": self.c, "elapsed_s": self.elapsed_s}

    @classmethod
    def from_json(cls, stored: dict[str, Any], shape: tuple[int, ...]) -> _Score:
        packed = np.frombuffer(bytes.fromhex(stored["printed"]), np.uint8)
        printed = np.unpackbits(packed, count=math.prod(shape)).reshape(shape)
        return cls(printed, float(stored["c"]), float(stored["elapsed_s"]))


def rank(
    embeddings: Sequence[Embeddings],
    dataset: Dataset,
    split: Split,
    options: RankOptions = RankOptions(),
    progress: Progress = no_progress,
) -> Ranking:
    """Score every cut of every backbone, and choose by `options.prefer`.

    Row i of each Embeddings belongs to photo i of the data set. Raises OptionError where `max_depth` leaves
    no candidate, DatasetError where there are too few photos to hold any out.
    """
    trial = _plan_trial(dataset, split, options)
    found: list[tuple[Candidate, _Score]] = []
    tasks = [(one, _cuts(one, options.max_depth)) for one in embeddings]
    n_all, n_done = sum(len(cuts) for _, cuts in tasks), 0
    for one, cuts in tasks:
        kept = _Kept.read(one, trial, options)
        for cut in cuts:
            progress("ranking cuts of backbones", n_done, n_all)
            if cut.key not in kept.scores:
                with one_thread():
                    kept.scores[cut.key] = _score(one.features(cut)[trial.rows], trial)
            found.append(
                (_to_candidate(one, cut, kept.scores[cut.key], trial, options), kept.scores[cut.key])
            )
            n_done += 1
        kept.write()
    progress("ranking cuts of backbones", n_all, n_all)
    return _choose(found, trial, options)


def _plan_trial(dataset: Dataset, split: Split, options: RankOptions) -> _Trial:
    def content(row: int) -> tuple[str, bytes]:
        return dataset.photos[row].digest, dataset.targets[row].tobytes()

    rows = np.array(sorted(split.development.tolist(), key=content), np.int64)
    targets, digests = dataset.targets[rows], tuple(dataset.photos[row].digest for row in rows)
    groups = tuple(split.groups[row] for row in rows)
    fold_of, n_folds = assign_folds(groups, targets, digests, options.n_folds, options.seed)
    if n_folds < 2:
        raise DatasetError(
            f"ranking needs at least 2 photos in the training and validation parts; got {len(rows)}. "
            "Add photos."
        )
    first = {group: digest for group, digest in zip(reversed(groups), reversed(digests), strict=True)}
    return _Trial(
        rows=rows,
        targets=targets,
        groups=tuple(first[group] for group in groups),
        digests=digests,
        fold_of=fold_of,
        n_folds=n_folds,
        is_flaw=np.array([label not in dataset.good_labels for label in dataset.labels]),
        is_multilabel=dataset.is_multilabel,
    )


def _cuts(embeddings: Embeddings, max_depth: int | None) -> list[Cut]:
    """All cuts that may be chosen, and the control, which is scored whatever `max_depth` says."""
    depths = [depth for depth in embeddings.depths if max_depth is None or depth <= max_depth]
    cuts = {Cut(depth, pooling) for depth in depths for pooling in _POOLINGS if depth in embeddings.maximum}
    cuts |= {Cut(depth, "average") for depth in depths}
    return sorted(cuts | {_control_cut(embeddings)})


def _control_cut(embeddings: Embeddings) -> Cut:
    return Cut(embeddings.depths[-1], "average")


def _score(features: np.ndarray, trial: _Trial) -> _Score:
    """Cross-validate one candidate; C is the one of least log loss on the held-out photos.

    The scaling is that of all photos of the trial: it looks at no label.
    """
    start = time.perf_counter()
    axes = to_axes(Scaling.of(features).apply(features))
    weights = (trial.fold_of[:, None] != np.arange(trial.n_folds)).astype(np.float32)
    fit = ProbeFit(axes, Problem.of(trial.targets, weights, trial.is_multilabel))
    best_loss, best_c, best = math.inf, 0.0, np.zeros(0)
    for strength in _STRENGTHS:
        c = strength / features.shape[1]
        fit.at(c)
        logits = to_logits(fit.held_out_scores(trial.fold_of), trial.targets.shape[1])
        probabilities = scores.to_probabilities(logits, 1.0, trial.is_multilabel)
        loss = float(scores.photo_losses(trial.targets, probabilities, trial.is_multilabel).mean())
        if loss >= best_loss:
            break
        best_loss, best_c, best = loss, c, probabilities
    threshold, _ = best_threshold(best, trial.targets, trial.is_flaw, trial.is_multilabel)
    printed = scores.printed_labels(best, threshold, trial.is_flaw, trial.is_multilabel)
    return _Score(printed, best_c, time.perf_counter() - start)


def _to_candidate(
    embeddings: Embeddings, cut: Cut, score: _Score, trial: _Trial, options: RankOptions
) -> Candidate:
    hits = scores.count_hits(trial.targets, score.printed)
    by_fold = np.stack([hits[trial.fold_of == fold].sum(axis=0) for fold in range(trial.n_folds)])
    cost, whole = embeddings.costs[cut.depth], embeddings.costs[embeddings.depths[-1]]
    is_allowed = options.max_depth is None or cut.depth <= options.max_depth
    return Candidate(
        backbone_id=embeddings.backbone_id,
        cut=cut,
        cost=cost,
        f1=float(np.nan_to_num(scores.f1_from_hits(hits.sum(axis=0), trial.is_flaw))),
        standard_error=0.0,
        ms_per_photo=embeddings.ms_per_photo * cost.macs / max(whole.macs, 1),
        elapsed_s=score.elapsed_s,
        regularisation=score.c,
        fold_f1=tuple(scores.f1_from_hits(by_fold, trial.is_flaw).tolist()),
        is_choosable=is_allowed,
        note="" if is_allowed else "beyond max_depth: scored for the control, never chosen",
    )


@dataclass
class _Kept:
    """Finished scores of one backbone in the cache folder."""

    path: Path
    scores: dict[str, _Score]
    n_read: int

    @classmethod
    def read(cls, embeddings: Embeddings, trial: _Trial, options: RankOptions) -> _Kept:
        """Keyed by the trial and by the features themselves; a file that cannot be read counts as none."""
        told = hashlib.blake2b(trial.key.encode(), digest_size=16)
        for kind in (embeddings.average, embeddings.maximum):
            for depth in sorted(kind):
                told.update(f"{depth}:{kind[depth].shape}".encode())
                told.update(np.ascontiguousarray(kind[depth][trial.rows]).tobytes())
        path = cache_folder(options.cache) / "rankings" / f"{told.hexdigest()}.json"
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            found = {key: _Score.from_json(one, trial.targets.shape) for key, one in stored.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            found = {}
        return cls(path, found, len(found))

    def write(self) -> None:
        if len(self.scores) > self.n_read:
            write_file(self.path, json.dumps({key: score.to_json() for key, score in self.scores.items()}))


def _choose(found: list[tuple[Candidate, _Score]], trial: _Trial, options: RankOptions) -> Ranking:
    """Standard errors and paired differences by resampling groups; then the rule that `prefer` names."""
    resamples = draw_groups(trial.groups, len(trial.rows), options.n_resamples, options.seed)
    drawn = {
        id(candidate): np.nan_to_num(
            scores.f1_from_hits(
                resamples.sums(scores.count_hits(trial.targets, score.printed)), trial.is_flaw
            )
        )
        for candidate, score in found
    }
    scored = sorted(
        (
            (replace(one, standard_error=float(drawn[id(one)].std(ddof=1))), drawn[id(one)])
            for one, _ in found
        ),
        key=lambda pair: (-pair[0].f1, *_cost(pair[0])),
    )
    allowed = [pair for pair in scored if pair[0].is_choosable]
    if not allowed:
        raise OptionError(f"max_depth is {options.max_depth}, which leaves no candidate; give a larger one")
    chosen, why = _prefer(allowed, options)
    candidates = tuple(candidate for candidate, _ in scored)
    last: dict[str, Candidate] = {}
    for one in sorted(candidates, key=lambda one: one.cut.depth):
        last[one.backbone_id] = one
    control = next(one for one in candidates if one.cut == Cut(last[one.backbone_id].cut.depth, "average"))
    deep = [pair for pair in allowed if 2 * pair[0].cost.macs >= last[pair[0].backbone_id].cost.macs]
    is_shallow = all(one is not chosen for one, _ in deep) and options.prefer in ("balanced", "accuracy")
    deeper = _prefer(deep, options)[0] if deep and is_shallow else None
    return Ranking(candidates, chosen, control, why, options.prefer, trial.n_folds, deeper)


def _prefer(allowed: list[tuple[Candidate, np.ndarray]], options: RankOptions) -> tuple[Candidate, str]:
    """The choice and the reason in words; `allowed` are candidates, best first, with their resampled F1.

    The expected loss is the mean over resamples of max(0, what the best gains on a candidate), as in Bayesian
    A/B testing (C. Stucchio, 2015): one that is as good only by the luck of a few sources has a large one.
    """
    best, best_f1 = allowed[0]
    if len(allowed) == 1:
        return best, f"the only candidate ({_figure(best)})"
    if options.prefer == "accuracy":
        return best, f"the best F1 of {len(allowed)} candidates ({_figure(best)})"
    losses = [(one, best_f1 - f1) for one, f1 in allowed]
    if options.prefer == "balanced":
        tied = [one for one, loss in losses if float(np.maximum(loss, 0.0).mean()) < TOLERATED_LOSS]
        points = f"{100 * TOLERATED_LOSS:g} points of F1"
        mean = "averaged over resamples of the sources, in which a lead counts as no loss"
        rule, other = f"lose under {points} against the best, {mean}", f"loses {points} or more, {mean}"
    else:
        tied = [one for one, loss in losses if one is best or float(loss.mean()) <= float(loss.std(ddof=1))]
        rule, other = "lie within one standard error of the best", "lies more than one standard error below"
    key = _size if options.prefer == "size" else _cost
    chosen = min(tied, key=key)
    what = "smallest" if options.prefer == "size" else "cheapest"
    if len(tied) == 1:
        return best, f"the best F1 of {len(allowed)} candidates ({_figure(best)}); every other {other}"
    among = f"the {what} of the {len(tied)} (among {len(allowed)} candidates) that {rule}"
    if chosen is best:
        return best, f"{among}, and itself the best ({_figure(best)})"
    named = f"{best.backbone_id}, {best.cut.words}: {_figure(best)}"
    return chosen, f"{among} ({_figure(chosen)}; the best is {named})"


def _figure(one: Candidate) -> str:
    return f"F1 {one.f1:.4f} ± {one.standard_error:.4f}"


def _cost(one: Candidate) -> tuple[int, int, str, Cut]:
    """Cost is MACs, then bytes; names only so that the order is total."""
    return one.cost.macs, one.cost.n_bytes, one.backbone_id, one.cut


def _size(one: Candidate) -> tuple[int, int, str, Cut]:
    return one.cost.n_bytes, one.cost.macs, one.backbone_id, one.cut


def fit_probe(
    embeddings: Embeddings, cut: Cut, regularisation: float, dataset: Dataset, rows: np.ndarray
) -> LinearHead:
    """The linear probe at a cut, fitted on some rows only; logits of the raw pooled features.

    `regularisation` is Candidate.regularisation: the inverse strength C, for standardised features. Fitted in
    float64 to the optimum, so nothing is drawn by chance and the order of the rows does not matter.
    """
    chosen = np.asarray(rows)
    features, targets = embeddings.features(cut)[chosen], dataset.targets[chosen]
    return fit_head(features, targets, regularisation, dataset.is_multilabel)


def nearest(asked: Embeddings, store: Embeddings, count: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Rows of `store` most like the single photo of `asked`, nearest first, and their likeness (−1..1).

    Likeness is the cosine between average-pooled maps, each channel centred and scaled by its spread over the
    store. The last depth but one is compared: it still tells textures apart that the last one calls alike.
    """
    depth = store.depths[max(len(store.depths) - 2, 0)]
    scaling = Scaling.of(store.average[depth])
    kept, query = scaling.apply(store.average[depth]), scaling.apply(asked.average[depth])[0]
    lengths = np.linalg.norm(kept, axis=1) * np.linalg.norm(query)
    likeness = kept @ query / np.where(lengths > 0, lengths, 1.0)
    rows = np.argsort(-likeness, kind="stable")[:count]
    return rows, likeness[rows]


RANKING_COLUMNS = (
    "backbone", "depth", "pooling", "parameters", "bytes", "MACs", "ms per photo", "F1", "standard error",
    "seconds spent", "C", "chosen", "note",
)  # fmt: skip


def write_ranking(ranking: Ranking, path: Path) -> None:
    """ranking.csv: a row per candidate, best first, written whole or not at all.

    Milliseconds are those measured for the whole backbone, shared out by MACs; empty where not measured.
    """
    lines = [csv_line(RANKING_COLUMNS)]
    for one in ranking.candidates:
        row = (
            one.backbone_id,
            one.cut.depth,
            one.cut.pooling,
            one.cost.n_parameters,
            one.cost.n_bytes,
            one.cost.macs,
            f"{one.ms_per_photo:.3f}" if math.isfinite(one.ms_per_photo) else "",
            f"{one.f1:.5f}",
            f"{one.standard_error:.5f}",
            f"{one.elapsed_s:.3f}",
            f"{one.regularisation:.6g}",
            "yes" if one == ranking.chosen else "",
            one.note,
        )
        lines.append(csv_line(row))
    write_file(path, "".join(lines))
