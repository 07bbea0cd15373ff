"""Who asks, and whether they may: dependencies of the routes.

They are coroutines, since FastAPI hands a plain function to another thread, which costs more than it does.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.concurrency import run_in_threadpool

from flawmap.service.accounts import LOCAL, Caller
from flawmap.service.running import Service

COOKIE = "flawmap_session"


async def get_service(request: Request) -> Service:
    return request.app.state.service


ServiceHere = Annotated[Service, Depends(get_service)]


async def find_caller(request: Request, service: ServiceHere) -> Caller | None:
    """By a program's token or the page's cookie; everybody is LOCAL where there are no accounts."""
    if not service.is_locked:
        return LOCAL
    kind, _, secret = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "bearer":
        secret = request.cookies.get(COOKIE, "")
    if not secret:
        return None
    return service.tokens.recall(secret) or await run_in_threadpool(service.tokens.ask, secret)


MaybeCaller = Annotated[Caller | None, Depends(find_caller)]


def _require(caller: Caller | None, role: str) -> Caller:
    if caller is None:
        raise HTTPException(
            401, "say who you are: send a token as 'Authorization: Bearer …'", {"WWW-Authenticate": "Bearer"}
        )
    if not caller.may(role):
        raise HTTPException(403, f"this wants the role '{role}'; {caller.name} is a {caller.role}")
    return caller


async def require_viewer(caller: MaybeCaller) -> Caller:
    return _require(caller, "viewer")


async def require_reviewer(caller: MaybeCaller) -> Caller:
    return _require(caller, "reviewer")


async def require_admin(caller: MaybeCaller) -> Caller:
    return _require(caller, "admin")


Viewer = Annotated[Caller, Depends(require_viewer)]
Reviewer = Annotated[Caller, Depends(require_reviewer)]
Admin = Annotated[Caller, Depends(require_admin)]
