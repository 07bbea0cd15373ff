"""What browser tests share: a service in a thread, the screens, and files dropped on a page."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@contextmanager
def serving(models: list[Path], data: Path) -> Iterator[str]:
    """A service in a thread of this process; gives its address."""
    import uvicorn

    from flawmap.service.app import create_app
    from flawmap.service.options import ServeOptions
    from flawmap.service.running import running_service

    with (
        socket.socket() as listening,
        running_service(models, ServeOptions(data=data, n_threads=1)) as service,
    ):
        listening.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(create_app(service), log_level="warning"))  # type: ignore[arg-type]
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


@dataclass
class Screen:
    """How a page is shown."""

    name: str
    options: dict[str, Any] = field(default_factory=dict)


DESKTOP = Screen("desktop", {"viewport": {"width": 1440, "height": 900}})
PHONE = Screen(
    "phone",
    {
        "viewport": {"width": 390, "height": 844},
        "is_mobile": True,
        "has_touch": True,
        "device_scale_factor": 2,
    },
)


_DROP = """(stage, files) => {
    const transfer = new DataTransfer();
    for (const [name, content] of files) {
        const bytes = Uint8Array.from(atob(content), (character) => character.charCodeAt(0));
        transfer.items.add(new File([bytes], name));
    }
    stage.dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));
}"""


def drop(page: Any, photos: Sequence[Path]) -> None:
    """Let files fall on the page, as a person's mouse does."""
    files = [[photo.name, base64.b64encode(photo.read_bytes()).decode()] for photo in photos]
    page.locator("#stage").evaluate(_DROP, files)


def to_screen(page: Any, x: float, y: float) -> tuple[float, float]:
    """Where a point of the photo lies on the screen; (x, y) in pixels of the photo."""
    box = page.locator("#photo").bounding_box()
    width, height = page.locator("#photo").evaluate("photo => [photo.naturalWidth, photo.naturalHeight]")
    return box["x"] + x * box["width"] / width, box["y"] + y * box["height"] / height


def drag(page: Any, points: Sequence[tuple[float, float]]) -> None:
    """A stroke of the mouse through points of the photo."""
    first, *rest = (to_screen(page, *point) for point in points)
    page.mouse.move(*first)
    page.mouse.down()
    for point in rest:
        page.mouse.move(*point, steps=4)
    page.mouse.up()
