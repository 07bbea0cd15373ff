"""Split a data set into training, validation and test parts that share no source.

Whole blocks (groups that may yet be of one source) are dealt out, so that what the audit was unsure of does
not leak either. Among a number of random deals the one with the most even class shares is taken. What is
random depends on the seed and on the photos' digests only, never on names or the order of files.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flawmap.errors import DatasetError, OptionError, option
from flawmap.records import Audit, Dataset, Part, Split, Unreadable
from flawmap.tools.files import write_file
from flawmap.tools.options import Options
from flawmap.tools.tables import csv_line
from flawmap.tools.words import counted, join_labels, shared_words

_N_DEALS = 60
_N_SWEEPS = 40
_GOOD_ENOUGH = 0.02
_FEW_UNITS = 0.002
"""Cost of a part without units, as much as a share that is off by 6 to 7 points."""
_TOLERABLE = 0.045
"""Deviations of class and part shares that cost nothing, and that make whole blocks not worth keeping."""
_TAKEN_APART = (0.0, 0.1, 0.25, 0.5, 1.0)
"""Shares of the blocks, largest first, that are taken apart in turn while deals stay uneven."""
_UNEVEN = 0.05
"""A label's share in a part, or a part's share of the photos, is told where it is off by more."""
_LEFT_OUT = "left out"
SPLIT_COLUMNS = ("path", "label", "split", "group")
TRAINED_ON = ("train", "validation")
"""Parts of splits.csv whose photos the model has seen, or was chosen by."""


@dataclass(frozen=True)
class SplitOptions(Options):
    """Shares of all photos; the rest is for training."""

    seed: int = 0
    test_share: float = 0.2
    validation_share: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("test_share", "validation_share"):
            if not 0 < getattr(self, name) < 0.5:
                raise OptionError(f"{name} is {getattr(self, name)}; wanted a share above 0 and below 0.5")


def split(dataset: Dataset, audit: Audit, options: SplitOptions | None = None) -> Split:
    """Deal the groups of an audit into parts; parts that the data set gives are kept as they are.

    Where validation or test is not among them it is cut from training. Training photos that stand in another
    part too (`audit.leaks`) are left out. Raises DatasetError where a class has too few groups.
    """
    options = options or SplitOptions()
    part = np.array([p or "train" for p in dataset.parts], dtype=object)
    left_out = _left_out(dataset, audit)
    part[left_out] = _LEFT_OUT
    is_given = any(p is not None for p in dataset.parts)
    wanted = _wanted(part, is_given, options)
    pool = np.flatnonzero(part == "train")
    if wanted:
        part[pool] = _deal(dataset, audit, pool, wanted, options.seed)
    shares: dict[Part, float] = {name: float((part[pool] == name).mean()) for name in wanted}
    uneven = _unevenness(dataset, part, pool, wanted) if wanted else ""
    return Split(
        train=np.flatnonzero(part == "train"),
        validation=np.flatnonzero(part == "validation"),
        test=np.flatnonzero(part == "test"),
        groups=audit.groups,
        seed=options.seed,
        why=_why(audit, shares, is_given, len(left_out), uneven),
        left_out=left_out,
        uneven=uneven,
    )


def tell_left_out(split: Split, dataset: Dataset, audit: Audit) -> tuple[Unreadable, ...]:
    """The photos that were left out of training, each with the one of another part that it is the same as."""
    same = {name: other for a, b in audit.leaks for name, other in ((a, b), (b, a))}
    part_of = {photo.name: part for photo, part in zip(dataset.photos, dataset.parts, strict=True)}
    names = [dataset.photos[row].name for row in split.left_out]
    return tuple(
        Unreadable(
            name, f"left out of training: the same photo as {same[name]}, of the {part_of[same[name]]} part"
        )
        for name in names
    )


def write_splits(split: Split, dataset: Dataset, path: Path) -> None:
    """splits.csv: path, label (several are joined by ';'), split ("left out" included), group."""
    part = np.full(len(dataset), _LEFT_OUT, dtype=object)
    for name in ("train", "validation", "test"):
        part[getattr(split, name)] = name
    rows: list[tuple[str, ...]] = [SPLIT_COLUMNS]
    for photo, row, name, group in zip(dataset.photos, dataset.targets, part, split.groups, strict=True):
        rows.append((photo.name, join_labels(dataset.labels, row), name, group))
    write_file(path, "".join(map(csv_line, rows)))


@dataclass(frozen=True)
class SplitRow:
    """One photo's line of splits.csv."""

    labels: frozenset[str]
    part: str
    """train, validation, test or "left out"."""
    group: str


