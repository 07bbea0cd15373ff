"""The jobs before training: look at a folder, at the catalogue, at what is alike; get a data set."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flawmap.errors import DatasetError, OptionError, PhotoError, require_extra
from flawmap.pipeline import texts
from flawmap.pipeline.preparing import (
    Prepared,
    Timings,
    audit_entry,
    audit_material,
    choose,
    prepare,
    read_any,
    read_labelled,
    read_material,
    select_candidates,
    select_entries,
)
from flawmap.pipeline.settings import RunOptions
from flawmap.pipeline.using import Outcome
from flawmap.records import Audit, Dataset, Progress, Ranking, Split, no_progress
from flawmap.tools.files import check_files, check_folder, write_file
from flawmap.tools.words import counted, join_labels


@dataclass(frozen=True, kw_only=True)
class Audited(Outcome):
    """Outcome of `audit`."""

    dataset: Dataset
    audit: Audit
    split: Split | None
    """The split that `train` would use; None where no honest one can be made."""


@dataclass(frozen=True, kw_only=True)
class Ranked(Outcome):
    """Outcome of `rank`."""

    ranking: Ranking


@dataclass(frozen=True, kw_only=True)
class Similar(Outcome):
    """Outcome of `similar`: names and likenesses (1: the same), nearest first."""

    names: tuple[str, ...]
    likenesses: tuple[float, ...]


def audit(
    dataset: Path | str,
    options: RunOptions | None = None,
    *,
    json_file: Path | str | None = None,
    splits_file: Path | str | None = None,
    progress: Progress = no_progress,
) -> Audited:
    """Find what is wrong with a data set, and write it down where files are named.

    That no honest split can be made is one of these, unless the split itself is to be written.
    """
    from flawmap.stages.audit import audit_to_dict
    from flawmap.stages.split import SPLIT_COLUMNS, write_splits

    check_files(json_file, inputs=[dataset], holds=['"n_photos"', '"exact_duplicates"'])
    check_files(splits_file, inputs=[dataset], holds=[",".join(SPLIT_COLUMNS)])
    options = (options or RunOptions()).resolved()
    timings = Timings()
    material = read_material(Path(dataset), options, timings, progress)
    read = audit_material(material, options, timings, progress)
    if json_file is not None:
        found = audit_to_dict(read.audit, read.dataset)
        write_file(Path(json_file), json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    try:
        prepared = read.split(options)
    except DatasetError as error:
        if splits_file is not None:
            raise
        prepared, told = None, (f"  no split: {error}",)
    else:
        told = texts.split_lines(prepared)
        if splits_file is not None:
            write_splits(prepared.split, read.dataset, Path(splits_file))
    return Audited(
        lines=(
            *texts.dataset_lines(read.dataset, read.audit),
            *texts.picture_lines(read.audit),
            *told,
            *texts.audit_lines(read.audit),
        ),
        left_out=read.dataset.unreadable if prepared is None else prepared.left_out,
        dataset=read.dataset,
        audit=read.audit,
        split=None if prepared is None else prepared.split,
    )


def rank(
    dataset: Path | str,
    options: RunOptions | None = None,
    *,
    out: Path | str | None = None,
    top: int = 10,
    progress: Progress = no_progress,
) -> Ranked:
    """Score every candidate and choose one; ranking.csv and the charts go to `out`."""
    from flawmap.stages.rank import RANKING_COLUMNS

    options = (options or RunOptions()).resolved()
    _check_count("top", top)
    if out is not None:
        check_folder(Path(out))
        check_files(Path(out) / "ranking.csv", holds=[",".join(RANKING_COLUMNS)])
    candidates = select_candidates(options, progress)
    timings = Timings()
    material = read_material(Path(dataset), options, timings, progress)
    prepared = prepare(material, options, timings, progress)
    if prepared.dataset.has_masks and prepared.dataset.targets.all():
        raise DatasetError(
            f"every photo of {dataset} shows every label: there is nothing to tell apart and no backbone to "
            "rank; masks are learnt by train, on the backbone that it is told"
        )
    ranking = choose(prepared, candidates, options, timings, progress).ranking
    lines = [*_lines(prepared), *texts.ranking_lines(ranking, top)]
    if out is not None:
        write_ranking_files(ranking, Path(out))
        lines.append(f"wrote {Path(out) / 'ranking.csv'} and its charts")
    return Ranked(lines=tuple(lines), left_out=prepared.left_out, ranking=ranking)


def write_ranking_files(ranking: Ranking, folder: Path) -> None:
    """ranking.csv, a chart of all candidates and one of the ten best."""
    from flawmap.stages.rank import write_ranking
    from flawmap.stages.report import write_ranking_charts

    write_ranking(ranking, folder / "ranking.csv")
    write_ranking_charts(ranking, folder)


def similar(
    photo: Path | str,
    dataset: Path | str,
    options: RunOptions | None = None,
    *,
    count: int = 10,
    progress: Progress = no_progress,
) -> Similar:
    """The photos of a data set, or of any folder, that look most like one photo, nearest first."""
    from flawmap.stages.embed import embed
    from flawmap.stages.rank import nearest
    from flawmap.tools.photos import read_photo

    options = (options or RunOptions()).resolved()
    _check_count("count", count)
    try:
        query = read_photo(Path(photo), str(photo), options.photos)
    except PhotoError as error:
        raise PhotoError(f"{photo}: {error}") from error
    found = read_any(Path(dataset), options, progress)
    entry = audit_entry()
    store = embed(found.photos, entry, options.embed, progress)
    asked = embed([query], entry, options.embed, progress)
    rows, likeness = nearest(asked, store, count)
    lines = ["likeness  label  photo" if found.labels else "likeness  photo"]
    for row, value in zip(rows, likeness, strict=True):
        labels = join_labels(found.labels, found.targets[row])
        label = f"{labels}  " if found.labels else ""
        lines.append(f"{value:8.4f}  {label}{found.photos[row].name}")
    return Similar(
        lines=tuple(lines),
        left_out=found.unreadable,
        names=tuple(found.photos[row].name for row in rows),
        likenesses=tuple(float(value) for value in likeness),
    )


def zoo(
    backbones: str = "bundled",
    *,
    weights: tuple[str, ...] = (),
    max_parameters_millions: float | None = None,
    licences: tuple[str, ...] | None = None,
    cache: Path | None = None,
    json_file: Path | str | None = None,
    progress: Progress = no_progress,
) -> tuple[str, ...]:
    """The backbones that patterns and limits leave, and those passed over with the reason.

    Networks that were never asked for before are built once to be counted, without weights; of all of timm
    that takes minutes. The counts are kept in `cache`.
    """
    from flawmap.stages.embed import EmbedOptions

    options = RunOptions(
        backbones=backbones,
        weights=weights,
        max_parameters_millions=max_parameters_millions,
        licences=licences,
        embed=EmbedOptions(cache=cache),
    ).resolved()
    check_files(json_file, holds=['"backbones"', '"id"'])
    entries, skipped = select_entries(options, progress)
    if json_file is not None:
        table = {"backbones": [texts.entry_record(e) for e in entries]}
        table["skipped"] = [{"id": item.path, "reason": item.reason} for item in skipped]
        write_file(Path(json_file), json.dumps(table, indent=1, ensure_ascii=False) + "\n")
    return texts.zoo_lines(entries, skipped)


def draw_sample(
    out: Path | str,
    *,
    n_photos: int | None = None,
    seed: int | None = None,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> tuple[str, ...]:
    """Draw a sample data set: `out`/photos to train on, `out`/site to inspect, `out`/truth to check by."""
    require_extra("skimage", "train")
    from flawmap.stages.sample import SampleOptions
    from flawmap.stages.sample import draw_sample as draw

    asked: dict[str, Any] = {"n_photos": n_photos, "seed": seed}
    given = {key: value for key, value in asked.items() if value is not None}
    drawn = draw(Path(out), SampleOptions(overwrite=overwrite, **given), progress)
    return (
        f"{counted(drawn.n_tiles, 'tile')} of {counted(drawn.n_photos, 'photo')} "
        f"({drawn.n_positive:,} flawed, {drawn.n_negative:,} good): {drawn.photos_folder}",
        f"the photos that they were cut from, whole, to inspect: {Path(out) / 'site'}",
        f"what is true of them (masks, widths, sources): {drawn.truth_folder}",
    )


def fetch(
    name: str,
    out: Path | str,
    *,
    url: str | None = None,
    archive: Path | str | None = None,
    sha256: str | None = None,
    progress: Progress = no_progress,
) -> tuple[str, ...]:
    """Fetch a public data set and unpack it into class folders, or images and masks."""
    from flawmap.stages.fetch import FetchOptions
    from flawmap.stages.fetch import fetch as fetch_set

    options = FetchOptions(url=url, archive=None if archive is None else Path(archive), sha256=sha256)
    got = fetch_set(name, Path(out), options, progress)
    lines = [
        f"{got.entry.title} ({got.entry.licence}): {got.n_images:,} images in {got.folder}",
        f"SHA-256 {got.sha256} ({got.digest_origin})",
    ]
    return (*lines, got.note) if got.note else tuple(lines)


def convert(
    dataset: Path | str,
    out: Path | str,
    to: Literal["severstal", "coco", "masks"],
    options: RunOptions | None = None,
    *,
    overwrite: bool = False,
    progress: Progress = no_progress,
) -> Outcome:
    """Write photos and their masks in another layout, exact to the pixel; photos are copied."""
    from flawmap.stages.convert import check_place
    from flawmap.stages.convert import convert as write_converted

    if Path(dataset).is_dir():
        check_place(Path(dataset), Path(out), overwrite)
    read = read_labelled(Path(dataset), (options or RunOptions()).resolved(), progress)
    write_converted(read, Path(out), to, overwrite=overwrite, progress=progress)
    flawed = int(read.is_flawed.sum())
    shown = [label for i, label in enumerate(read.labels) if read.targets[:, i].any()]
    which = f": {', '.join(shown)}" if shown else ""
    line = f"{counted(len(read), 'photo')} ({flawed:,} flawed{which}) from {read.layout} to {to}: {out}"
    return Outcome(lines=(line,), left_out=read.unreadable)


def _check_count(name: str, n: int) -> None:
    if n < 1:
        raise OptionError(f"{name} is {n}; 1 or more was wanted")


def _lines(prepared: Prepared) -> tuple[str, ...]:
    return (*texts.dataset_lines(prepared.dataset, prepared.audit), *texts.split_lines(prepared))
