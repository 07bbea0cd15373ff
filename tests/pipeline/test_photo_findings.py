"""After training a model folder knows what counts as a finding, and what its training tiles looked like."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

import flawmap
from flawmap.pipeline.photo_findings import choose_photo_findings, keep_limits
from flawmap.tools.bundle import read_bundle, write_bundle


def draw_prepared(tiny: SimpleNamespace, folder: Path) -> Any:
    """Twelve training and twelve validation photos, every other one with a crack."""
    photos = []
    for i in range(24):
        path = folder / f"{i}.png"
        Image.fromarray(tiny.make_photo(i, crack_at=16 if i % 2 else None)).save(path)
        photos.append(SimpleNamespace(path=path, name=path.name))
    return SimpleNamespace(
        dataset=SimpleNamespace(photos=photos, is_flawed=np.arange(24) % 2 == 1),
        split=SimpleNamespace(
            train=np.arange(12), validation=np.arange(12, 24), groups=[str(i) for i in range(24)]
        ),
    )


def test_a_model_folder_gets_its_findings_and_its_reference(tiny: SimpleNamespace, tmp_path: Path) -> None:
    head = tiny.make_head()
    bundle = write_bundle(tmp_path / "model", tiny.make_spec(), tiny.make_onnx(head), head)
    prepared = draw_prepared(tiny, tmp_path)
    written = choose_photo_findings(bundle, prepared, flawmap.RunOptions())
    again = read_bundle(written.folder)
    assert again.reference is not None and len(again.reference.tiles) == 24
    assert again.spec.findings is not None and again.spec.findings.most_distance is not None
    assert "reference.safetensors" in (again.folder / "README.md").read_text(encoding="utf-8")


def test_a_model_that_went_on_learning_keeps_its_limits_and_looks_anew(
    tiny: SimpleNamespace, tmp_path: Path
) -> None:
    head, prepared, options = tiny.make_head(), draw_prepared(tiny, tmp_path), flawmap.RunOptions()
    first = write_bundle(tmp_path / "first", tiny.make_spec(), tiny.make_onnx(head), head)
    chosen = choose_photo_findings(first, prepared, options)
    limits = replace(chosen.spec, thresholds=replace(chosen.spec.thresholds, threshold=0.37))
    other = write_bundle(tmp_path / "other", tiny.make_spec(), tiny.make_onnx(head), head)
    prepared.split.train = np.arange(6)
    kept = read_bundle(keep_limits(other, limits, prepared, options).folder)
    assert kept.spec.thresholds.threshold == 0.37 and kept.spec.findings == chosen.spec.findings
    assert kept.reference is not None and len(kept.reference.tiles) == 12
    without = keep_limits(other, tiny.make_spec(), prepared, options)
    assert without.spec.findings is None and without.reference is None
