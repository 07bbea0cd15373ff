"""Photos, backbone → Embeddings: every cut in one pass, through the fastest runtime, kept on disk.

A photo that was embedded before is read back; when nothing is missing, neither torch nor timm is imported.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from flawmap.errors import OptionError, PhotoError
from flawmap.records import Embeddings, Photo, Progress, no_progress
from flawmap.stages.embed.plan import Plan, find_plan, make_plan
from flawmap.stages.embed.runners import Runner, choose_runner
from flawmap.stages.embed.spread import BatchWork
from flawmap.tools.execute import Engine, Execution, map_unordered
from flawmap.tools.files import cache_folder
from flawmap.tools.options import Options
from flawmap.tools.photos import PhotoOptions, read_image
from flawmap.tools.preprocess import fit_image
from flawmap.tools.remote import read_place
from flawmap.tools.runtime import map_ordered, n_usable_cores
from flawmap.tools.store import EmbeddingStore, store_name
from flawmap.tools.zoo import BackboneEntry

__all__ = ["EmbedOptions", "embed"]

EmbedRuntime = Literal["auto", "onnxruntime", "openvino", "torch"]

_APPEND_EVERY_S = 3.0
"""A kill loses no more than the work of this time."""
_N_CHECKED = 16
"""Real photos on which a runtime is timed and must agree with torch, before it is used for the first time."""


@dataclass(frozen=True)
class EmbedOptions(Options):
    """How photos are run through a backbone, and where the results are kept."""

    cache: Path | None = None
    """Folder of the store and the exported graphs; None: $FLAWMAP_CACHE, else the user's cache folder."""
    runtime: EmbedRuntime = "auto"
    """auto: measured once per machine and backbone, then kept to. torch uses a graphics card where one is."""
    n_threads: int | None = None
    """Photos decoded and computed at once, on Ray: workers; None: as many as there are cores."""
    engine: Engine = "local"
    """Where photos are computed: here, or on a Ray cluster whose workers can read the photos' places."""
    photos: PhotoOptions = field(default_factory=PhotoOptions)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.n_threads is not None and self.n_threads < 1:
            raise OptionError(f"n_threads is {self.n_threads}; give 1 or more")


_DEFAULTS = EmbedOptions()


def embed(
    photos: Sequence[Photo],
    entry: BackboneEntry,
    options: EmbedOptions = _DEFAULTS,
    progress: Progress = no_progress,
) -> Embeddings:
    """Pooled maps of every cut, row i for photos[i]; photos with the same bytes are computed once.

    Raises BackboneError where the weights cannot be had, PhotoError where a file has changed or gone since
    its Photo was made, FlawmapError where the store is damaged.
    """
    start = time.perf_counter()
    folder = cache_folder(options.cache)
    plan = find_plan(entry, folder)
    runner: Runner | None = None
    if not photos:
        return _empty(plan or make_plan(entry, folder))
    if plan is None or plan.runtime_for(options.runtime) is None:
        progress(f"preparing {entry.id}", 0, 1)
        plan = plan or make_plan(entry, folder)
        images = [_read_fitted(photo, plan, options) for photo in _first_distinct(photos, _N_CHECKED)]
        plan, runner = choose_runner(plan, options.runtime, images, options.n_threads or n_usable_cores())
        progress(f"preparing {entry.id}", 1, 1)
    runtime = runner.name if runner else str(plan.runtime_for(options.runtime))
    store = open_store(plan, runtime, folder)
    missing = _missing(photos, store.keys())
    if missing:
        runner = runner or Runner.open(plan, runtime, options.n_threads or n_usable_cores())
        plan = _compute(missing, plan, runner, store, options, progress)
    values = store.read([row_key(photo) for photo in photos])
    return _to_embeddings(photos, plan, runtime, values, len(missing), time.perf_counter() - start)


def row_key(photo: Photo) -> str:
    """A photo's key in the store: its bytes, and how its unusual pixels were read."""
    return f"{photo.digest}:{photo.note}" if photo.note else photo.digest


def open_store(plan: Plan, runtime: str, folder: Path) -> EmbeddingStore:
    """The store of a backbone's embeddings as one runtime computes them."""
    key = plan.store_key(runtime)
    return EmbeddingStore(folder / "embeddings" / store_name(plan.backbone_id, key), plan.columns, key)


