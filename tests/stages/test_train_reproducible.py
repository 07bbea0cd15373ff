"""Training is deterministic within, and leaves torch's settings as it found them."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from flawmap.stages.train.loop import reproducible


def _settings() -> tuple[Any, ...]:
    memory: Any = torch.utils.deterministic
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        memory.fill_uninitialized_memory,
        torch.random.get_rng_state().tolist(),
    )


def _train(*, fails: bool) -> None:
    with reproducible(7):
        torch.use_deterministic_algorithms(True)
        torch.rand(3)
        assert not _settings()[2], "memory is not filled beforehand"
        if fails:
            raise KeyError


def test_settings_are_put_back_with_and_without_an_error() -> None:
    before = _settings()
    _train(fails=False)
    assert _settings() == before
    with pytest.raises(KeyError):
        _train(fails=True)
    assert _settings() == before


def test_the_seed_alone_decides_what_is_drawn() -> None:
    drawn = []
    for seed in (7, 7, 8):
        with reproducible(seed):
            drawn.append(torch.rand(4).tolist())
    assert drawn[0] == drawn[1] != drawn[2]
