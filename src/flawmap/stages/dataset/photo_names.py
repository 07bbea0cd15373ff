"""Which photo a file means that calls it by a name: its path, or as much of it as both have."""

from __future__ import annotations

import posixpath
from collections import defaultdict
from collections.abc import Iterable
from functools import cached_property

from flawmap.tools.photos import is_photo_name


class PhotoNames:
    """Names of photos below the data set's folder, to be found again however a file spells them."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = set(names)
        self._by_base: dict[str, list[str]] = defaultdict(list)
        self._by_stem: dict[str, list[str]] = defaultdict(list)
        for name in sorted(self._names):
            self._by_base[posixpath.basename(name)].append(name)
            self._by_stem[posixpath.splitext(name)[0]].append(name)

    def find(self, wanted: str, folder: str = "") -> list[str]:
        """The photo of that path, as seen from `folder` or from the data set's; else those that end like it
        (there, if any does), or the longer way round. Several could each be meant."""
        path = wanted.replace("\\", "/")
        beside = posixpath.normpath(posixpath.join(folder, path))
        plain = posixpath.normpath(path).replace("../", "").lstrip("/")
        alike = [
            name
            for name in self._by_base.get(posixpath.basename(path), [])
            if f"/{name}".endswith(f"/{plain}") or f"/{plain}".endswith(f"/{name}")
        ]
        exact = [name for name in (beside, plain) if name in self._names]
        near = [name for name in alike if f"/{name}".endswith(f"/{beside}")]
        return exact[:1] or near or alike

    def find_by_stem(self, wanted: str, folder: str = "") -> list[str]:
        """As find(), for names without an extension, or with another photo's."""
        stems = [wanted, *([posixpath.splitext(wanted)[0]] if is_photo_name(wanted) else [])]
        found = (self._stems.find(stem, folder) for stem in stems)
        return [name for stem in next((one for one in found if one), []) for name in self._by_stem[stem]]

    @cached_property
    def _stems(self) -> PhotoNames:
        return PhotoNames(self._by_stem)

    def beside(self, file: str) -> list[str]:
        """Those in the folder of a file, and of its name but for the extension."""
        return self._by_stem.get(posixpath.splitext(file)[0], [])
