"""Embeddings kept on disk as a Lance data set: a row per photo, a column per cut and pooling.

All that decides a value besides the photo and the cut (weights, preprocessing, runtime, precision) names the
data set, so a change of any of them opens another one. Rows are inserted only where their key is not there,
and appear whole or not at all: a writer that is killed leaves the rows of its finished appends.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from flawmap.errors import FlawmapError, require_extra
from flawmap.tools.files import make_parents, writing

_KEY = "photo"
_MAX_FRAGMENTS = 24
"""Each append makes a fragment; with more than these, they are joined."""
_KEEP_VERSIONS = timedelta(hours=1)
"""How long files of former versions stay for readers that have them open."""


class EmbeddingStore:
    """One data set. `columns` gives each column's shape of one row, such as {"average:5": (192,)}.

    Safe to use from several processes at once: writers take turns, readers never wait. Raises FlawmapError,
    saying how to mend it, where the data set cannot be read.
    """

    def __init__(self, folder: Path, columns: Mapping[str, tuple[int, ...]], key: str) -> None:
        """`folder` need not exist; `key` is kept inside, and another one found there is an error."""
        require_extra("lance", "train")
        self.folder = folder
        self.columns = dict(columns)
        self.key = key

    def keys(self) -> set[str]:
        """Keys of all rows."""
        return set(self._read_keys())

    def read(self, keys: Sequence[str]) -> dict[str, np.ndarray]:
        """Each column's values (n, *shape) float32, row i for keys[i]. Raises KeyError for a key not kept."""
        where = {key: row for row, key in enumerate(self._read_keys())}
        rows = np.array([where[key] for key in keys], np.int64)
        wanted, back = np.unique(rows, return_inverse=True)
        if not len(wanted):
            return {name: np.zeros((0, *shape), np.float32) for name, shape in self.columns.items()}
        with self._explained():
            data = self._open()
            # Random access pays only for a small part of a large data set.
            if 4 * len(wanted) < len(where):
                table = data.take(wanted.tolist(), columns=list(self.columns))
                order = back
            else:
                table = data.to_table(columns=list(self.columns))
                order = rows
            in_order = np.array_equal(order, np.arange(table.num_rows))
            found = {name: _to_array(table[name], shape) for name, shape in self.columns.items()}
        return {name: values if in_order else values[order] for name, values in found.items()}

    def append(self, keys: Sequence[str], values: Mapping[str, np.ndarray]) -> int:
        """Keep rows whose keys are new; return how many were. Values are (n, *shape) float32 per column."""
        table = self._to_table(keys, values)
        with self._turn(), self._explained():
            if not self._exists():
                _import_lance().write_dataset(table, str(self.folder), mode="create")
                return len(keys)
            insertion = self._open().merge_insert(_KEY).when_not_matched_insert_all()
            return int(insertion.execute(table)["num_inserted_rows"])

    def tidy(self) -> None:
        """Join small fragments and drop what former versions and killed writers left, where there is much."""
        if not self._exists():
            return
        with self._turn(), self._explained():
            data = self._open()
            if len(data.get_fragments()) <= _MAX_FRAGMENTS:
                return
            data.optimize.compact_files()
            # No other writer is at work while we have the turn, so unfinished files belong to dead ones.
            data.cleanup_old_versions(older_than=_KEEP_VERSIONS, delete_unverified=True)

    def _exists(self) -> bool:
        return (self.folder / "_versions").is_dir()

    def _open(self) -> Any:
        data = _import_lance().dataset(str(self.folder))
        kept = (data.schema.metadata or {}).get(b"key", b"").decode()
        if kept != self.key:
            raise FlawmapError(
                f"{self.folder} holds embeddings of something else ({kept or 'not stated'}). "
                "Move it away, or name another folder for the store."
            )
        return data

    def _read_keys(self) -> list[str]:
        if not self._exists():
            return []
        with self._explained():
            return self._open().to_table(columns=[_KEY])[_KEY].to_pylist()

    def _to_table(self, keys: Sequence[str], values: Mapping[str, np.ndarray]) -> Any:
        import pyarrow as pa

        arrays, fields = [pa.array(keys, pa.string())], [pa.field(_KEY, pa.string(), nullable=False)]
        for name, shape in self.columns.items():
            column = np.ascontiguousarray(values[name], np.float32)
            if column.shape != (len(keys), *shape):
                raise ValueError(f"{name}: wanted {(len(keys), *shape)}; got {column.shape}")
            size = int(np.prod(shape))
            arrays.append(pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), size))
            fields.append(pa.field(name, arrays[-1].type))
        return pa.Table.from_arrays(arrays, schema=pa.schema(fields, metadata={"key": self.key}))

    @contextlib.contextmanager
    def _turn(self) -> Iterator[None]:
        """Be the only writer of this data set on this machine; the system ends a dead process's turn."""
        make_parents(self.folder)
        with writing(self.folder):
            turn = self.folder.with_name(f".{self.folder.name}.lock").open("a+b")
        with turn:
            _lock(turn)
            yield

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            reason = re.sub(r"\s+", " ", str(error)).strip()[:160] or type(error).__name__
            raise FlawmapError(
                f"the embeddings in {self.folder} cannot be read or added to ({reason}). "
                "Delete that folder; it is made again."
            ) from error


def store_name(backbone_id: str, key: str) -> str:
    """File name of a store: the backbone for people, a digest of all that decides the values."""
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", backbone_id)[:60]
    return f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.lance"


def _import_lance() -> Any:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "lance is not fork-safe")
        import lance
    return lance


def _to_array(column: Any, shape: tuple[int, ...]) -> np.ndarray:
    chunks = [chunk.flatten().to_numpy(zero_copy_only=False) for chunk in column.chunks]
    values = np.concatenate(chunks) if len(chunks) != 1 else chunks[0]
    return values.reshape(-1, *shape)


def _lock(file: Any) -> None:
    try:
        import fcntl
    except ImportError:  # not POSIX: Lance itself refuses a conflicting version, which append reports
        return
    fcntl.flock(file, fcntl.LOCK_EX)
