"""What the client's methods give around surveys and quality."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from flawmap.errors import PhotoError, ServiceError
from flawmap.service.client import Client
from flawmap.service.shapes_surveys import AskedReport
from service_talk import to_site


@pytest.fixture
def client(open_service: Callable) -> Client:
    import httpx2

    http, _ = open_service()

    def answer(request: httpx2.Request) -> httpx2.Response:
        given = http.request(
            request.method, str(request.url), content=request.read(), headers=dict(request.headers)
        )
        return httpx2.Response(given.status_code, content=given.content, headers=given.headers)

    return Client("http://localhost", transport=httpx2.MockTransport(answer))


def test_the_client_knows_surveys_and_quality(client: Client, tiny: SimpleNamespace, tmp_path: Path) -> None:
    photo = tmp_path / "a.png"
    photo.write_bytes(to_site(0, 96, tiny))
    with client:
        begun = client.begin_inspection([photo])
        client.wait(begun.id)
        assert client.queue(begun.id, "uncertain").photos[0].name == "a.png"
        sample = client.draw_sample(begun.id)
        assert client.answer(sample.id, 1, "flaw").answer == "flaw"
        assert client.estimate(sample.id).recall.value == 1.0
        assert client.drift().state == "too few photos" and client.watch().folder is None
        assert client.set_drift_reference(begun.id).n_reference == 1
        assert client.use_model(client.models()[0].name).is_default
        with pytest.raises(ServiceError, match="has looked at these photos already"):
            client.compare(begun.id, client.models()[0].name)
        assert client.gradings()[0].exposures
        report = client.report(begun.id, AskedReport(mm_per_px=0.2, grading="bre-251"))
        assert client.report_file(report.id, "report.pdf").startswith(b"%PDF")


def test_a_photo_that_is_not_there_is_told_in_one_line(client: Client) -> None:
    with client:
        for ask in (
            client.upload,
            lambda photo: client.predict([photo]),
            lambda photo: client.begin_inspection([photo]),
        ):
            with pytest.raises(PhotoError, match=r"cannot read the photo gone.png: No such file"):
                ask("gone.png")
