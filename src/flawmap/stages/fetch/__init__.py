"""Fetch published data sets and lay them out the way flawmap reads them."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from flawmap.errors import FetchError, OptionError, known_hint, option, require_extra
from flawmap.records import Progress, no_progress
from flawmap.stages.fetch.archives import archive_kind, unpack
from flawmap.stages.fetch.arrange import LAYOUTS
from flawmap.stages.fetch.transfer import Transfer, download, file_digest
from flawmap.tools.files import check_folder, make_parents, write_file, writing
from flawmap.tools.options import Options


@dataclass(frozen=True)
class FetchEntry:
    """A published data set: where it is, on what terms, and how it becomes folders that flawmap reads."""

    name: str
    title: str
    licence: str
    page: str
    layout: str
    """Which function of flawmap.stages.fetch.arrange lays it out."""
    n_images: int
    """Labelled images in the published set."""
    file_name: str
    url: str = ""
    """Empty where the set cannot be fetched without an account."""
    sha256: str = ""
    """Empty where the source publishes none: then the digest of the first download is kept and holds."""


ENTRIES: dict[str, FetchEntry] = {
    entry.name: entry
    for entry in (
        FetchEntry(
            name="metu-concrete",
            title="Concrete Crack Images for Classification (Özgenel 2019, METU)",
            licence="CC BY 4.0",
            page="https://data.mendeley.com/datasets/5y9wdsg2zt/2",
            layout="metu",
            n_images=40_000,
            file_name="Concrete Crack Images for Classification.rar",
            url="https://data.mendeley.com/public-files/datasets/5y9wdsg2zt/files/"
            "8a70d8a5-bce9-4291-bab9-b48cfb3e87c3/file_downloaded",
            sha256="08d7dc505a4f5a0330cee2fa2a1ae4b5b4f98bcffd0549b774caf7959bb1f02f",
        ),
        FetchEntry(
            name="neu",
            title="NEU-CLS, surface flaws of hot-rolled steel (Song and Yan 2013)",
            licence="CC BY 4.0 (as stated by the Figshare copy)",
            page="https://figshare.com/articles/dataset/NEU-CLS/28903550",
            layout="neu",
            n_images=1_800,
            file_name="NEU-CLS.zip",
            url="https://ndownloader.figshare.com/files/54094775",
        ),
        FetchEntry(
            name="deepcrack",
            title="DeepCrack, crack photos with masks (Liu et al. 2019)",
            licence="non-commercial research",
            page="https://github.com/yhlleo/DeepCrack",
            layout="deepcrack",
            n_images=537,
            file_name="DeepCrack.zip",
            url="https://raw.githubusercontent.com/yhlleo/DeepCrack/master/dataset/DeepCrack.zip",
        ),
        FetchEntry(
            name="severstal",
            title="Severstal: Steel Defect Detection (Kaggle competition 2019)",
            licence="the competition's rules",
            page="https://www.kaggle.com/competitions/severstal-steel-defect-detection",
            layout="severstal",
            n_images=12_568,
            file_name="severstal-steel-defect-detection.zip",
        ),
    )
}


@dataclass(frozen=True)
class FetchOptions(Options):
    """Where to take the archive from, and how patiently."""

    url: str | None = None
    """Another address for the same archive: a mirror."""
    sha256: str | None = None
    """The digest the archive has to have, in place of the known or recorded one."""
    archive: Path | None = None
    """An archive that is on the disk already; nothing is fetched."""
    timeout_s: float = 30.0
    n_attempts: int = 5
    """Broken connections in a row, without a byte gained, before it gives up."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.sha256 is not None:
            digest = self.sha256.lower().removeprefix("sha256:")
            if len(digest) != 64 or set(digest) - set("0123456789abcdef"):
                raise OptionError(
                    f"'{self.sha256}' is no digest for {option('--sha256')}; it has 64 hexadecimal digits"
                )
            object.__setattr__(self, "sha256", digest)
        if self.url is not None and urlsplit(self.url).scheme not in ("http", "https"):
            raise OptionError(
                f"'{self.url}' is no http address; for a file on the disk use {option('--archive')}"
            )


@dataclass(frozen=True)
class FetchSummary:
    """What lies where after a fetch."""

    entry: FetchEntry
    folder: Path
    """What `flawmap train` gets."""
    n_images: int
    sha256: str
    digest_origin: str
    """In words: what the archive's digest was checked against."""
    was_fetched: bool
    """False where the archive was there already."""
    note: str = ""


def find_entry(name: str) -> FetchEntry:
    """The entry of that name; OptionError with the nearest spelling otherwise."""
    if name in ENTRIES:
        return ENTRIES[name]
    raise OptionError(f"no data set is called '{name}'{known_hint(name, ENTRIES, cutoff=0.4)}")