def _first_distinct(photos: Sequence[Photo], n_photos: int) -> list[Photo]:
    """A few photos from all over the list, one of each digest."""
    distinct = list({row_key(photo): photo for photo in photos}.values())
    return distinct[:: max(1, len(distinct) // n_photos)][:n_photos]


def _missing(photos: Sequence[Photo], kept: set[str]) -> list[Photo]:
    distinct = {row_key(photo): photo for photo in photos}
    return [photo for key, photo in distinct.items() if key not in kept]


def _compute(
    missing: list[Photo],
    plan: Plan,
    runner: Runner,
    store: EmbeddingStore,
    options: EmbedOptions,
    progress: Progress,
) -> Plan:
    """Embed what is missing and append it every few seconds; return the plan with the time measured."""
    what, start, n_done = f"embedding photos with {plan.backbone_id}", time.perf_counter(), 0
    progress(what, 0, len(missing))
    waiting: list[tuple[list[Photo], np.ndarray]] = []
    last_append = start
    for batch, values in _run(missing, plan, runner, options):
        waiting.append((batch, values))
        n_done += len(batch)
        if time.perf_counter() - last_append > _APPEND_EVERY_S or n_done == len(missing):
            keys = [row_key(photo) for photos, _ in waiting for photo in photos]
            store.append(keys, plan.to_columns(np.concatenate([rows for _, rows in waiting])))
            waiting, last_append = [], time.perf_counter()
        progress(what, n_done, len(missing))
    elapsed_s = time.perf_counter() - start
    store.tidy()
    return plan.measured(1000 * elapsed_s / len(missing), len(missing))


def _run(
    photos: list[Photo], plan: Plan, runner: Runner, options: EmbedOptions
) -> Iterator[tuple[list[Photo], np.ndarray]]:
    """Batches with their values (n, d), in order unless Ray computes them.

    Threads decode, and compute where the runner allows.
    """
    batches = [photos[i : i + runner.batch_size] for i in range(0, len(photos), runner.batch_size)]
    read = partial(_read_batch, plan=plan, options=options)
    if options.engine != "local":
        execution = Execution(options.engine, options.n_threads)
        yield from map_unordered(BatchWork.of(plan, runner.name, read), batches, execution)
        return

    def read_and_compute(batch: list[Photo]) -> np.ndarray:
        return runner.compute(read(batch))

    work: Callable[[list[Photo]], np.ndarray] = read_and_compute if runner.is_threaded else read
    for batch, found in zip(batches, map_ordered(work, batches, runner.n_threads), strict=True):
        yield batch, found if runner.is_threaded else runner.compute(found)


def _read_batch(batch: list[Photo], plan: Plan, options: EmbedOptions) -> np.ndarray:
    return np.stack([_read_fitted(photo, plan, options) for photo in batch])


def _read_fitted(photo: Photo, plan: Plan, options: EmbedOptions) -> np.ndarray:
    """(h, w, 3) uint8 of the backbone's input size, of the very bytes that the photo's digest stands for."""
    try:
        data = read_place(photo.address or photo.path)
    except PhotoError as error:
        raise PhotoError(f"{photo.name}: it was here when the folder was read, and now {error}") from error
    if hashlib.blake2b(data, digest_size=32).hexdigest() != photo.digest:
        raise PhotoError(f"{photo.name}: the file has changed since the folder was read; start again")
    return fit_image(read_image(data, options.photos), plan.preprocessing)


def _empty(plan: Plan) -> Embeddings:
    return _to_embeddings((), plan, "", plan.to_columns(np.zeros((0, plan.width), np.float32)), 0, 0.0)


def _to_embeddings(
    photos: Sequence[Photo],
    plan: Plan,
    runtime: str,
    values: dict[str, np.ndarray],
    n_computed: int,
    elapsed_s: float,
) -> Embeddings:
    by_kind: dict[str, dict[int, np.ndarray]] = {"average": {}, "maximum": {}, "quadrants": {}}
    for name, column in values.items():
        kind, _, depth = name.partition(":")
        by_kind[kind][int(depth)] = column
    return Embeddings(
        digests=tuple(photo.digest for photo in photos),
        backbone_id=plan.backbone_id,
        **by_kind,
        costs=plan.costs,
        n_computed=n_computed,
        elapsed_s=elapsed_s,
        ms_per_photo=plan.ms_per_photo,
        runtime=runtime,
    )
