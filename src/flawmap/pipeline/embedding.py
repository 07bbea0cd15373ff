"""A data set as rows of numbers, for whoever wants to work on with them."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flawmap.errors import OptionError, option, require_extra
from flawmap.pipeline.preparing import audit_entry, read_labelled, select_candidates
from flawmap.pipeline.settings import RunOptions
from flawmap.pipeline.using import Outcome
from flawmap.records import Dataset, Embeddings, Progress, no_progress
from flawmap.tools.files import check_files, write_file
from flawmap.tools.words import counted

_SUFFIXES = (".npz", ".parquet")


@dataclass(frozen=True, kw_only=True)
class Embedded(Outcome):
    """Outcome of `embed`."""

    dataset: Dataset
    embeddings: Embeddings
    """Row i for dataset.photos[i]."""


def embed(
    dataset: Path | str,
    out: Path | str,
    options: RunOptions | None = None,
    *,
    progress: Progress = no_progress,
) -> Embedded:
    """Run all photos through a backbone and write its pooled maps, a row per photo, to .npz or .parquet.

    What was computed before is read from the store. Columns: name, labels (joined by ";"), digest, and for
    each depth "average:D" (k), "maximum:D" (k) and, for the deepest, "quadrants:D" (4, k). The backbone is
    the first that `options.backbones` names.
    """
    from flawmap.stages.embed import embed as embed_photos

    if Path(out).suffix.lower() not in _SUFFIXES:
        raise OptionError(f"{option('--out')} is {out}; give a name that ends in {' or '.join(_SUFFIXES)}")
    check_files(out, inputs=[dataset], holds=["digest", "average:"])
    options = (options or RunOptions()).resolved()
    is_plain = options.backbones == "bundled" and not options.weights
    entry = audit_entry() if is_plain else select_candidates(options, progress)[0][0]
    found = read_labelled(Path(dataset), options, progress)
    embeddings = embed_photos(found.photos, entry, options.embed, progress)
    write_embeddings(found, embeddings, Path(out))
    n_new = embeddings.n_computed
    line = f"{counted(len(found), 'photo')} through {embeddings.backbone_id}, {n_new:,} of them anew: {out}"
    return Embedded(lines=(line,), left_out=found.unreadable, dataset=found, embeddings=embeddings)


def write_embeddings(dataset: Dataset, embeddings: Embeddings, path: Path) -> None:
    """One file, a row per photo; see embed(). Raises MissingExtraError for .parquet without pyarrow."""
    words = {
        "name": [photo.name for photo in dataset.photos],
        "labels": [";".join(dataset.labels[k] for k in row.nonzero()[0]) for row in dataset.targets],
        "digest": list(embeddings.digests),
    }
    numbers = {
        f"{kind}:{depth}": values
        for kind in ("average", "maximum", "quadrants")
        for depth, values in getattr(embeddings, kind).items()
    }
    stream = io.BytesIO()
    if path.suffix.lower() == ".npz":
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
    write_file(path, stream.getvalue())
