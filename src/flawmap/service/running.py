"""A service as a whole: what it holds, and how it starts and ends."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from flawmap.errors import OptionError
from flawmap.pipeline.inspectors import InspectOptions
from flawmap.records import Progress, no_progress
from flawmap.service.accounts import KnownTokens, has_accounts
from flawmap.service.database import Database, held_database, held_folder, open_database
from flawmap.service.drift import DriftWatch
from flawmap.service.guard import RateLimit
from flawmap.service.inspecting import Inspections
from flawmap.service.metrics import Metrics
from flawmap.service.models import ServedModel, open_models
from flawmap.service.options import ServeOptions
from flawmap.service.queueing import PhotoQueue
from flawmap.service.reporting import Reports
from flawmap.service.storage import Storage
from flawmap.service.switching import ModelInUse
from flawmap.service.watching import Watch, Watched, check_watched
from flawmap.service.webhook import SECRET, Receiver, Webhook
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
    tokens: KnownTokens
    is_locked: bool
    """Whether who comes in has to say who they are."""
    in_use: ModelInUse
    watch: Watch | None
    webhook: Webhook | None
    drift: DriftWatch

    @property
    def default_model(self) -> ServedModel:
        return self.in_use.model


@contextmanager
def running_service(
    models: Sequence[Path | str],
    options: ServeOptions,
    inspect_options: InspectOptions | None = None,
    progress: Progress = no_progress,
) -> Iterator[Service]:
    """Opens models and data, goes on with unfinished inspections, and ends in order.

    Raises BundleError, and OptionError where others could reach a service that has no accounts. What can be
    refused without the models is, before they are loaded.
    """
    receiver = None if options.webhook is None else _to_receiver(options)
    if options.watch is not None:
        check_watched(options.watch, options.data)
    photos = PhotoOptions(max_megapixels=options.max_megapixels)
    with ExitStack() as stack:
        stack.enter_context(held_folder(options.data))
        database = open_database(options.data, options.database)
        stack.callback(database.close)
        stack.enter_context(held_database(database))
        is_locked = _check_accounts(database, options)
        served = open_models(models, photos, inspect_options, progress)
        queue = PhotoQueue(options.n_threads or n_usable_cores(), options.max_waiting)
        stack.callback(queue.close)
        storage = Storage(options.data, photos)
        in_use = ModelInUse(database, served)
        webhook = None if receiver is None else Webhook(database, receiver)
        tell = None if webhook is None else webhook.tell_findings
        inspections = Inspections(database, storage, queue, served, tell)
        watch = None if options.watch is None else _open_watch(options, database, storage, in_use)
        reports = Reports(database, storage, options.data / "reports")
        metrics = Metrics(queue)
        if webhook is not None:
            metrics.deliveries.set_function(webhook.n_waiting)
        drift = DriftWatch(database, served, metrics, webhook)
        for worker in filter(None, (inspections, reports, watch, webhook, drift)):
            worker.start()
            stack.callback(worker.close)
        yield Service(
            options,
            database,
            storage,
            queue,
            served,
            inspections,
            reports,
            metrics,
            RateLimit(options.requests_per_minute),
            RateLimit(options.logins_per_minute),
            KnownTokens(database),
            is_locked,
            in_use,
            watch,
            webhook,
            drift,
        )


def _check_accounts(database: Database, options: ServeOptions) -> bool:
    """Whether there are accounts. Raises OptionError where others could come in without one."""
    is_locked = has_accounts(database)
    if not is_locked and not options.is_loopback:
        raise OptionError(
            f"on {options.host} others can reach the service, and it has no accounts; make one first: "
            "flawmap add-user NAME (Python: flawmap.add_user(…)), with the same folder for its data"
        )
    return is_locked


def _to_receiver(options: ServeOptions) -> Receiver:
    assert options.webhook is not None
    base_url = (options.public_url or options.url).rstrip("/")
    return Receiver(options.webhook, os.environ.get(SECRET, ""), base_url)


def _open_watch(options: ServeOptions, database: Database, storage: Storage, in_use: ModelInUse) -> Watch:
    assert options.watch is not None
    if in_use.model.looking is None:
        raise OptionError(f"a watched folder needs a model that inspects: {in_use.model.why_not}")
    asked = Watched(options.watch, options.max_photo_bytes, options.watch_poll_s, options.watch_settle_s)
    return Watch(asked, database, storage, lambda: in_use.model)
