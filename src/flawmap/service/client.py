"""A small client of the REST interface, typed."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2

from flawmap.errors import PhotoError, ServiceError
from flawmap.records import Progress, no_progress
from flawmap.service import shapes
from flawmap.service import shapes_quality as quality
from flawmap.service import shapes_surveys as surveys

_BUSY = (429, 503)


class Client:
    """Talks to a service; use it in a `with` block.

    Where the service is full it waits as long as it is told to, up to `patience_s` in all. Raises
    ServiceError with the service's own words, PhotoError for a photo of this machine that cannot be read.
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
        """The models that are served, the one in use first."""
        return [shapes.ModelInfo(**one) for one in self._ask("GET", "/v1/models")]

    def predict(self, photos: Sequence[Path | str], model: str | None = None) -> shapes.Predicted:
        """Label photos of this machine, all in one request."""
        files = [("photo", (Path(photo).name, _read(photo))) for photo in photos]
        params = {} if model is None else {"model": model}
        return shapes.Predicted(**self._ask("POST", "/v1/predict", params=params, files=files))

    def upload(self, photo: Path | str) -> shapes.KeptPhoto:
        """Keep one photo for inspections."""
        files = {"photo": (Path(photo).name, _read(photo))}
        return shapes.KeptPhoto(**self._ask("POST", "/v1/photos", files=files))

    def begin_inspection(
        self, photos: Iterable[Path | str], model: str | None = None, key: str | None = None
    ) -> shapes.InspectionInfo:
        """Upload photos and begin to look at them; with the same `key`, 8 to 100 characters of your
        choice, it is begun once only."""
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
            progress("inspecting photos", info.n_done, info.n_photos)
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

    def mask(self, finding: int) -> shapes.FindingMask:
        """The mask that the model gave of a finding that has one, to the pixel."""
        return shapes.FindingMask(**self._ask("GET", f"/v1/findings/{finding}/mask"))

    def use_model(self, model: str) -> shapes.ModelInfo:
        """Answer with another served model from now on; only an admin may."""
        return shapes.ModelInfo(**self._ask("POST", f"/v1/models/{quote(model, safe='')}/use"))

    def queue(self, inspection: str, order: quality.Order = "worst") -> quality.Queue:
        """The photos of an inspection in the order in which to go through them."""
        path = f"/v1/inspections/{inspection}/queue"
        return quality.Queue(**self._ask("GET", path, params={"order": order}))

    def gradings(self) -> list[surveys.GradingInfo]:
        """The tables that a report may grade widths by."""
        return [surveys.GradingInfo(**one) for one in self._ask("GET", "/v1/gradings")]

    def report(self, inspection: str, asked_for: surveys.AskedReport | None = None) -> surveys.ReportInfo:
        """Have the survey's report of an ended inspection written, and wait for it."""
        asked = (asked_for or surveys.AskedReport()).model_dump()
        path = f"/v1/inspections/{inspection}/report"
        found = surveys.ReportInfo(**self._ask("POST", path, json=asked))
        while found.state == "waiting":
            time.sleep(0.2)
            found = surveys.ReportInfo(**self._ask("GET", f"/v1/reports/{found.id}"))
        if found.state == "failed":
            raise ServiceError(f"the report could not be written: {found.note}")
        return found

    def report_file(self, report: str, file: surveys.ReportFile) -> bytes:
        """The bytes of one file of a report."""
        return self._send("GET", f"/v1/reports/{report}/{file}").content

    def watch(self) -> surveys.WatchInfo:
        """The watched folder."""
        return surveys.WatchInfo(**self._ask("GET", "/v1/watch"))

    def draw_sample(self, inspection: str, n: int = 100) -> quality.SampleInfo:
        """Photos of an inspection drawn by lot, once."""
        asked = {"inspection": inspection, "n": n}
        return quality.SampleInfo(**self._ask("POST", "/v1/samples", json=asked))

    def answer(self, sample: int, number: int, answer: quality.SampleVerdict) -> quality.DrawnPhoto:
        """What a person sees on a drawn photo."""
        path = f"/v1/samples/{sample}/photos/{number}/answer"
        return quality.DrawnPhoto(**self._ask("POST", path, json={"answer": answer}))

    def estimate(self, sample: int) -> quality.Estimate:
        """How good the model is on the photos that a sample was drawn from."""
        return quality.Estimate(**self._ask("GET", f"/v1/samples/{sample}/estimate"))

    def compare(self, inspection: str, model: str, progress: Progress = no_progress) -> quality.Comparison:
        """Where another model differs on the photos of an inspection, once it has looked at them all."""
        asked = {"inspection": inspection, "model": model}
        begun = quality.BegunComparison(**self._ask("POST", "/v1/comparisons", json=asked))
        self.wait(begun.second.id, progress)
        path = f"/v1/comparisons/{begun.first.id}/{begun.second.id}"
        return quality.Comparison(**self._ask("GET", path))

    def drift(self, model: str | None = None) -> quality.DriftInfo:
        """Whether the latest photos are like the reference."""
        params = {} if model is None else {"model": model}
        return quality.DriftInfo(**self._ask("GET", "/v1/drift", params=params))

    def set_drift_reference(self, inspection: str) -> quality.DriftInfo:
        """Hold later photos against those of this inspection; only an admin may."""
        return quality.DriftInfo(**self._ask("POST", "/v1/drift/reference", json={"inspection": inspection}))

    def _ask(self, method: str, path: str, **options: Any) -> Any:
        return self._send(method, path, **options).json()

    def _send(self, method: str, path: str, **options: Any) -> httpx2.Response:
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
            return answer
        raise ServiceError(f"{method} {path} was refused with {answer.status_code}: {_why(answer)}")


def _read(photo: Path | str) -> bytes:
    """The bytes of a file of this machine. Raises PhotoError where there are none."""
    try:
        return Path(photo).read_bytes()
    except OSError as error:
        why = error.strerror or type(error).__name__
        raise PhotoError(f"cannot read the photo {photo}: {why}") from error


def _why(answer: httpx2.Response) -> str:
    try:
        return str(answer.json()["detail"])
    except (ValueError, KeyError, TypeError):  # of something else that listens there
        return answer.text[:200]