def read_splits(path: Path) -> dict[str, SplitRow]:
    """What write_splits() wrote, by the photo's path; empty where there is no such file or another one."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {
                row["path"]: SplitRow(_to_labels(row["label"]), row["split"], row["group"])
                for row in csv.DictReader(file)
            }
    except (OSError, UnicodeDecodeError, csv.Error, KeyError, AttributeError):
        return {}


def _to_labels(text: str) -> frozenset[str]:
    return frozenset(label for label in text.split(";") if label)


def _left_out(dataset: Dataset, audit: Audit) -> np.ndarray:
    """Rows of training photos that stand in another part; where two other parts share one, both stay."""
    row = {photo.name: i for i, photo in enumerate(dataset.photos)}
    rows = {row[name] for pair in audit.leaks for name in pair if dataset.parts[row[name]] == "train"}
    return np.array(sorted(rows), np.int64)


def _wanted(part: np.ndarray, is_given: bool, options: SplitOptions) -> dict[Part, float]:
    """The parts to cut from the training pool, and the share of the pool that each gets."""
    wanted: dict[Part, float] = {}
    has_test = bool((part == "test").any())
    has_validation = bool((part == "validation").any())
    if not has_test:
        rest = 1.0 if not (is_given and has_validation) else 1 - options.validation_share
        wanted["test"] = options.test_share / rest
    if not has_validation:
        rest = 1.0 if not (is_given and has_test) else 1 - options.test_share
        wanted["validation"] = options.validation_share / rest
    return wanted


def _deal(
    dataset: Dataset, audit: Audit, pool: np.ndarray, wanted: dict[Part, float], seed: int
) -> np.ndarray:
    """The part of each photo of the pool: whole blocks are dealt, as many as even shares allow."""
    digests = [dataset.photos[i].digest for i in pool]
    content = hashlib.blake2b("".join(sorted(digests)).encode(), digest_size=8).digest()
    shares = list(wanted.values())
    groups = np.unique(np.array(audit.groups)[pool], return_inverse=True)[1]
    _check_groups(dataset, groups, pool, len(wanted) + 1)
    best, least = np.zeros(len(pool), np.int64), np.inf
    for units in _units(audit, groups, pool):
        units = _numbered_by_content(units, digests)
        rng = np.random.default_rng([seed, int.from_bytes(content, "little")])
        counts = np.zeros((int(units.max()) + 1, 1 + dataset.targets.shape[1]))
        np.add.at(counts, units, np.column_stack([np.ones(len(pool)), dataset.targets[pool]]))
        dealt = _best_deal(counts, shares, rng)
        off = _deviations(counts, dealt, shares).max()
        if off < least:
            best, least = dealt[units], off
        if off <= _TOLERABLE:
            break
    return np.array(["train", *wanted], dtype=object)[best]


def _units(audit: Audit, groups: np.ndarray, pool: np.ndarray) -> list[np.ndarray]:
    """What may be dealt whole, a number per photo of the pool: blocks, then more and more of the largest
    blocks taken apart into their groups, at last groups only."""
    if not audit.blocks:
        return [groups]
    blocks = np.unique(np.array(audit.blocks)[pool], return_inverse=True)[1]
    sizes = np.bincount(blocks)
    found = []
    for share in _TAKEN_APART:
        n_apart = round(share * len(sizes))
        limit = np.inf if n_apart == 0 else np.sort(sizes)[-n_apart]
        is_apart = sizes[blocks] >= limit
        mixed = np.where(is_apart, len(sizes) + groups, blocks)
        found.append(np.unique(mixed, return_inverse=True)[1])
    return found


def _check_groups(dataset: Dataset, groups: np.ndarray, pool: np.ndarray, n_parts: int) -> None:
    needed = max(n_parts, 3)
    for k, label in enumerate(dataset.labels):
        mine = dataset.targets[pool, k] > 0
        n_groups = len(np.unique(groups[mine]))
        if mine.any() and n_groups < needed:
            raise DatasetError(
                f"the photos labelled '{label}' come from {counted(n_groups, 'source')}; an honest split "
                f"needs {needed} or more. Add photos of other sources, or name the sources with "
                f"{option('--group-by')}"
            )


def _numbered_by_content(units: np.ndarray, digests: Sequence[str]) -> np.ndarray:
    """The same units, numbered by the least digest in each."""
    order = sorted(range(len(units)), key=lambda i: digests[i])
    known: dict[int, int] = {}
    for i in order:
        known.setdefault(int(units[i]), len(known))
    return np.array([known[int(unit)] for unit in units], np.int64)


def _best_deal(counts: np.ndarray, shares: list[float], rng: np.random.Generator) -> np.ndarray:
    """(n_units,) int64: 0 training, 1… the wanted parts. `counts` (n_units, 1 + n_labels): photos, labels.

    The best of `_N_DEALS` random deals, then improved by moving or swapping single units while that helps.
    A deal also costs where a part holds few units: a test part of two large sources is even, but says little.
    """
    best, best_cost = np.zeros(len(counts), np.int64), np.inf
    enough = min(20, round(0.15 * len(counts)))
    for _ in range(_N_DEALS):
        dealt = _random_deal(counts, shares, rng)
        fewest = int(np.bincount(dealt, minlength=len(shares) + 1).min())
        lacking = max(0, enough - fewest) / max(1, enough)
        cost = float(_cost(_deviations(counts, dealt, shares))) + _FEW_UNITS * lacking
        if cost < best_cost:
            best, best_cost = dealt, cost
        if best_cost == 0:
            return best
    best_cost = _cost(_deviations(counts, best, shares))
    for _ in range(_N_SWEEPS):
        dealt = _changed(counts, best, shares, rng)
        cost = _cost(_deviations(counts, dealt, shares))
        if not cost < best_cost:
            break
        best, best_cost = dealt, cost
    return best


def _random_deal(counts: np.ndarray, shares: list[float], rng: np.random.Generator) -> np.ndarray:
    """Units come in random order and go to the part that lacks most of what the unit holds.

    By label, rare labels weighing as much as frequent ones, unless that would overfill the part.
    """
    weights = counts / np.maximum(counts.sum(axis=0), 1)
    goals = np.array([1 - sum(shares), *shares])
    filled = np.zeros((len(goals), counts.shape[1]))
    dealt = np.zeros(len(counts), np.int64)
    for unit in rng.permutation(len(counts)):
        lacking = 1 - filled / goals[:, None]
        gain = (lacking * weights[unit]).sum(axis=1) / weights[unit].sum()
        overfull = (filled[:, 0] + weights[unit, 0]) / goals > 1.1
        choice = int(np.argmax(gain - 10.0 * overfull))
        dealt[unit] = choice
        filled[choice] += weights[unit]
    return dealt


def _changed(
    counts: np.ndarray, dealt: np.ndarray, shares: list[float], rng: np.random.Generator
) -> np.ndarray:
    """The best of the deals that differ by one unit moved, or by two swapped (1,000 swaps are tried)."""
    n, n_parts = len(dealt), len(shares) + 1
    moves = [(unit, part, unit, part) for unit in range(n) for part in range(n_parts) if part != dealt[unit]]
    for a, b in rng.integers(0, n, (1000, 2)).tolist():
        if dealt[a] != dealt[b]:
            moves.append((a, int(dealt[b]), b, int(dealt[a])))
    a, to_a, b, to_b = np.array(moves, np.int64).T
    is_swap = (a != b)[:, None]
    held = np.zeros((n_parts, counts.shape[1]))
    np.add.at(held, dealt, counts)
    tried = np.repeat(held[None], len(a), axis=0)
    rows = np.arange(len(a))
    np.add.at(tried, (rows, to_a), counts[a])
    np.add.at(tried, (rows, dealt[a]), -counts[a])
    np.add.at(tried, (rows, to_b), np.where(is_swap, counts[b], 0))
    np.add.at(tried, (rows, dealt[b]), -np.where(is_swap, counts[b], 0))
    best = int(np.argmin(_cost(_off(tried, shares))))
    changed = dealt.copy()
    changed[a[best]], changed[b[best]] = to_a[best], to_b[best]
    return changed


def _deviations(counts: np.ndarray, dealt: np.ndarray, shares: list[float]) -> np.ndarray:
    """(n_parts, n_labels + 1): how far each label's share in a part, and the part's size, are off."""
    held = np.zeros((len(shares) + 1, counts.shape[1]))
    np.add.at(held, dealt, counts)
    return _off(held, shares)


def _off(held: np.ndarray, shares: list[float]) -> np.ndarray:
    """Deviations from (…, n_parts, 1 + n_labels) counts; a label missing from a part counts as 1."""
    total = held.sum(axis=-2, keepdims=True)
    size = np.maximum(held[..., :1], 1e-9)
    labels = np.abs(held[..., 1:] / size - total[..., 1:] / total[..., :1])
    labels = np.where((held[..., 1:] <= 0) & (total[..., 1:] > 0), 1.0, labels)
    goals = np.array([1 - sum(shares), *shares])[:, None]
    sizes = np.abs(held[..., :1] / total[..., :1] - goals)
    return np.concatenate([labels, sizes], axis=-1)


def _cost(off: np.ndarray) -> np.ndarray:
    """0 where every deviation is within `_GOOD_ENOUGH`; else the sum of squares beyond."""
    return (np.maximum(off - _GOOD_ENOUGH, 0) ** 2).sum(axis=(-2, -1))


def _unevenness(dataset: Dataset, part: np.ndarray, pool: np.ndarray, wanted: dict[Part, float]) -> str:
    """Sizes of the parts that were cut from the pool, and of every part the label whose share is most off."""
    found = []
    for name, goal in wanted.items():
        share = float((part[pool] == name).mean())
        if abs(share - goal) > _UNEVEN:
            found.append(f"{name} holds {_percent(share)} of the photos, {_percent(goal)} were wanted")
    flaws_first = sorted(range(len(dataset.labels)), key=lambda k: dataset.labels[k] in dataset.good_labels)
    of_set = dataset.targets[pool].mean(axis=0)
    for name in ("train", *wanted):
        held = dataset.targets[pool][part[pool] == name]
        of_part = held.sum(axis=0) / max(len(held), 1)
        worst = max(flaws_first, key=lambda k: round(abs(of_part[k] - of_set[k]), 9))
        if abs(of_part[worst] - of_set[worst]) > _UNEVEN:
            shares = f"{_percent(of_part[worst])} {dataset.labels[worst]}, the set {_percent(of_set[worst])}"
            found.append(f"{name} holds {shares}")
    if not found:
        return ""
    return f"the sources are too few or too large to share out evenly: {'; '.join(found)}"


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _why(audit: Audit, shares: dict[Part, float], is_given: bool, n_left_out: int, uneven: str) -> str:
    """`shares`: what each part that was cut holds of the photos that could be dealt out."""
    if not shares:
        words = "all three parts are given"
    else:
        told = ", ".join(f"{name} {_percent(share)}" for name, share in shares.items())
        source = "cut from the given training photos" if is_given else "dealt out"
        n_blocks = len(set(audit.blocks))
        kept = f", in {n_blocks} blocks of possible relatives" if audit.blocks and n_blocks else ""
        words = (
            f"{told}, {source} by source ({len(set(audit.groups))} groups from {audit.group_origin}"
            f"{kept}){f'; {uneven}' if uneven else ', with even class shares'}"
        )
    if audit.shared_groups:
        words += f"; {shared_words(len(audit.shared_groups), audit.are_groups_found)}"
    if n_left_out:
        words += f"; {n_left_out} training photos left out because they stand in another part too"
    return words
