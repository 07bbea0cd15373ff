"""Whether a training that was interrupted may go on: only with the same photos and options."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from flawmap.errors import OptionError
from flawmap.records import Dataset, Split
from flawmap.tools.files import write_file
from flawmap.tools.options import to_mapping

_WITHOUT_EFFECT = ("logger", "accelerator", "memory_gb")
"""Options that do not change what is learnt, so that a run may go on under others."""


def claim(out: Path, fingerprint: dict[str, str]) -> None:
    """Note what the checkpoints in `out` belong to; OptionError where they belong to something else."""
    file = out / "checkpoints" / "of.json"
    if not file.is_file():
        write_file(file, json.dumps(fingerprint, indent=1))
        return
    earlier = json.loads(file.read_text(encoding="utf-8"))
    changed = [what for what, value in fingerprint.items() if earlier.get(what) != value]
    if changed:
        raise OptionError(
            f"{out} holds an interrupted training in which {', '.join(changed)} differed: it cannot go on. "
            "Train into another folder, or start anew with --overwrite and without --resume."
        )


def fingerprint(dataset: Dataset, split: Split, options: Any) -> dict[str, str]:
    """What every training depends on, each part as a short digest, so that a mismatch can be named."""
    plain = {k: v for k, v in to_mapping(options).items() if k not in _WITHOUT_EFFECT}
    parts = json.dumps([split.train.tolist(), split.validation.tolist()]).encode()
    names = json.dumps([dataset.labels, [p.digest for p in dataset.photos]]).encode()
    masks = [
        part for mask in dataset.masks for runs in mask.runs for part in (b"%d:" % len(runs), runs.tobytes())
    ]
    return {
        "the photos or their labels": short_digest([names, dataset.targets.tobytes(), *masks]),
        "the split": short_digest([parts]),
        "the training options": short_digest([json.dumps(plain, sort_keys=True).encode()]),
    }


def short_digest(contents: Collection[bytes]) -> str:
    """16 hexadecimal digits of SHA-256."""
    digest = hashlib.sha256()
    for content in contents:
        digest.update(content)
    return digest.hexdigest()[:16]
