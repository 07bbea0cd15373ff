"""Uploads and pictures on the disk, under generated names only: nothing that a user says becomes a path."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from flawmap.tools.files import write_file
from flawmap.tools.photos import PhotoOptions, recognise


@dataclass(frozen=True)
class Upload:
    """A photo that was checked and is on the disk."""

    digest: str
    file: str
    """Relative to the folder of uploads."""
    format: str
    n_bytes: int
    size_hw: tuple[int, int]
    """As stored."""


class Storage:
    """The folder of a service. Safe from several threads."""

    def __init__(self, data: Path, options: PhotoOptions) -> None:
        self._uploads, self._pictures = data / "uploads", data / "pictures"
        self.options = options

    def keep(self, content: bytes) -> Upload:
        """Check a photo by its bytes and header, and write it; the same bytes are written once.

        Raises PhotoError for what is no photo, or has too many pixels, before anything is decoded.
        """
        known = recognise(content, self.options)
        digest = hashlib.blake2b(content, digest_size=32).hexdigest()
        file = f"{digest[:2]}/{digest}{known.extension}"
        if not (self._uploads / file).is_file():
            write_file(self._uploads / file, content)
        return Upload(digest, file, known.format, len(content), known.size_hw)

    def photo_path(self, file: str) -> Path:
        """Where an upload lies; `file` is that of an Upload."""
        return self._uploads / file

    def keep_picture(self, job_id: str, number: int, kind: str, content: bytes) -> None:
        write_file(self._picture_path(job_id, number, kind), content)

    def picture(self, job_id: str, number: int, kind: str) -> bytes | None:
        """The bytes of keep_picture(), or None."""
        path = self._picture_path(job_id, number, kind)
        return path.read_bytes() if path.is_file() else None

    def _picture_path(self, job_id: str, number: int, kind: str) -> Path:
        return self._pictures / job_id / f"{number}-{kind}"
