"""Photos beside mask images of the same names: images/ and masks/, also inside train/, val/ and test/.

A mask belongs to the photo of the same path below its folder: the photo's full name first (a.jpg.png for
a.jpg), then its stem, then its stem with `_mask`, `_label`, `_gt` or the like. One folder of masks per class
(masks/crack/a.png) names the class.

Pascal VOC's folders are read the same way: JPEGImages/ and SegmentationClass/. The lists in
ImageSets/Segmentation/ name the photos that count and their parts. Its 255, pixels that nobody labelled, is
no flaw.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np

from flawmap.errors import DatasetError, MaskError, option
from flawmap.records import Part, Photo, Unreadable
from flawmap.stages.dataset.class_names import (
    find_class_names,
    find_label_map,
    read_class_names,
    read_label_map,
)
from flawmap.stages.dataset.entries import Entry, Listing, Marks, MaskListing, Named, without_files
from flawmap.stages.dataset.voc import LISTS, find_lists, read_lists
from flawmap.tools import rle
from flawmap.tools.mask_images import MAX_CLASS_INDEX, VOID, MaskImageOptions, read_value_runs
from flawmap.tools.photos import Found, PhotoOptions, read_photos
from flawmap.tools.places import Place, place_of

_SUFFIX = re.compile(r"(?i)(?<=.)[ ._-](masks?|labels?|gt|ground_?truth|seg|segmentation|annotation)$")
_NAMELESS = "flaw"


@dataclass(frozen=True)
class _File:
    path: Path
    name: str
    place: Place

    @property
    def stem(self) -> str:
        return str(PurePosixPath(self.place.rest).with_suffix(""))


@dataclass(frozen=True)
class _Match:
    """A mask for a photo; `label` is the class folder that it lies in, or ""."""

    mask: _File
    label: str
    is_full: bool


def has_mask_folders(found: Found) -> bool:
    """Whether there are folders of photos with folders of masks beside."""
    return {"image", "mask"} <= {place_of(name).role for _, name in found.files}


def list_mask_folders(
    root: Path, found: Found, images: MaskImageOptions, photos: PhotoOptions, unmasked_good: bool
) -> MaskListing:
    """Raises DatasetError where no mask belongs to a photo, or class folders are mixed with other masks."""
    files = [_File(path, name, place_of(name)) for path, name in found.files]
    listed = read_lists(root)
    used = [file for file in files if file.place.role and (not listed or file.stem in listed)]
    pictures = [file for file in used if file.place.role == "image"]
    masks = [file for file in used if file.place.role == "mask"]
    matches, orphans = _match(pictures, masks)
    if not matches:
        _refuse_unmatched(root, pictures, masks)
    in_folders = {match.label != "" for found_here in matches.values() for match in found_here}
    if len(in_folders) > 1:
        raise DatasetError(
            f"{root} holds masks both in a folder per class and outside of them; keep either "
            "masks/crack/a.png or masks/a.png"
        )
    unreadable = [Unreadable(mask.name, "a mask without a photo") for mask in orphans]
    entries, mask_paths, unmasked = [], {}, []
    for picture in pictures:
        own = matches.get(picture.name, [])
        if not own and not unmasked_good:
            unmasked.append(picture)
            continue
        reason = _refusal(own)
        if reason:
            unreadable.append(Unreadable(picture.name, reason))
            continue
        part = picture.place.part or listed.get(picture.stem)
        entries.append(Entry(picture.path, picture.name, (), part))
        mask_paths[picture.name] = tuple((match.label, match.mask.path) for match in own)
    unreadable += _refuse_unmasked(unmasked, photos)
    names, images, files_of_names = _read_names(root, masks, images)
    ignored = without_files(found.ignored, [*files_of_names, *find_lists(root)], root)
    listing = Listing(
        root,
        _describe(entries, in_folders == {True}),
        tuple(entries),
        is_multilabel=True,
        unreadable=tuple(unreadable),
        ignored=(*ignored, *_not_used(files, used)),
    )
    limit = 1 if in_folders == {True} else max(len(names), 1) if names else MAX_CLASS_INDEX
    read = partial(_read, mask_paths, images, photos, limit)
    if in_folders == {True}:
        return MaskListing(listing, read, partial(_name_folders, _class_folders(root, matches, names)))
    return MaskListing(listing, read, partial(_name_values, names, images.has_void))


def _not_used(files: Sequence[_File], used: Sequence[_File]) -> list[Unreadable]:
    names = {file.name for file in used}
    return [
        Unreadable(file.name, f"not in {LISTS}" if file.place.role else "neither a photo nor a mask")
        for file in files
        if file.name not in names
    ]


def _read_names(
    root: Path, masks: Sequence[_File], images: MaskImageOptions
) -> tuple[tuple[str, ...], MaskImageOptions, list[Path]]:
    """The names of the classes, if any, how mask images are read that have these names and folders, and the
    files that told it."""
    tops = list(dict.fromkeys(root / mask.place.top for mask in masks))
    folders = [root, *tops, *(top.parent for top in tops)]
    names, colours = read_label_map(folders)
    has_void = any(top.name.lower().startswith("segmentation") for top in tops)
    images = replace(images, colours=colours, has_void=has_void)
    files = [*find_label_map(folders), *([] if names else find_class_names(folders))]
    return names or read_class_names(folders), images, files


def _match(pictures: Sequence[_File], masks: Sequence[_File]) -> tuple[dict[str, list[_Match]], list[_File]]:
    """Masks by the photo's name, and masks without a photo."""
    by_full = {(file.place.part, file.place.rest): [file] for file in pictures}
    by_stem: dict[tuple[Part | None, str], list[_File]] = defaultdict(list)
    for file in pictures:
        by_stem[file.place.part, file.stem].append(file)
    matches: dict[str, list[_Match]] = defaultdict(list)
    orphans = []
    for mask in masks:
        label, _, below = mask.stem.partition("/")
        for key, folder in ((mask.stem, ""), (below, label)):
            spellings: list[tuple[Part | None, str]] = [
                (mask.place.part, key),
                (mask.place.part, _SUFFIX.sub("", key)),
            ]
            full = next((by_full[one] for one in spellings if one in by_full), [])
            owners = full or next((by_stem[one] for one in spellings if one in by_stem), [])
            for owner in owners:
                matches[owner.name].append(_Match(mask, folder, bool(full)))
            if owners:
                break
        else:
            orphans.append(mask)
    return _without_shared(matches), orphans


