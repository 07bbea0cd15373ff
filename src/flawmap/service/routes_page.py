"""The page and its pictures, logging in and out, and what watches over the service."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Form, HTTPException, Request, Response
from fastapi import Path as PathParameter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, HTMLResponse, RedirectResponse

from flawmap import __version__
from flawmap.errors import PhotoError
from flawmap.service import shapes
from flawmap.service.access import COOKIE, MaybeCaller, ServiceHere, Viewer
from flawmap.service.accounts import make_token, who_has_password
from flawmap.service.database import StoredPhoto
from flawmap.service.routes_work import PROBLEMS, JobId
from flawmap.stages.survey import to_jpeg
from flawmap.tools.photos import PhotoOptions, read_pixels

router = APIRouter()

_PAGE = Path(__file__).parent / "page"
_SHOWN_AS_STORED = {"JPEG": "image/jpeg", "PNG": "image/png", "WebP": "image/webp"}
_FOR_EVER = {"Cache-Control": "private, max-age=31536000, immutable"}
_STATIC = {path.name for path in _PAGE.glob("*") if path.suffix in (".js", ".css", ".svg")}


@router.get("/", include_in_schema=False)
def show_page(caller: MaybeCaller, service: ServiceHere) -> Response:
    if caller is None:
        return RedirectResponse("/login", 303)
    page = (_PAGE / "index.html").read_text(encoding="utf-8")
    told = {"caller": html.escape(caller.name), "role": caller.role}
    told["leave"] = "" if service.is_locked else "hidden"
    filled = re.sub(r"{{(\w+)}}", lambda match: told[match[1]], page)
    return HTMLResponse(filled, headers={"Cache-Control": "no-store"})


@router.get("/static/{name}", include_in_schema=False)
def show_static(name: str) -> Response:
    if name not in _STATIC:
        raise HTTPException(404, "there is no such file")
    return FileResponse(_PAGE / name, headers={"Cache-Control": "no-cache"})


@router.get("/login", include_in_schema=False)
def show_login(said: Literal["", "wrong"] = "") -> Response:
    page = (_PAGE / "login.html").read_text(encoding="utf-8")
    message = "This name and password do not go together." if said else ""
    return HTMLResponse(page.replace("{{said}}", message), headers={"Cache-Control": "no-store"})


@router.post("/login", include_in_schema=False)
async def log_in(
    request: Request,
    service: ServiceHere,
    name: Annotated[str, Form(max_length=100)],
    password: Annotated[str, Form(max_length=1000)],
) -> Response:
    """A cookie for who knows the password, else back to the form; 429 for too many tries."""
    address = request.client.host if request.client else ""
    # Counted before the password is looked at: guesses that come at once are counted too.
    wait_s = service.failed_logins.wait_s(address)
    if wait_s:
        raise HTTPException(429, f"too many logins; try again in {wait_s} s", {"Retry-After": str(wait_s)})
    database = service.database
    caller = await run_in_threadpool(who_has_password, database, name, password)
    if caller is None:
        with database.writing(name if name.isprintable() else "?", "failed login", address):
            pass
        return RedirectResponse("/login?said=wrong", 303)
    secret = await run_in_threadpool(make_token, database, caller.name, caller.name, is_login=True)
    answer = RedirectResponse("/", 303)
    is_https = request.url.scheme == "https"
    answer.set_cookie(COOKIE, secret, max_age=12 * 3600, httponly=True, samesite="strict", secure=is_https)
    return answer


@router.post("/logout", include_in_schema=False)
def log_out(request: Request, service: ServiceHere) -> Response:
    if secret := request.cookies.get(COOKIE):
        service.tokens.forget(secret)
    answer = RedirectResponse("/login", 303)
    answer.delete_cookie(COOKIE)
    return answer


@router.get(
    "/v1/photos/{photo}/image",
    tags=["photos"],
    response_class=Response,
    responses={200: {"content": {"image/*": {}}}, **{k: PROBLEMS[k] for k in (401, 404, 415)}},
)
def show_photo(
    photo: Annotated[str, PathParameter(pattern="^[0-9a-f]{64}$")], service: ServiceHere, _: Viewer
) -> Response:
    """A photo in a form that browsers show."""
    with service.database.reading() as session:
        stored = session.get(StoredPhoto, photo)
    if stored is None:
        raise HTTPException(404, f"there is no photo {photo}")
    path = service.storage.photo_path(stored.file)
    if media_type := _SHOWN_AS_STORED.get(stored.format):
        return FileResponse(path, media_type=media_type, headers=_FOR_EVER)
    try:
        image = read_pixels(path, PhotoOptions(max_megapixels=service.options.max_megapixels))
    except PhotoError as error:
        raise HTTPException(415, str(error)) from error
    return Response(to_jpeg(image, 95), media_type="image/jpeg", headers=_FOR_EVER)


@router.get(
    "/v1/inspections/{inspection}/photos/{number}/{picture}",
    tags=["photos"],
    response_class=Response,
    responses={200: {"content": {"image/*": {}}}, **{k: PROBLEMS[k] for k in (401, 404)}},
)
def show_picture(
    inspection: JobId,
    number: Annotated[int, PathParameter(ge=1, le=2**31 - 1)],
    picture: Literal["thumb.jpg", "heat.png"],
    service: ServiceHere,
    _: Viewer,
) -> Response:
    """thumb.jpg is the photo, small; heat.png the flaw score as opacity, one pixel per cell of the model."""
    content = service.storage.picture(inspection, number, picture)
    if content is None:
        raise HTTPException(404, "there is no such picture")
    media_type = "image/png" if picture.endswith(".png") else "image/jpeg"
    return Response(content, media_type=media_type, headers=_FOR_EVER)


@router.get("/healthz", tags=["watching"])
def get_health() -> shapes.Health:
    """Answers while the service is there; open to everybody."""
    return shapes.Health(status="ok", version=__version__)


@router.get(
    "/metrics",
    tags=["watching"],
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}}, 401: PROBLEMS[401]},
)
def get_metrics(service: ServiceHere, _: Viewer) -> Response:
    """Counts and times for Prometheus."""
    return Response(service.metrics.page(), media_type="text/plain; version=0.0.4; charset=utf-8")
