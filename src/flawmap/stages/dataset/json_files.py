"""JSON files of annotation tools, which may be large."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flawmap.errors import DatasetError

_END = 1 << 16


def has_keys(path: Path, keys: Sequence[str]) -> bool:
    """Whether all of `keys` stand near the file's beginning or end, without reading the rest."""
    text = read_ends(path)
    return all(f'"{key}"'.encode() in text for key in keys)


def read_ends(path: Path) -> bytes:
    """The file's beginning and end; nothing for one that cannot be read."""
    try:
        with path.open("rb") as stream:
            head = stream.read(_END)
            if len(head) < _END:
                return head
            stream.seek(-_END, 2)
            return head + stream.read()
    except OSError:
        return b""


def read_json(path: Path) -> Any:
    """Raises DatasetError."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DatasetError(f"{path} cannot be read as JSON ({str(error)[:120]})") from None
