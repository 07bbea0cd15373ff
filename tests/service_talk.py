"""What tests of the service share: photos to send, and the way to a result."""

from __future__ import annotations

import io
import time
from types import SimpleNamespace

import numpy as np
from PIL import Image


def to_png(image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def to_site(seed: int, crack_at: int | None, tiny: SimpleNamespace) -> bytes:
    """A photo of 192 × 256 pixels, several training tiles large; `crack_at` as make_photo()'s."""
    return to_png(tiny.make_photo(seed, crack_at, (192, 256)))


def upload(client, content: bytes, name: str = "a.png") -> str:
    answer = client.post("/v1/photos", files={"photo": (name, content)})
    assert answer.status_code == 201, answer.text
    return answer.json()["photo"]


def inspect(client, contents: list[bytes]) -> dict:
    """Upload, inspect and wait for the result."""
    photos = [{"photo": upload(client, one), "name": f"{i}.png"} for i, one in enumerate(contents)]
    begun = client.post("/v1/inspections", json={"photos": photos})
    assert begun.status_code == 202, begun.text
    place = begun.headers["Location"]
    for _ in range(200):
        if client.get(place).json()["state"] == "done":
            return client.get(f"{place}/result").json()
        time.sleep(0.05)
    raise AssertionError("the inspection does not end")
