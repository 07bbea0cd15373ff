"""Map work over many items: here on threads, or on a Ray cluster. The results are the same; their order is
that in which they end.

Ray is imported here alone, and only where it is asked for.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar, get_args

from flawmap.errors import FlawmapError, OptionError, require_extra
from flawmap.tools.runtime import map_ordered, n_usable_cores

Engine = Literal["local", "ray"]
Item = TypeVar("Item")
Ready = TypeVar("Ready")
Result = TypeVar("Result")
Item_contra = TypeVar("Item_contra", contravariant=True)
Result_co = TypeVar("Result_co", covariant=True)

_READERS = 2
_MOST_PER_BLOCK = 32
"""Items that a Ray worker takes at once: few, so that a worker that is killed loses little."""
_BLOCKS_PER_WORKER = 16


class Work(Protocol[Item_contra, Ready, Result_co]):
    """Two steps for each item. Threads may call both at once; for Ray it must be picklable."""

    def prepare(self, item: Item_contra, /) -> Ready:
        """What waits for disks and networks; done ahead of the second step."""
        ...

    def finish(self, ready: Ready, /) -> Result_co:
        """What keeps a core busy."""
        ...


@dataclass(frozen=True)
class Execution:
    """Where work is done."""

    engine: Engine = "local"
    n_workers: int | None = None
    """Threads, or Ray workers of one core each; None: as many as there are cores."""

    def __post_init__(self) -> None:
        if self.engine not in get_args(Engine):
            raise ValueError(f"wanted engine {' or '.join(get_args(Engine))}; got {self.engine!r}")
        if self.n_workers is not None and self.n_workers < 1:
            raise ValueError(f"wanted 1 worker or more; got {self.n_workers}")


def map_unordered(
    work: Work[Item, Ready, Result], items: Sequence[Item], execution: Execution
) -> Iterator[Result]:
    """One result per item, as they end; memory stays bounded however many items there are.

    An exception of `work` ends everything. Raises MissingExtraError where Ray is asked for and not installed.
    """
    if not items:
        return iter(())
    if execution.engine == "ray":
        return _map_on_ray(work, items, execution.n_workers)
    return _map_on_threads(work, items, execution.n_workers or n_usable_cores())


def _map_on_threads(
    work: Work[Item, Ready, Result], items: Iterable[Item], n_threads: int
) -> Iterator[Result]:
    """A large item holds up no other; one waits per thread."""
    running: set[Future[Result]] = set()
    with ThreadPoolExecutor(n_threads) as pool:
        try:
            for ready in map_ordered(work.prepare, items, _READERS):
                running.add(pool.submit(work.finish, ready))
                if len(running) >= 2 * n_threads:
                    ended, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in ended)
            while running:
                ended, running = wait(running, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in ended)
        finally:
            for future in running:
                future.cancel()


class _RayWorker:
    """Both steps in a process of its own. What a user has to mend travels back as a value: Ray would wrap
    and retry an exception."""

    def __init__(self, work: bytes) -> None:
        self._work = pickle.loads(work)

    def __call__(self, row: dict[str, bytes]) -> dict[str, bytes]:
        try:
            result = self._work.finish(self._work.prepare(pickle.loads(row["item"])))
        except FlawmapError as error:
            result = error
        return {"result": pickle.dumps(result)}


def _map_on_ray(
    work: Work[Item, Ready, Result], items: Sequence[Item], n_workers: int | None
) -> Iterator[Result]:
    """Ray Data: a worker that is killed is started again, and its items are done again."""
    require_extra("ray", "ray")
    is_ours = _start_ray(n_workers)
    import ray
    import ray.cloudpickle
    import ray.data

    logging.getLogger("ray.data").setLevel(logging.ERROR)  # its import sets it anew
    cloudpickle: Any = ray.cloudpickle
    worker: Any = _RayWorker  # Ray takes a class too, whatever its annotations say
    settings = ray.data.DataContext.get_current()
    settings.enable_progress_bars = settings.print_on_execution_start = False
    n_workers = n_workers or max(1, int(ray.cluster_resources().get("CPU", 1)))
    per_block = max(1, min(_MOST_PER_BLOCK, len(items) // (n_workers * _BLOCKS_PER_WORKER)))
    try:
        rows: Any = ray.data.from_items(
            [{"item": pickle.dumps(item)} for item in items], override_num_blocks=-(-len(items) // per_block)
        ).map(
            worker,
            fn_constructor_args=(cloudpickle.dumps(work),),
            compute=ray.data.ActorPoolStrategy(size=min(n_workers, len(items))),
            num_cpus=1,
        )
        for row in rows.iter_rows():
            result = pickle.loads(row["result"])
            if isinstance(result, FlawmapError):
                raise result
            yield result
    finally:
        if is_ours:
            ray.shutdown()


def _start_ray(n_workers: int | None) -> bool:
    """Join the cluster that RAY_ADDRESS names, else start one on this machine; False where there was one.

    Ray has its workers stand back behind all other work. Where there is much of it they then start so slowly
    that Ray gives them up and starts others, for ever; workers started here are like any other process.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # read when Ray is imported
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # it calls every large model an error
    os.environ.setdefault("RAY_worker_niceness", "0")
    import ray

    if ray.is_initialized():
        return False
    address = os.environ.get("RAY_ADDRESS")
    here = {} if address else {"address": "local", "num_cpus": n_workers or n_usable_cores()}
    settings: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, **here}
    try:
        ray.init(logging_level=logging.ERROR, **settings)
    except Exception as error:  # a slow start is a bare Exception
        ray.shutdown()
        reason = " ".join(str(error).split())[:200]
        remedy = (
            f"RAY_ADDRESS names {address}, where a cluster of this Ray ({ray.__version__}) was wanted"
            if address
            else "this machine may be too busy for it: try again, or use the local engine"
        )
        raise OptionError(f"Ray did not start; {remedy} ({reason})") from error
    return True
