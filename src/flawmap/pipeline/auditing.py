"""An audit is kept in the cache folder, keyed by all that decides it, so that an unchanged folder is not
compared photo by photo again."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flawmap.pipeline.settings import RunOptions
from flawmap.records import Audit, Dataset, Embeddings, LabelSuspect, Progress
from flawmap.stages import audit as stage
from flawmap.tools.files import write_file
from flawmap.tools.options import to_mapping


def audit_once(dataset: Dataset, embeddings: Embeddings, options: RunOptions, progress: Progress) -> Audit:
    """The stored audit of these photos, labels and options, or a new one."""
    path = options.cache / "audits" / f"{_key(dataset, embeddings, options)}.json"
    try:
        return _to_audit(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        found = stage.audit(dataset, embeddings, options.audit, progress)
    write_file(path, json.dumps(asdict(found), ensure_ascii=False))
    return found


def _key(dataset: Dataset, embeddings: Embeddings, options: RunOptions) -> str:
    """Of the photos, what is said of them, the features' origin, the options and the stage's own code."""
    told = hashlib.blake2b(digest_size=16)
    for file in sorted(Path(stage.__file__).parent.glob("*.py")):
        told.update(file.read_bytes())
    rows = [(photo.name, photo.digest, photo.note) for photo in dataset.photos]
    said = (rows, dataset.labels, dataset.good_labels, dataset.parts, dataset.groups, dataset.is_multilabel)
    origin = (embeddings.backbone_id, embeddings.runtime, to_mapping(options.audit))
    told.update(json.dumps([said, origin]).encode())
    told.update(dataset.targets.tobytes())
    return told.hexdigest()


def _to_audit(stored: dict[str, Any]) -> Audit:
    """The reverse of asdict(), with JSON's lists as the tuples they were."""
    suspects = tuple(LabelSuspect(**suspect) for suspect in stored.pop("label_suspects"))
    values: dict[str, Any] = {
        name: tuple(tuple(inner) if isinstance(inner, list) else inner for inner in value)
        if isinstance(value, list)
        else value
        for name, value in stored.items()
    }
    return Audit(label_suspects=suspects, **values)