def fetch(
    name: str, out: Path, options: FetchOptions | None = None, progress: Progress = no_progress
) -> FetchSummary:
    """Fetch the data set `name` into the folder `out`: archive/ keeps the archive, the rest is what it held.

    Called again it goes on with a broken transfer, and does nothing where all is there. The archive's SHA-256
    is checked against `options.sha256`, else the known one, else the one recorded in archive/ at the first
    download. Raises FetchError (no connection, wrong digest, unusable archive) and OptionError.
    """
    entry, options, out = find_entry(name), options or FetchOptions(), Path(out)
    if out.exists() and not out.is_dir():
        raise OptionError(f"{out} is a file; name a folder for the data set")
    check_folder(out)
    store = out / "archive"
    record = store / f"{entry.file_name}.sha256"
    wanted, origin = _wanted_digest(entry, options, record)
    if options.archive is not None:
        archive, was_fetched = _local_archive(options.archive, wanted), False
    elif options.url or entry.url:
        require_extra("pooch", "train")
        archive = store / entry.file_name
        make_parents(archive)
        transfer = Transfer(options.timeout_s, options.n_attempts)
        url = options.url or entry.url
        was_fetched = download(url, archive, wanted, transfer, progress)
        _refuse_web_page(url, archive)
    else:
        raise FetchError(_how_with_kaggle(entry))
    digest = wanted or file_digest(archive)
    folder, n_images = _lay_out(entry, archive, digest, out, progress)
    write_file(record, f"{digest}  {entry.file_name}\n")
    note = "" if n_images == entry.n_images else f"{n_images} images; the published set has {entry.n_images}"
    return FetchSummary(entry, folder, n_images, digest, origin, was_fetched, note)


def _wanted_digest(entry: FetchEntry, options: FetchOptions, record: Path) -> tuple[str | None, str]:
    if options.sha256:
        return options.sha256, "the digest that was given"
    if entry.sha256:
        return entry.sha256, "the source's digest"
    if record.is_file() and (words := record.read_text(encoding="utf-8").split()):
        return words[0], f"the digest of the first download, in {record}"
    return None, f"nothing: the source publishes no digest; it is recorded in {record} and holds from now on"


def _local_archive(path: Path, wanted: str | None) -> Path:
    if not path.is_file():
        raise FetchError(
            f"there is no archive {path}; name the file you downloaded with {option('--archive')}"
        )
    if wanted and (got := file_digest(path)) != wanted:
        raise FetchError(
            f"{path} has sha256 {got}; wanted {wanted}. Download it again, or name its digest with "
            f"{option('--sha256')}"
        )
    return path


def _refuse_web_page(url: str, archive: Path) -> None:
    """Sources that ask for a log-in answer with a page; it must not stay as the archive."""
    if not archive_kind(archive):
        archive.unlink()
        raise FetchError(
            f"{url} sent no archive, perhaps a web page; name another address with {option('--url')}, "
            f"or a file you have with {option('--archive')}"
        )


def _lay_out(
    entry: FetchEntry, archive: Path, digest: str, out: Path, progress: Progress
) -> tuple[Path, int]:
    """Unpack and arrange, unless this very archive was laid out before; returns folder and image count."""
    mark = out / "archive" / "laid-out.json"
    arrange = LAYOUTS[entry.layout]
    try:
        done = json.loads(mark.read_text(encoding="utf-8"))
        if done["sha256"] == digest and all((out / part).is_dir() for part in done["folders"]):
            return out / done["folder"], int(done["n_images"])
    except (OSError, ValueError, KeyError):
        pass
    work = out / "unpacking"
    shutil.rmtree(work, ignore_errors=True)
    try:
        with writing(out):
            unpack(archive, work / "raw", progress)
            ready = arrange(work / "raw", work / "ready")
            if not ready.n_images:
                raise FetchError(
                    f"{archive} holds none of {ready.wanted}; is it {entry.title}? See {entry.page}"
                )
            _refuse_strangers(out, ready.folders, mark)
            for part in ready.folders:
                shutil.rmtree(out / part, ignore_errors=True)
                (work / "ready" / part).replace(out / part)
            for extra in ready.files:
                (work / "ready" / extra).replace(out / extra)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    about = (
        f"{entry.title}\nlicence: {entry.licence}\nsource: {entry.page}\nsha256 of the archive: {digest}\n"
    )
    write_file(out / "SOURCE.txt", about)
    done = {"sha256": digest, "folder": ready.folder, "folders": ready.folders, "n_images": ready.n_images}
    write_file(mark, json.dumps(done, indent=2) + "\n")
    return out / ready.folder, ready.n_images


def _refuse_strangers(out: Path, folders: list[str], mark: Path) -> None:
    """Folders in the way that an earlier fetch did not make are a person's own."""
    if mark.is_file():
        return
    taken = [part for part in folders if (out / part).exists()]
    if taken:
        raise FetchError(f"{out} holds {', '.join(taken)} already, not made by fetch; name another folder")


def _how_with_kaggle(entry: FetchEntry) -> str:
    folder = Path(os.environ.get("KAGGLE_CONFIG_DIR", Path.home() / ".kaggle"))
    key = folder / "kaggle.json"
    state = f"your key is in {key}" if key.is_file() else f"put your key in {key} (kaggle.com, Settings, API)"
    return (
        f"Kaggle gives this set to signed-in users who accepted the rules at {entry.page}: {state}, "
        "then run: "
        "pip install kaggle && kaggle competitions download -c severstal-steel-defect-detection && "
        f"flawmap data fetch severstal --archive {entry.file_name}"
    )
