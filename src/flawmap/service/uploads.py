"""A photo's bytes kept for inspections, wherever they come from."""

from __future__ import annotations

from flawmap.service.database import Database, StoredPhoto, now
from flawmap.service.storage import Storage, Upload


def keep_upload(database: Database, storage: Storage, content: bytes, who: str) -> Upload:
    """On the disk and in the database; the same bytes are kept once. Raises PhotoError for what is none."""
    kept = storage.keep(content)
    with database.reading() as session:
        is_known = session.get(StoredPhoto, kept.digest) is not None
    if not is_known:
        height, width = kept.size_hw
        row = StoredPhoto(
            digest=kept.digest,
            file=kept.file,
            format=kept.format,
            n_bytes=kept.n_bytes,
            width_px=width,
            height_px=height,
            added_at=now(),
            added_by=who,
        )
        with database.writing(who, "upload", kept.digest) as session:
            session.merge(row)
    return kept
