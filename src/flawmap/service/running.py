"""A service as a whole: what it holds, and how it starts and ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flawmap.errors import OptionError
from flawmap.pipeline.inspectors import InspectOptions
from flawmap.service.accounts import has_accounts
from flawmap.service.database import Database, held_folder, open_database
from flawmap.service.guard import RateLimit
from flawmap.service.inspecting import Inspections
from flawmap.service.metrics import Metrics
from flawmap.service.models import ServedModel, open_models
from flawmap.service.options import ServeOptions
from flawmap.service.queueing import PhotoQueue
from flawmap.service.reporting import Reports
from flawmap.service.storage import Storage
from flawmap.tools.photos import PhotoOptions
from flawmap.tools.runtime import n_usable_cores


@dataclass(frozen=True)
class Service:
    """All that the routes use."""

    options: ServeOptions
    database: Database
    storage: Storage
    queue: PhotoQueue
    models: Mapping[str, ServedModel]
    inspections: Inspections
    reports: Reports
    metrics: Metrics
    rate: RateLimit
    failed_logins: RateLimit
    is_locked: bool
    """Whether who comes in has to say who they are."""

    @property
    def default_model(self) -> ServedModel:
        return next(iter(self.models.values()))


@contextmanager
def running_service(
    models: Sequence[Path | str], options: ServeOptions, inspect_options: InspectOptions | None = None
) -> Iterator[Service]:
    """Opens models and data, goes on with unfinished inspections, and ends in order.

    Raises BundleError, and OptionError where others could reach a service that has no accounts.
    """
    photos = PhotoOptions(max_megapixels=options.max_megapixels)
    with ExitStack() as stack:
        stack.enter_context(held_folder(options.data))
        database = open_database(options.data, options.database)
        stack.callback(database.close)
        is_locked = has_accounts(database)
        if not is_locked and not options.is_loopback:
            raise OptionError(
                f"on {options.host} others can reach the service, and it has no accounts; make one first: "
                "flawmap add-user NAME (Python: flawmap.add_user(…)), with the same folder for its data"
            )
        served = open_models(models, photos, inspect_options)
        queue = PhotoQueue(options.n_threads or n_usable_cores(), options.max_waiting)
        stack.callback(queue.close)
        storage = Storage(options.data, photos)
        inspections = Inspections(database, storage, queue, served)
        inspections.start()
        stack.callback(inspections.close)
        reports = Reports(database, storage, options.data / "reports")
        reports.start()
        stack.callback(reports.close)
        yield Service(
            options,
            database,
            storage,
            queue,
            served,
            inspections,
            reports,
            Metrics(queue),
            RateLimit(options.requests_per_minute),
            RateLimit(options.logins_per_minute),
            is_locked,
        )
