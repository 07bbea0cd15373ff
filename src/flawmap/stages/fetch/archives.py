"""Unpack archives from strangers: nothing is written outside the folder, only plain files are taken."""

from __future__ import annotations

import shutil
import stat
import subprocess
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from flawmap.errors import FetchError, option
from flawmap.records import Progress, no_progress
from flawmap.tools.files import is_full_disk

MAX_UNPACKED_BYTES = 40 * 2**30
"""Far above every set in the table; an archive that claims more is a mistake or a trap."""

_MAGIC = {b"Rar!\x1a\x07": "rar", b"7z\xbc\xaf\x27\x1c": "7z"}
_TOOLS: dict[str, tuple[str, ...]] = {
    "unrar": ("x", "-idq", "-o+", "{archive}", "{folder}/"),
    "7zz": ("x", "-y", "-bso0", "-o{folder}", "{archive}"),
    "7z": ("x", "-y", "-bso0", "-o{folder}", "{archive}"),
    "bsdtar": ("-x", "-f", "{archive}", "-C", "{folder}"),
    "unar": ("-quiet", "-force-overwrite", "-no-directory", "-output-directory", "{folder}", "{archive}"),
}


def archive_kind(path: Path) -> str:
    """ "zip", "tar", "rar", "7z" or "" by what the file holds, whatever its name."""
    with path.open("rb") as stream:
        head = stream.read(8)
    for magic, kind in _MAGIC.items():
        if head.startswith(magic):
            return kind
    if zipfile.is_zipfile(path):
        return "zip"
    return "tar" if tarfile.is_tarfile(path) else ""


def unpack(archive: Path, folder: Path, progress: Progress = no_progress) -> None:
    """Unpack a zip, tar, rar or 7z archive into an empty `folder`, and an archive that is all it holds.

    rar and 7z need one of the programs unrar, 7zz, 7z, bsdtar or unar. Raises FetchError for a damaged file,
    a path that leads out of the folder, a link, or more than MAX_UNPACKED_BYTES.
    """
    kind = archive_kind(archive)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if kind == "zip":
            with zipfile.ZipFile(archive) as bundle:
                _write_members(archive, _zip_members(archive, bundle), folder, progress)
        elif kind == "tar":
            with tarfile.open(archive) as bundle:
                _write_members(archive, _tar_members(archive, bundle), folder, progress)
        elif kind:
            _unpack_with_tool(archive, kind, folder)
        else:
            raise FetchError(
                f"{archive} is not a zip, tar, rar or 7z archive; the server may have sent a web page: "
                f"delete it and try again, or name the file you have with {option('--archive')}"
            )
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        OSError,
        NotImplementedError,
        RuntimeError,
    ) as error:
        if is_full_disk(error):  # no fault of the archive's
            raise
        raise FetchError(f"{archive} cannot be unpacked ({error}); delete it and fetch it again") from None
    inner = [path for path in folder.rglob("*") if path.is_file()]
    if len(inner) == 1 and archive_kind(inner[0]):
        nested = folder.with_name(folder.name + "-inner")
        inner[0].rename(nested)
        try:
            unpack(nested, folder, progress)
        finally:
            nested.unlink()


Member = tuple[str, int, IO[bytes]]


def _zip_members(archive: Path, bundle: zipfile.ZipFile) -> Iterator[tuple[int, Member]]:
    infos = [info for info in bundle.infolist() if not info.is_dir()]
    for info in infos:
        mode = info.external_attr >> 16
        if mode and stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise FetchError(_refusal(archive, info.filename, "is not a plain file"))
        with bundle.open(info) as stream:
            yield len(infos), (info.filename, info.file_size, stream)


def _tar_members(archive: Path, bundle: tarfile.TarFile) -> Iterator[tuple[int, Member]]:
    n_done = 0
    for info in bundle:
        if info.isdir():
            continue
        stream = bundle.extractfile(info) if info.isreg() else None
        if stream is None:
            raise FetchError(_refusal(archive, info.name, "is not a plain file"))
        n_done += 1
        with stream:
            yield n_done, (info.name, info.size, stream)


def _write_members(
    archive: Path, members: Iterator[tuple[int, Member]], folder: Path, progress: Progress
) -> None:
    room = MAX_UNPACKED_BYTES
    for n_done, (n_total, (name, n_bytes, stream)) in enumerate(members, start=1):
        room -= n_bytes
        if room < 0:
            raise FetchError(_refusal(archive, name, f"brings it past {MAX_UNPACKED_BYTES >> 30} GiB"))
        target = folder / _inside(archive, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            shutil.copyfileobj(stream, out)
        if n_done % 500 == 0 or n_done == n_total:
            progress(f"unpacking files of {archive.name}", n_done, n_total)


def _inside(archive: Path, name: str) -> PurePosixPath:
    """A member's path, once it is sure to stay below the folder."""
    path, windows = PurePosixPath(name.replace("\\", "/")), PureWindowsPath(name)
    if path.is_absolute() or windows.drive or windows.root or ".." in path.parts or not path.parts:
        raise FetchError(_refusal(archive, name, "leads out of the folder"))
    return path


def _refusal(archive: Path, name: str, why: str) -> str:
    return f"{archive} is refused: its member {name!r} {why}. Get the archive from its source page again"


def _unpack_with_tool(archive: Path, kind: str, folder: Path) -> None:
    tool = next((name for name in _TOOLS if shutil.which(name)), None)
    if tool is None:
        raise FetchError(
            f"{archive.name} is a {kind} archive; install one of {', '.join(_TOOLS)} "
            "(Debian: apt install libarchive-tools) and run the same command again; the download is kept"
        )
    arguments = [part.format(archive=archive.resolve(), folder=folder.resolve()) for part in _TOOLS[tool]]
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        reason = (done.stderr.strip() or done.stdout.strip() or "no message").splitlines()[-1]
        raise FetchError(f"{tool} cannot unpack {archive} ({reason}); delete it and fetch it again")
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise FetchError(_refusal(archive, path.relative_to(folder).as_posix(), "is not a plain file"))
