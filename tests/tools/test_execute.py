"""Mapped work: every item once, whatever runs it and whatever happens to a worker."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from flawmap.errors import BundleError, OptionError
from flawmap.tools.execute import Execution, map_unordered


class Squares:
    """Also counts how many items are held at once."""

    def __init__(self, wait_s: float = 0.0, fails_at: int = -1) -> None:
        self.wait_s, self.fails_at = wait_s, fails_at

    def prepare(self, item: int) -> int:
        return item

    def finish(self, ready: int) -> tuple[int, int]:
        time.sleep(self.wait_s)
        if ready == self.fails_at:
            raise BundleError("the model is gone")
        return ready, ready**2


class Counting(Squares):
    def __init__(self) -> None:
        super().__init__()
        self.lock, self.n_held, self.most = threading.Lock(), 0, 0

    def prepare(self, item: int) -> int:
        with self.lock:
            self.n_held += 1
            self.most = max(self.most, self.n_held)
        return item

    def finish(self, ready: int) -> tuple[int, int]:
        time.sleep(0.002)
        with self.lock:
            self.n_held -= 1
        return ready, ready**2


def test_every_item_is_done_once_and_few_are_held() -> None:
    work = Counting()
    found = dict(map_unordered(work, range(200), Execution(n_workers=3)))
    assert found == {i: i**2 for i in range(200)} and work.most < 20
    assert list(map_unordered(work, [], Execution())) == []


def test_an_error_that_a_user_can_mend_ends_it() -> None:
    with pytest.raises(BundleError, match="gone"):
        list(map_unordered(Squares(fails_at=3), range(9), Execution(n_workers=2)))


@pytest.mark.parametrize("given", [{"engine": "spark"}, {"n_workers": 0}])
def test_wrong_executions_are_told(given: dict) -> None:
    with pytest.raises(ValueError, match="wanted"):
        Execution(**given)


class Marked(Squares):
    """Leaves its process id in a folder, and how far it stands back behind others."""

    def __init__(self, folder: Path, wait_s: float) -> None:
        super().__init__(wait_s)
        self.folder = folder
        self.model = bytes(1_000_000)  # as large as one, which travels in another way than what is small

    def finish(self, ready: int) -> tuple[int, int]:
        (self.folder / f"{os.getpid()} {os.nice(0)}").touch()
        return super().finish(ready)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_on_ray_a_killed_worker_costs_time_only(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    found: dict[int, int] = {}
    is_killed = False
    for i, square in map_unordered(Marked(tmp_path, 0.1), range(40), Execution("ray", 2)):
        found[i] = square
        if not is_killed and len(found) > 4:
            os.kill(int(next(tmp_path.iterdir()).name.split()[0]), signal.SIGKILL)
            is_killed = True
    assert found == {i: i**2 for i in range(40)}
    niceness = [file.name.split()[1] for file in tmp_path.iterdir()]
    assert niceness == [str(os.nice(0))] * 3


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
def test_a_cluster_that_cannot_be_joined_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray")
    monkeypatch.setenv("RAY_ADDRESS", "nowhere")
    with pytest.raises(OptionError, match="RAY_ADDRESS names nowhere, where a cluster"):
        list(map_unordered(Squares(), range(9), Execution("ray", 2)))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray's own
@pytest.mark.usefixtures("two_ray_workers")
def test_on_ray_an_error_that_a_user_can_mend_ends_it() -> None:
    with pytest.raises(BundleError, match="gone"):
        list(map_unordered(Squares(fails_at=3), range(9), Execution("ray", 2)))
