"""What a finished model says of the photos that its training never read, kept with it: later photos are held
against them to notice drift. Nothing is chosen by them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from flawmap.errors import BundleError
from flawmap.pipeline.preparing import Prepared
from flawmap.pipeline.settings import RunOptions
from flawmap.pipeline.using import load
from flawmap.records import HeldBackCounts, Progress, no_progress
from flawmap.stages.inspection import InspectOptions, choose_rows, inspect_photo, open_inspector
from flawmap.tools.bundle import Bundle, write_spec
from flawmap.tools.familiarity import HeldBack
from flawmap.tools.likeness import N_AXES, describe
from flawmap.tools.runtime import RuntimeOptions, map_ordered, n_usable_cores

MOST_PHOTOS = 200


def keep_held_back(
    bundle: Bundle, prepared: Prepared, options: RunOptions, progress: Progress = no_progress
) -> Bundle:
    """The model folder with scores and features of the test part written into it; as it was where the model
    cannot inspect, since it knows flaws only."""
    runtime = RuntimeOptions(n_threads=1)
    try:
        inspector = open_inspector(bundle.folder, InspectOptions(photos=options.photos, runtime=runtime))
    except BundleError:
        return bundle
    model = load(bundle.folder, runtime)
    dataset, split = prepared.dataset, prepared.split
    is_flawed = dataset.is_flawed
    rows = split.test[choose_rows(is_flawed[split.test].tolist(), MOST_PHOTOS)].tolist()

    def look(row: int) -> tuple[float, np.ndarray] | None:
        window = inspect_photo(inspector, dataset.photos[row].path).window
        if window is None or window.image is None:
            return None
        return window.flaw_score, describe(window.image, model)

    found: dict[bool, list[tuple[float, np.ndarray]]] = {True: [], False: []}
    sources: dict[bool, set[str]] = {True: set(), False: set()}
    n_threads = options.embed.n_threads or n_usable_cores()
    for n_done, (row, one) in enumerate(zip(rows, map_ordered(look, rows, n_threads), strict=True), start=1):
        if one is not None:
            kind = bool(is_flawed[row])
            found[kind].append(one)
            sources[kind].add(split.groups[row])
        progress("inspecting photos that were held back", n_done, len(rows))
    counts = HeldBackCounts(len(found[True]), len(found[False]), len(sources[True]), len(sources[False]))
    kept = HeldBack(*_to_arrays(found[True]), *_to_arrays(found[False]))
    return write_spec(bundle, replace(bundle.spec, held_back=counts), held_back=kept)


def _to_arrays(found: list[tuple[float, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    scores = np.array([score for score, _ in found], np.float32)
    features = np.array([features for _, features in found], np.float32)
    return scores, features.reshape(-1, N_AXES)
