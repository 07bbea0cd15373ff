"""What a finished model says of the photos that its training never read, kept with it: later photos are held
against them to notice drift. Nothing is chosen by them."""

from __future__ import annotations

from dataclasses import replace

from flawmap.errors import BundleError
from flawmap.pipeline.preparing import Prepared
from flawmap.pipeline.settings import RunOptions
from flawmap.records import HeldBackScores, InspectedPhoto, Progress, no_progress
from flawmap.stages.inspection import (
    InspectOptions,
    choose_rows,
    inspect_photo,
    open_inspector,
    score_one_window,
)
from flawmap.tools.bundle import Bundle, write_spec
from flawmap.tools.runtime import RuntimeOptions, map_ordered, n_usable_cores

MOST_PHOTOS = 200


def keep_held_back_scores(
    bundle: Bundle, prepared: Prepared, options: RunOptions, progress: Progress = no_progress
) -> Bundle:
    """The model folder with the scores of the test part written into it; as it was where the model cannot
    inspect, since it knows flaws only."""
    inspect = InspectOptions(photos=options.photos, runtime=RuntimeOptions(n_threads=1))
    try:
        inspector = open_inspector(bundle.folder, inspect)
    except BundleError:
        return bundle
    dataset, split = prepared.dataset, prepared.split
    is_flawed = [bool(dataset.is_flawed[row]) for row in split.test]
    rows = [int(split.test[i]) for i in choose_rows(is_flawed, MOST_PHOTOS)]

    def look(row: int) -> InspectedPhoto:
        return inspect_photo(inspector, dataset.photos[row].path)

    scores: dict[bool, list[float]] = {True: [], False: []}
    sources: dict[bool, set[str]] = {True: set(), False: set()}
    n_threads = options.embed.n_threads or n_usable_cores()
    for n_done, (row, seen) in enumerate(zip(rows, map_ordered(look, rows, n_threads), strict=True), start=1):
        score = score_one_window(seen, bundle.spec)
        if score is not None:
            kind = bool(dataset.is_flawed[row])
            scores[kind].append(round(score, 4))
            sources[kind].add(split.groups[row])
        progress("inspecting photos that were held back", n_done, len(rows))
    kept = HeldBackScores(
        tuple(sorted(scores[True])), tuple(sorted(scores[False])), len(sources[True]), len(sources[False])
    )
    return write_spec(bundle, replace(bundle.spec, held_back=kept))
