"""A small client of the REST interface, typed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import httpx2

from flawmap.errors import ServiceError
from flawmap.records import Progress, no_progress
from flawmap.service import shapes

_BUSY = (429, 503)


class Client:
    """Talks to a service; use it in a `with` block.

    Where the service is full it waits as long as it is told to, up to `patience_s` in all. Raises
    ServiceError with the service's own words.
    """

    def __init__(
        self,
        address: str = "http://127.0.0.1:8000",
        token: str | None = None,
        *,
        patience_s: float = 60.0,
        transport: httpx2.BaseTransport | None = None,
    ) -> None:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._http = httpx2.Client(base_url=address, headers=headers, timeout=120.0, transport=transport)
        self._patience_s = patience_s

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def models(self) -> list[shapes.ModelInfo]:
        """The models that are served, the default one first."""
        return [shapes.ModelInfo(**one) for one in self._ask("GET", "/v1/models")]

    def predict(self, photos: Sequence[Path | str], model: str | None = None) -> shapes.Predicted:
        """Label photos of this machine, all in one request."""
        files = [("photos", (Path(photo).name, Path(photo).read_bytes())) for photo in photos]
        params = {} if model is None else {"model": model}
        return shapes.Predicted(**self._ask("POST", "/v1/predict", params=params, files=files))

    def upload(self, photo: Path | str) -> shapes.KeptPhoto:
        """Keep one photo for inspections."""
        path = Path(photo)
        files = {"photo": (path.name, path.read_bytes())}
        return shapes.KeptPhoto(**self._ask("POST", "/v1/photos", files=files))

    def begin_inspection(
        self, photos: Iterable[Path | str], model: str | None = None, key: str | None = None
    ) -> shapes.InspectionInfo:
        """Upload photos and begin to look at them; with the same `key` it is begun once only."""
        kept = [{"photo": self.upload(photo).photo, "name": Path(photo).name} for photo in photos]
        headers = {} if key is None else {"Idempotency-Key": key}
        asked = {"photos": kept, "model": model}
        return shapes.InspectionInfo(**self._ask("POST", "/v1/inspections", json=asked, headers=headers))

    def inspection(self, inspection: str) -> shapes.InspectionInfo:
        """How far an inspection is."""
        return shapes.InspectionInfo(**self._ask("GET", f"/v1/inspections/{inspection}"))

    def wait(self, inspection: str, progress: Progress = no_progress) -> shapes.InspectionResult:
        """All that an inspection found, once it has ended."""
        while True:
            info = self.inspection(inspection)
            progress("inspect", info.n_done, info.n_photos)
            if info.state in ("done", "cancelled"):
                return self.result(inspection)
            time.sleep(0.2)

    def result(self, inspection: str) -> shapes.InspectionResult:
        """All that an inspection found so far."""
        return shapes.InspectionResult(**self._ask("GET", f"/v1/inspections/{inspection}/result"))

    def cancel(self, inspection: str) -> shapes.InspectionInfo:
        """Stop an inspection; what it found is kept."""
        return shapes.InspectionInfo(**self._ask("POST", f"/v1/inspections/{inspection}/cancel"))

    def review(self, review: shapes.AskedReview) -> shapes.ReviewInfo:
        """Say something of a finding or a photo."""
        return shapes.ReviewInfo(**self._ask("POST", "/v1/reviews", json=review.model_dump()))

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        waited_s = 0.0
        while True:
            try:
                answer = self._http.request(method, path, **options)
            except httpx2.TransportError as error:
                raise ServiceError(
                    f"{self._http.base_url} does not answer ({error}); is it running?"
                ) from error
            pause_s = float(answer.headers.get("Retry-After", 1))
            if answer.status_code not in _BUSY or waited_s + pause_s > self._patience_s:
                break
            time.sleep(pause_s)
            waited_s += pause_s
        if answer.is_success:
            return answer.json()
        raise ServiceError(f"{method} {path} was refused with {answer.status_code}: {_why(answer)}")


def _why(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):  # of something else that listens there
        return answer.text[:200]
