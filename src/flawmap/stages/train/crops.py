"""Batches of photos with their masks: crops for training, whole photos in pieces for validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from flawmap.records import Photo, PhotoMask, Progress, no_progress
from flawmap.stages.train.augment import recolour, to_network_input, turn_and_flip, warp
from flawmap.stages.train.mask_objective import NOT_COUNTED
from flawmap.stages.train.options import AugmentOptions, MaskTrainOptions
from flawmap.stages.train.sources import Batch, Pair, SharedOut, generator_for
from flawmap.tools import rle
from flawmap.tools.photos import PhotoOptions, read_again, read_image
from flawmap.tools.tiles import Box, lay_tiles

MULTIPLE = 32
PIECE_PX = 1024
"""Validation photos larger than this are judged in pieces."""


@dataclass(frozen=True)
class Marked:
    """Photos with their masks, by row; `image(row)` is (H, W, 3) uint8."""

    image: Callable[[int], np.ndarray]
    masks: Sequence[PhotoMask]

    def cut(self, row: int, box: Box) -> np.ndarray:
        """(h, w, 3 + n_labels) uint8: image and mask under the box, mirrored beyond the photo's border."""
        top, left, bottom, right = box
        image, mask = self.image(row), self.masks[row]
        height, width = image.shape[:2]
        rows, columns = slice(top, min(bottom, height)), slice(left, min(right, width))
        marked = [rle.decode_columns(runs, height, left, columns.stop)[rows] for runs in mask.runs]
        together = np.dstack([image[rows, columns], *marked])
        missing = (max(0, bottom - height), max(0, right - width))
        return np.pad(together, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


def read_marked(
    photos: Sequence[Photo],
    masks: Sequence[PhotoMask],
    memory_gb: float,
    options: PhotoOptions,
    progress: Progress = no_progress,
) -> Marked:
    """Photos decoded once where they fit into memory, and else whenever one is needed.

    Raises PhotoError for a photo that can no longer be read.
    """
    if sum(3 * math.prod(photo.size_hw) for photo in photos) > memory_gb * 1e9:
        return Marked(lambda row: read_image(photos[row].path, options), masks)
    images = []
    for image in read_again(photos, options):
        images.append(image)
        progress("reading photos for training", len(images), len(photos))
    return Marked(images.__getitem__, masks)


class Layers:
    """Stored batches are (n, h, w, 3 + n_labels) uint8: what turns the photo turns its mask."""

    def __init__(self, options: AugmentOptions, zoom: float = 0.0, rotate_deg: float = 0.0) -> None:
        self.options, self.zoom, self.rotate_deg = options, zoom, rotate_deg

    def vary(self, stored: torch.Tensor, targets: torch.Tensor, generator: torch.Generator) -> Pair:
        turned = turn_and_flip(stored, self.options, generator)
        if self.zoom or self.rotate_deg:
            turned = warp(turned, self.zoom, self.rotate_deg, generator)
        return recolour(turned[..., :3], self.options, generator), _to_targets(turned)

    def plain(self, stored: torch.Tensor, targets: torch.Tensor) -> Pair:
        """`targets` are (n, 4) boxes of what counts of each piece; elsewhere the masks returned are -1."""
        masks = _to_targets(stored)
        is_outside = torch.ones_like(masks, dtype=torch.bool)
        for outside, (top, left, bottom, right) in zip(is_outside, targets.int().tolist(), strict=True):
            outside[:, top:bottom, left:right] = False
        return to_network_input(stored[..., :3]), masks.masked_fill_(is_outside, NOT_COUNTED)


def _to_targets(stored: torch.Tensor) -> torch.Tensor:
    """(n, n_labels, h, w) float32; between 0 and 1 where a warped mask has its edge."""
    return stored[..., 3:].permute(0, 3, 1, 2).to(torch.float32)


class CropBatches(SharedOut):
    """Crops drawn anew each epoch, by (seed, epoch) alone; as many per photo as would cover it once.

    Photos with a rare label come more often, and photos without a flaw, which teach little, are left to at
    most `good_share` of an epoch, others in each. No batch holds a single crop: normalisation after a
    decoder's pooling over the photo needs two.
    """

    def __init__(self, marked: Marked, rows: np.ndarray, options: MaskTrainOptions, seed: int) -> None:
        super().__init__()
        self.source = Layers(options.augment, options.zoom, options.rotate_deg)
        self.marked, self.options, self.seed = marked, options, seed
        sizes = np.array([marked.masks[row].size_hw for row in rows])
        height, width = (_crop_side(sides, options.crop_px) for sides in sizes.T)
        is_square = options.augment.turns  # a turned batch has to keep its shape
        self.crop_hw = (min(height, width), min(height, width)) if is_square else (height, width)
        n_crops = np.maximum(1, np.ceil(sizes.prod(axis=1) / math.prod(self.crop_hw) - 0.25).astype(int))
        shows = np.array([[len(runs) > 0 for runs in marked.masks[row].runs] for row in rows])
        is_flawed = shows.any(axis=1)
        factors = _repeat_factors(shows[is_flawed])
        part = np.random.default_rng((seed & 0xFFFFFFFF, 1)).random(len(factors))
        self._flawed = np.repeat(rows[is_flawed], np.floor(factors * n_crops[is_flawed] + part).astype(int))
        self._good = np.repeat(rows[~is_flawed], n_crops[~is_flawed])
        share = options.good_share
        most_good = len(self._good) if share == 1 else round(len(self._flawed) * share / (1 - share))
        self._n_good = min(len(self._good), most_good) if len(self._flawed) else len(self._good)

    @property
    def n_crops(self) -> int:
        """Of an epoch."""
        return len(self._flawed) + self._n_good

    @property
    def _n_each(self) -> int:
        """Crops of one device; some come twice where they do not share out evenly."""
        return max(2, -(-self.n_crops // self.n_devices))

    def __len__(self) -> int:
        return min(-(-self._n_each // self.options.batch_size), self._n_each // 2)

    def __iter__(self) -> Iterator[Batch]:
        draw = np.random.default_rng((self.seed & 0xFFFFFFFF, self.epoch))
        drawn = np.concatenate([self._flawed, draw.permutation(self._good)[: self._n_good]])
        order = draw.permutation(self.n_crops)
        seeds = draw.integers(1 << 62, size=len(order))
        mine = np.resize(order, self._n_each * self.n_devices)[self.rank :: self.n_devices]
        for places in np.array_split(mine, len(self)):
            crops = [self._crop(int(drawn[i]), np.random.default_rng(seeds[i])) for i in places]
            rows = torch.from_numpy(drawn[places].astype(np.int64))
            yield torch.from_numpy(np.stack(crops)), torch.zeros(len(rows), 0), rows

    def _crop(self, row: int, draw: np.random.Generator) -> np.ndarray:
        mask = self.marked.masks[row]
        room = [max(0, side - crop) for side, crop in zip(mask.size_hw, self.crop_hw, strict=True)]
        carried = [runs for runs in mask.runs if len(runs)]
        if carried and draw.random() < self.options.flaw_share:
            centre = _draw_flaw_pixel(carried[draw.integers(len(carried))], mask.size_hw[0], draw)
            offset = [centre[i] - draw.integers(self.crop_hw[i]) for i in (0, 1)]
            top, left = (int(np.clip(offset[i], 0, room[i])) for i in (0, 1))
        else:
            top, left = (int(draw.integers(room[i] + 1)) for i in (0, 1))
        return self.marked.cut(row, (top, left, top + self.crop_hw[0], left + self.crop_hw[1]))


def _repeat_factors(shows: np.ndarray) -> np.ndarray:
    """(n, n_labels) bool, which labels each flawed photo shows → (n,) how often it comes, 1 or more.

    By its rarest label: sqrt(even share / the label's share of the photos), as Gupta et al. (LVIS, CVPR 2019)
    repeat photos of rare classes; the even share is one part in as many as there are labels.
    """
    shares = np.maximum(shows.mean(axis=0), 1e-9) if len(shows) else np.ones(shows.shape[1])
    of_label = np.maximum(1.0, np.sqrt(1 / (shows.shape[1] * shares)))
    return np.where(shows, of_label, 1.0).max(axis=1)


def _crop_side(sides: np.ndarray, crop_px: int) -> int:
    """The wanted side, or less where most photos are smaller: little is padded then."""
    return min(crop_px, _round_up(int(np.quantile(sides, 0.75, method="higher"))))


def _round_up(side: int) -> int:
    return -(-side // MULTIPLE) * MULTIPLE


def _draw_flaw_pixel(runs: np.ndarray, height: int, draw: np.random.Generator) -> tuple[int, int]:
    """(row, column) of a flaw pixel, all alike likely."""
    ends = np.cumsum(runs[:, 1])
    place = int(draw.integers(ends[-1]))
    run = int(np.searchsorted(ends, place, side="right"))
    pixel = int(runs[run, 0]) - 1 + place - int(ends[run] - runs[run, 1])
    return pixel % height, pixel // height


class PieceBatches(SharedOut):
    """Whole photos in order, one piece a batch, padded by mirroring to a multiple of 32.

    A batch's targets are the box of the piece whose pixels count: each pixel of a photo does so once.
    """

    def __init__(self, marked: Marked, rows: np.ndarray) -> None:
        super().__init__()
        self.source = Layers(AugmentOptions())
        self.marked = marked
        self.pieces: list[tuple[int, Box, Box]] = []
        for row in rows:
            boxes = lay_tiles(marked.masks[row].size_hw, PIECE_PX, 0)
            self.pieces += [(int(row), box, _new_part(box, boxes)) for box in boxes]

    def __len__(self) -> int:
        return -(-len(self.pieces) // self.n_devices)

    def __iter__(self) -> Iterator[Batch]:
        n = len(self) * self.n_devices
        for place in np.resize(np.arange(len(self.pieces)), n)[self.rank :: self.n_devices]:
            row, (top, left, bottom, right), counted = self.pieces[place]
            box = (top, left, top + _round_up(bottom - top), left + _round_up(right - left))
            stored = torch.from_numpy(self.marked.cut(row, box)[None])
            yield stored, torch.tensor([counted]), torch.tensor([int(place)])


def _new_part(box: Box, boxes: Sequence[Box]) -> Box:
    """What of a box lies in no box above or left of it, counted from its own corner."""
    top, left, bottom, right = box
    above = max((b[2] for b in boxes if b[0] < top), default=0)
    before = max((b[3] for b in boxes if b[1] < left), default=0)
    return max(0, above - top), max(0, before - left), bottom - top, right - left


def loop_seed(seed: int) -> int:
    """The seed of the loop's own draws, apart from those of others that start from the same number."""
    return generator_for(seed, 4).initial_seed()
