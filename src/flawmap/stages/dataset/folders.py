"""Labels from folders: a class per folder, alone or below train/, val/ and test/."""

from __future__ import annotations

import posixpath
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path, PurePosixPath

from flawmap.errors import DatasetError, option, some_of
from flawmap.records import Unreadable
from flawmap.stages.dataset.entries import Entry, Listing
from flawmap.stages.dataset.good_labels import guess_good_labels
from flawmap.stages.dataset.json_files import read_json
from flawmap.tools.photos import Found
from flawmap.tools.places import IMAGE_FOLDER, MASK_FOLDER, PART_OF_NAME, could_be_class
from flawmap.tools.words import counted

_WAYS = (
    "Put the photos into one folder per class (crack/, good/), or list them in a manifest.csv (path,label)"
)

_COCO_PART = re.compile(r"(train|val|test|unlabeled)\d{4}")


def list_folder(root: Path, found: Found, known: Collection[str] = ()) -> Listing:
    """Class folders, or parts with class folders. Raises DatasetError, with a remedy, for anything else.

    `known` are names that are labels, whatever else speaks against it; one class of these is enough.
    """
    _refuse_no_photos(root, found)
    tops = _top_folders(found)
    parts = {top for top in tops if top.lower() in PART_OF_NAME}
    images = {top for top in tops if IMAGE_FOLDER.fullmatch(top.lower())}
    masks = {top for top in tops if MASK_FOLDER.fullmatch(top.lower())}
    if masks and (images or parts):
        inner = sorted(top for top in images if sum(below[0] == top for below in _folder_pairs(found)) > 1)
        remedy = f"Give {root / inner[0]}" if inner else _WAYS
        raise DatasetError(
            f"{root} holds photos with masks ({_names(tops)}); labels per photo were wanted. {remedy}"
        )
    if images == tops and not _top_folders_below(found):
        where = f"in {_names(tops)}" if tops else "in no folder"
        raise DatasetError(
            f"{root}: {counted(len(found.files), 'photo')} {where}, and nothing that labels them"
            f"{_not_understood(root, found)}. {_WAYS}; masks belong into masks/, or as runs into train.csv "
            "(ImageId,ClassId,EncodedPixels)"
        )
    if parts and parts != tops:
        raise DatasetError(
            f"{root} mixes parts ({_names(parts)}) with other folders ({_names(tops - parts)}); keep either "
            "train/, val/, test/ or class folders there"
        )
    _refuse_masks_of_classes(root, found)
    return _list_parts(root, found, known) if parts else _list_classes(root, found, tops, known)


def has_class_folders(found: Found) -> bool:
    """Whether the folders of the photos could be classes or parts: not one alone, not images/ with masks/."""
    tops = {top.lower() for top in _top_folders(found)}
    if tops & set(PART_OF_NAME):
        return any(name.count("/") > 1 for _, name in found.files)
    return sum(could_be_class(top) for top in tops) > 1


def has_labels(found: Found) -> bool:
    """Whether folders name classes, alone or inside parts; COCO's train2017/ and val2017/ do not."""
    tops = {top.lower() for top in _top_folders(found)}
    if tops & set(PART_OF_NAME):
        below = {below.lower() for _, below in _folder_pairs(found)}
        return any(could_be_class(name) for name in below)
    named = [top for top in tops if could_be_class(top)]
    return len(named) > 1 and not all(_COCO_PART.fullmatch(top) for top in named)


def _top_folders(found: Found) -> set[str]:
    return {name.split("/")[0] for _, name in found.files if "/" in name}


def _top_folders_below(found: Found) -> set[str]:
    return {below for _, below in _folder_pairs(found)}


def _folder_pairs(found: Found) -> set[tuple[str, str]]:
    """The first two folders of each photo that lies two deep or more."""
    steps = (name.split("/") for _, name in found.files)
    return {(names[0], names[1]) for names in steps if len(names) > 2}


def _list_classes(root: Path, found: Found, tops: set[str], known: Collection[str]) -> Listing:
    if len(tops) == 1 and not tops <= set(known):
        _refuse_one_class(root, found, min(tops))
    second = {below.lower() for below in _top_folders_below(found)}
    if second and second <= set(PART_OF_NAME) and all(name.count("/") > 1 for _, name in found.files):
        raise DatasetError(
            f"{root} holds parts inside its classes ({min(tops)}/{min(second)}/); put the parts outside: "
            f"{min(second)}/{min(tops)}/"
        )
    _refuse_swapped(root, found, tops, known)
    _refuse_same_letters(root, tops)
    entries, loose = [], []
    for path, name in found.files:
        if "/" in name:
            entries.append(Entry(path, name, (name.split("/")[0],)))
        else:
            loose.append(Unreadable(name, "no label: it lies outside the class folders"))
    ignored = found.ignored + _empty_folders(root, tops)
    return Listing(root, "class folders", tuple(entries), unreadable=tuple(loose), ignored=ignored)