def _without_shared(matches: dict[str, list[_Match]]) -> dict[str, list[_Match]]:
    """Where a photo has a mask of its full name, those of its stem belong to others."""
    kept = {}
    for name, own in matches.items():
        full = {match.label for match in own if match.is_full}
        kept[name] = [match for match in own if match.is_full or match.label not in full]
    n_owners: dict[str, int] = defaultdict(int)
    for own in kept.values():
        for match in own:
            n_owners[match.mask.name] += 1
    shared = {name for name, n in n_owners.items() if n > 1}
    return {
        name: [*own, *own] if any(match.mask.name in shared for match in own) else own
        for name, own in kept.items()
    }


def _refuse_unmasked(pictures: Sequence[_File], photos: PhotoOptions) -> list[Unreadable]:
    """Why files without a mask are left out: most as photos without one, some because they are no photos."""
    _, broken = read_photos([(picture.path, picture.name) for picture in pictures], photos)
    reasons = {one.path: one.reason for one in broken}
    usual = f"no mask; {option('--unmasked-good')} takes such photos as good"
    return [Unreadable(picture.name, reasons.get(picture.name, usual)) for picture in pictures]


def _refusal(own: Sequence[_Match]) -> str:
    """Why a photo with these masks is left out; "" where it is not."""
    labels = [match.label for match in own]
    if len(set(labels)) == len(labels):
        return ""
    names = sorted({match.mask.name for match in own})
    if len(names) < len(own):
        return f"its mask {names[0]} could be another photo's too; name it after the whole name, with .png"
    return f"several masks ({', '.join(names[:3])}); one was wanted"


def _refuse_unmatched(root: Path, pictures: Sequence[_File], masks: Sequence[_File]) -> None:
    tops = sorted({picture.name.split("/")[0] for picture in pictures})
    below = {picture.name.split("/")[1] for picture in pictures if picture.name.count("/") > 1}
    remedy = f". For labels by folder: Give {root / tops[0]}" if len(below) > 1 else ""
    raise DatasetError(
        f"{root}: none of the {len(masks)} masks, such as {masks[0].name}, has the name of one of the "
        f"{len(pictures)} photos, such as {pictures[0].name}; the same path and stem was wanted{remedy}"
    )


def _describe(entries: Sequence[Entry], in_folders: bool) -> str:
    parts = {entry.part for entry in entries}
    named = [part for part in ("train", "validation", "test") if part in parts]
    begin = f"parts ({', '.join(named)}) with photos" if named else "photos"
    return f"{begin} and masks" + (", a folder per class" if in_folders else "")


def _class_folders(root: Path, matches: dict[str, list[_Match]], names: tuple[str, ...]) -> tuple[str, ...]:
    folders = sorted({match.label for own in matches.values() for match in own})
    if not names:
        return tuple(folders)
    for folder in folders:
        if folder not in names:
            raise DatasetError(
                f"{root}: the masks' folder '{folder}' is not among the classes {', '.join(names)}"
            )
    return names


def _read(
    mask_paths: dict[str, tuple[tuple[str, Path], ...]],
    images: MaskImageOptions,
    photos: PhotoOptions,
    max_index: int,
    photo: Photo,
) -> Marks:
    """By value, or by class folder where the masks lie in some."""
    marks: dict[str | int, np.ndarray] = {}
    for label, path in mask_paths[photo.name]:
        try:
            values = read_value_runs(path, photo, images, photos, max_index)
        except MaskError as error:
            where = f"{label}/{path.name}" if label else path.name
            raise MaskError(f"{where}: {error}") from None
        if label:
            marks[label] = rle.union(list(values.values()))
        else:
            marks |= values
    return marks


def _name_folders(labels: tuple[str, ...], marks: Sequence[Marks]) -> Named:
    return labels, list(marks)


def _name_values(names: tuple[str, ...], has_void: bool, marks: Sequence[Marks]) -> Named:
    """0 and 255, or 0 and 1, are one label; else values are class numbers, beside which 255 may be void."""
    values = {int(value) for one in marks for value in one}
    if has_void and values - {VOID}:
        marks = [{value: runs for value, runs in one.items() if value != VOID} for one in marks]
        values -= {VOID}
    if len(names) < 2 and values <= {1, 255}:
        label = names[0] if names else _NAMELESS
        return (label,), [{label: rle.union(list(one.values()))} if one else {} for one in marks]
    labels = names or tuple(str(i + 1) for i in range(max(values - {255}, default=0)))
    named: list[Marks | MaskError] = []
    for one in marks:
        if 255 in one and len(labels) < 255:
            named.append(
                MaskError(f"its mask holds 0 and 255; class numbers from 0 to {len(labels)} were wanted")
            )
        else:
            named.append({labels[int(value) - 1]: runs for value, runs in one.items()})
    return labels, named
