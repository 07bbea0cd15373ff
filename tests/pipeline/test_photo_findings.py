"""After training a model folder knows what counts as a finding, and what its training tiles looked like."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

import flawmap
from flawmap.pipeline.photo_findings import choose_photo_findings
from flawmap.tools.bundle import read_bundle, write_bundle


def test_a_model_folder_gets_its_findings_and_its_reference(tiny: SimpleNamespace, tmp_path: Path) -> None:
    head = tiny.make_head()
    bundle = write_bundle(tmp_path / "model", tiny.make_spec(), tiny.make_onnx(head), head)
    photos = []
    for i in range(24):
        path = tmp_path / f"{i}.png"
        Image.fromarray(tiny.make_photo(i, crack_at=16 if i % 2 else None)).save(path)
        photos.append(SimpleNamespace(path=path, name=path.name))
    prepared: Any = SimpleNamespace(
        dataset=SimpleNamespace(photos=photos, is_flawed=np.arange(24) % 2 == 1),
        split=SimpleNamespace(
            train=np.arange(12), validation=np.arange(12, 24), groups=[str(i) for i in range(24)]
        ),
    )
    written = choose_photo_findings(bundle, prepared, flawmap.RunOptions())
    again = read_bundle(written.folder)
    assert again.reference is not None and len(again.reference.tiles) == 24
    assert again.spec.findings is not None and again.spec.findings.most_distance is not None
    assert "reference.safetensors" in (again.folder / "README.md").read_text(encoding="utf-8")
