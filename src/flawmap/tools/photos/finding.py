"""Which files of a folder are photos, by rules that every listing states.

- Names that begin with a dot, and what systems leave behind (`__MACOSX`, `Thumbs.db`, `@eaDir`, ...), are
  ignored; a folder is then listed once, not file by file.
- Extensions decide, in any case of letters; files with others are ignored.
- A symbolic link is followed where its target lies inside the folder (each linked folder once, and never into
  itself), and ignored where it leads out.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from flawmap.errors import DatasetError
from flawmap.records import Unreadable
from flawmap.tools.photos.containers import FORMAT_OF_EXTENSION

EXTENSIONS = frozenset(FORMAT_OF_EXTENSION)

_LEFT_BEHIND = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information"}
_RAW = re.compile(r"\.(3fr|arw|cr[23w]|dcr|dng|erf|iiq|kdc|mrw|nef|nrw|orf|pef|raf|raw|rw2|srw)")


@dataclass(frozen=True)
class Found:
    """The photos of a folder as (path, name), sorted by name; names are POSIX, relative to the folder."""

    files: tuple[tuple[Path, str], ...]
    ignored: tuple[Unreadable, ...] = ()


def is_photo_name(name: str) -> bool:
    """Whether the extension is one that flawmap reads."""
    return PurePath(name).suffix.lower() in EXTENSIONS


def to_name(path: Path, root: Path) -> str:
    """POSIX path relative to `root`; bytes that are not UTF-8 are written as \\udcNN, so that any file can
    hold the name."""
    return path.relative_to(root).as_posix().encode("utf-8", "backslashreplace").decode()


def find_photos(root: Path) -> Found:
    """All photos below `root`, by the rules of this module. Nothing is opened.

    Raises DatasetError where `root` is not a folder or cannot be listed.
    """
    root = Path(root)
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise DatasetError(f"{root} {what}; a folder of photos was wanted")
    if not os.access(root, os.R_OK | os.X_OK):
        raise DatasetError(f"{root} cannot be listed; allow reading it")
    walk = _Walk(root, root.resolve())
    files = sorted(walk.files_below(root, (walk.real_root,)), key=lambda pair: pair[1])
    return Found(tuple(files), tuple(sorted(walk.ignored, key=lambda one: one.path)))


@dataclass
class _Walk:
    root: Path
    real_root: Path
    ignored: list[Unreadable] = field(default_factory=list)
    linked: set[Path] = field(default_factory=set)

    def files_below(self, folder: Path, chain: tuple[Path, ...]) -> Iterator[tuple[Path, str]]:
        """`chain` holds the real paths of the folders on the way here."""
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as error:
            self.ignore(folder, f"the folder cannot be listed ({error.strerror})")
            return
        for entry in entries:
            path = folder / entry.name
            reason = _reason_by_name(entry.name)
            if reason is None and entry.is_symlink():
                reason = self.reason_of_link(path, chain)
            if reason is not None:
                self.ignore(path, reason)
            elif entry.is_dir():
                below = list(self.files_below(path, (*chain, path.resolve())))
                yield from below
                if not below and is_photo_name(entry.name):
                    self.ignore(path, "a folder, though its name ends like a photo's")
            elif is_photo_name(entry.name):
                yield path, to_name(path, self.root)
            else:
                self.ignore(path, _reason_by_extension(path))

    def reason_of_link(self, path: Path, chain: tuple[Path, ...]) -> str | None:
        """Why a link is not followed; None where it is, once for each folder that it leads to."""
        try:
            target = path.resolve()
        except (OSError, RuntimeError):  # a link that leads to itself
            return "a link that goes round in a circle"
        if not target.is_relative_to(self.real_root):
            return "a link that leads out of the folder"
        if not target.is_dir():
            return None
        if target in chain or target in self.linked:
            return "a link to a folder that is read already"
        self.linked.add(target)
        return None

    def ignore(self, path: Path, reason: str) -> None:
        self.ignored.append(Unreadable(to_name(path, self.root), reason))


def _reason_by_name(name: str) -> str | None:
    if name.startswith("."):
        return "hidden"
    return "left behind by a system" if name.lower() in _LEFT_BEHIND else None


def _reason_by_extension(path: Path) -> str:
    extension = path.suffix.lower()
    if _RAW.fullmatch(extension):
        return f"camera raw ('{extension}') is not read; export it to JPEG or 16-bit TIFF"
    return f"'{extension}' is not a photo's extension" if extension else "no extension"