def _list_parts(root: Path, found: Found, known: Collection[str]) -> Listing:
    entries, loose = [], []
    for path, name in found.files:
        steps = PurePosixPath(name).parts
        if len(steps) < 3:
            loose.append(Unreadable(name, "no label: it lies outside the class folders"))
            continue
        entries.append(Entry(path, name, (steps[1],), PART_OF_NAME[steps[0].lower()]))
    classes = {entry.labels[0] for entry in entries}
    if len(classes) < 2 and not (classes and classes <= set(known)):
        _refuse_masks_alone(root, classes, found)
        what = f"only the class '{min(classes)}'" if classes else "no class folders"
        raise DatasetError(
            f"{root} holds parts with {what}{_not_understood(root, found)}; two or more classes were wanted "
            "(train/crack/, ...)"
        )
    _refuse_same_letters(root, classes)
    by_part: dict[str, set[str]] = defaultdict(set)
    for entry in entries:
        by_part[entry.part or ""].add(entry.labels[0])
    layout = f"parts ({', '.join(part for part in ('train', 'validation', 'test') if part in by_part)})"
    return Listing(
        root, f"{layout} with class folders", tuple(entries), unreadable=tuple(loose), ignored=found.ignored
    )


def _refuse_no_photos(root: Path, found: Found) -> None:
    if found.files:
        return
    if not found.ignored:
        raise DatasetError(f"{root} holds no photos; name the folder that holds them")
    first = found.ignored[0]
    raise DatasetError(
        f"{root} holds no photos: {len(found.ignored)} files or folders were ignored, such as {first.path} "
        f"({first.reason})"
    )


def _refuse_one_class(root: Path, found: Found, top: str) -> None:
    below = _top_folders_below(found)
    if len(below) > 1 or (below and min(below).lower() in PART_OF_NAME):
        raise DatasetError(
            f"{root} holds the single folder {top}/, and that holds {_names(below)}; give {root / top}"
        )
    _refuse_masks_alone(root, {top}, found)
    empty = [one.path for one in _empty_folders(root, {top})]
    beside = f" (no photo in {_names(empty)})" if empty else ""
    raise DatasetError(
        f"{root} holds only the class '{top}'{beside}; two or more classes were wanted. {_WAYS}"
    )


def _refuse_swapped(root: Path, found: Found, tops: set[str], known: Collection[str]) -> None:
    """Folders that all hold the same folders could be places, each with a folder per class; unless one of
    the outer names is a class's."""
    inner: dict[str, set[str]] = {top: set() for top in tops}
    for top, below in _folder_pairs(found):
        inner[top].add(below)
    same = inner[min(tops)]
    is_same = len(tops) > 1 and len(same) > 1 and all(names == same for names in inner.values())
    if not is_same or tops & set(known) or guess_good_labels(sorted(tops)):
        return
    outer, below = min(tops), min(same)
    raise DatasetError(
        f"{root}: each of {_names(tops)} holds {_names(same)}, so that either could be the classes. Swap the "
        f"levels ({below}/{outer}/) where {_names(same)} are; where {_names(tops)} are, name the good one "
        f"with {option('--good')}; or list the photos in a manifest.csv "
        f"(path,label,group: {outer}/{below}/1.jpg,{below},{outer})"
    )


def _refuse_masks_alone(root: Path, folders: set[str], found: Found) -> None:
    if len(folders) != 1 or not MASK_FOLDER.fullmatch(min(folders).lower()):
        return
    loose = [name for _, name in found.files if f"{min(folders)}/" not in name]
    what = f"{counted(len(loose), 'photo')} beside masks" if loose else "masks without photos"
    raise DatasetError(
        f"{root} holds {what} ({_names(folders)}); put the photos into images/, named as their masks"
    )


def _refuse_masks_of_classes(root: Path, found: Found) -> None:
    """A class folder that holds images/ and masks/ would make photos of its masks."""
    below: dict[str, set[str]] = defaultdict(set)
    for _, name in found.files:
        folders = name.split("/")[:-1]
        for i in range(1, len(folders)):
            below["/".join(folders[:i])].add(folders[i])
    for folder, inner in sorted(below.items()):
        masks = [one for one in inner if MASK_FOLDER.fullmatch(one.lower())]
        if masks and any(IMAGE_FOLDER.fullmatch(one.lower()) for one in inner):
            raise DatasetError(
                f"{root}: {folder}/ holds masks beside its photos ({_names(inner)}). For masks give "
                f"{root / folder}, or put all photos into images/ and the masks into "
                f"masks/{posixpath.basename(folder)}/; for labels by folder take {_names(masks)} out"
            )


def _not_understood(root: Path, found: Found) -> str:
    """What is wrong with a file of JSON that may have been meant to label the photos."""
    names = [one.path for one in found.ignored if one.path.endswith(".json") and "/." not in f"/{one.path}"]
    if not names:
        return ""
    try:
        read_json(root / names[0])
    except DatasetError as error:
        return f": {error}"
    return f" ({some_of(names, 3)} is of no tool that is known)"


def _refuse_same_letters(root: Path, classes: Iterable[str]) -> None:
    by_letters: dict[str, list[str]] = defaultdict(list)
    for label in sorted(classes):
        by_letters[label.casefold()].append(label)
    for labels in by_letters.values():
        if len(labels) > 1:
            raise DatasetError(
                f"{root}: the class folders {_names(labels)} differ in capital letters only; use one spelling"
            )


def _empty_folders(root: Path, used: set[str]) -> tuple[Unreadable, ...]:
    return tuple(
        Unreadable(path.name, "a folder without photos")
        for path in sorted(root.iterdir())
        if path.is_dir()
        and not path.is_symlink()
        and path.name not in used
        and not path.name.startswith((".", "__"))
    )


def _names(names: Iterable[str]) -> str:
    return some_of([f"{name}/" for name in sorted(names)], 6)
