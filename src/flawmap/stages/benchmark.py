"""How fast functions answer, measured beside each other: rounds alternate, and medians are kept."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from flawmap.errors import OptionError
from flawmap.records import Progress, no_progress
from flawmap.tools.options import Options
from flawmap.tools.runtime import map_ordered

K = TypeVar("K")
Work = Callable[[np.ndarray], Any]


@dataclass(frozen=True)
class BenchmarkOptions(Options):
    """How long is measured."""

    n_rounds: int = 5
    n_photos: int = 32
    """Photos a round, the same for all; a quarter of them on one thread, for the time of one photo."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("n_rounds", "n_photos"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} is {getattr(self, name)}; give 1 or more")


@dataclass(frozen=True)
class Timing:
    """Medians over rounds. Decoding is not counted: the images are in memory."""

    ms_per_photo: float
    """One photo after another on one thread."""
    photos_per_s: float
    """On all threads."""
    photos_per_s_range: tuple[float, float]
    """The slowest and the fastest round: what else the machine did shows here."""


def measure_speed(
    works: Mapping[K, Work],
    images: Sequence[np.ndarray],
    n_threads: int,
    options: BenchmarkOptions = BenchmarkOptions(),
    progress: Progress = no_progress,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[K, Timing]:
    """Time each function on the same images, (H, W, 3) uint8, round by round.

    Every other round goes the other way round, so that none always comes first. The first call of each is
    not counted.
    """
    chosen = [images[i % len(images)] for i in range(options.n_photos)]
    few = chosen[: max(1, len(chosen) // 4)]
    single_ms: dict[K, list[float]] = {name: [] for name in works}
    rates: dict[K, list[float]] = {name: [] for name in works}
    for work in works.values():
        work(chosen[0])
    for n_done in range(options.n_rounds):
        progress("measuring speed, rounds", n_done, options.n_rounds)
        order = list(works) if n_done % 2 == 0 else list(works)[::-1]
        for name in order:
            single_ms[name].append(1000 * _time(works[name], few, 1, clock) / len(few))
        for name in order:
            rates[name].append(len(chosen) / _time(works[name], chosen, n_threads, clock))
    progress("measuring speed, rounds", options.n_rounds, options.n_rounds)
    return {
        name: Timing(
            statistics.median(single_ms[name]),
            statistics.median(rates[name]),
            (min(rates[name]), max(rates[name])),
        )
        for name in works
    }


def _time(work: Work, images: Sequence[np.ndarray], n_threads: int, clock: Callable[[], float]) -> float:
    begin = clock()
    for _ in map_ordered(work, images, n_threads):
        pass
    return max(clock() - begin, 1e-9)
