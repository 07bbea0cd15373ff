"""What there is to choose from, as it is listed."""

from __future__ import annotations

from pathlib import Path

import pytest

import flawmap

pytest.importorskip("timm")


def test_the_list_says_how_photos_are_prepared_and_is_remembered(tmp_path: Path) -> None:
    told: list[str] = []
    head, line = flawmap.zoo(
        "test_resnet.*", cache=tmp_path, progress=lambda what, n_done, n_total: told.append(what)
    )
    assert "mean, std" in head and "160x160  bilinear  0.5, 0.5" in line
    assert set(told) == {"looking through the catalogue, backbones"} and any(tmp_path.rglob("timm-*.json"))
