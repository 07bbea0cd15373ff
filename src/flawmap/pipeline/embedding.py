"""Photos as rows of numbers, for whoever wants to work on with them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from flawmap.errors import OptionError, PhotoError, option, require_extra
from flawmap.pipeline.preparing import (
    audit_entry,
    read_any,
    require_readable,
    select_candidates,
    to_unlabelled,
)
from flawmap.pipeline.settings import RunOptions
from flawmap.pipeline.survey_places import as_places, find_survey_photos
from flawmap.pipeline.using import Outcome
from flawmap.records import Dataset, Embeddings, Photo, Progress, Unreadable, no_progress
from flawmap.tools.files import check_files
from flawmap.tools.photos import PhotoOptions, is_photo_name, read_photo, read_photos
from flawmap.tools.remote import Place, is_remote, on_this_machine, read_size_and_time, write_place
from flawmap.tools.runtime import map_ordered, n_usable_cores
from flawmap.tools.words import counted, join_labels

_SUFFIXES = (".npz", ".parquet")


@dataclass(frozen=True, kw_only=True)
class Embedded(Outcome):
    """Outcome of `embed`."""

    dataset: Dataset
    embeddings: Embeddings
    """Row i for dataset.photos[i]."""


def embed(
    photos: Path | str | Sequence[Path | str],
    out: Path | str,
    options: RunOptions | None = None,
    *,
    progress: Progress = no_progress,
) -> Embedded:
    """Run all photos through a backbone and write its pooled maps, a row per photo, to .npz or .parquet.

    `photos` is a data set, whose labels are kept, or any photos, folders, patterns, or addresses in object
    stores, such as "s3://bucket/folder", whose labels are empty; `out` may be an address as well. What was
    computed before is read from the store. Columns: name, labels (joined by ";"), digest, and for each depth
    "average:D" (k), "maximum:D" (k) and, for the deepest, "quadrants:D" (4, k). The backbone is the first
    that `options.backbones` names.
    """
    from flawmap.stages.embed import embed as embed_photos

    given = as_places(photos)
    _check_out(out, given)
    options = (options or RunOptions()).resolved()
    is_plain = options.backbones == "bundled" and not options.weights
    entry = audit_entry() if is_plain else select_candidates(options, progress)[0][0]
    found = _read(given, options, progress)
    embeddings = embed_photos(found.photos, entry, options.embed, progress)
    write_embeddings(found, embeddings, out)
    n_new = embeddings.n_computed
    line = f"{counted(len(found), 'photo')} through {embeddings.backbone_id}, {n_new:,} of them anew: {out}"
    return Embedded(lines=(line,), left_out=found.unreadable, dataset=found, embeddings=embeddings)


def _check_out(out: Place, given: Sequence[Place]) -> None:
    """Raise OptionError for another ending, and for a file that embed() did not write."""
    if PurePosixPath(out).suffix.lower() not in _SUFFIXES:
        raise OptionError(f"{option('--out')} is {out}; give a name that ends in {' or '.join(_SUFFIXES)}")
    holds = ["digest", "average:"]
    if not is_remote(out):
        check_files(out, inputs=[one for one in given if not is_remote(one)], holds=holds)
    elif read_size_and_time(out) is not None:
        with on_this_machine(out) as copy:
            try:
                check_files(copy, holds=holds)
            except OptionError as error:
                raise OptionError(str(error).replace(str(copy), str(out))) from error


def _read(given: Sequence[Place], options: RunOptions, progress: Progress) -> Dataset:
    """One folder or manifest as a data set, where it is one; else photos without labels. Raises DatasetError,
    or OptionError where there are none."""
    if len(given) == 1 and not is_remote(given[0]):
        path = Path(given[0])
        if path.is_dir() or (path.is_file() and not is_photo_name(path.name)):
            return read_any(path, options, progress)
    found = _read_places(find_survey_photos(given).photos, options.photos, progress)
    require_readable(", ".join(map(str, given)), *found)
    return to_unlabelled(Path(), *found)


def _read_places(
    places: Mapping[str, Place], options: PhotoOptions, progress: Progress
) -> tuple[list[Photo], list[Unreadable]]:
    """Photos by name, sorted by it, and those that cannot be read; remote ones are fetched one by one."""
    near = [(Path(place), name) for name, place in places.items() if not is_remote(place)]
    far = [(str(place), name) for name, place in places.items() if is_remote(place)]
    read, failed = read_photos(near, options, progress)
    photos, unreadable = list(read), list(failed)

    def fetch(one: tuple[str, str]) -> Photo | Unreadable:
        address, name = one
        try:
            with on_this_machine(address) as copy:
                return replace(read_photo(copy, name, options), path=Path(name), address=address)
        except PhotoError as error:
            return Unreadable(name, str(error))

    for n_done, one in enumerate(map_ordered(fetch, far, options.n_threads or n_usable_cores()), start=1):
        if isinstance(one, Photo):
            photos.append(one)
        else:
            unreadable.append(one)
        progress("reading photos", n_done, len(far))
    return sorted(photos, key=lambda one: one.name), sorted(unreadable, key=lambda one: one.path)


def write_embeddings(dataset: Dataset, embeddings: Embeddings, out: Place) -> None:
    """One file, a row per photo; see embed(). Raises MissingExtraError for .parquet without pyarrow."""
    words = {
        "name": [photo.name for photo in dataset.photos],
        "labels": [join_labels(dataset.labels, row) for row in dataset.targets],
        "digest": list(embeddings.digests),
    }
    numbers = {
        f"{kind}:{depth}": values
        for kind in ("average", "maximum", "quadrants")
        for depth, values in getattr(embeddings, kind).items()
    }
    stream = io.BytesIO()
    if PurePosixPath(out).suffix.lower() == ".npz":
        np.savez(stream, **{key: np.array(texts) for key, texts in words.items()}, **numbers)  # type: ignore[arg-type]
    else:
        require_extra("pyarrow", "train")
        import pyarrow as pa
        from pyarrow import parquet

        columns = {key: pa.array(texts, pa.string()) for key, texts in words.items()}
        for key, values in numbers.items():
            flat = pa.array(np.ascontiguousarray(values, np.float32).reshape(-1))
            columns[key] = pa.FixedSizeListArray.from_arrays(flat, int(np.prod(values.shape[1:])))
        parquet.write_table(pa.table(columns), stream)
    write_place(out, stream.getvalue())
