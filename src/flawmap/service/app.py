"""The routes as one ASGI application."""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from flawmap import __version__
from flawmap.errors import FlawmapError
from flawmap.service import routes_page, routes_quality, routes_reviews, routes_surveys, routes_work, shapes
from flawmap.service.examples import add_examples
from flawmap.service.guard import App, Guard
from flawmap.service.metrics import Counted
from flawmap.service.queueing import QueueFull
from flawmap.service.refusals import tell_refused
from flawmap.service.running import Service

_log = logging.getLogger(__name__)
_ABOUT = "Looks for surface flaws on photos, and keeps what people say of them."


def create_app(service: Service) -> App:
    """The application of a running service, with all that guards it."""
    # The pages of FastAPI's documentation load scripts from a CDN; /openapi.json is there without them.
    api = FastAPI(
        title="flawmap",
        version=__version__,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        responses={422: {"model": shapes.Problem, "description": "Not what was wanted."}},
    )
    api.state.service = service
    for routes in (routes_work, routes_reviews, routes_surveys, routes_quality, routes_page):
        api.include_router(routes.router)
    api.add_exception_handler(RequestValidationError, _tell_invalid)
    api.add_exception_handler(QueueFull, _tell_full)
    api.add_exception_handler(FlawmapError, _tell_fault)
    for lost in (OperationalError, InterfaceError, PoolTimeout):
        api.add_exception_handler(lost, _tell_no_database)
    document = api.openapi
    api.openapi = lambda: add_examples(document())  # type: ignore[method-assign] - FastAPI's own way
    guarded = Guard(
        api,
        round(service.options.max_request_mb * 1e6),
        service.rate,
        is_loopback=service.options.is_loopback,
    )
    return Counted(guarded, service.metrics)


async def _tell_invalid(_: Request, error: Exception) -> JSONResponse:
    """In one line."""
    assert isinstance(error, RequestValidationError)
    detail = tell_refused(error.errors()).encode("utf-8", "backslashreplace").decode()
    return JSONResponse({"detail": detail[:2000]}, 422)


async def _tell_full(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, QueueFull)
    return JSONResponse({"detail": str(error)}, 503, headers={"Retry-After": str(error.retry_after_s)})


async def _tell_fault(_: Request, error: Exception) -> JSONResponse:
    """A folder that cannot be written, for one: nothing that the caller could mend."""
    return JSONResponse({"detail": str(error)}, 507)


async def _tell_no_database(_: Request, error: Exception) -> JSONResponse:
    """A server that is being restarted, or a full disk: it may be there again in a moment."""
    _log.error("the database does not answer", exc_info=error)
    return JSONResponse(
        {"detail": "the database does not answer; try again in 5 s"}, 503, headers={"Retry-After": "5"}
    )
