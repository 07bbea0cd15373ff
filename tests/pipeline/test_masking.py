"""What a run that is to learn masks cannot do is said as soon as it is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import flawmap
from flawmap.errors import BackboneError
from flawmap.tools.zoo import bundled_entries

pytest.importorskip("torch")


def test_several_backbones_are_refused_before_any_photo_is_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("images", "masks"):
        (tmp_path / "set" / folder).mkdir(parents=True)
    Image.fromarray(np.full((40, 40, 3), 99, np.uint8)).save(tmp_path / "set" / "images" / "a.png")
    Image.fromarray(np.eye(40, dtype=np.uint8) * 255).save(tmp_path / "set" / "masks" / "a.png")
    entries = tuple(entry for entry in bundled_entries() if entry.is_convolutional)
    monkeypatch.setattr("flawmap.pipeline.training.select_candidates", lambda *_: (entries, ()))
    monkeypatch.setattr("flawmap.pipeline.preparing.embed", lambda *_: pytest.fail("a photo was embedded"))
    options = flawmap.RunOptions(backbones="*")
    with pytest.raises(BackboneError, match=f"names {len(entries)} .*: name one"):
        flawmap.train(tmp_path / "set", tmp_path / "run", options)
    assert not (tmp_path / "run").exists()
