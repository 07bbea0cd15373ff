"""Speed is measured fairly: the same photos, rounds that alternate, medians."""

from __future__ import annotations

import numpy as np
import pytest

from flawmap.errors import OptionError
from flawmap.stages.benchmark import BenchmarkOptions, measure_speed


class Clock:
    """Time that passes only by what is called."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_times_are_medians_of_rounds() -> None:
    clock, calls = Clock(), []

    def work(name: str, took_s: list[float]):
        def answer(image: np.ndarray) -> None:
            calls.append((name, int(image[0, 0, 0])))
            clock.now_s += took_s[min(len([c for c in calls if c[0] == name]) // 6, len(took_s) - 1)]

        return answer

    images = [np.full((2, 2, 3), i, np.uint8) for i in range(3)]
    works = {"fast": work("fast", [0.01]), "slow": work("slow", [0.04, 0.02, 0.02])}
    options = BenchmarkOptions(n_rounds=3, n_photos=4)
    found = measure_speed(works, images, 1, options, clock=clock)
    for name, took_ms in (("fast", 10), ("slow", 20)):
        assert found[name].ms_per_photo == pytest.approx(took_ms)
        assert found[name].photos_per_s == pytest.approx(1000 / took_ms)
    low, high = found["slow"].photos_per_s_range
    assert low < 45 and high == pytest.approx(50)
    seen = {name: [i for n, i in calls if n == name] for name in works}
    assert seen["fast"] == seen["slow"], "each sees the same photos"
    order = [name for name, _ in calls]
    first = [order[2], order[2 + 10], order[2 + 20]]
    assert first == ["fast", "slow", "fast"], "rounds alternate"


@pytest.mark.parametrize("values", [{"n_rounds": 0}, {"n_photos": -1}])
def test_options_out_of_range_are_refused(values: dict[str, int]) -> None:
    with pytest.raises(OptionError, match="give 1 or more"):
        BenchmarkOptions(**values)
